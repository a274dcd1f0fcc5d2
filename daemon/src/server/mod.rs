//! The server: accepts connections, learns who calls, and gives each a session.

mod accept;
mod bulk;
mod dispatch;
mod folder;
mod limits;
mod listen;
mod outbox;
mod rights;
mod room;
mod session;
mod writer;

use std::sync::Arc;

use tokio::sync::watch;

pub use accept::accept;
pub use listen::{Listening, lock_file};
pub use room::Shared;
pub use session::serve;

use crate::context::Context;
use crate::desk::Desk;
use crate::hub::Hub;
use crate::inbox::Inbox;
use crate::run::Published;
use crate::supervisor::About;

/// What every session shares.
pub struct Server {
    /// What workers and queries share.
    pub context: Arc<Context>,
    /// Where events come from.
    pub hub: Arc<Hub>,
    /// Where the loop's answers come from.
    pub desk: Arc<Desk>,
    /// The way to the loop.
    pub inbox: Inbox,
    /// The picture the loop published last.
    pub published: watch::Receiver<Published>,
    /// Who this daemon is.
    pub about: About,
    /// What clients may do, and take of the daemon, all together.
    pub shared: Shared,
}

#[cfg(test)]
mod tests;
