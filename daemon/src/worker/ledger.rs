//! A job's lists that may be long, each in a file of its own: items that failed, and what a dry run would do.
//!
//! One JSON document a line. A page's position is the offset of the line behind it, so that reading any page costs no
//! more than the page.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use backup_proto::error::{ErrorKind as Kind, RpcError};
use backup_proto::job::JobId;
use backup_proto::page::{Page, PageBuilder, PageRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// The lists a job may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Items that could not be done, in the order they were met.
    Failures,
    /// What a dry run found it would do.
    Planned,
}

/// Returns the folder of the jobs' files.
#[must_use]
pub fn folder(state: &Path) -> PathBuf {
    state.join("jobs")
}

/// Returns the path of a list.
#[must_use]
pub fn path(state: &Path, job: &JobId, list: List) -> PathBuf {
    let suffix = match list {
        List::Failures => "failures",
        List::Planned => "planned",
    };
    folder(state).join(format!("{job}.{suffix}"))
}

/// Writes one list.
#[derive(Debug)]
pub struct LedgerWriter {
    path: PathBuf,
    file: Option<File>,
}

impl LedgerWriter {
    /// Starts an empty list; the file is made with its first item. What an earlier attempt wrote is removed.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn create(state: &Path, job: &JobId, list: List) -> Result<Self> {
        let folder = folder(state);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(Error::io("create", &folder))?;
        let path = path(state, job, list);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", &path)(error)),
            _ => Ok(Self { path, file: None }),
        }
    }

    /// Adds an item; it can be read when this returns.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn add(&mut self, item: &impl Serialize) -> Result<()> {
        let failed = |error| Error::io("write", &self.path)(error);
        let mut line = serde_json::to_vec(item).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                empty.insert(OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path).map_err(failed)?)
            }
        };
        file.write_all(&line).map_err(failed)
    }

    /// Makes the list durable.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn finish(&self) -> Result<()> {
        match &self.file {
            Some(file) => file.sync_all().map_err(Error::io("sync", &self.path)),
            None => Ok(()),
        }
    }
}

/// Reads one page of a list; a list that does not exist is empty.
///
/// # Errors
/// A position that is none, or a file that cannot be read.
pub fn read_page<T: Serialize + DeserializeOwned>(path: &Path, request: &PageRequest) -> Result<Page<T>, RpcError> {
    let failed = |error: std::io::Error| {
        let error = Error::io("read", path)(error);
        RpcError::new(Kind::Storage, error.to_string(), error.advice())
    };
    let mut builder = PageBuilder::new(request);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(builder.finish()),
        Err(error) => return Err(failed(error)),
    };
    let mut position: u64 = match &request.after {
        None => 0,
        Some(after) => after.parse().map_err(|_| {
            RpcError::new(
                Kind::InvalidParams,
                format!("`{after}` is no position in this list"),
                "Pass `next` as it was given.",
            )
        })?,
    };
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(position)).map_err(failed)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(failed)?;
        // A line without its end is still being written, or was when the power failed.
        if read == 0 || line.last() != Some(&b'\n') {
            return Ok(builder.finish());
        }
        position += read as u64;
        let Ok(item) = serde_json::from_slice(&line) else { continue };
        if !builder.push(position.to_string(), item) {
            return Ok(builder.finish());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_list_together_are_the_list_and_a_new_attempt_starts_empty() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let job = JobId::from("j1");
        let mut writer = LedgerWriter::create(state.path(), &job, List::Failures).expect("it is made");
        let items: Vec<String> = (0..25).map(|number| format!("item {number}")).collect();
        for item in &items {
            writer.add(item).expect("it is written");
        }
        writer.finish().expect("it is durable");
        let path = path(state.path(), &job, List::Failures);
        let mut found: Vec<String> = Vec::new();
        let mut request = PageRequest { limit: Some(10), after: None };
        loop {
            let page: Page<String> = read_page(&path, &request).expect("it is readable");
            found.extend(page.items);
            request.after = page.next;
            if request.after.is_none() {
                break;
            }
        }
        assert_eq!(found, items);
        LedgerWriter::create(state.path(), &job, List::Failures).expect("it is made");
        assert_eq!(read_page::<String>(&path, &PageRequest::default()), Ok(Page::default()));
    }

    #[test]
    fn half_a_line_at_the_end_is_not_an_item() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let path = state.path().join("list");
        fs::write(&path, "\"whole\"\n\"ha").expect("it is written");
        let page: Page<String> = read_page(&path, &PageRequest::default()).expect("it is readable");
        assert_eq!(page.items, ["whole"]);
    }
}
