//! `prune`: make room by removing what no snapshot needs.

use backup_proto::error::Exit;
use backup_proto::size::parse_size;
use backup_proto::spec::{JobSpec, MaxUnused, PruneSpec};
use clap::Args;

use crate::args::Queueing;
use crate::exit::Failure;
use crate::follow;
use crate::session::Session;

/// Make room: remove the data that no snapshot needs.
///
/// What is used of packs that are mostly unused is moved to new packs first. What nothing needs leaves the index when it was
/// seen so for 24 hours, and the disk another 24 hours later, because programs that take no locks (rustic) may be about to
/// use it. So a first prune frees little; run it daily.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Prune this target [default: local].
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// How much may stay unused in packs of which something is used: `5%`, `500MiB` or `unlimited`.
    #[arg(long, value_name = "LIMIT", default_value = "5%", value_parser = max_unused)]
    max_unused: MaxUnused,
    /// Repack at most so much, such as 10GiB; the rest is for the next time.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_repack_size: Option<u64>,
    /// Change nothing, and say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Remove at once what is unused now. Only when nobody writes to the target with rustic.
    #[arg(long)]
    unsafe_no_grace: bool,
    #[command(flatten)]
    queueing: Queueing,
}

impl Prune {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let spec = PruneSpec {
            target: self.target.clone(),
            max_unused: Some(self.max_unused),
            max_repack_bytes: self.max_repack_size,
            dry_run: self.dry_run,
            no_grace: self.unsafe_no_grace,
        };
        let submit = self.queueing.submit(JobSpec::Prune(spec))?;
        follow::run(session, &[submit], self.queueing.detach, &follow::watch_interrupt()?)
    }
}

/// Reads how much may stay unused.
fn max_unused(text: &str) -> Result<MaxUnused, String> {
    if text == "unlimited" {
        return Ok(MaxUnused::Unlimited);
    }
    match text.strip_suffix('%') {
        Some(percent) => match percent.parse() {
            Ok(percent @ 0..=100) => Ok(MaxUnused::Percent(percent)),
            _ => Err(format!("`{text}` is no share; write a whole number from 0% to 100%")),
        },
        None => parse_size(text).map(MaxUnused::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_share_a_size_or_none() {
        assert_eq!(max_unused("5%"), Ok(MaxUnused::Percent(5)));
        assert_eq!(max_unused("0"), Ok(MaxUnused::Bytes(0)));
        assert_eq!(max_unused("500MiB"), Ok(MaxUnused::Bytes(500 << 20)));
        assert_eq!(max_unused("unlimited"), Ok(MaxUnused::Unlimited));
        for wrong in ["", "%", "101%", "-1%", "many"] {
            assert!(max_unused(wrong).is_err(), "{wrong}");
        }
    }
}
