//! What people type, made precise: paths, plans, snapshots and durations. Nothing here talks to the daemon.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use backup_proto::params::RequestId;
use backup_proto::path::WirePath;

/// What an argument of `backup` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A file or folder.
    Path,
    /// A plan.
    Plan,
    /// A plan if one has this name, or else the file or folder of this name.
    PlanOrPath,
}

/// Tells what an argument of `backup` is: whatever contains a slash, starts with `~`, or is `.` or `..` is a path. A
/// bare name is a plan; only if no plan has that name and something of that name exists here, it is a path.
pub(crate) fn name(argument: &OsStr, exists: impl FnOnce(&OsStr) -> bool) -> Named {
    let bytes = argument.as_bytes();
    if bytes.contains(&b'/')
        || bytes.starts_with(b"~")
        || bytes == b"."
        || bytes == b".."
        || argument.to_str().is_none()
    {
        return Named::Path;
    }
    if exists(argument) { Named::PlanOrPath } else { Named::Plan }
}

/// Where relative paths start, and what `~` is.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// The working folder.
    pub(crate) folder: PathBuf,
    /// The home folder, if there is one.
    pub(crate) home: Option<PathBuf>,
}

impl Base {
    /// Returns that of this process. The shell's own idea of the working folder is kept where it is right, so that
    /// `..` leads where the prompt says, also below a symbolic link.
    pub(crate) fn of_process() -> std::io::Result<Self> {
        let physical = std::env::current_dir()?;
        let logical = std::env::var_os("PWD").map(PathBuf::from).filter(|path| {
            path.is_absolute() && matches!((path.canonicalize(), physical.canonicalize()), (Ok(a), Ok(b)) if a == b)
        });
        let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        Ok(Self { folder: logical.unwrap_or(physical), home })
    }

    /// Makes a path absolute and plain, by its letters alone as restic does: `.` goes, `..` takes back what precedes
    /// it, a leading `~` is the home folder.
    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        let expanded = match (path.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => self.folder.join(path),
        };
        let mut plain = PathBuf::from("/");
        for component in expanded.components() {
            match component {
                Component::ParentDir => {
                    plain.pop();
                }
                Component::Normal(name) => plain.push(name),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        plain
    }

    /// The same, for the wire.
    pub(crate) fn wire(&self, path: &Path) -> WirePath {
        self.absolute(path).into()
    }
}

/// Splits `SNAPSHOT[:PATH]`. Ids have no colon, so the first one ends the id.
pub(crate) fn snapshot_and_path(argument: &OsStr) -> Result<(String, Option<WirePath>), String> {
    let bytes = argument.as_bytes();
    let (id, path) = match bytes.iter().position(|byte| *byte == b':') {
        Some(colon) => (&bytes[..colon], Some(&bytes[colon + 1..])),
        None => (bytes, None),
    };
    let id = std::str::from_utf8(id).ok().filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| format!("`{}` has no snapshot before the colon", argument.display()))?;
    let path = path.filter(|path| !path.is_empty()).map(|path| {
        // Trees hold absolute paths; people may leave the first slash out.
        let slash = if path.starts_with(b"/") { &b""[..] } else { b"/" };
        WirePath::from_bytes([slash, path].concat())
    });
    Ok((id.to_owned(), path))
}

/// Reads a duration such as `2h`, `1h30m`, `90 s` or `2 days` as seconds.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let refuse = || format!("`{text}` is not a duration; write it like 90s, 15min, 2h, 1h30m or 2d");
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(refuse)?;
        let number: u64 = rest[..digits].parse().map_err(|_| refuse())?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = unit_seconds(&rest[..letters]).ok_or_else(refuse)?;
        rest = rest[letters..].trim_start();
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(refuse)?;
    }
    if total == 0 { Err(refuse()) } else { Ok(total) }
}

fn unit_seconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "s" | "sec" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 24 * 3600,
        "w" | "week" | "weeks" => 7 * 24 * 3600,
        _ => return None,
    })
}

/// Makes a new name for a change.
pub(crate) fn request_id() -> std::io::Result<RequestId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(RequestId(hex::encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Base {
        Base { folder: "/home/ada/work".into(), home: Some("/home/ada".into()) }
    }

    #[test]
    fn what_looks_like_a_path_is_one_even_if_a_plan_has_the_name() {
        for argument in ["a/b", "/a", "./a", ".", "..", "~", "~/a", "a/"] {
            assert_eq!(name(OsStr::new(argument), |_| false), Named::Path, "{argument}");
        }
        assert_eq!(name(OsStr::from_bytes(b"\xff"), |_| true), Named::Path);
    }

    #[test]
    fn a_bare_name_is_a_plan_first() {
        assert_eq!(name(OsStr::new("documents"), |_| false), Named::Plan);
        assert_eq!(name(OsStr::new("documents"), |_| true), Named::PlanOrPath);
    }

    #[test]
    fn paths_become_absolute_by_their_letters() {
        for (typed, meant) in [
            (".", "/home/ada/work"),
            ("a//b/./c/", "/home/ada/work/a/b/c"),
            ("..", "/home/ada"),
            ("../x/../y", "/home/ada/y"),
            ("/../..", "/"),
            ("~", "/home/ada"),
            ("~/a", "/home/ada/a"),
            ("~other", "/home/ada/work/~other"),
            ("/a/~/b", "/a/~/b"),
        ] {
            assert_eq!(base().absolute(Path::new(typed)), Path::new(meant), "{typed}");
        }
        let name = OsStr::from_bytes(b"na\xefve");
        assert_eq!(base().absolute(Path::new(name)).as_os_str().as_bytes(), b"/home/ada/work/na\xefve");
    }

    #[test]
    fn a_snapshot_may_carry_a_path_with_colons_and_any_bytes() {
        let split = |text: &[u8]| snapshot_and_path(OsStr::from_bytes(text));
        assert_eq!(split(b"latest").unwrap(), ("latest".to_owned(), None));
        assert_eq!(split(b"5e1d:").unwrap(), ("5e1d".to_owned(), None));
        assert_eq!(split(b"5e1d:/a:b").unwrap().1, Some("/a:b".into()));
        assert_eq!(split(b"5e1d:a").unwrap().1, Some("/a".into()));
        assert_eq!(split(b"5e1d:/\xff").unwrap().1, Some(WirePath::from_bytes(*b"/\xff")));
        assert!(split(b":/a").is_err());
        assert!(split(b"").is_err());
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, meant) in [
            ("90s", 90),
            ("15min", 900),
            ("15 min", 900),
            ("2h", 7200),
            ("1h30m", 5400),
            ("1 day 2 hours", 93600),
            ("1w", 604_800),
        ] {
            assert_eq!(seconds(text), Ok(meant), "{text}");
        }
        for text in ["", "2", "h", "2x", "-1h", "0s", "1.5h", "99999999999999999999s", "9999999999999999999w", "2h3"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
