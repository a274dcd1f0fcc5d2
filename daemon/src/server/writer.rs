//! The writing half of a session: answers in the order they are ready, and events when there are any.

use std::sync::Arc;
use std::time::Duration;

use backup_proto::event::Topic;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::limits::WATCH_LOOK;
use super::outbox::Out;
use crate::hub::{BEHIND_MAX, Hub, Line};

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
    patience: Duration,
) -> Option<W> {
    let mut watch: Option<Box<Watch>> = None;
    loop {
        let is_written = tokio::select! {
            biased;
            out = lines.recv() => match out {
                None => return Some(output),
                Some(out) => answer(&mut output, out, &mut watch, patience).await,
            },
            event = next(&mut watch) => match event {
                Ok(line) => {
                    let is_wanted = watch.as_ref().is_some_and(|watch| watch.wants(&line));
                    let keeps_up = || hub.position() - line.position <= BEHIND_MAX;
                    // One who stands still for a while is no nuisance before that much waits for them.
                    keeps_up() && (!is_wanted || put(&mut output, &line.bytes, WATCH_LOOK, keeps_up).await)
                }
                Err(_) => false,
            },
        };
        if !is_written {
            // Closing tells the peer more than silence would; it resumes from its last cursor.
            let _ = tokio::time::timeout(patience, output.shutdown()).await;
            return None;
        }
    }
}

/// Writes an answer, and what happened since for one who begins to watch.
async fn answer<W: AsyncWrite + Unpin>(
    output: &mut W,
    out: Out,
    watch: &mut Option<Box<Watch>>,
    patience: Duration,
) -> bool {
    let Out { line, watch: new, _place, _kept } = out;
    let mut is_written = put(output, &line, patience, || false).await;
    if let Some(mut new) = new {
        for line in std::mem::take(&mut new.replay).iter().filter(|line| new.wants(line)) {
            is_written = is_written && put(output, &line.bytes, patience, || false).await;
        }
        *watch = Some(new);
    }
    is_written
}

/// Waits for the next event; for ever when nothing is watched.
async fn next(watch: &mut Option<Box<Watch>>) -> Result<Line, RecvError> {
    match watch {
        Some(watch) => watch.events.recv().await,
        None => std::future::pending().await,
    }
}

/// Writes all of a line; false when the peer is gone, or takes nothing for as long as the patience lasts and is not
/// to be waited for any longer.
pub(super) async fn put<W: AsyncWrite + Unpin>(
    output: &mut W,
    bytes: &[u8],
    patience: Duration,
    may_wait_on: impl Fn() -> bool,
) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        match tokio::time::timeout(patience, output.write(rest)).await {
            Ok(Ok(length @ 1..)) => rest = &rest[length..],
            Err(_) if may_wait_on() => {}
            _ => return false,
        }
    }
    matches!(tokio::time::timeout(patience, output.flush()).await, Ok(Ok(())))
}
