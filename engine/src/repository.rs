//! A repository that is open: its storage, its key, its config and its index.

mod files;
mod kept;
mod trees;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;

use crate::blob::{BlobLimits, Opener};
use crate::config::Config;
use crate::control::Gate;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobKind, KeyId, RepositoryId};
use crate::index::{Index, IndexCache, Location};
use crate::key::{KeyOwner, find_key, write_key};
use crate::polynomial::Polynomial;
use crate::seal::{SealKey, fill_random};
use crate::storage::{AtPause, Bytes, DryLocks, DryStorage, FileKind, FileName, Pace, PacedStorage, Storage};

use files::to_json;
use kept::AllKept;
pub(crate) use trees::FOLDER_GROWTH;

/// A repository that is open.
pub struct Repository {
    storage: Arc<dyn Storage>,
    /// The storage without its pace, if it has one.
    bare: Option<Arc<dyn Storage>>,
    key_id: KeyId,
    key: SealKey,
    config: Config,
    index: RwLock<Index>,
    index_cache: Option<IndexCache>,
    is_dry: bool,
    kept: AllKept,
}

/// What a new repository is to be.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Version of the format: 1, or 2 with compression.
    pub version: u32,
    /// The machine, for the record in the key file.
    pub hostname: String,
    /// The user, for the same record.
    pub username: String,
    /// The time.
    pub now: Timestamp,
    /// The config of a repository whose rule for cutting files is taken over; absent: a random one.
    pub cut_like: Option<Config>,
}

impl Repository {
    /// Makes a repository and opens it. The key file is written first and the config last: a repository exists when
    /// its config does.
    ///
    /// # Errors
    /// [`Error::Misuse`] if there is one already; the storage's own.
    pub fn create(storage: Arc<dyn Storage>, password: &[u8], options: &CreateOptions) -> Result<Arc<Self>> {
        let location = storage.location();
        if !crate::config::VERSIONS.contains(&options.version) {
            return Err(Error::misuse(format!("format version {} is not known", options.version)));
        }
        let has_files = |kind| Ok::<_, Error>(!storage.list(kind)?.is_empty());
        if has_files(FileKind::Config)? || has_files(FileKind::Snapshot)? || has_files(FileKind::Index)? {
            return Err(Error::misuse(format!("there is a repository at {location} already")));
        }
        storage.create()?;
        let key = SealKey::generate()?;
        let mut id = [0; 32];
        fill_random(&mut id)?;
        let mut config = Config::new(options.version, RepositoryId(id), Polynomial::random(fill_random)?);
        if let Some(other) = &options.cut_like {
            config.cut_like(other);
        }
        let owner = KeyOwner { hostname: &options.hostname, username: &options.username, now: options.now };
        let key_id = write_key(&*storage, &key, password, &owner)?;
        let sealed = key.seal(&to_json(&config)?)?;
        storage.write(&FileName::CONFIG, &mut Bytes::new(&sealed))?;
        Ok(Arc::new(Self::new(storage, key_id, key, config)))
    }

    /// Returns the same repository with an index of its own, which knows nothing yet.
    ///
    /// A run adds the packs it stores to the index before an index file lists them. Another run, or the next one if
    /// this one fails, must not rely on them; so each run has its own.
    #[must_use]
    pub fn with_own_index(&self) -> Arc<Self> {
        Arc::new(self.copy(self.index_cache.clone()))
    }

    /// Returns the same repository for many looks into its snapshots: with an index of its own, and with what was
    /// read last in memory.
    #[must_use]
    pub fn for_looks(&self) -> Arc<Self> {
        Arc::new(Self { kept: AllKept::for_looks(), ..self.copy(self.index_cache.clone()) })
    }

    /// Returns the same repository, which keeps what its index files list in a file of this folder as well. The folder
    /// is the caller's own, on a fast disk; what is in it may be removed at any time.
    #[must_use]
    pub fn with_index_cache(&self, folder: &Path) -> Arc<Self> {
        Arc::new(self.copy(Some(IndexCache::new(folder.to_path_buf(), self.id()))))
    }

    /// Returns the same repository for a dry run, with an index of its own: what a backup stores there is counted and
    /// goes nowhere, nothing is removed, and nothing but locks is written.
    #[must_use]
    pub fn for_dry_run(&self, locks: DryLocks) -> Arc<Self> {
        let storage = Arc::new(DryStorage::new(self.storage.clone(), locks));
        Arc::new(Self { storage, bare: None, is_dry: true, ..self.copy(self.index_cache.clone()) })
    }

    /// Returns the same repository with an index of its own, whose packs, index files and snapshots pass at this pace
    /// and wait at this gate. It takes the place of a pace that the repository had. For a dry run, the pace comes first:
    /// what a dry run does not write is not to wait.
    #[must_use]
    pub fn paced(&self, pace: Arc<dyn Pace>, gate: &Gate, at_pause: AtPause) -> Arc<Self> {
        let bare = self.bare.clone().unwrap_or_else(|| self.storage.clone());
        let storage = Arc::new(PacedStorage::new(bare.clone(), pace, gate.clone(), at_pause));
        Arc::new(Self { storage, bare: Some(bare), ..self.copy(self.index_cache.clone()) })
    }

    /// Returns whether nothing is stored here.
    pub(crate) fn is_dry(&self) -> bool {
        self.is_dry
    }

