//! Mounting in tests: in a name space of the test's own, so that nothing stays mounted whatever happens.

use std::path::Path;
use std::process::{Command, Output};

use crate::must;

/// Says to the second run of a test that it is the second.
const INSIDE: &str = "BACKUPD_TEST_MAY_MOUNT";

/// Runs a test's body where it may mount: in a second run of this test alone, in a name space of its own. That takes
/// `unshare` of util-linux, and root or a system that lets users have name spaces.
///
/// # Panics
/// When the second run fails; what it said is in the message.
pub fn run(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let program = must("find", Path::new("this program"), std::env::current_exe());
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !crate::unprivileged::is_root() {
        command.arg("--map-root-user");
    }
    command.arg(&program).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    pass(test, &must("run", Path::new("unshare, which is in util-linux"), command.output()));
}

/// Mounts an empty file system in memory, of this many bytes, on a folder.
pub fn tmpfs(on: &Path, bytes: u64) {
    mount(on, &["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]);
}

/// Gives a file system in memory another size, in bytes.
pub fn grow(on: &Path, bytes: u64) {
    mount(on, &["-o", &format!("remount,size={bytes}")]);
}

/// Bounds how many files a file system in memory may hold.
pub fn grow_files(on: &Path, files: u64) {
    mount(on, &["-o", &format!("remount,nr_inodes={files}")]);
}

/// What is taken of a file system.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// Bytes in blocks.
    pub bytes: u64,
    /// Files and folders.
    pub files: u64,
}

/// Returns what is taken of the file system that is mounted on a folder.
///
/// # Panics
/// When the system does not say.
#[must_use]
pub fn used(on: &Path) -> Used {
    let found = must("look at", on, rustix::fs::statvfs(on));
    Used { bytes: (found.f_blocks - found.f_bfree) * found.f_frsize, files: found.f_files - found.f_ffree }
}

/// Mounts the file system that a file holds on a folder. That takes root and a loop device.
pub fn image(image: &Path, on: &Path) {
    mount(on, &["-o", "loop", &image.to_string_lossy()]);
}

/// Mounts a folder on another one, so that it is in both places.
pub fn bind(folder: &Path, on: &Path) {
    mount(on, &["--bind", &folder.to_string_lossy()]);
}

/// Takes away what is mounted on a folder.
pub fn unmount(on: &Path) {
    let output = must("run", Path::new("umount"), Command::new("umount").arg(on).output());
    assert!(output.status.success(), "umount: {}", String::from_utf8_lossy(&output.stderr));
}

fn mount(on: &Path, arguments: &[&str]) {
    let output = must("run", Path::new("mount"), Command::new("mount").args(arguments).arg(on).output());
    assert!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr));
}

/// Checks that the second run of a test ran it, and that it passed; what it said is passed on, counts among it.
#[expect(clippy::print_stderr, reason = "cargo keeps a test's output and shows it when the test fails")]
pub(crate) fn pass(test: &str, output: &Output) {
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{test} failed in its second run:\n{said}");
    eprintln!("{said}");
}
