//! What `docs/protocol.md` promises to whoever writes a client: its clients work as printed, its tables are whole.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use backup_proto::error::ErrorKind;
use backup_proto::message::{METHODS, Right};
use backup_testkit::caller::Caller;
use backup_testkit::daemon::Daemon;
use serde_json::json;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    std::fs::read_to_string(path).expect("the page is there")
}

/// Returns the one block of code in a language.
fn code(language: &str) -> String {
    let page = page();
    let (_, rest) = page.split_once(&format!("```{language}\n")).expect("the page has such a block");
    rest.split_once("```").expect("the block ends").0.to_owned()
}

fn run(daemon: &Daemon, program: &str, arguments: &[&str]) -> Output {
    let mut command: Command = daemon.command(Path::new(program));
    command.args(arguments).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("this test needs {program}: {error}"))
}

/// Runs a client with a source that is there, one that is not and one that is no full path; returns what it said of
/// the first.
fn try_client(program: &str, arguments: &[&str]) -> String {
    let daemon = Daemon::start();
    let source = daemon.home().join("source");
    std::fs::create_dir(&source).expect("it is made");
    std::fs::write(source.join("file"), vec![7; 3_000_000]).expect("it is written");
    let with = |path: &str| run(&daemon, program, &[arguments, &[path]].concat());
    let good = with(source.to_str().expect("a temporary path is text"));
    let complaint = String::from_utf8_lossy(&good.stderr);
    assert_eq!(good.status.code(), Some(0), "{complaint}");
    let mut caller = Caller::hello(&daemon.socket());
    let jobs = caller.call("job.list", json!({"all": true}));
    assert_eq!(jobs["result"]["items"][0]["state"], "succeeded", "{jobs}");
    daemon.restic().check();
    assert_eq!(with("/there/is/no/such").status.code(), Some(1));
    let refused = with("relative");
    assert_eq!(refused.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&refused.stderr);
    assert!(complaint.contains("is not a full path"), "{complaint}");
    String::from_utf8(good.stdout).expect("it prints text")
}

#[test]
fn the_python_client_submits_a_job_and_follows_it_to_its_end() {
    let code = code("python");
    assert!(code.lines().count() <= 15, "a client fits on a postcard");
    let said = try_client("python3", &["-c", &code]);
    assert!(said.starts_with("state queued\n") || said.starts_with("state running\n"), "{said}");
    assert!(said.ends_with("state succeeded\n"), "{said}");
}

#[test]
fn the_shell_client_submits_a_job_and_follows_it_to_its_end() {
    let code = code("bash");
    assert!(code.lines().count() <= 15, "a client fits on a postcard");
    let said = try_client("bash", &["-c", &code, "client"]);
    assert!(said.ends_with("succeeded\n"), "{said}");
}

#[test]
fn every_method_is_in_the_table_with_its_right() {
    let page = page();
    for method in METHODS {
        let name = format!("`{}`", method.name);
        let row = page.lines().find(|line| line.starts_with('|') && line.contains(&name)).unwrap_or_default();
        let wanted = match (method.right, method.is_change) {
            (Right::Read, _) => "r",
            (Right::Write, false) => "w",
            (Right::Write, true) => "w id",
        };
        assert_eq!(row.split('|').nth(2).map(str::trim), Some(wanted), "the row of {name}");
    }
}

#[test]
fn every_kind_of_error_is_in_the_table_with_its_code_and_class() {
    let page = page();
    for kind in ErrorKind::ALL {
        let row = format!("| `{}` | {} | {} |", kind.as_str(), kind.code(), kind.class().as_str());
        assert!(page.contains(&row), "{row} is missing");
    }
}
