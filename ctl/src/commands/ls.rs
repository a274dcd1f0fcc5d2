//! `ls`: what is in a snapshot.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use backup_proto::error::Exit;
use backup_proto::params::SnapshotLs;
use backup_proto::path::WirePath;
use backup_proto::snapshot::{Entry, EntryKind};
use clap::Args;

use crate::args::Latest;
use crate::commands::query;
use crate::exit::Failure;
use crate::input::{Base, snapshot_and_path};
use crate::render::Output;
use crate::session::Session;
use crate::text;

/// List the files in a snapshot.
///
/// Without PATH everything is listed; with it, what is in that folder.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// The start of a snapshot's id, or `latest`.
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    snapshot: OsString,
    /// A folder in the snapshot.
    #[arg(value_name = "PATH")]
    folder: Option<OsString>,
    /// Also list what is below the folder.
    #[arg(long, short)]
    recursive: bool,
    #[command(flatten)]
    latest: Latest,
}

impl Ls {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let (snapshot, behind_colon) = snapshot_and_path(&self.snapshot).map_err(Failure::Usage)?;
        let query = query(snapshot, &self.latest, &Base::of_process()?);
        let folder = self.folder.as_ref().map(|folder| WirePath::from_bytes(folder.as_bytes())).or(behind_colon);
        let recursive = self.recursive || folder.is_none();
        let ask =
            |page| SnapshotLs { query: query.clone(), folder: folder.clone(), recursive, attributes: false, page };
        session.stream(ask, entry_line)?;
        Ok(Exit::Success)
    }
}

/// Says one entry in a line, as `ls -l` does.
pub(crate) fn entry_line(entry: &Entry, out: &Output) -> String {
    let owner = |name: &Option<String>, id: u32| name.clone().unwrap_or_else(|| id.to_string());
    let time = entry.modified.map(|time| text::time(time, out.zone())).unwrap_or_default();
    let mut line = format!(
        "{} {:8} {:8} {:>10} {time:16} {}",
        mode_text(entry.kind, entry.mode),
        owner(&entry.user, entry.uid),
        owner(&entry.group, entry.gid),
        text::size(entry.size_bytes),
        entry.path
    );
    if let Some(target) = &entry.link_target {
        line.push_str(&format!(" -> {target}"));
    }
    line
}

fn mode_text(kind: EntryKind, mode: u32) -> String {
    let mut text = String::from(match kind {
        EntryKind::File => "-",
        EntryKind::Folder => "d",
        EntryKind::Symlink => "l",
        EntryKind::BlockDevice => "b",
        EntryKind::CharacterDevice => "c",
        EntryKind::Fifo => "p",
        EntryKind::Socket => "s",
        EntryKind::Unknown => "?",
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_ls_writes_them() {
        for (kind, mode, text) in [
            (EntryKind::File, 0o644, "-rw-r--r--"),
            (EntryKind::Folder, 0o1777, "drwxrwxrwt"),
            (EntryKind::File, 0o4755, "-rwsr-xr-x"),
            (EntryKind::File, 0o6640, "-rwSr-S---"),
            (EntryKind::Symlink, 0o777, "lrwxrwxrwx"),
        ] {
            assert_eq!(mode_text(kind, mode), text);
        }
    }
}
