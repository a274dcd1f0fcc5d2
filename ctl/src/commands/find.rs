//! `find`: which snapshots have a file, or use a blob.

use backup_proto::error::Exit;
use backup_proto::params::SnapshotFind;
use backup_proto::snapshot::{BlobKind, Found};
use clap::{ArgGroup, Args};

use crate::commands::ls::entry_line;
use crate::exit::Failure;
use crate::render::Output;
use crate::session::Session;
use crate::text;

/// Find files in all snapshots by name, or by what is stored of them.
///
/// An id may be shortened as long as only one in the target begins like it.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("wanted").required(true).args(["pattern", "blob", "tree", "pack"]),
    after_long_help = "Examples:
  backupctl find taxes.ods
  backupctl find '*.odt' --snapshot latest
  backupctl find --pack 9f2c71   # whose data is in a pack, by its file's name"
)]
pub(crate) struct Find {
    /// A name or path; `*` and `?` stand for any letters.
    pattern: Option<String>,
    /// Instead of a name: the files that use this data blob.
    #[arg(long, value_name = "ID")]
    blob: Option<String>,
    /// Instead of a name: the folders that have this tree.
    #[arg(long, value_name = "ID")]
    tree: Option<String>,
    /// Instead of a name: the files and folders that use something in this pack.
    #[arg(long, value_name = "ID")]
    pack: Option<String>,
    /// Look in this target only.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Look in this snapshot only.
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Look in snapshots made on this host only.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
}

impl Find {
    /// Finding nothing is a failure, so that a script can ask for a file.
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let ask = |page| SnapshotFind {
            pattern: self.pattern.clone(),
            blob: self.blob.clone(),
            tree: self.tree.clone(),
            pack: self.pack.clone(),
            target: self.target.clone(),
            snapshot: self.snapshot.clone(),
            host: self.host.clone(),
            page,
        };
        let found = session.stream(ask, found_line)?;
        if found == 0 {
            session.out.note(match self.pattern {
                Some(_) => "Nothing was found.",
                None => "Nothing was found: no snapshot that was searched uses it.",
            });
            return Ok(Exit::Failed);
        }
        Ok(Exit::Success)
    }
}

fn found_line(found: &Found, out: &Output) -> String {
    let blob = found.blob.as_ref().map(|blob| {
        let kind = match blob.kind {
            BlobKind::Data => "data",
            BlobKind::Tree => "tree",
            BlobKind::Unknown => "blob",
        };
        format!("{kind} {} ", text::short_id(&blob.id))
    });
    format!("{} {}{}", text::short_id(&found.snapshot), blob.unwrap_or_default(), entry_line(&found.entry, out))
}
