//! A forger: whoever knows a repository's password can seal anything, and this writes what no honest program would.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use backup_engine::Repository;
use backup_engine::id::{BlobHandle, BlobId, BlobKind, PackId, SnapshotId, sha256};
use backup_engine::index::{IndexFile, IndexedPack};
use backup_engine::monitor::{PackRecord, PackedBlob};
use backup_engine::pack::encode_header;
use backup_engine::storage::{Bytes, FileKind, FileName, MemoryStorage, Storage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A repository in memory, its secrets, and the pack that is being forged.
#[derive(Clone)]
pub(crate) struct Forge {
    storage: MemoryStorage,
    encrypt: [u8; 32],
    mac_k: [u8; 16],
    mac_r: [u8; 16],
    pack: Vec<u8>,
    blobs: Vec<PackedBlob>,
}

impl Forge {
    /// A fresh repository; all of one test run have the same secrets, since deriving them takes long.
    pub(crate) fn new() -> Self {
        static FIRST: OnceLock<Forge> = OnceLock::new();
        let first = FIRST.get_or_init(Self::first);
        Self { storage: first.storage.snapshot(), ..first.clone() }
    }

    fn first() -> Self {
        let storage = MemoryStorage::new();
        super::create(Arc::new(storage.clone()), 2);
        let key = only(&storage, FileKind::Key);
        let file: Value = serde_json::from_slice(&key).expect("a key file is JSON");
        let number = |name: &str| file[name].as_u64().expect("scrypt's costs are numbers");
        let log_n = u8::try_from(number("N").ilog2()).expect("a logarithm is small");
        let cost = |name: &str| u32::try_from(number(name)).expect("scrypt's small costs are small");
        let params = scrypt::Params::new(log_n, cost("r"), cost("p")).expect("our own costs are valid");
        let mut secret = [0; 64];
        let password = super::PASSWORD.as_bytes();
        scrypt::scrypt(password, &bytes(&file["salt"]), &params, &mut secret).expect("64 bytes can be derived");
        let mut sealed = bytes(&file["data"]);
        sealed.truncate(sealed.len() - 16);
        let plain = crypt(&array(&secret[..32]), &array(&sealed[..16]), &sealed[16..]);
        let master: Value = serde_json::from_slice(&plain).expect("the master key is JSON");
        Self {
            storage,
            encrypt: array(&bytes(&master["encrypt"])),
            mac_k: array(&bytes(&master["mac"]["k"])),
            mac_r: array(&bytes(&master["mac"]["r"])),
            pack: Vec::new(),
            blobs: Vec::new(),
        }
    }

    pub(crate) fn open(&self) -> Arc<Repository> {
        super::open(Arc::new(self.storage.clone())).expect("the repository opens")
    }

    pub(crate) fn try_open(&self, password: &str) -> backup_engine::Result<Arc<Repository>> {
        Repository::open(Arc::new(self.storage.clone()), password.as_bytes())
    }

    /// Puts a key file in the place of all there are.
    pub(crate) fn replace_keys(&self, id: [u8; 32], contents: &[u8]) {
        for (name, _) in self.storage.list(FileKind::Key).expect("memory can be listed") {
            self.storage.remove(&name).expect("memory forgets everything");
        }
        self.write(FileKind::Key, id, contents);
    }

    /// Puts another config in the place of the one there is.
    pub(crate) fn replace_config(&mut self, plain: &[u8]) {
        self.storage.remove(&FileName::CONFIG).expect("memory forgets everything");
        let sealed = self.seal(plain);
        self.storage.write(&FileName::CONFIG, &mut Bytes::new(&sealed)).expect("memory takes everything");
    }

    /// Seals with the repository's key; the nonce need not be random to deceive.
    pub(crate) fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; 16] = array(&sha256(plain)[..16]);
        let ciphertext = crypt(&self.encrypt, &nonce, plain);
        let mut block = nonce.into();
        aes::Aes128::new(&self.mac_k.into()).encrypt_block(&mut block);
        let key: [u8; 32] = array(&[self.mac_r.as_slice(), &block].concat());
        let mac = poly1305::Poly1305::new(&key.into()).compute_unpadded(&ciphertext);
        [nonce.as_slice(), &ciphertext, &mac].concat()
    }

    /// Writes a sealed file under its hash.
    pub(crate) fn file(&self, kind: FileKind, plain: &[u8]) -> [u8; 32] {
        let sealed = self.seal(plain);
        let id = sha256(&sealed);
        self.write(kind, id, &sealed);
        id
    }

    pub(crate) fn write(&self, kind: FileKind, id: [u8; 32], contents: &[u8]) {
        self.storage.write(&FileName::new(kind, id), &mut Bytes::new(contents)).expect("memory takes everything");
    }

    /// Adds a blob as it is.
    pub(crate) fn blob(&mut self, kind: BlobKind, contents: &[u8]) -> BlobId {
        let handle = BlobHandle { kind, id: BlobId::of(contents) };
        self.packed(handle, contents, None);
        handle.id
    }

    /// Adds sealed bytes under an id, with the length that their contents are said to have.
    pub(crate) fn packed(&mut self, handle: BlobHandle, stored: &[u8], claimed: Option<u32>) {
        let sealed = self.seal(stored);
        let place = |length: usize| u32::try_from(length).expect("a forged pack is small");
        let (offset, length) = (place(self.pack.len()), place(sealed.len()));
        self.pack.extend_from_slice(&sealed);
        self.blobs.push(PackedBlob { handle, offset, length, uncompressed_length: claimed });
    }

    /// Adds a piece of a file.
    pub(crate) fn data(&mut self, contents: &[u8]) -> BlobId {
        self.blob(BlobKind::Data, contents)
    }

    /// Adds a folder of these entries, in this order.
    pub(crate) fn tree(&mut self, nodes: &[Value]) -> BlobId {
        let tree = serde_json::to_vec(&json!({ "nodes": nodes })).expect("JSON can be written");
        self.blob(BlobKind::Tree, &tree)
    }

    /// Adds a file of one piece.
    pub(crate) fn entry(&mut self, name: &str, contents: &[u8]) -> Value {
        let id = self.data(contents);
        json!({ "name": name, "type": "file", "mode": 0o644, "size": contents.len(), "content": [id] })
    }

    /// Writes the pack, and an index in which `lie` may change what is said about it.
    pub(crate) fn index(&mut self, lie: impl Fn(&mut PackedBlob)) -> PackId {
        let header = self.seal(&encode_header(&self.blobs));
        let mut pack = std::mem::take(&mut self.pack);
        pack.extend_from_slice(&header);
        pack.extend_from_slice(&u32::try_from(header.len()).expect("a forged header is small").to_le_bytes());
        let id = PackId::of(&pack);
        self.write(FileKind::Pack, id.0, &pack);
        let mut blobs = std::mem::take(&mut self.blobs);
        blobs.iter_mut().for_each(lie);
        let record = PackRecord { id, length: pack.len() as u64, blobs };
        let file = IndexFile { supersedes: Vec::new(), packs: vec![IndexedPack::from(&record)] };
        self.file(FileKind::Index, &serde_json::to_vec(&file).expect("an index can be written"));
        id
    }

    /// Writes all that was added and a snapshot of this tree.
    pub(crate) fn snapshot(&mut self, tree: BlobId) -> SnapshotId {
        self.index(|_| {});
        let snapshot = json!({ "time": "2024-01-02T03:04:05Z", "tree": tree, "paths": ["/"], "hostname": "host" });
        SnapshotId(self.file(FileKind::Snapshot, snapshot.to_string().as_bytes()))
    }
}

/// A folder's entry.
pub(crate) fn folder(name: &str, tree: BlobId) -> Value {
    json!({ "name": name, "type": "dir", "mode": 0o755_u32 | 1 << 31, "subtree": tree })
}

/// A link's entry.
pub(crate) fn link(name: &str, target: &Path) -> Value {
    json!({ "name": name, "type": "symlink", "mode": 0o777_u32 | 1 << 27, "linktarget": target })
}

fn crypt(key: &[u8; 32], nonce: &[u8; 16], text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    ctr::Ctr128BE::<aes::Aes256>::new(key.into(), nonce.into()).apply_keystream(&mut text);
    text
}

fn only(storage: &MemoryStorage, kind: FileKind) -> Vec<u8> {
    let (name, _) = storage.list(kind).expect("memory can be listed")[0];
    storage.read(&name).expect("what is listed can be read")
}

fn bytes(text: &Value) -> Vec<u8> {
    STANDARD.decode(text.as_str().expect("bytes are text")).expect("bytes are base64")
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the length is fixed by the format")
}
