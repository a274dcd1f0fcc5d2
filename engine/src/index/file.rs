//! Index files: JSON that lists packs and the blobs in them.

use serde::{Deserialize, Serialize};

use crate::id::{BlobHandle, BlobId, BlobKind, IndexId, PackId};
use crate::monitor::{PackRecord, PackedBlob};

/// The contents of an index file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFile {
    /// Index files that this one replaces; they may be gone already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supersedes: Vec<IndexId>,
    /// The packs.
    #[serde(default)]
    pub packs: Vec<IndexedPack>,
}

/// A pack in an index file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedPack {
    /// Its id.
    pub id: PackId,
    /// What is in it.
    pub blobs: Vec<IndexedBlob>,
}

/// A blob in an index file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedBlob {
    /// Its id.
    pub id: BlobId,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: BlobKind,
    /// Where its sealed bytes start in the pack, in bytes.
    pub offset: u32,
    /// Length of its sealed bytes.
    pub length: u32,
    /// Length of its contents if they are compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncompressed_length: Option<u32>,
}

impl IndexFile {
    /// Decodes an index file; total over all bytes.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        // The oldest repositories have only the list of packs.
        let file = if bytes.starts_with(b"[") {
            serde_json::from_slice(bytes).map(|packs| Self { supersedes: Vec::new(), packs })
        } else {
            serde_json::from_slice(bytes)
        };
        let file: Self = file.map_err(|error| error.to_string())?;
        for blob in file.packs.iter().flat_map(|pack| &pack.blobs) {
            let end = blob.offset.checked_add(blob.length);
            if end.is_none() || (blob.length as usize) < crate::seal::OVERHEAD {
                return Err(format!("the place of blob {} makes no sense", blob.id));
            }
        }
        Ok(file)
    }
}

impl From<&PackRecord> for IndexedPack {
    fn from(pack: &PackRecord) -> Self {
        let blob = |blob: &PackedBlob| IndexedBlob {
            id: blob.handle.id,
            kind: blob.handle.kind,
            offset: blob.offset,
            length: blob.length,
            uncompressed_length: blob.uncompressed_length,
        };
        Self { id: pack.id, blobs: pack.blobs.iter().map(blob).collect() }
    }
}

impl IndexedPack {
    /// Returns the blobs as the index in memory takes them.
    #[must_use]
    pub fn packed_blobs(&self) -> Vec<PackedBlob> {
        let blob = |blob: &IndexedBlob| PackedBlob {
            handle: BlobHandle { kind: blob.kind, id: blob.id },
            offset: blob.offset,
            length: blob.length,
            uncompressed_length: blob.uncompressed_length.filter(|length| *length != 0),
        };
        self.blobs.iter().map(blob).collect()
    }
}
