//! `verify`: check that what was saved can be read back.

use backup_proto::error::Exit;
use backup_proto::size::parse_size;
use backup_proto::spec::{JobSpec, ReadPart, VerifySpec};
use clap::Args;

use crate::args::{Latest, Queueing};
use crate::commands::query;
use crate::exit::Failure;
use crate::follow;
use crate::input::{Base, seconds};
use crate::session::Session;

/// Check a target's structure, and if asked for all its data, a part of it, or all data of one snapshot.
///
/// The daemon remembers when each pack was last read. Of a part, those are read first that were read longest ago, so that
/// everything has its turn.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  backupctl verify                              the structure of the target `local`
  backupctl verify --read-data                  every byte of it
  backupctl verify --read-data-subset 10%       a tenth; after ten times everything was read
  backupctl verify --read-data-within 30d       as much as it takes to have read everything within 30 days
  backupctl verify latest --source              the newest snapshot, and the files it was made of")]
pub(crate) struct Verify {
    /// Check this snapshot alone, and read all that it names: the beginning of an id, or `latest`.
    #[arg(conflicts_with_all = ["read_data", "read_data_subset", "read_data_within"])]
    snapshot: Option<String>,
    /// Compare the snapshot with the files it was made of, contents included.
    #[arg(long, requires = "snapshot")]
    source: bool,
    /// Read and check all data; takes as long as reading the whole target.
    #[arg(long)]
    read_data: bool,
    /// Read only a part: `10%`, `5GiB`, or `1/10` for the first of ten fixed groups.
    #[arg(long, value_name = "PART", value_parser = part, conflicts_with = "read_data_within")]
    read_data_subset: Option<ReadPart>,
    /// Read as much as it takes to have read everything within this time, such as 30d.
    #[arg(long, value_name = "TIME", value_parser = within)]
    read_data_within: Option<ReadPart>,
    #[command(flatten)]
    latest: Latest,
    #[command(flatten)]
    queueing: Queueing,
}

impl Verify {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let base = Base::of_process()?;
        let read_part = self.read_data_subset.or(self.read_data_within);
        let spec = VerifySpec {
            target: self.latest.target.clone(),
            read_data: self.read_data || read_part.is_some(),
            read_part,
            snapshot: self.snapshot.clone().map(|snapshot| query(snapshot, &self.latest, &base)),
            source: self.source,
        };
        let submit = self.queueing.submit(JobSpec::Verify(spec))?;
        follow::run(session, &[submit], self.queueing.detach, &follow::watch_interrupt()?)
    }
}

/// Reads which part of the data is to be read.
fn part(text: &str) -> Result<ReadPart, String> {
    let refuse = || format!("`{text}` is no part; write it like 10%, 2.5%, 5GiB or 1/10");
    if let Some(percent) = text.strip_suffix('%') {
        let (whole, rest) = percent.split_once('.').unwrap_or((percent, "0"));
        let hundredths = format!("{rest:0<2}");
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(rest) || hundredths.len() > 2 {
            return Err(refuse());
        }
        let whole: u32 = whole.parse().map_err(|_| refuse())?;
        let hundredths = whole.saturating_mul(100).saturating_add(hundredths.parse().map_err(|_| refuse())?);
        return if (1..=10_000).contains(&hundredths) {
            Ok(ReadPart::PercentHundredths(hundredths))
        } else {
            Err(refuse())
        };
    }
    if let Some((number, of)) = text.split_once('/') {
        let (number, of): (u8, u8) = (number.parse().map_err(|_| refuse())?, of.parse().map_err(|_| refuse())?);
        return if 0 < number && number <= of { Ok(ReadPart::Group { number, of }) } else { Err(refuse()) };
    }
    match parse_size(text) {
        Ok(size) if size > 0 => Ok(ReadPart::Bytes(size)),
        _ => Err(refuse()),
    }
}

fn within(text: &str) -> Result<ReadPart, String> {
    seconds(text).map(ReadPart::WithinSeconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_share_a_size_or_a_group() {
        assert_eq!(part("10%"), Ok(ReadPart::PercentHundredths(1000)));
        assert_eq!(part("2.5%"), Ok(ReadPart::PercentHundredths(250)));
        assert_eq!(part("0.05%"), Ok(ReadPart::PercentHundredths(5)));
        assert_eq!(part("100%"), Ok(ReadPart::PercentHundredths(10_000)));
        assert_eq!(part("5GiB"), Ok(ReadPart::Bytes(5 << 30)));
        assert_eq!(part("3/7"), Ok(ReadPart::Group { number: 3, of: 7 }));
        for wrong in ["", "%", "0%", "101%", "-1%", "1.234%", "1.%", "+1%", "0", "0/3", "4/3", "1/300", "a/b", "many"] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }
}
