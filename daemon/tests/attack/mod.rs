//! The ways in which one client can be hostile, each with what the daemon has to answer.

mod tally;
mod way;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use backup_testkit::caller::Caller;
use backup_testkit::seed::{Random, Seed};
use serde_json::json;

pub(crate) use tally::Tally;
use way::{WAYS, Way};

/// How long a client that does not read goes on sending to a daemon that does not take it.
const STUBBORNNESS: Duration = Duration::from_millis(200);

/// Bytes that a client that does not read sends at most.
const FLOOD_BYTES_MAX: usize = 4 << 20;

/// Whom to attack.
pub(crate) struct Target {
    pub(crate) socket: PathBuf,
    /// The request id of an honest client's backup.
    pub(crate) request_id: String,
    /// What that client backs up.
    pub(crate) source: PathBuf,
}

/// A connection that an attacker keeps open.
pub(crate) type Held = UnixStream;

/// One hostile client.
pub(crate) struct Attack {
    way: Way,
    random: Random,
    tally: Tally,
    held: Vec<Held>,
}

impl Attack {
    /// Returns the client of this number: every way is taken equally often.
    pub(crate) fn of(number: usize, seed: Seed) -> Self {
        let random = Seed(seed.0.wrapping_add(number as u64)).random();
        Self { way: WAYS[number % WAYS.len()], random, tally: Tally::default(), held: Vec::new() }
    }

    /// Attacks, and returns what happened and which connections are still open.
    pub(crate) fn run(mut self, target: &Target) -> (Tally, Vec<Held>) {
        match self.way {
            Way::SaysNothing => self.held.push(Caller::connect(&target.socket).stream),
            Way::LeavesHalfALine => self.leave_half_a_line(target),
            Way::SendsLongLines => self.send_long_lines(target),
            Way::SendsWhatIsNoMessage => self.send_what_is_no_message(target),
            Way::SendsOddValues => self.send_odd_values(target),
            Way::FloodsAndReads => self.flood_and_read(target),
            Way::FloodsAndDoesNotRead => self.flood_and_not_read(target),
            Way::WatchesAndDoesNotRead => self.watch_and_not_read(target),
            Way::StealsRequests => self.steal_requests(target),
            Way::GuessesTokens => self.guess_tokens(target),
            Way::AsksForTooMuch => self.ask_for_too_much(target),
            Way::ComesAndGoes => self.come_and_go(target),
        }
        (self.tally, self.held)
    }

    fn hello(&mut self, target: &Target) -> Caller {
        let (caller, refusals) = Caller::admitted(&target.socket);
        self.tally.admitted(refusals);
        caller
    }

    fn send(&mut self, caller: &mut Caller, bytes: &[u8]) {
        self.tally.bytes_sent += bytes.len();
        caller.send(bytes);
    }

    /// Sends a line and returns the kind of its answer.
    fn try_line(&mut self, caller: &mut Caller, line: &[u8]) -> String {
        self.send(caller, line);
        self.send(caller, b"\n");
        let answer = caller.line();
        self.tally.heard(&answer)
    }

    fn expect(&mut self, caller: &mut Caller, line: &[u8], expected: &[&str]) {
        let kind = self.try_line(caller, line);
        let start = String::from_utf8_lossy(&line[..line.len().min(80)]);
        assert!(expected.contains(&kind.as_str()), "{kind} for {start}");
    }

