//! What is read from and written to the file system: folders, entries, metadata, and the rules of what is left out.

pub mod apply;
pub mod exclude;
pub mod glob;
pub mod handle;
mod local;
pub mod meta;
pub(crate) mod mounts;
pub mod owners;
pub mod pattern;
pub mod sparse;
pub mod walk;

#[cfg(test)]
mod test_support;

pub use exclude::Excludes;
pub use handle::Place;
pub(crate) use local::is_local;
pub use meta::{Aspect, Problem};
pub use owners::Owners;
pub use walk::{Folder, Identity, OpenFile, Stat};
