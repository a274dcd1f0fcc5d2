//! A scripted daemon on a temporary socket, and the command run against it.

#![allow(dead_code, reason = "each test file uses its own part")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

/// What the scripted daemon does with a call.
pub(crate) enum Reply {
    /// Answers with a result.
    Result(Value),
    /// Answers with an error.
    Error(Value),
    /// Writes bytes behind an empty result, then hangs up.
    Bytes(Vec<u8>),
    /// Hangs up without an answer.
    HangUp,
}

type Script = dyn Fn(&Daemon, &str, &Value) -> Reply + Send + Sync;

/// A daemon that answers what a test says, and keeps what it was asked.
pub(crate) struct Daemon {
    /// Every call after `hello`, with its parameters.
    pub(crate) calls: Mutex<Vec<(String, Value)>>,
    /// The connection that watches events, once there is one.
    watcher: Mutex<Option<UnixStream>>,
    /// What it can do beside what every daemon can.
    capabilities: Vec<&'static str>,
}

impl Daemon {
    /// Sends an event to the watcher.
    pub(crate) fn send(&self, cursor: u64, body: &Value) {
        let mut params = json!({"cursor": cursor, "time": "2026-01-02T03:04:05Z"});
        params.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let line = json!({"jsonrpc": "2.0", "method": "event", "params": params});
        let watcher = self.watcher.lock().unwrap();
        watcher.as_ref().expect("somebody subscribed").write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Cuts the watcher off.
    pub(crate) fn drop_watcher(&self) {
        let watcher = self.watcher.lock().unwrap().take().unwrap();
        watcher.shutdown(std::net::Shutdown::Both).unwrap();
    }

    /// Returns the parameters of every call of a method.
    pub(crate) fn asked(&self, method: &str) -> Vec<Value> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(name, _)| name == method).map(|(_, params)| params.clone()).collect()
    }
}

/// A daemon and the folder of its socket.
pub(crate) struct House {
    pub(crate) folder: TempDir,
    pub(crate) daemon: Arc<Daemon>,
}

impl House {
    /// Starts a daemon that answers by a script.
    pub(crate) fn new(script: impl Fn(&Daemon, &str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(vec!["backup_dry_run"], script)
    }

    /// Starts a daemon that can do this much.
    pub(crate) fn with(
        capabilities: Vec<&'static str>,
        script: impl Fn(&Daemon, &str, &Value) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Arc::new(Daemon { calls: Mutex::default(), watcher: Mutex::default(), capabilities });
        let listener = UnixListener::bind(folder.path().join("d.sock")).unwrap();
        let (served, script): (_, Arc<Script>) = (Arc::clone(&daemon), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (served, script) = (Arc::clone(&served), Arc::clone(&script));
                thread::spawn(move || serve(&served, &*script, &stream.unwrap()));
            }
        });
        Self { folder, daemon }
    }

    /// Starts a daemon that answers every call with the stored example of its result.
    pub(crate) fn of_examples() -> Self {
        Self::new(|_, method, _| Reply::Result(example(method)))
    }

    /// Returns the command with arguments, ready to run in this house.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = backupctl(arguments);
        command.env("BACKUPD_SOCKET", self.folder.path().join("d.sock")).current_dir(self.folder.path());
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }
}

/// Returns the command in an empty environment, with times in UTC.
pub(crate) fn backupctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backupctl"));
    command.args(arguments).env_clear().env("TZ", "UTC").env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

/// How a run of the command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Reads what a finished process left.
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("the command is not killed"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Returns each line of the output as JSON.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

/// Returns the stored example of a method's result.
pub(crate) fn example(method: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/tests/golden");
    let path: PathBuf = folder.join(format!("{method}.result.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str::<Value>(&text).unwrap()["result"].clone()
}

/// Returns an error as the daemon would send it.
pub(crate) fn error(kind: &str) -> Value {
    json!({"code": -32000, "message": format!("it is {kind}"),
           "data": {"kind": kind, "class": "misuse", "retryable": false, "advice": "Do something."}})
}

fn serve(daemon: &Daemon, script: &Script, stream: &UnixStream) {
    let answer = |id: &Value, key: &str, value: Value| {
        let mut line = json!({"jsonrpc": "2.0", "id": id});
        line[key] = value;
        // The command may have ended already.
        let _ = (&*stream).write_all(format!("{line}\n").as_bytes());
    };
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let call: Value = serde_json::from_str(&line).unwrap();
        let (id, method) = (&call["id"], call["method"].as_str().unwrap());
        if method == "hello" {
            answer(
                id,
                "result",
                json!({"protocol": 1, "server": "scripted", "instance_id": "i", "capabilities": daemon.capabilities}),
            );
            continue;
        }
        if method == "events.subscribe" {
            *daemon.watcher.lock().unwrap() = Some(stream.try_clone().unwrap());
        }
        daemon.calls.lock().unwrap().push((method.to_owned(), call["params"].clone()));
        match script(daemon, method, &call["params"]) {
            Reply::Result(result) => answer(id, "result", result),
            Reply::Error(error) => answer(id, "error", error),
            Reply::Bytes(bytes) => {
                answer(id, "result", json!({}));
                (&*stream).write_all(&bytes).unwrap();
                return;
            }
            Reply::HangUp => return,
        }
    }
}
