//! The language that `backupd` and its clients speak: nouns, messages, framing, errors, and a typed client.
//!
//! # One session, from hello to goodbye
//!
//! A client finds the socket ([`endpoint`]), connects and checks who listens ([`local`]). Both sides write one JSON
//! object a line ([`mod@line`]). The client says `hello` with the protocol versions it knows; the server answers with
//! the one they will speak ([`version`]). From then on the client makes calls: each is a row of the table in
//! [`message`], with its parameters in [`params`], the right it needs, and its result ([`answer`]), which is made of
//! nouns: [`job`], [`spec`] and [`outcome`], [`snapshot`], [`target`], [`key`], [`mod@limit`], [`status`]. A call that changes something carries a `request_id`,
//! so that it can be made again when the answer was lost. Lists come in pages ([`page`]).
//!
//! A watcher subscribes: it gets the present state once, then events ([`event`]) that each carry a cursor, from
//! which it resumes after a break. Bytes of files come over a second connection, in frames ([`bulk`]).
//!
//! What goes wrong comes back as an [`error`] with a stable kind, a class and advice. The client hangs up to say
//! goodbye; jobs go on.
//!
//! [`client`] does all of this in Rust. The same from the other side is in `docs/protocol.md`, and [`schema`] makes
//! the OpenRPC document from these types.

pub mod answer;
pub mod bulk;
pub mod client;
pub mod endpoint;
pub mod error;
pub mod estimate;
pub mod event;
pub mod job;
pub mod key;
pub mod limit;
pub mod line;
pub mod local;
pub mod message;
pub mod note;
pub mod outcome;
pub mod page;
pub mod params;
pub mod path;
pub mod repair;
pub mod schema;
pub mod size;
pub mod snapshot;
pub mod spec;
pub mod status;
pub mod target;
pub mod verify;
pub mod version;
