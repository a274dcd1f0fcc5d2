//! A restic repository as a library.
//!
//! The engine backs up, restores and checks; it has no socket, no config file, no clock and prints nothing. Its
//! interface blocks: callers give it threads.

pub mod archiver;
mod blob;
pub mod browse;
pub mod checker;
pub mod chunker;
pub mod config;
pub mod control;
pub mod copy;
pub mod decoders;
mod encoding;
pub mod error;
pub mod forget;
pub mod id;
pub mod index;
mod key;
pub mod keys;
pub mod limits;
pub mod lock;
pub mod memory;
pub mod monitor;
pub mod now;
pub mod pack;
pub mod polynomial;
pub mod prune;
pub mod rabin;
mod record;
pub mod repair;
pub mod repository;
pub mod restorer;
pub mod retag;
pub mod retention;
pub mod seal;
pub mod snapshot;
pub mod source;
pub mod stats;
pub mod storage;
pub mod tree;
pub mod uses;

pub use control::{Gate, GateState};
pub use error::{Class, Error, Result};
pub use lock::Lock;
pub use monitor::Monitor;
pub use repository::Repository;
