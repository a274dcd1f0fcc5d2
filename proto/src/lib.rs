//! The language that `backupd` and its clients speak: nouns, messages, framing, errors, and a typed client.

pub mod error;
pub mod event;
pub mod job;
pub mod message;
pub mod page;
pub mod params;
pub mod path;
pub mod snapshot;
pub mod spec;
pub mod status;
pub mod target;
pub mod version;
