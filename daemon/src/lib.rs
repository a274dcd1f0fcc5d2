//! The backup daemon.

pub mod clock;
pub mod config;
pub mod error;
pub mod store;
