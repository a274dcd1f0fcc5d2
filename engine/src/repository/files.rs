//! The sealed files of a repository: JSON, packed from version 2 on, under the name that is its hash.

use std::io::Read;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Repository;
use crate::blob::cannot_compress;
use crate::error::{Error, Result};
use crate::id::sha256;
use crate::limits::FILE_MAX;
use crate::storage::{Bytes, FileKind, FileName};

/// The first byte of a compressed file; one that is not compressed is JSON.
const COMPRESSED: u8 = 2;

impl Repository {
    /// Reads a sealed file, checks it against its name and unpacks it.
    pub(crate) fn read_file(&self, name: &FileName) -> Result<Vec<u8>> {
        let sealed = self.storage.read(name)?;
        if sha256(&sealed) != name.id {
            return Err(self.damaged(name, "its contents do not match its name"));
        }
        let plain = self.key.open(&sealed);
        let plain = plain.ok_or_else(|| self.damaged(name, "it was not sealed with the repository's key"))?;
        unpack(plain).map_err(|problem| self.damaged(name, problem))
    }

    /// Opens and unpacks a sealed file, whatever its name is.
    pub(crate) fn open_file(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        unpack(self.key.open(sealed)?).ok()
    }

    /// Reads a sealed file of JSON.
    pub(crate) fn read_json<T: DeserializeOwned>(&self, name: &FileName) -> Result<T> {
        serde_json::from_slice(&self.read_file(name)?).map_err(|error| self.damaged(name, error))
    }

    /// Writes a value as JSON, packed and sealed as a file of this repository.
    pub(crate) fn seal_file(&self, value: &impl Serialize) -> Result<Vec<u8>> {
        let mut plain = to_json(value)?;
        if let Some(level) = self.config.compression_level() {
            let mut packed = vec![COMPRESSED];
            packed.extend(zstd::bulk::compress(&plain, level).map_err(cannot_compress)?);
            plain = packed;
        }
        self.key.seal(&plain)
    }

    /// Writes a sealed file under its id.
    pub(crate) fn write_file(&self, kind: FileKind, sealed: &[u8]) -> Result<()> {
        self.storage.write(&FileName::new(kind, sha256(sealed)), &mut Bytes::new(sealed))
    }

    pub(crate) fn damaged(&self, name: &FileName, problem: impl std::fmt::Display) -> Error {
        Error::damaged(format!("{name} in {}", self.location()), problem)
    }
}

/// Takes a file out of its compression; total over all bytes, and bounded.
fn unpack(plain: Vec<u8>) -> Result<Vec<u8>, String> {
    match plain.first() {
        Some(b'{' | b'[') => Ok(plain),
        Some(&COMPRESSED) => {
            let decoder = zstd::stream::read::Decoder::with_buffer(&plain[1..]).map_err(|error| error.to_string())?;
            let mut unpacked = Vec::new();
            decoder.take(FILE_MAX as u64 + 1).read_to_end(&mut unpacked).map_err(|error| error.to_string())?;
            if unpacked.len() > FILE_MAX {
                Err(format!("it unpacks to more than {FILE_MAX} bytes"))
            } else {
                Ok(unpacked)
            }
        }
        _ => Err("its encoding is not known".to_owned()),
    }
}

pub(super) fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::misuse(format!("a value cannot be written as JSON: {error}")))
}
