//! The backup daemon.

pub mod clock;
pub mod conditions;
pub mod config;
pub mod context;
pub mod desk;
pub mod error;
pub mod hub;
pub mod identity;
pub mod inbox;
pub mod job;
pub mod ledger;
pub mod progress;
pub mod query;
pub mod queue;
pub mod run;
pub mod schedule;
pub mod server;
pub mod service;
pub mod start;
pub mod store;
pub mod supervisor;
pub mod targets;
pub mod wire;
pub mod worker;
