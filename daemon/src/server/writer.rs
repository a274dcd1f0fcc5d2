//! The writing half of a session: answers in the order they are ready, and events when there are any.

use std::sync::Arc;
use std::time::Duration;

use backup_proto::event::Topic;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use crate::hub::{BEHIND_MAX, Hub, Line};

/// How long a peer may take to read anything at all before the connection is given up.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// What a session gives its writer.
#[derive(Debug)]
pub(super) enum Out {
    /// A whole line to write.
    Line(Vec<u8>),
    /// The answer to a subscription, and then its events.
    Subscribe(Vec<u8>, Box<Watch>),
}

/// A subscription to write.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) replay: Vec<Line>,
    pub(super) events: broadcast::Receiver<Line>,
    /// What to hear of; empty: everything.
    pub(super) topics: Vec<Topic>,
}

impl Watch {
    fn wants(&self, line: &Line) -> bool {
        self.topics.is_empty() || self.topics.contains(&line.topic)
    }
}

/// Writes until the session ends, the peer is gone, or a watcher is too far behind.
pub(super) async fn write<W: AsyncWrite + Unpin>(
    mut output: W,
    mut lines: mpsc::Receiver<Out>,
    hub: Arc<Hub>,
) -> Option<W> {
    let mut watch: Option<Box<Watch>> = None;
    loop {
        let is_written = tokio::select! {
            biased;
            line = lines.recv() => match line {
                None => return Some(output),
                Some(Out::Line(bytes)) => put(&mut output, &bytes).await,
                Some(Out::Subscribe(answer, new)) => {
                    let is_written = begin(&mut output, &answer, &new).await;
                    watch = Some(new);
                    is_written
                }
            },
            event = next(&mut watch) => match event {
                Ok(line) if hub.position() - line.position > BEHIND_MAX => false,
                Ok(line) if watch.as_ref().is_some_and(|watch| watch.wants(&line)) => put(&mut output, &line.bytes).await,
                Ok(_) => true,
                Err(_) => false,
            },
        };
        if !is_written {
            // Closing tells the peer more than silence would; it resumes from its last cursor.
            let _ = tokio::time::timeout(WRITE_PATIENCE, output.shutdown()).await;
            return None;
        }
    }
}

/// Waits for the next event; for ever when nothing is watched.
async fn next(watch: &mut Option<Box<Watch>>) -> Result<Line, RecvError> {
    match watch {
        Some(watch) => watch.events.recv().await,
        None => std::future::pending().await,
    }
}

async fn begin<W: AsyncWrite + Unpin>(output: &mut W, answer: &[u8], watch: &Watch) -> bool {
    if !put(output, answer).await {
        return false;
    }
    for line in watch.replay.iter().filter(|line| watch.wants(line)) {
        if !put(output, &line.bytes).await {
            return false;
        }
    }
    true
}

async fn put<W: AsyncWrite + Unpin>(output: &mut W, bytes: &[u8]) -> bool {
    let written = async {
        output.write_all(bytes).await?;
        output.flush().await
    };
    matches!(tokio::time::timeout(WRITE_PATIENCE, written).await, Ok(Ok(())))
}
