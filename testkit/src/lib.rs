//! What several crates' tests share: odd trees, comparison, seeds, a real daemon on a temporary socket, and restic.
//!
//! Nothing here is linked into a program that users get. Helpers panic with a sentence instead of returning errors:
//! a test that cannot prepare its ground has failed, and should say where.

pub mod answer;
pub mod bend;
pub mod bus;
pub mod caller;
pub mod compare;
pub mod daemon;
pub mod failed;
pub mod faults;
pub mod mount;
pub mod old_state;
pub mod programs;
pub mod record;
pub mod restic;
pub mod seed;
pub mod tree;
pub mod unprivileged;
pub mod wait;

use std::fmt::Display;
use std::path::Path;

/// Returns the value, or panics with what was tried on which path and why it failed.
///
/// # Panics
/// On an error.
#[track_caller]
pub fn must<T, E: Display>(action: &str, path: impl AsRef<Path>, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("cannot {action} {}: {error}", path.as_ref().display()),
    }
}
