//! A client that speaks the protocol by hand, so that tests can also speak it badly.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::{must, wait};

/// One connection to a daemon, on which anything may be sent.
#[derive(Debug)]
pub struct Caller {
    /// What is sent goes here.
    pub stream: UnixStream,
    /// What comes is read here.
    pub lines: BufReader<UnixStream>,
    last_id: u64,
}

impl Caller {
    /// Connects and says nothing yet.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        let stream = must("connect to", socket, UnixStream::connect(socket));
        let lines = BufReader::new(must("share", socket, stream.try_clone()));
        Self { stream, lines, last_id: 0 }
    }

    /// Connects and says hello.
    ///
    /// # Panics
    /// When the daemon does not welcome it.
    #[must_use]
    #[track_caller]
    pub fn hello(socket: &Path) -> Self {
        let mut caller = Self::connect(socket);
        let welcome = caller.say_hello();
        assert_eq!(welcome["result"]["protocol"], 1, "{welcome}");
        caller
    }

    /// Connects and says hello, again and again while the daemon has no room; returns also how often it had none.
    ///
    /// # Panics
    /// When nobody listens, or there is never any room.
    #[must_use]
    #[track_caller]
    pub fn admitted(socket: &Path) -> (Self, usize) {
        let mut refusals = 0;
        let caller = wait::until("there is room for one more", || {
            let mut caller = Self::connect(socket);
            must("wait for", socket, caller.stream.set_read_timeout(Some(wait::PATIENCE)));
            // One who is turned away may find the connection closed at any point.
            let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "hello", "params": {"client": "test", "protocol": {"min": 1, "max": 1}}});
            let sent = caller.stream.write_all(format!("{hello}\n").as_bytes());
            let welcome = sent.and_then(|()| caller.try_line()).ok().flatten();
            let is_welcome = welcome.is_some_and(|welcome| welcome["result"]["protocol"] == 1);
            refusals += usize::from(!is_welcome);
            is_welcome.then_some(caller)
        });
        (caller, refusals)
    }

    /// Says hello and returns the answer, whatever it is.
    #[track_caller]
    pub fn say_hello(&mut self) -> Value {
        self.call("hello", json!({"client": "test", "protocol": {"min": 1, "max": 1}}))
    }

    /// Calls a method and returns its whole answer; what happens in between must not be an event.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        let answer = self.line();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Calls a method and does not wait for the answer; returns the call's id.
    #[track_caller]
    pub fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let call = json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        self.send(format!("{call}\n").as_bytes());
        self.last_id
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the daemon does not take them.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        must("send to", "the daemon", self.stream.write_all(bytes));
    }

    /// Reads one line.
    ///
    /// # Panics
    /// When none comes, or it is not JSON.
    #[track_caller]
    pub fn line(&mut self) -> Value {
        match must("hear from", "the daemon", self.try_line()) {
            Some(value) => value,
            None => panic!("the daemon hung up"),
        }
    }

    /// Reads one line; none when the daemon has hung up.
    ///
    /// # Errors
    /// When the connection broke, or the line is not JSON.
    pub fn try_line(&mut self) -> io::Result<Option<Value>> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&line)?))
    }
}

/// Returns the kind of error in an answer.
#[must_use]
pub fn kind(answer: &Value) -> &str {
    answer["error"]["data"]["kind"].as_str().unwrap_or("no error")
}
