//! `verify`: check that what was saved can be read back.

use backup_proto::error::Exit;
use backup_proto::spec::{JobSpec, VerifySpec};
use clap::Args;

use crate::args::Queueing;
use crate::exit::Failure;
use crate::follow;
use crate::session::Session;

/// Check a target's structure, and with --read-data every byte in it.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Check this target [default: local].
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Read and check all data; takes as long as reading the whole target.
    #[arg(long)]
    read_data: bool,
    #[command(flatten)]
    queueing: Queueing,
}

impl Verify {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let spec = VerifySpec { target: self.target.clone(), read_data: self.read_data };
        let submit = self.queueing.submit(JobSpec::Verify(spec))?;
        follow::run(session, &[submit], self.queueing.detach, &follow::watch_interrupt()?)
    }
}
