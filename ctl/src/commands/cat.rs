//! `cat`: the contents of one file in a snapshot.

use std::ffi::OsString;
use std::io::{BufWriter, Read, Write};

use backup_proto::bulk::BulkReader;
use backup_proto::client::ClientError;
use backup_proto::error::Exit;
use backup_proto::params::SnapshotCat;
use backup_proto::path::WirePath;
use backup_proto::size::parse_size;
use base64::engine::general_purpose::STANDARD;
use base64::write::EncoderWriter;
use clap::Args;

use crate::args::Latest;
use crate::commands::query;
use crate::exit::Failure;
use crate::input::{Base, snapshot_and_path};
use crate::session::Session;

/// Write the contents of a file in a snapshot to standard output.
///
/// With `--json` the document has the path, the contents in base64, and how many bytes they are.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  backupctl cat latest:/home/ada/notes.txt | less")]
pub(crate) struct Cat {
    /// Snapshot and path.
    #[arg(value_name = "SNAPSHOT:PATH")]
    what: OsString,
    /// Leave out so many bytes at the beginning, as in `4096` or `1GiB`.
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    offset: Option<u64>,
    /// Write so many bytes at most.
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    length: Option<u64>,
    #[command(flatten)]
    latest: Latest,
}

impl Cat {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let (snapshot, path) = snapshot_and_path(&self.what).map_err(Failure::Usage)?;
        let file = path.ok_or_else(|| Failure::Usage("say which file, as in `latest:/home/ada/a.txt`".to_owned()))?;
        let query = query(snapshot, &self.latest, &Base::of_process()?);
        let bytes =
            session.client.cat(&SnapshotCat { query, file: file.clone(), offset: self.offset, length: self.length })?;
        if session.out.is_json() {
            return print_json(session, &file, bytes);
        }
        bytes.copy_to(&mut session.out.raw()).map_err(ClientError::from)?;
        Ok(Exit::Success)
    }
}

/// Writes the contents as one document, without holding them: what they are comes first, how many at the end.
fn print_json<R: Read>(session: &Session, file: &WirePath, bytes: BulkReader<R>) -> Result<Exit, Failure> {
    let mut out = BufWriter::new(session.out.raw());
    write!(out, "{{\"path\":{},\"contents\":\"", serde_json::to_string(file).map_err(std::io::Error::from)?)?;
    let mut encoder = EncoderWriter::new(&mut out, &STANDARD);
    let length = bytes.copy_to(&mut encoder).map_err(ClientError::from)?;
    encoder.finish()?;
    drop(encoder);
    writeln!(out, "\",\"bytes\":{length}}}")?;
    out.flush()?;
    Ok(Exit::Success)
}
