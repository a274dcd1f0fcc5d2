//! Bytes of files in frames: one transfer after another on one connection, whatever goes wrong with one of them.

use std::fs;
use std::io::Read;
use std::net::Shutdown;

use backup_proto::bulk::BulkReader;
use backup_testkit::caller::{Caller, kind};
use backup_testkit::daemon::Daemon;
use backup_testkit::seed::Seed;
use backup_testkit::wait;
use serde_json::{Value, json};

/// A daemon with a snapshot of two files.
fn scene() -> (Daemon, Vec<u8>) {
    let daemon = Daemon::start();
    let large = Seed(4).random().bytes(6 << 20);
    fs::create_dir(daemon.home().join("tree")).expect("it is made");
    fs::write(daemon.home().join("tree/large"), &large).expect("it is written");
    fs::write(daemon.home().join("tree/small"), "contents\n").expect("it is written");
    daemon.ctl(["backup".as_ref(), daemon.home().join("tree").as_os_str()]).expect(0);
    (daemon, large)
}

fn file(daemon: &Daemon, name: &str) -> Value {
    json!({"query": {"snapshot": "latest"}, "file": daemon.home().join("tree").join(name)})
}

fn token(daemon: &Daemon, name: &str) -> Value {
    Caller::hello(&daemon.socket()).call("snapshot.cat", file(daemon, name))["result"]["token"].clone()
}

/// Receives one transfer to its end.
fn frames(carrier: &mut Caller) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    BulkReader::new(&mut carrier.lines).copy_to(&mut bytes).map(|_| bytes).map_err(|error| error.to_string())
}

fn open(carrier: &mut Caller, params: Value) -> String {
    kind(&carrier.call("bulk.open", params)).to_owned()
}

#[test]
fn several_tokens_are_used_one_after_another_on_one_connection() {
    let (daemon, large) = scene();
    let mut carrier = Caller::hello(&daemon.socket());
    for _ in 0..3 {
        for (name, contents) in [("small", &b"contents\n"[..]), ("large", &large)] {
            assert_eq!(open(&mut carrier, json!({"token": token(&daemon, name), "keep": true})), "no error");
            assert!(frames(&mut carrier).expect("it is whole") == contents, "{name}");
        }
    }
    // A wrong one is refused, and the connection is as good as before.
    assert_eq!(open(&mut carrier, json!({"token": "0", "keep": true})), "token_invalid");
    assert!(carrier.call("daemon.status", json!({}))["result"]["pid"].is_u64());
    let last = token(&daemon, "small");
    assert_eq!(open(&mut carrier, json!({"token": last})), "no error");
    frames(&mut carrier).expect("it is whole");
    assert_eq!(carrier.lines.read(&mut [0]).expect("it ends in order"), 0, "nobody asked to keep it");
}

#[test]
fn a_file_is_had_without_a_token_and_its_error_ends_nothing() {
    let (daemon, _) = scene();
    let mut carrier = Caller::hello(&daemon.socket());
    let here = |name| json!({"cat": file(&daemon, name), "keep": true});
    // All are asked for before anything is read: they are sent in their order.
    for name in ["small", "none", "small"] {
        carrier.ask("bulk.open", here(name));
    }
    for is_there in [true, false, true] {
        assert_eq!(kind(&carrier.line()), "no error");
        match frames(&mut carrier) {
            Ok(bytes) => assert!(is_there && bytes == b"contents\n"),
            Err(said) => assert!(!is_there && said.contains("none"), "{said}"),
        }
    }
    for params in [json!({}), json!({"cat": file(&daemon, "small"), "token": token(&daemon, "small")})] {
        assert_eq!(open(&mut carrier, params), "invalid_params");
    }
    // Who closes their half gets what they asked for.
    carrier.ask("bulk.open", here("small"));
    carrier.stream.shutdown(Shutdown::Write).expect("it is closed");
    assert_eq!(kind(&carrier.line()), "no error");
    assert_eq!(frames(&mut carrier).expect("it is whole"), b"contents\n");
    assert_eq!(carrier.lines.read(&mut [0]).expect("it ends in order"), 0);
}

#[test]
fn clients_that_go_away_in_the_middle_take_nothing_along() {
    let (daemon, large) = scene();
    let begin = || {
        wait::until("there is room for one more", || {
            let mut carrier = Caller::hello(&daemon.socket());
            let answer = open(&mut carrier, json!({"cat": file(&daemon, "large"), "keep": true}));
            (answer == "no error").then_some(carrier)
        })
    };
    // More than may be under way at a time.
    for _ in 0..40 {
        let mut carrier = begin();
        carrier.lines.read_exact(&mut [0; 1000]).expect("some of it comes");
    }
    let mut carrier = begin();
    assert!(frames(&mut carrier).expect("it is whole") == large);
}
