//! The repository's config file: version, id, how files are cut; and the settings that rustic keeps there.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chunker::{Chunker, ChunkerParams};
use crate::error::{Error, Result};
use crate::id::{BlobKind, RepositoryId};
use crate::limits::{CHUNK_MASK_BITS, CHUNK_MAX, CHUNK_MIN, COMPRESSION_LEVEL, PACK_SIZE, PACK_SIZE_MAX};
use crate::polynomial::Polynomial;

/// The versions of the format that are read and written.
pub const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;

/// The contents of the config file. Fields that are not known are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// Version of the format: 1, or 2 with compression.
    pub version: u32,
    /// The repository's name.
    pub id: RepositoryId,
    /// The polynomial of the chunker's fingerprint, in hexadecimal.
    pub chunker_polynomial: String,
    /// rustic: `Rabin` or `FixedSize`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunker: Option<String>,
    /// rustic: mean size of a chunk in bytes, a power of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_size: Option<u64>,
    /// rustic: smallest chunk in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_min_size: Option<u64>,
    /// rustic: largest chunk in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_max_size: Option<u64>,
    /// rustic: this is the fast half of a pair of repositories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_hot: Option<bool>,
    /// rustic: snapshots and packs may not be removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append_only: Option<bool>,
    /// rustic: zstd's level; 0 is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<i32>,
    /// Whatever else there is, among it rustic's sizes of packs.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl Config {
    /// Makes the config of a new repository.
    pub(crate) fn new(version: u32, id: RepositoryId, polynomial: Polynomial) -> Self {
        Self {
            version,
            id,
            chunker_polynomial: polynomial.to_string(),
            chunker: None,
            chunk_size: None,
            chunk_min_size: None,
            chunk_max_size: None,
            is_hot: None,
            append_only: None,
            compression: None,
            others: Map::new(),
        }
    }

    /// Takes over the rule by which another repository cuts files, so that both hold the same blobs of the same files.
    pub(crate) fn cut_like(&mut self, other: &Self) {
        self.chunker_polynomial.clone_from(&other.chunker_polynomial);
        self.chunker.clone_from(&other.chunker);
        self.chunk_size = other.chunk_size;
        self.chunk_min_size = other.chunk_min_size;
        self.chunk_max_size = other.chunk_max_size;
    }

    /// Decodes a config file; total over all bytes.
    ///
    /// # Errors
    /// Names what is wrong; the caller says where.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// Checks that this version of the engine can use the repository, and names what it cannot.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn check(&self, location: &str) -> Result<()> {
        let unsupported = |problem: String| Err(Error::Unsupported { location: location.to_owned(), problem });
        if !VERSIONS.contains(&self.version) {
            let (first, last) = (VERSIONS.start(), VERSIONS.end());
            return unsupported(format!("its format is version {}, not {first} or {last}", self.version));
        }
        if self.is_hot == Some(true) {
            return unsupported("it is the hot half of a pair made by rustic; use the cold half's location".to_owned());
        }
        match self.chunker() {
            Ok(_) => Ok(()),
            Err(error) => unsupported(error.to_string()),
        }
    }

    /// Returns the rule by which files are cut.
    ///
    /// # Errors
    /// Says which setting makes no sense.
    pub fn chunker(&self) -> Result<Chunker> {
        let size = |value: Option<u64>, default: usize| value.map_or(Ok(default), usize::try_from);
        let too_large = |_| Error::misuse("its sizes of chunks are too large");
        let mean = size(self.chunk_size, 1 << CHUNK_MASK_BITS).map_err(too_large)?;
        match self.chunker.as_deref() {
            None | Some("Rabin") => {}
            Some("FixedSize") => return Chunker::fixed(mean),
            Some(other) => return Err(Error::misuse(format!("its chunker `{other}` is not known"))),
        }
        Chunker::rabin(&ChunkerParams {
            polynomial: self.chunker_polynomial.parse()?,
            min: size(self.chunk_min_size, CHUNK_MIN).map_err(too_large)?,
            max: size(self.chunk_max_size, CHUNK_MAX).map_err(too_large)?,
            mask_bits: ChunkerParams::mask_bits_of(mean)?,
        })
    }

    /// Returns how many bytes the largest chunk of a file has.
    #[must_use]
    pub fn chunk_max(&self) -> u64 {
        let (setting, default) = match self.chunker.as_deref() {
            Some("FixedSize") => (self.chunk_size, 1 << CHUNK_MASK_BITS),
            _ => (self.chunk_max_size, CHUNK_MAX as u64),
        };
        setting.unwrap_or(default)
    }

    /// Returns zstd's level for blobs and files, or `None` if nothing is to be compressed.
    #[must_use]
    pub fn compression_level(&self) -> Option<i32> {
        match (self.version, self.compression) {
            (1, _) | (_, Some(0)) => None,
            (_, level) => Some(level.unwrap_or(COMPRESSION_LEVEL).clamp(-7, 22)),
        }
    }

    /// Returns at how many bytes a pack is closed, when the repository holds `stored` bytes of that kind.
    ///
    /// restic's size, unless rustic's settings say otherwise; rustic's packs grow with the square root of what is stored.
    #[must_use]
    pub fn pack_size(&self, kind: BlobKind, stored: u64) -> usize {
        let prefix = match kind {
            BlobKind::Data => "datapack",
            BlobKind::Tree => "treepack",
        };
        let number = |name: &str| self.others.get(&format!("{prefix}_{name}")).and_then(Value::as_u64);
        let Some(base) = number("size") else { return PACK_SIZE };
        let growth = number("growfactor").unwrap_or(32).saturating_mul(stored.isqrt());
        let limit = number("size_limit").unwrap_or(PACK_SIZE_MAX).min(PACK_BUFFER_MAX);
        usize::try_from(base.saturating_add(growth).min(limit)).unwrap_or(PACK_SIZE)
    }
}

/// The largest pack that is made, whatever the settings say: it is gathered in memory.
const PACK_BUFFER_MAX: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> Config {
        let id = "5956a3f67a6230d4a92cefb29529f10196c7d92582ec305fd71ff6d331d6271b";
        let text = format!(r#"{{"version":2,"id":"{id}","chunker_polynomial":"25b468838dcb75"{more}}}"#);
        Config::decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn obeys_rustics_settings_and_keeps_what_it_does_not_know() {
        let config = config(r#","chunker":"FixedSize","chunk_size":4096,"datapack_size":1000,"extra_verify":false"#);
        assert_eq!(config.chunker().unwrap().max(), 4096);
        assert_eq!(config.pack_size(BlobKind::Data, 100), 1000 + 32 * 10);
        assert_eq!(config.pack_size(BlobKind::Tree, 100), PACK_SIZE);
        assert!(serde_json::to_string(&config).unwrap().contains(r#""extra_verify":false"#));
    }

    #[test]
    fn refuses_by_name_what_it_cannot_use() {
        for (more, named) in [
            (r#","is_hot":true"#, "hot half"),
            (r#","chunker":"Gear""#, "Gear"),
            (r#","chunk_min_size":9000000"#, "largest size"),
            (r#","chunk_size":3"#, "power of two"),
        ] {
            let error = config(more).check("here").unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let mut future = config("");
        future.version = 3;
        assert!(future.check("here").unwrap_err().to_string().contains("version 3"));
    }
}
