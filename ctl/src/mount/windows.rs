//! Reading from files, of which nobody says when they are opened and closed.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use backup_proto::client::ClientError;

use super::WINDOWS_MAX;
use super::recent::Recent;
use super::source::is_away;
use super::window::{Plan, Room, Window};

/// Fetches bytes of one file.
pub(crate) type Fetch = Arc<dyn Fn(&Range<u64>) -> Result<Vec<u8>, ClientError> + Send + Sync>;

/// Bytes that a thread is fetching.
type Fetching = JoinHandle<Result<Vec<u8>, ClientError>>;

/// The windows of the files that were read last.
pub(crate) struct Windows {
    room: Arc<Room>,
    files: Mutex<Recent<Arc<Mutex<Reading>>>>,
}

/// One file that is read.
struct Reading {
    window: Window,
    /// What comes behind the window, being fetched while that is read.
    ahead: Option<(Plan, Fetching)>,
}

impl Windows {
    /// Gives all of them together room for so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { room: Room::new(bytes), files: Mutex::default() }
    }

    /// Reads some bytes of a file of this number and size and hands them out; there must be some.
    pub(crate) fn read<T>(
        &self,
        number: u64,
        wanted: &Range<u64>,
        size: u64,
        fetch: &Fetch,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, ClientError> {
        // The system keeps what it has read; of a small file nothing is left to be read then.
        if *wanted == (0..size) {
            return fetch(wanted).map(|bytes| take(&bytes));
        }
        let file = self.file(number);
        let mut file = lock(&file);
        if self.fill(number, &mut file, wanted, size, fetch)? {
            Self::read_ahead(&mut file, wanted.start, size, fetch);
            let taken = take(file.window.get(wanted).unwrap_or_default());
            if wanted.end == size {
                lock(&self.files).take(number);
            }
            return Ok(taken);
        }
        // There is no room, or what was asked for beside it is damaged.
        fetch(wanted).map(|bytes| take(&bytes))
    }

    /// Sees to it that bytes are in a file's window; false when that does not go.
    fn fill(
        &self,
        number: u64,
        file: &mut Reading,
        wanted: &Range<u64>,
        size: u64,
        fetch: &Fetch,
    ) -> Result<bool, ClientError> {
        if file.window.get(wanted).is_some() {
            return Ok(true);
        }
        // What went wrong with it is said by the next question.
        if let Some((plan, ahead)) = file.ahead.take()
            && let Ok(Ok(bytes)) = ahead.join()
        {
            file.window.put(&plan, bytes);
            if file.window.get(wanted).is_some() {
                return Ok(true);
            }
        }
        let plan = file.window.plan(wanted, size);
        if !self.make_room(number, &mut file.window, &plan) {
            return Ok(false);
        }
        match fetch(&plan.ask) {
            // A file may end before its size says; what is missing must not be taken for a hole in the window.
            Ok(bytes) if bytes.len() as u64 == plan.ask.end - plan.ask.start => {
                file.window.put(&plan, bytes);
                Ok(true)
            }
            Err(error) if is_away(&error) => Err(error),
            _ => {
                file.window.clear();
                Ok(false)
            }
        }
    }

    /// Begins to fetch what comes behind the window, if the file is read from one end to the other.
    fn read_ahead(file: &mut Reading, position: u64, size: u64, fetch: &Fetch) {
        if file.ahead.is_some() {
            return;
        }
        let Some(plan) = file.window.plan_ahead(position, size) else { return };
        if !file.window.make_room(&plan) {
            // What is there is needed: it is fetched when it is asked for.
            return;
        }
        let (range, fetch) = (plan.ask.clone(), Arc::clone(fetch));
        let fetching = std::thread::Builder::new().name("ahead".to_owned()).spawn(move || fetch(&range));
        file.ahead = fetching.ok().map(|fetching| (plan, fetching));
    }

    fn file(&self, number: u64) -> Arc<Mutex<Reading>> {
        let mut files = lock(&self.files);
        if let Some(file) = files.get(number) {
            return file;
        }
        let window = Window::new(Arc::clone(&self.room));
        let file = Arc::new(Mutex::new(Reading { window, ahead: None }));
        files.put(number, Arc::clone(&file));
        if files.len() > WINDOWS_MAX {
            files.take_oldest();
        }
        file
    }

    /// Makes room for a plan, if need be at the cost of files that were read longer ago.
    fn make_room(&self, number: u64, window: &mut Window, plan: &Plan) -> bool {
        while !window.make_room(plan) {
            let mut files = lock(&self.files);
            match files.take_oldest() {
                Some((oldest, own)) if oldest == number => {
                    let is_alone = files.len() == 0;
                    files.put(number, own);
                    if is_alone {
                        return false;
                    }
                }
                Some(_) => {}
                None => return false,
            }
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A window that a panic left is read anew where it has a hole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
