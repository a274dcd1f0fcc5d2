//! What a mount asks the daemon: which snapshots there are, what is in a folder, and bytes of a file.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backup_proto::client::ClientError;
use backup_proto::error::ErrorKind;
use backup_proto::local::Client;
use backup_proto::message::Call;
use backup_proto::page::{PAGE_ITEMS_MAX, Page, PageRequest};
use backup_proto::params::{SnapshotCat, SnapshotList, SnapshotLs};
use backup_proto::path::WirePath;
use backup_proto::snapshot::{Entry, Snapshot};
use backup_proto::spec::SnapshotQuery;

use super::PATIENCE;

/// How often something that fails because the daemon is busy is tried.
const TRIES: u32 = 5;

/// The way to the daemon, and whose snapshots are asked for.
#[derive(Debug)]
pub(crate) struct Source {
    client: Client,
    /// Further connections, of which each carries one question after another: as many as were asked at a time.
    idle: Mutex<Vec<Client>>,
    target: Option<String>,
}

impl Source {
    /// Uses the daemon that a client has found, for the snapshots of one target or of all. When it sends nothing for as long
    /// as the silence may last, the question fails.
    pub(crate) fn new(mut client: Client, target: Option<String>, silence: Duration) -> Self {
        client.set_patience(PATIENCE);
        client.set_silence(silence);
        Self { client, idle: Mutex::default(), target }
    }

    /// Returns the snapshots, the oldest first.
    pub(crate) fn snapshots(&self) -> Result<Vec<Arc<Snapshot>>, ClientError> {
        let target = || self.target.clone();
        let mut all = self.all(|page| SnapshotList { target: target(), plan: None, host: None, path: None, page })?;
        all.sort_by(|a: &Snapshot, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        Ok(all.into_iter().map(Arc::new).collect())
    }

    /// Returns what is in a folder of a snapshot.
    pub(crate) fn folder(&self, snapshot: &Snapshot, folder: &WirePath) -> Result<Vec<Entry>, ClientError> {
        let query = query(snapshot);
        let ask = |page| SnapshotLs {
            query: query.clone(),
            folder: Some(folder.clone()),
            recursive: false,
            attributes: true,
            page,
        };
        self.all(ask)
    }

    /// Reads bytes of a file in a snapshot; fewer at its end.
    pub(crate) fn read(
        &self,
        snapshot: &Snapshot,
        file: &WirePath,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ClientError> {
        let (query, file) = (query(snapshot), file.clone());
        let params = SnapshotCat { query, file, offset: Some(offset), length: Some(length) };
        let mut tries = 1;
        loop {
            match self.ask(|client| client.fetch(&params)) {
                Err(error) if tries < TRIES && may_pass(&error) => {
                    std::thread::sleep(Duration::from_millis(50) * tries);
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn all<C, T>(&self, ask: impl Fn(PageRequest) -> C) -> Result<Vec<T>, ClientError>
    where
        C: Call<Result = Page<T>>,
    {
        let (mut items, mut after) = (Vec::new(), None);
        loop {
            let params = ask(PageRequest { limit: Some(PAGE_ITEMS_MAX), after });
            let page = self.ask(|client| client.call(&params))?;
            items.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(items),
            }
        }
    }

    /// Asks on a connection that nobody else uses now; one that broke is made anew by the next question.
    fn ask<T>(&self, ask: impl FnOnce(&mut Client) -> Result<T, ClientError>) -> Result<T, ClientError> {
        let idle = self.idle().pop();
        let mut client = idle.map_or_else(|| self.client.another(), Ok)?;
        let outcome = ask(&mut client);
        self.idle().push(client);
        outcome
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Client>> {
        // Connections are put in and taken out whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn query(snapshot: &Snapshot) -> SnapshotQuery {
    let (id, target) = (snapshot.id.clone(), Some(snapshot.target.clone()));
    SnapshotQuery { snapshot: id, target, plan: None, host: None, path: None }
}

/// Says whether the same may work in a moment because too much is asked of the daemon. One that was started again in between
/// was asked again already.
fn may_pass(error: &ClientError) -> bool {
    matches!(error, ClientError::Remote(error) if error.data.kind == ErrorKind::Busy)
}

/// Says whether the daemon does not answer at all.
pub(crate) fn is_away(error: &ClientError) -> bool {
    matches!(error, ClientError::NoDaemon { .. } | ClientError::Lost(_) | ClientError::Silent)
}
