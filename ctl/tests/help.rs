//! The help of every command is the checked-in reference.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

fn help(path: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_backupctl"))
        .args(path)
        .arg("--help")
        .env_clear()
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    assert!(output.status.success(), "{path:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines =
        lines.take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn reference(path: &[&str], text: &mut String) {
    let help = help(path);
    text.push_str(&format!("$ backupctl {}\n\n{}\n\n", [path, &["--help"]].concat().join(" "), help.trim_end()));
    for name in commands(&help) {
        reference(&[path, &[name.as_str()]].concat(), text);
    }
}

#[test]
fn the_help_is_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help.txt");
    let mut now = String::new();
    reference(&[], &mut now);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == now,
        "the help changed. If that is meant, run `UPDATE=1 cargo test -p backupctl --test help`, read the difference \
         of ctl/tests/help.txt, and commit it together with the change"
    );
}

/// What has to be there.
const COMMANDS: [&str; 33] = [
    "backup",
    "restore",
    "status",
    "jobs",
    "job",
    "why",
    "pause",
    "resume",
    "cancel",
    "retry",
    "priority",
    "snapshots",
    "ls",
    "find",
    "diff",
    "cat",
    "verify",
    "forget",
    "prune",
    "copy",
    "stats",
    "hold",
    "repair",
    "target",
    "targets",
    "key",
    "plan",
    "conditions",
    "events",
    "config",
    "rpc",
    "schema",
    "completions",
];

#[test]
fn the_reference_has_every_command_of_the_first_release_and_none_that_comes_later() {
    let commands = commands(&help(&[]));
    for name in COMMANDS {
        assert!(commands.iter().any(|command| command == name), "{name} is missing");
    }
    assert!(!commands.iter().any(|command| command == "doctor"), "it does not work yet");
}
