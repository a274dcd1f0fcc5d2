//! Sessions that stand still, served without a socket and with little patience.

use std::time::Duration;

use backup_proto::event::Cursor;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};

use super::limits::{LINE_BYTES_FREE, LONG_LINES_MAX, PATIENCE, Patience};
use super::*;
use crate::clock::{Clock, SystemClock};
use crate::config::ConfigFile;
use crate::identity::Identity;
use crate::inbox::Caller;
use crate::ledger::Ledger;
use crate::targets::{Targets, TargetsOptions};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(10);
const HELLO: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\",\"params\":{\"client\":\"t\",\"protocol\":{\"min\":1,\"max\":1}}}\n";
const STATUS: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"daemon.status\"}\n";

fn server(patience: Patience) -> (TempDir, Arc<Server>) {
    let home = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = Arc::new(ConfigFile::open(&home.path().join("config.toml"), None).unwrap());
    let (good, now) = (config.last_good(), clock.now().wall);
    let targets = Targets::open(TargetsOptions {
        state: home.path().to_path_buf(),
        socket: home.path().join("s"),
        default_folder: home.path().join("repository"),
        config,
        identity: Identity::of_this_process(),
        clock: Arc::clone(&clock),
        hook: None,
    });
    let probe = Arc::new(crate::conditions::FileProbe::new(home.path()));
    let context = Context::new(Arc::clone(&clock), targets.unwrap(), Ledger::open(home.path()).unwrap(), probe);
    let (state, _) = crate::supervisor::load(&Default::default(), good, clock.time_zone(), 7, now);
    let about = About {
        version: "1".into(),
        instance_id: "i".into(),
        pid: 1,
        uid: 7,
        started: now,
        socket: home.path().into(),
        state_dir: home.path().into(),
        config: home.path().into(),
    };
    let mut shared = Shared::new(false);
    shared.patience = patience;
    let server = Server {
        context: Arc::new(context),
        hub: Arc::new(Hub::new(0)),
        desk: Arc::new(Desk::default()),
        inbox: Inbox::new().0,
        published: watch::channel(Published { state: Arc::new(state), cursor: Cursor(0) }).1,
        about,
        shared,
    };
    (home, Arc::new(server))
}

/// Connects as the daemon's owner and sends something.
async fn connect(server: &Arc<Server>, bytes: &[u8]) -> BufReader<DuplexStream> {
    let (ours, theirs) = duplex(4096);
    tokio::spawn(serve(theirs, Caller { uid: 7, pid: None }, Arc::clone(server)));
    let mut stream = BufReader::new(ours);
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Reads one answer; returns the kind of its error, or nothing.
async fn kind(stream: &mut BufReader<DuplexStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let answer: Value = serde_json::from_str(&line).unwrap();
    answer["error"]["data"]["kind"].as_str().unwrap_or_default().to_owned()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn who_does_not_say_hello_or_does_not_end_a_line_is_told_and_closed() {
    block_on(async {
        let (_home, server) = server(Patience { hello: SHORT, line: SHORT, ..PATIENCE });
        for (bytes, expected) in [(&b""[..], "hello_required"), (b"{\"half", "hello_required")] {
            let mut stream = connect(&server, bytes).await;
            assert_eq!(kind(&mut stream).await, expected);
            assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        }
        let (_home, server) = self::server(Patience { hello: LONG, line: SHORT, ..PATIENCE });
        let mut stream = connect(&server, &[HELLO, b"{\"half"].concat()).await;
        assert_eq!(kind(&mut stream).await, "");
        assert_eq!(kind(&mut stream).await, "invalid_request");
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    });
}

#[test]
fn a_socket_that_somebody_removed_is_there_again_by_itself() {
    block_on(async {
        let (home, server) = server(Patience { knock: SHORT, ..PATIENCE });
        let path = home.path().join("s");
        tokio::spawn(accept(Listening::on(&path, 0o600).unwrap(), server));
        std::fs::remove_file(&path).unwrap();
        let connect = async {
            loop {
                match tokio::net::UnixStream::connect(&path).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let mut stream = BufReader::new(tokio::time::timeout(LONG, connect).await.unwrap());
        stream.write_all(HELLO).await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert!(line.contains("\"id\":1"), "it is answered: {line}");
    });
}

#[test]
fn who_is_silent_between_lines_is_left_alone() {
    block_on(async {
        let (_home, server) = server(Patience { hello: LONG, line: SHORT, ..PATIENCE });
        let mut silent = connect(&server, HELLO).await;
        assert_eq!(kind(&mut silent).await, "");
        // Another one's whole patience passes meanwhile.
        let mut slow = connect(&server, &[HELLO, b"{"].concat()).await;
        assert_eq!((kind(&mut slow).await, kind(&mut slow).await), (String::new(), "invalid_request".to_owned()));
        silent.write_all(STATUS).await.unwrap();
        assert_eq!(kind(&mut silent).await, "");
    });
}

#[test]
fn who_reads_no_answers_is_closed() {
    block_on(async {
        let (_home, server) = server(Patience { read: SHORT, ..PATIENCE });
        let mut deaf = connect(&server, HELLO).await;
        // Ends when the daemon does not take any more because it has hung up.
        while deaf.write_all(STATUS).await.is_ok() {}
    });
}

#[test]
fn long_lines_are_few_at_a_time_and_short_ones_are_still_answered() {
    block_on(async {
        let (_home, server) = server(PATIENCE);
        let half = [HELLO, &vec![b' '; 2 * LINE_BYTES_FREE]].concat();
        let mut holders = Vec::new();
        for _ in 0..LONG_LINES_MAX {
            let mut holder = connect(&server, &half).await;
            assert_eq!(kind(&mut holder).await, "");
            holders.push(holder);
        }
        let mut late = connect(&server, &half).await;
        assert_eq!((kind(&mut late).await, kind(&mut late).await), (String::new(), "busy".to_owned()));
        late.write_all(&[b"\n", STATUS].concat()).await.unwrap();
        assert_eq!(kind(&mut late).await, "", "the rest of the long line was thrown away");
        let mut first = holders.remove(0);
        first.write_all(STATUS).await.unwrap();
        assert_eq!(kind(&mut first).await, "", "what was begun in time is answered");
        assert_eq!(server.shared.long_lines.available_permits(), 1);
    });
}
