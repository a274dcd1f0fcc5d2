//! Where the built programs are: built through cargo at most once for each test process, then found by path. Whoever has
//! just built them says so with [`BUILT`], and they are not built again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The variable that names the folder of programs that are up to date; `make test` sets it.
pub const BUILT: &str = "BACKUPD_PROGRAMS";

/// Returns the path of `backupd`.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn backupd() -> PathBuf {
    folder().join("backupd")
}

/// Returns the path of `backupctl`.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn backupctl() -> PathBuf {
    folder().join("backupctl")
}

/// Returns the folder of both programs.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| std::env::var_os(BUILT).map_or_else(build, PathBuf::from))
}

/// Builds both programs in the profile of the running test, and returns their folder.
fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("a test knows its own path: {error}"));
    // Tests lie in `target/PROFILE/deps`, programs one above.
    let folder = test.ancestors().nth(2).unwrap_or_else(|| panic!("{} is no cargo test", test.display()));
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // The whole workspace: another selection may mean other features, and a further build.
    command.args(["build", "--quiet", "--locked", "--workspace", "--bins"]);
    command.args(["--profile", profile, "--target-dir"]).arg(folder.parent().unwrap_or(folder));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().unwrap_or_else(|error| panic!("cargo does not run: {error}"));
    assert!(output.status.success(), "the programs do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    folder.to_path_buf()
}
