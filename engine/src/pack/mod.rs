//! Packs: files that hold many sealed blobs and, at their end, a sealed list of them.
//!
//! ```text
//! pack   = sealed blob … ‖ sealed header ‖ length of the sealed header (u32)
//! header = entry …
//! entry  = type (u8) ‖ length of the sealed blob (u32) [‖ length of its contents (u32)] ‖ id (32)
//! ```
//! Types 0 and 1 are data and tree; 2 and 3 the same, compressed, and with the length in brackets. Numbers are little-endian.

mod added;
mod body;
mod gather;
mod header;
mod open;
mod places;
mod settle;
mod writer;

pub(crate) use added::Blobs;
pub(crate) use gather::{Gatherer, write_index_files};
pub(crate) use header::{header_of, pack_length, pack_overhead, packed_length, read_header};
pub(crate) use open::OpenPack;
pub(crate) use settle::Settled;
pub(crate) use writer::BlobSaver;

pub use header::{decode_header, encode_header};
