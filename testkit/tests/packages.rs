//! The Debian package: built from the programs of this test run, unpacked, and what is in it runs.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::{Command, Output};

use backup_testkit::programs;

/// Runs a command and returns what it printed; the folder of this crate is where it starts.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (text, complaint) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?} ({status}):\n{text}{complaint}\n`make test` installs what is missing");
    text.into_owned()
}

#[test]
fn the_debian_package_holds_programs_that_run_and_files_where_debian_looks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let built = programs::backupd().parent().expect("a program lies in a folder").to_path_buf();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/deb/build");
    let package = run(Command::new(script).arg(built).arg(folder.path().join("packages")));
    let package = package.lines().last().expect("the path is printed").to_owned();

    let version = run(Command::new("dpkg-deb").args(["--field", &package, "Version"]));
    assert_eq!(version.trim(), env!("CARGO_PKG_VERSION"));
    let suggests = run(Command::new("dpkg-deb").args(["--field", &package, "Suggests"]));
    assert_eq!(suggests.trim(), "fuse3", "with it, users mount");
    let depends = run(Command::new("dpkg-deb").args(["--field", &package, "Depends"]));
    assert!(depends.starts_with("libc6 (>= 2."), "{depends}");
    let root = folder.path().join("root");
    run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&root));

    for program in ["backupd", "backupctl"] {
        let text = run(Command::new(root.join("usr/bin").join(program)).arg("--version"));
        assert_eq!(text.trim(), format!("{program} {}", env!("CARGO_PKG_VERSION")));
    }
    for file in [
        "usr/lib/systemd/system/backupd.service",
        "usr/lib/systemd/user/backupd.service",
        "usr/lib/sysusers.d/backupd.conf",
        "usr/share/bash-completion/completions/backupctl",
        "usr/share/zsh/vendor-completions/_backupctl",
        "usr/share/fish/vendor_completions.d/backupctl.fish",
        "usr/share/man/man1/backupctl.1.gz",
        "usr/share/man/man8/backupd.8.gz",
        "usr/share/doc/backupd/copyright",
        "usr/share/doc/backupd/docs/repository.md",
    ] {
        let size = std::fs::metadata(root.join(file)).map(|metadata| metadata.len());
        assert!(size.as_ref().is_ok_and(|size| *size > 0), "{file}: {size:?}");
    }
}
