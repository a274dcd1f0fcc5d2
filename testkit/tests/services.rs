//! The service files: systemd finds nothing to say about the units, and the property lists mean what they should.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The most that `systemd-analyze security` may give the system's unit, in tenths: the hardened unit has 19.
const EXPOSURE_TENTHS_MAX: u32 = 20;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

/// Copies a unit with a program that exists here: systemd looks for it.
fn unit(kind: &str, folder: &Path) -> PathBuf {
    let text = std::fs::read_to_string(root().join("systemd").join(kind).join("backupd.service"));
    let text = text.expect("the unit is readable").replace("ExecStart=/usr/bin/backupd", "ExecStart=/bin/true");
    assert!(text.contains("ExecStart=/bin/true"), "the {kind} unit starts something else than /usr/bin/backupd");
    let path = folder.join("backupd.service");
    std::fs::write(&path, text).expect("a temporary file can be written");
    path
}

fn systemd_analyze(folder: &Path, arguments: &[&str], unit: &Path) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg(unit).env("XDG_RUNTIME_DIR", folder);
    command.output().expect("systemd-analyze is there: `make test` installs it with Debian's package systemd")
}

#[test]
fn systemd_accepts_both_units_without_a_word() {
    for (kind, arguments) in [("system", &["verify", "--man=no"][..]), ("user", &["--user", "verify", "--man=no"])] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = systemd_analyze(folder.path(), arguments, &unit(kind, folder.path()));
        // It ends with 0 after unknown directives and only mentions them.
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && words.is_empty(), "the {kind} unit: {words}");
    }
}

#[test]
fn the_system_unit_is_closed_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let threshold = format!("--threshold={EXPOSURE_TENTHS_MAX}");
    let arguments = ["security", "--offline=true", "--no-pager", &threshold];
    let output = systemd_analyze(folder.path(), &arguments, &unit("system", folder.path()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Reads a property list with Python's own reader, as there is no Apple tool here.
fn property_list(name: &str) -> Value {
    let program = "import json, plistlib, sys; json.dump(plistlib.load(open(sys.argv[1], 'rb')), sys.stdout)";
    let output = Command::new("python3").args(["-c", program]).arg(root().join("launchd").join(name)).output();
    let output = output.expect("python3 is there: `make test` installs it");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a property list without dates and data is JSON")
}

#[test]
fn the_property_lists_start_one_daemon_that_stays() {
    for label in ["org.backupd.agent", "org.backupd.daemon"] {
        let list = property_list(&format!("{label}.plist"));
        assert_eq!(list["Label"], label);
        let command = list["ProgramArguments"].as_array().expect("a command is a list");
        let last = command.last().and_then(Value::as_str).expect("a command is text");
        assert!(last.contains("/usr/local/bin/backupd"), "{last}");
        // Started at login or boot, again after a failure, not again after a stop that was asked for.
        assert_eq!((&list["RunAtLoad"], &list["KeepAlive"]["SuccessfulExit"]), (&true.into(), &false.into()));
        // Property lists have no octal numbers: 63 is 0077.
        assert_eq!(list["Umask"], 0o077);
    }
}
