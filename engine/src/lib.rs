//! A restic repository as a library.
//!
//! The engine backs up, restores and checks; it has no socket, no config file, no clock and prints nothing. Its
//! interface blocks: callers give it threads.

pub mod chunker;
pub mod control;
pub mod error;
pub mod id;
pub mod limits;
pub mod monitor;
pub mod polynomial;
pub mod rabin;

pub use control::{Gate, GateState};
pub use error::{Class, Error, Result};
