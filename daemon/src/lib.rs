//! The backup daemon.

pub mod clock;
pub mod config;
pub mod context;
pub mod error;
pub mod inbox;
pub mod job;
pub mod store;
pub mod worker;
