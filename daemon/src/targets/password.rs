//! Passwords: read from where the config says, or made for the default target.

use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use backup_engine::error::plain;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::TargetError;
use crate::config::PasswordSource;
use crate::error::Error;
use crate::store::files::{sync_folder, write_whole};

/// The longest password that is read, in bytes; anything longer is the wrong file.
const LENGTH_MAX: u64 = 64 * 1024;

/// How long a command may take to print a password: enough to ask a person or a slow vault, and no job hangs for ever.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);

/// Random bytes in a password made by the daemon; 256 bits, as the key it protects.
const RANDOM_BYTES: usize = 32;

/// Reads a password. White space around it does not belong to it, as in restic, so that one file opens the
/// repository with both.
pub(super) fn read(name: &str, source: &PasswordSource) -> Result<Vec<u8>, TargetError> {
    let refused = |problem: String, advice: &str| TargetError::Password {
        name: name.to_owned(),
        problem,
        advice: advice.to_owned(),
    };
    let bytes = match source {
        PasswordSource::File(path) => read_file(path)
            .map_err(|problem| refused(problem, "Put the password into that file, or correct `password-file`."))?,
        PasswordSource::Credential(credential) => credential_path(credential)
            .and_then(|path| read_file(&path))
            .map_err(|problem| refused(problem, "Add `LoadCredential=` for it to the daemon's unit."))?,
        PasswordSource::Command(words) => run(words, COMMAND_TIME_MAX)
            .map_err(|problem| refused(problem, "Try the target's `password-command` by hand as the daemon's user."))?,
    };
    let password = trim(&bytes);
    if password.is_empty() {
        return Err(refused("it is empty".to_owned(), "Restic repositories always have a password; write it there."));
    }
    Ok(password.to_vec())
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error| format!("cannot read {}: {}", path.display(), plain(&error));
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(LENGTH_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LENGTH_MAX {
        return Err(format!("{} is longer than a password can be", path.display()));
    }
    Ok(bytes)
}

fn credential_path(name: &str) -> Result<PathBuf, String> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
    let folder = folder.ok_or_else(|| "the service manager handed over no credentials".to_owned())?;
    Ok(Path::new(&folder).join(name))
}

/// Runs the command. What it prints is the password and goes nowhere else.
fn run(words: &[String], limit: Duration) -> Result<Vec<u8>, String> {
    let (program, arguments) = words.split_first().ok_or_else(|| "the command is empty".to_owned())?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that what the command starts ends with it.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot run `{program}`: {}", plain(&error)))?;
    let output = read_until_end(&mut child, limit);
    if output.is_err()
        && let Some(group) = pid_of(&child)
    {
        // It has not been waited for, so the number still belongs to it.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait().map_err(|error| format!("cannot wait for `{program}`: {}", plain(&error)))?;
    let bytes = output.map_err(|_| format!("`{program}` did not end within {} s and was stopped", limit.as_secs()))?;
    if !status.success() {
        return Err(format!("`{program}` failed ({status})"));
    }
    if bytes.len() as u64 > LENGTH_MAX {
        return Err(format!("`{program}` printed more than a password can be"));
    }
    Ok(bytes)
}

/// Returns what a child prints, once it has ended; it is left to the caller to collect.
fn read_until_end(child: &mut Child, limit: Duration) -> Result<Vec<u8>, RecvTimeoutError> {
    let (stdout, pid) = (child.stdout.take(), pid_of(child));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stdout) = stdout {
            // What could not be read is missing from the password, which then does not fit.
            let _ = stdout.take(LENGTH_MAX + 1).read_to_end(&mut bytes);
        }
        if let Some(pid) = pid {
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        }
        // Nobody listens after the limit.
        let _ = sender.send(bytes);
    });
    receiver.recv_timeout(limit)
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

fn trim(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}').trim().as_bytes(),
        Err(_) => bytes.trim_ascii(),
    }
}

/// Says whether others than its owner may read a password file.
pub(super) fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

/// Makes a password for the default target and puts it into a file, safe from a power cut when this returns.
///
/// A file that is there already was made by a first use that was cut short, or put there by hand; it is kept.
pub(super) fn generate(path: &Path) -> Result<(), TargetError> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    let password = random(path)?;
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::io("create", folder))?;
        if let Some(state) = folder.parent() {
            sync_folder(state)?;
        }
    }
    replace(path, &password)
}

/// Makes up a password for a file.
pub(super) fn random(path: &Path) -> Result<String, TargetError> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random)
        .map_err(|error| Error::io("make a key for", path)(std::io::Error::other(error.to_string())))?;
    Ok(hex::encode(random))
}

/// Puts a password into a file in place of the one in it; a power cut leaves the old one or the new one.
pub(super) fn replace(path: &Path, password: &str) -> Result<(), TargetError> {
    Ok(write_whole(path, format!("{password}\n").as_bytes())?)
}

/// Says what is wrong with a password that somebody has thought of; a password file could not hold it.
pub(super) fn problem(password: &str) -> Option<&'static str> {
    match password.len() as u64 {
        0 => Some("the password is empty"),
        LENGTH_MAX.. => Some("the password is longer than a password can be"),
        _ if trim(password.as_bytes()) != password.as_bytes() => {
            Some("the password begins or ends with white space, which password files cannot hold")
        }
        _ if password.contains(['\n', '\r']) => Some("the password has more than one line"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_password_is_not_part_of_it() {
        let cases: [(&[u8], &[u8]); 4] =
            [(b"a b\n", b"a b"), (b" x\r\n\n", b"x"), (b"\xef\xbb\xbfx", b"x"), (b"\xff\n", b"\xff")];
        for (text, password) in cases {
            assert_eq!(trim(text), password);
        }
    }

    #[test]
    fn a_generated_password_is_one_printable_line_that_only_its_owner_reads_and_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("keys/local.password");
        generate(&path).expect("it is made");
        let text = fs::read_to_string(&path).expect("it is text");
        assert_eq!(text.lines().count(), 1);
        assert!(text.trim_end().len() == 64 && text.trim_end().bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!is_open_to_others(&path));
        generate(&path).expect("it is there");
        assert_eq!(fs::read_to_string(&path).expect("it is text"), text);
    }

    #[test]
    fn a_command_that_hangs_is_stopped_and_named() {
        let words = ["sh", "-c", "sleep 1000 & wait"].map(str::to_owned);
        let error = run(&words, Duration::from_millis(50)).expect_err("it never ends");
        assert!(error.contains("`sh` did not end"), "{error}");
    }

    #[test]
    fn a_command_that_fails_or_prints_nothing_is_no_password() {
        let read = |words: &[&str]| {
            read("nas", &PasswordSource::Command(words.iter().map(|word| (*word).to_owned()).collect()))
        };
        assert_eq!(read(&["printf", "secret\\n"]).expect("it works"), b"secret");
        for (words, part) in [(&["false"][..], "failed"), (&["true"], "empty"), (&["/no/such/program"], "cannot run")] {
            let error = read(words).expect_err("it is refused").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
