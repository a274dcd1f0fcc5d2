//! What is read from and written to the file system: folders, entries, metadata, and the rules of what is left out.

pub mod exclude;
pub mod glob;
pub mod pattern;
