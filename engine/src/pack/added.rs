//! How much was stored.

/// What was added to a repository.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Blobs {
    pub(crate) data: u64,
    pub(crate) trees: u64,
    /// Bytes of contents.
    pub(crate) bytes: u64,
    /// Of those, bytes of data.
    pub(crate) data_bytes: u64,
    /// Packs.
    pub(crate) packs: u64,
    /// Bytes of these.
    pub(crate) pack_bytes: u64,
    /// Bytes as they are stored, with all that is around them.
    pub(crate) bytes_stored: u64,
}