    fn copy(&self, index_cache: Option<IndexCache>) -> Self {
        let (storage, key_id, key, config) = (self.storage.clone(), self.key_id, self.key.clone(), self.config.clone());
        let (bare, is_dry) = (self.bare.clone(), self.is_dry);
        Self { bare, index_cache, is_dry, ..Self::new(storage, key_id, key, config) }
    }

    fn new(storage: Arc<dyn Storage>, key_id: KeyId, key: SealKey, config: Config) -> Self {
        let (index, kept) = (RwLock::default(), AllKept::none());
        Self { storage, bare: None, key_id, key, config, index, index_cache: None, is_dry: false, kept }
    }

    /// Opens a repository with a password.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::WrongPassword`], [`Error::Unsupported`] or [`Error::Damaged`].
    pub fn open(storage: Arc<dyn Storage>, password: &[u8]) -> Result<Arc<Self>> {
        let location = storage.location();
        let sealed = match storage.read(&FileName::CONFIG) {
            Err(Error::NotFound { .. }) => return Err(Self::missing_config(&*storage, location)),
            other => other?,
        };
        let (key_id, key) = find_key(&*storage, password)?;
        let damaged = |problem: &str| Error::damaged(format!("the config of the repository at {location}"), problem);
        let plain = key.open(&sealed).ok_or_else(|| damaged("it was not sealed with the repository's key"))?;
        let config = Config::decode(&plain).map_err(|problem| damaged(&problem))?;
        config.check(&location)?;
        Ok(Arc::new(Self::new(storage, key_id, key, config)))
    }

    /// Returns whether there is a repository.
    ///
    /// # Errors
    /// The storage's own.
    pub fn exists(storage: &dyn Storage) -> Result<bool> {
        Ok(!storage.list(FileKind::Config)?.is_empty())
    }

    /// A folder with snapshots but no config is a damaged repository, not a place for a new one.
    fn missing_config(storage: &dyn Storage, location: String) -> Error {
        let has_more = [FileKind::Key, FileKind::Snapshot, FileKind::Index]
            .into_iter()
            .any(|kind| storage.list(kind).is_ok_and(|files| !files.is_empty()));
        if has_more {
            Error::damaged(format!("the repository at {location}"), "its config file is missing")
        } else {
            Error::NoRepository { location }
        }
    }

    /// Returns the repository's id.
    #[must_use]
    pub fn id(&self) -> RepositoryId {
        self.config.id
    }

    /// Returns its config.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns where it is.
    #[must_use]
    pub fn location(&self) -> String {
        self.storage.location()
    }

    /// Returns its storage.
    #[must_use]
    pub fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// Returns the built-in bounds on what one blob may claim to be.
    pub(crate) fn blob_limits(&self) -> BlobLimits {
        BlobLimits::new(self.config.chunk_max())
    }

    /// Returns the key file that opened it.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    pub(crate) fn key(&self) -> &SealKey {
        &self.key
    }

    /// Returns the index as it is known now.
    pub fn index(&self) -> RwLockReadGuard<'_, Index> {
        // Packs are added whole; a panic in between leaves blobs unknown, which costs room and nothing else.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_cache(&self) -> Option<&IndexCache> {
        self.index_cache.as_ref()
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long the contents of a blob are, in bytes, as the index lists it; nothing is read.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is in no index.
    pub(crate) fn contents_length(&self, handle: &BlobHandle) -> Result<u64> {
        let location = self.index().get(handle).ok_or_else(|| self.unknown_blob(handle))?;
        Ok(location.contents_length())
    }

    /// Reads a blob and checks it against its id; if one copy is damaged, the others are tried.
    ///
    /// # Errors
    /// [`Error::Damaged`] if no good copy is there.
    pub(crate) fn read_blob(&self, opener: &mut Opener, handle: &BlobHandle) -> Result<Vec<u8>> {
        let location = self.index().get(handle).ok_or_else(|| self.unknown_blob(handle))?;
        let first = self.read_blob_at(opener, handle, &location);
        let Err(error) = first else { return first };
        let copies = self.index().get_all(handle);
        for copy in copies.iter().skip(1) {
            if let Ok(contents) = self.read_blob_at(opener, handle, copy) {
                return Ok(contents);
            }
        }
        Err(error)
    }

    pub(crate) fn unknown_blob(&self, handle: &BlobHandle) -> Error {
        let kind = match handle.kind {
            BlobKind::Data => "data",
            BlobKind::Tree => "tree",
        };
        Error::damaged(
            format!("the repository at {}", self.location()),
            format!("{kind} blob {} is missing", handle.id),
        )
    }

    fn read_blob_at(&self, opener: &mut Opener, handle: &BlobHandle, location: &Location) -> Result<Vec<u8>> {
        opener.limits().check(handle, location)?;
        let name = FileName::new(FileKind::Pack, location.pack.0);
        let sealed = self.storage.read_range(&name, u64::from(location.offset), location.length as usize);
        let sealed = sealed.map_err(|error| match error {
            // Nobody asked for the pack by its name: it is what is needed, and it is lost.
            Error::NotFound { .. } => self.damaged(&name, "it is missing"),
            other => other,
        })?;
        opener.open(&self.key, handle, location, &sealed).map(<[u8]>::to_vec)
    }
}
