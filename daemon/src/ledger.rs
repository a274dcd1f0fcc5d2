//! The ledger: every item a job could not do, and every item a dry run planned, in files beside the queue.
//!
//! A job may fail on a million files; their list has no place in a queue. Each attempt has a file of its own with one
//! JSON object a line, which is read in pages. The place of a page is a byte offset in it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use backup_proto::job::{FailedItem, JobId, PlannedItem};
use backup_proto::page::{Page, PageBuilder, PageRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::store::files::sync_folder;

/// Something the ledger keeps a list of.
pub trait Entry: Serialize + DeserializeOwned {
    /// The end of the file's name.
    const SUFFIX: &'static str;
}

impl Entry for FailedItem {
    const SUFFIX: &'static str = "failed";
}

impl Entry for PlannedItem {
    const SUFFIX: &'static str = "planned";
}

/// The folder of all lists.
#[derive(Clone, Debug)]
pub struct Ledger {
    folder: PathBuf,
}

impl Ledger {
    /// Opens the ledger inside the daemon's state folder.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn open(state_dir: &Path) -> Result<Self> {
        let folder = state_dir.join("ledger");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(Error::io("create", &folder))?;
        Ok(Self { folder })
    }

    /// Returns a writer of one attempt's list. Its file is made with the first entry.
    #[must_use]
    pub fn writer<T: Entry>(&self, job: &JobId, attempt: u32) -> LedgerWriter<T> {
        LedgerWriter { path: self.path::<T>(job, attempt), file: None, entry: PhantomData }
    }

    /// Reads a page of one attempt's list; an attempt without a list has an empty one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn page<T: Entry>(&self, job: &JobId, attempt: u32, request: &PageRequest) -> Result<Page<T>> {
        let path = self.path::<T>(job, attempt);
        let mut page = PageBuilder::new(request);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(page.finish()),
            opened => opened.map_err(Error::io("read", &path))?,
        };
        let mut position = request.after.as_deref().and_then(|after| after.parse().ok()).unwrap_or(0);
        file.seek(SeekFrom::Start(position)).map_err(Error::io("read", &path))?;
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = lines.read_until(b'\n', &mut line).map_err(Error::io("read", &path))?;
            if length == 0 {
                return Ok(page.finish());
            }
            position += length as u64;
            // A line that a crash cut short, or that a wrong offset starts in the middle of, is no entry.
            let Ok(entry) = serde_json::from_slice(&line) else { continue };
            if !page.push(position.to_string(), entry) {
                return Ok(page.finish());
            }
        }
    }

    /// Removes all lists of a job.
    ///
    /// # Errors
    /// When the folder cannot be read or a file not be removed.
    pub fn forget(&self, job: &JobId) -> Result<()> {
        let prefix = format!("{job}.");
        for entry in fs::read_dir(&self.folder).map_err(Error::io("list", &self.folder))? {
            let entry = entry.map_err(Error::io("list", &self.folder))?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_file(entry.path()).map_err(Error::io("remove", entry.path()))?;
            }
        }
        Ok(())
    }

    fn path<T: Entry>(&self, job: &JobId, attempt: u32) -> PathBuf {
        self.folder.join(format!("{job}.{attempt}.{}.jsonl", T::SUFFIX))
    }
}

/// Writes one attempt's list.
#[derive(Debug)]
pub struct LedgerWriter<T> {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    entry: PhantomData<fn(T)>,
}

impl<T: Entry> LedgerWriter<T> {
    /// Adds an entry.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, entry: &T) -> Result<()> {
        if self.file.is_none() {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path);
            self.file = Some(BufWriter::new(file.map_err(Error::io("create", &self.path))?));
        }
        let mut line = serde_json::to_vec(entry).map_err(|error| Error::io("write", &self.path)(error.into()))?;
        line.push(b'\n');
        match &mut self.file {
            Some(file) => file.write_all(&line).map_err(Error::io("write", &self.path)),
            None => Ok(()),
        }
    }

    /// Makes the list durable; called before the end of the attempt is reported.
    ///
    /// # Errors
    /// When it cannot be written out.
    pub fn finish(&mut self) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.flush().and_then(|()| file.get_ref().sync_all()).map_err(Error::io("write", &self.path))?;
        self.path.parent().map_or(Ok(()), sync_folder)
    }
}

#[cfg(test)]
mod tests {
    use backup_proto::error::Class;
    use backup_proto::path::WirePath;

    use super::*;

    fn item(number: usize) -> FailedItem {
        let path = WirePath::from(format!("/home/file {number}").as_str());
        FailedItem { path, class: Class::Permission, message: "no".into(), advice: "yes".into() }
    }

    #[test]
    fn pages_put_together_are_all_that_was_written() {
        let home = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(home.path()).unwrap();
        let job = JobId::from("j1");
        let mut writer = ledger.writer(&job, 1);
        let items: Vec<FailedItem> = (0..250).map(item).collect();
        items.iter().for_each(|item| writer.append(item).unwrap());
        writer.finish().unwrap();
        let mut read = Vec::new();
        let mut request = PageRequest::default();
        loop {
            let page: Page<FailedItem> = ledger.page(&job, 1, &request).unwrap();
            read.extend(page.items);
            request.after = page.next;
            if request.after.is_none() {
                break;
            }
        }
        assert_eq!(read, items);
        assert_eq!(ledger.page::<FailedItem>(&job, 2, &PageRequest::default()).unwrap().items, []);
    }

    #[test]
    fn a_list_that_a_crash_cut_short_is_read_to_its_last_whole_entry() {
        let home = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(home.path()).unwrap();
        let job = JobId::from("j1");
        let mut writer = ledger.writer(&job, 1);
        (0..3).for_each(|number| writer.append(&item(number)).unwrap());
        writer.finish().unwrap();
        let path = ledger.path::<FailedItem>(&job, 1);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        let page: Page<FailedItem> = ledger.page(&job, 1, &PageRequest::default()).unwrap();
        assert_eq!(page.items, [item(0), item(1)]);
    }

    #[test]
    fn forgetting_a_job_leaves_the_others() {
        let home = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(home.path()).unwrap();
        for job in ["a", "ab"] {
            let mut writer = ledger.writer(&JobId::from(job), 1);
            writer.append(&item(1)).unwrap();
            writer.finish().unwrap();
        }
        ledger.forget(&JobId::from("a")).unwrap();
        let count =
            |job: &str| ledger.page::<FailedItem>(&JobId::from(job), 1, &PageRequest::default()).unwrap().items.len();
        assert_eq!((count("a"), count("ab")), (0, 1));
    }
}