    fn leave_half_a_line(&mut self, target: &Target) {
        let mut caller = self.hello(target);
        let length = usize::try_from(self.random.below(60_000)).expect("it is small");
        let half = [br#"{"jsonrpc":"2.0","id":1,"method":""#, vec![b'm'; length].as_slice()].concat();
        self.send(&mut caller, &half);
        self.held.push(caller.stream);
    }

    /// Ten MiB in one line, a line of just under one MiB that hangs, and one that is thrown away when there are too many.
    fn send_long_lines(&mut self, target: &Target) {
        let mut caller = self.hello(target);
        self.expect(&mut caller, &vec![b'x'; 10 << 20], &["line_too_long", "busy"]);
        let text = "y".repeat(900_000);
        let line = json!({"jsonrpc": "2.0", "id": 1, "method": "job.get", "params": {"job": text}}).to_string();
        self.expect(&mut caller, line.as_bytes(), &["job_not_found", "busy"]);
        self.send(&mut caller, &vec![b'z'; 1_000_000]);
        self.held.push(caller.stream);
    }

    fn send_what_is_no_message(&mut self, target: &Target) {
        let mut caller = self.hello(target);
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        self.expect(&mut caller, &deep, &["parse_error", "busy"]);
        let open = br#"{"a":"#.repeat(10_000);
        for line in [&b"\xff\xfe\x00\x00"[..], b"\0", b"{\"a\":\"\xc3\x28\"}", b"{\"a\":\"\\ud800\"}", &open, b"1e999"]
        {
            self.expect(&mut caller, line, &["parse_error"]);
        }
        let batch = br#"[{"jsonrpc":"2.0","id":1,"method":"daemon.pause","params":{"request_id":"b"}}]"#;
        self.expect(&mut caller, batch, &["invalid_request"]);
        for _ in 0..100 {
            let length = usize::try_from(self.random.below(300)).expect("it is small") + 1;
            let mut noise = self.random.bytes(length);
            noise.retain(|byte| *byte != b'\n');
            if !noise.trim_ascii().is_empty() {
                self.expect(&mut caller, &noise, &["parse_error", "invalid_request"]);
            }
        }
        // A change without an id is a notification: nobody is answered, and nothing happens.
        self.send(
            &mut caller,
            b"{\"jsonrpc\":\"2.0\",\"method\":\"daemon.pause\",\"params\":{\"request_id\":\"n\"}}\n",
        );
        self.tally.heard(&caller.call("daemon.status", json!({})));
    }

    fn send_odd_values(&mut self, target: &Target) {
        let mut caller = self.hello(target);
        let long = "r".repeat(1_000);
        for (params, expected) in [
            (r#"{"job":"x","for_seconds":18446744073709551615,"request_id":"o"}"#.to_owned(), "job_not_found"),
            (r#"{"job":"x","for_seconds":-1,"request_id":"o"}"#.to_owned(), "invalid_params"),
            (r#"{"job":"x","for_seconds":1e300,"request_id":"o"}"#.to_owned(), "invalid_params"),
            (r#"{"job":"x","for_seconds":99999999999999999999,"request_id":"o"}"#.to_owned(), "invalid_params"),
            (r#"{"job":"x","job":"y","request_id":"o"}"#.to_owned(), "job_not_found"),
            (r#"{"job":"","request_id":"o"}"#.to_owned(), "job_not_found"),
            (r#"{"job":"x"}"#.to_owned(), "invalid_params"),
            (r#"{"job":"x","request_id":""}"#.to_owned(), "invalid_params"),
            (format!(r#"{{"job":"x","request_id":"{long}"}}"#), "invalid_params"),
            ("[1,2]".to_owned(), "invalid_params"),
        ] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":1,"id":"last","method":"job.pause","params":{params}}}"#);
            self.expect(&mut caller, line.as_bytes(), &[expected]);
        }
        for id in ["{}", "[1]", "true", "1e300"] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"daemon.status"}}"#);
            self.expect(&mut caller, line.as_bytes(), &["invalid_request"]);
        }
    }

    /// Hundreds of calls at once, read afterwards: each is answered, in its order.
    fn flood_and_read(&mut self, target: &Target) {
        let mut caller = self.hello(target);
        let ids: Vec<u64> = (0..300).map(|_| caller.ask("daemon.status", json!({}))).collect();
        for id in ids {
            let answer = caller.line();
            self.tally.heard(&answer);
            assert_eq!(answer["id"], id);
        }
    }

    fn flood_and_not_read(&mut self, target: &Target) {
        let mut caller = self.hello(target);
        let page = br#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}"#;
        let calls = [&page[..], b"\n"].concat().repeat(100);
        self.send_until_stuck(&mut caller, &calls);
        self.held.push(caller.stream);
    }

    fn watch_and_not_read(&mut self, target: &Target) {
        let mut caller = self.hello(target);
        self.tally.heard(&caller.call("events.subscribe", json!({"since": 0, "topics": []})));
        let subscribe = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"events.subscribe\"}\n".repeat(100);
        self.send_until_stuck(&mut caller, &subscribe);
        self.held.push(caller.stream);
    }

    fn send_until_stuck(&mut self, caller: &mut Caller, bytes: &[u8]) {
        caller.stream.set_write_timeout(Some(STUBBORNNESS)).expect("a socket has a timeout");
        let mut sent = 0;
        while sent < FLOOD_BYTES_MAX {
            match caller.stream.write(bytes) {
                Ok(length) => sent += length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("it is not read, and not cut off so soon: {error}"),
            }
        }
        self.tally.bytes_sent += sent;
    }

    /// The same request as the honest client's gives that client's answer to the same user; anything else under its
    /// name is refused.
    fn steal_requests(&mut self, target: &Target) {
        let mut caller = self.hello(target);
        let spec = json!({"kind": "backup", "sources": [target.source]});
        let replayed = caller.call("job.submit", json!({"request_id": target.request_id, "spec": spec}));
        self.tally.heard(&replayed);
        assert!(replayed["result"]["jobs"][0].is_string(), "{replayed}");
        let other = json!({"kind": "backup", "sources": ["/etc"]});
        for (method, params) in [
            ("job.submit", json!({"request_id": target.request_id, "spec": other})),
            ("daemon.pause", json!({"request_id": target.request_id})),
            ("job.cancel", json!({"request_id": target.request_id, "job": replayed["result"]["jobs"][0]})),
            ("target.init", json!({"request_id": target.request_id, "name": "local"})),
        ] {
            let answer = caller.call(method, params);
            assert_eq!(self.tally.heard(&answer), "request_id_conflict", "{answer}");
        }
    }

    fn guess_tokens(&mut self, target: &Target) {
        let mut caller = self.hello(target);
        for _ in 0..50 {
            let guess: String = self.random.bytes(16).iter().map(|byte| format!("{byte:02x}")).collect();
            let answer = caller.call("bulk.open", json!({"token": guess}));
            let kind = self.tally.heard(&answer);
            assert!(["token_invalid", "busy"].contains(&kind.as_str()), "{answer}");
        }
    }

    fn ask_for_too_much(&mut self, target: &Target) {
        let mut caller = self.hello(target);
        let reason = "because ".repeat(100_000);
        let spec = json!({"kind": "backup", "sources": [target.source]});
        let huge = json!({"kind": "backup", "sources": vec!["/x"; 90_000]});
        for params in [
            json!({"request_id": "reason", "spec": spec, "reason": reason}),
            json!({"request_id": "huge", "spec": huge}),
        ] {
            let line = json!({"jsonrpc": "2.0", "id": 1, "method": "job.submit", "params": params}).to_string();
            self.expect(&mut caller, line.as_bytes(), &["invalid_params", "busy"]);
        }
        for (method, params) in [
            ("job.list", json!({"all": true, "page": {"limit": u32::MAX}})),
            ("snapshot.list", json!({"page": {"limit": 4_000_000_000_u32, "after": "nonsense"}})),
            ("snapshot.find", json!({"pattern": format!("{}x", "*".repeat(1_000))})),
        ] {
            let answer = caller.call(method, params);
            self.tally.heard(&answer);
        }
    }

    fn come_and_go(&mut self, target: &Target) {
        for number in 0..30 {
            match number % 3 {
                0 => drop(Caller::connect(&target.socket)),
                // The daemon may have hung up already.
                1 => drop(
                    Caller::connect(&target.socket).stream.write(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\"}\n"),
                ),
                _ => {
                    let mut caller = self.hello(target);
                    self.send(&mut caller, b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"snapshot.list\"}\n");
                    let _ = caller.stream.shutdown(std::net::Shutdown::Write);
                    let mut rest = Vec::new();
                    caller.lines.read_to_end(&mut rest).expect("what was asked is answered before the end");
                    assert_eq!(rest.iter().filter(|byte| **byte == b'\n').count(), 1);
                }
            }
        }
    }
}
