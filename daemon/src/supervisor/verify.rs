//! New checks: what is asked for has to make sense, and gets its target.

use backup_proto::error::RpcError;
use backup_proto::spec::{JobSpec, ReadPart, VerifySpec};

use super::State;
use super::submit::{check_target, invalid};
use crate::config::DEFAULT_TARGET;

/// Checks what was asked for. A check of one snapshot has no target until that is found, as a restore.
pub(super) fn specs(state: &State, spec: &VerifySpec) -> Result<Vec<(JobSpec, Option<String>)>, RpcError> {
    check(spec)?;
    let named = spec.target.clone().or_else(|| spec.snapshot.as_ref().and_then(|query| query.target.clone()));
    let target = match (&spec.snapshot, named) {
        (_, Some(target)) => Some(target),
        // The worker looks in every target.
        (Some(_), None) if !state.config.targets.is_empty() => None,
        (_, None) => Some(DEFAULT_TARGET.to_owned()),
    };
    target.iter().try_for_each(|target| check_target(state, target))?;
    Ok(vec![(JobSpec::Verify(VerifySpec { target: target.clone(), ..spec.clone() }), target)])
}

fn check(spec: &VerifySpec) -> Result<(), RpcError> {
    let is_whole = spec.read_part.is_none() && !spec.read_data;
    match (&spec.snapshot, spec.read_part) {
        (None, _) if spec.source => {
            Err(invalid("no snapshot is named to compare with the files", "Name one, or `latest`."))
        }
        (Some(_), _) if !is_whole => {
            Err(invalid("of one snapshot all data is read, no more and no less", "Leave out how much is to be read."))
        }
        (_, Some(_)) if !spec.read_data => {
            Err(invalid("a part of the data is read only with `read_data`", "Say that too."))
        }
        (_, Some(ReadPart::PercentHundredths(hundredths))) if hundredths == 0 || hundredths > 10_000 => {
            Err(invalid("a share of the data is more than 0 % and at most 100 %", "Name another one."))
        }
        (_, Some(ReadPart::Bytes(0) | ReadPart::WithinSeconds(0))) => {
            Err(invalid("there is nothing to read", "Name a size or a time that is more than 0."))
        }
        (_, Some(ReadPart::Group { number, of })) if number == 0 || number > of => {
            Err(invalid("groups are numbered from 1 to how many there are", "Write it as in `1/5`."))
        }
        _ => Ok(()),
    }
}
