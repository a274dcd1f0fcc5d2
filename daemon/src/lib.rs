//! The backup daemon: when, whether and how fast; it owns the queue, the workers and the socket.
//!
//! # The life of a job
//!
//! 1. A client asks for it over the socket ([`server`]), or its plan is due ([`schedule`]).
//! 2. The request becomes an event in the [`inbox`]; the loop ([`run`]) takes it out and asks [`supervisor::step`].
//! 3. The step makes a [`job::Job`], and asks the deciders: is it due ([`schedule`]), is it next ([`queue`]), may jobs
//!    run ([`conditions`])? The first no is its verdict.
//! 4. What has changed is written to the journal and synced ([`store`]). Only then the client gets the job's id.
//! 5. When all deciders say yes, a [`worker`] starts on a thread of its own and opens the target ([`targets`]).
//! 6. It sends its news to the inbox; watchers hear of them through the [`hub`]. Failed items go to the [`ledger`].
//! 7. Pause, resume and cancel reach it through its gate. After ten minutes of pause it gives up its lock.
//! 8. Its last word says how it ended. The job is succeeded, partial, failed or cancelled, or waits to be tried again.
//! 9. If the daemon died meanwhile, the next one finds the job in the store and starts a new attempt by itself.
//! 10. The newest thousand ended jobs are remembered; `retry` makes a new attempt of one that did not succeed.

pub mod backoff;
pub mod breaker;
pub mod clock;
pub mod commands;
pub mod conditions;
pub mod config;
pub mod context;
pub mod decoders;
pub mod desk;
pub mod error;
pub mod hub;
pub mod identity;
pub mod inbox;
pub mod job;
pub mod ledger;
pub mod limits;
pub mod memory;
pub mod notes;
pub mod outcome;
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
mod title;
pub mod wire;
pub mod worker;
