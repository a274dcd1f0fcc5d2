//! For this folder's tests: running a part of one as a user without rights.

use std::path::Path;

use backup_testkit::unprivileged;

/// Set where a test runs the second time, to the folder that it is about.
const FOLDER: &str = "TEST_WITHOUT_RIGHTS";

/// Runs `body` on `folder` in a process without rights, which is this same program running the test of this name.
#[track_caller]
pub(super) fn without_rights(test: &str, folder: &Path, body: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        assert!(!unprivileged::is_root(), "it was started without rights");
        return body(Path::new(&folder));
    }
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    unprivileged::give(home.path());
    let output = unprivileged::command(&program)
        .args(["--exact", test])
        .env("TMPDIR", home.path())
        .env(FOLDER, folder)
        .current_dir(home.path())
        .output()
        .expect("this test needs the program `setpriv`");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
