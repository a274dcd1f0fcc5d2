//! Targets as people see them: found how, when, with how much room, and what they should know.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use backup_proto::target::{Breaker as View, Coverage, Target, TargetCheck, TargetState};
use jiff::Timestamp;

use backup_engine::checker::coverage;

use super::open::nearest_existing;
use super::{Look, Place, TargetError, Targets, password};
use crate::breaker::Breaker;
use crate::config::PasswordSource;
use crate::error::Result;
use crate::wire;

impl Targets {
    /// Returns every target as it was found when it was last used. It asks no storage, so that a status never waits
    /// for a drive or a server.
    #[must_use]
    pub fn overview(&self) -> Vec<Target> {
        self.places().iter().map(|place| self.view(place)).collect()
    }

    /// Returns one target as it was found when it was last used.
    ///
    /// # Errors
    /// [`TargetError::Unknown`].
    pub fn view_of(&self, name: &str) -> Result<Target, TargetError> {
        self.place(name).map(|place| self.view(&place))
    }

    /// Opens a target and says what it finds.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn check(&self, name: &str) -> Result<TargetCheck, TargetError> {
        let (place, repository) = self.open_target(name)?;
        let listed = repository.snapshots().map_err(TargetError::engine(name))?;
        let mut findings: Vec<String> = listed
            .damaged
            .iter()
            .map(|(id, error)| format!("Snapshot {} cannot be read: {error}.", id.short()))
            .collect();
        if let PasswordSource::File(path) = &place.password
            && password::is_open_to_others(path)
        {
            let path = path.display();
            findings.push(format!("Other users may read the password file {path}; `chmod 600` it."));
        }
        let verified = coverage(&repository, &self.verified(), self.options.clock.now().wall)
            .map_err(TargetError::engine(name))?;
        let target = Target { verified: Some(wire::coverage(&verified)), ..self.view(&place) };
        let format_version = repository.config().version;
        Ok(TargetCheck { target, format_version, snapshots: listed.list.len() as u64, findings })
    }

    /// Looks whether a target answers: its config is read, and nothing is made.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn ask(&self, name: &str) -> Result<(), TargetError> {
        self.open_existing(name).map(|_| ())
    }

    /// Remembers that a backup of these sources ended well.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn note_success(&self, name: &str, sources: &[PathBuf], time: Timestamp) -> Result<()> {
        let Ok(place) = self.place(name) else { return Ok(()) };
        let same_device = is_same_device(&place.folder, sources);
        self.known.update(name, |known| {
            known.last_success = Some(time);
            known.same_device = same_device;
        })
    }

    /// Returns the time of the newest snapshot of a plan that a forget has looked at: how much its source held up to
    /// then was found to be right, or somebody has said that it is.
    #[must_use]
    pub fn last_forgotten(&self, name: &str, plan: &str) -> Option<Timestamp> {
        self.known.get(name)?.forgotten.get(plan).copied()
    }

    /// Remembers that a forget has looked at the snapshots of a plan up to this time and held nothing back.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn note_forgotten(&self, name: &str, plan: &str, newest: Timestamp) -> Result<()> {
        self.known.update(name, |known| {
            let time = known.forgotten.entry(plan.to_owned()).or_insert(newest);
            *time = newest.max(*time);
        })
    }

    /// Returns where it is kept which data was read when.
    #[must_use]
    pub fn verified(&self) -> PathBuf {
        self.state().join("verified")
    }

    /// Remembers how much of a target's data was ever read.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn note_verified(&self, name: &str, coverage: Coverage) -> Result<()> {
        self.known.update(name, |known| known.verified = Some(coverage))
    }

    /// Remembers how a target was found.
    pub(super) fn note_look(&self, place: &Place, error: Option<&TargetError>) {
        let state = match error {
            None => TargetState::Ready,
            Some(TargetError::NotMade { .. }) => TargetState::New,
            Some(TargetError::Absent { .. }) => TargetState::Absent,
            Some(_) => TargetState::Failing,
        };
        let notice = error.map(|error| format!("{error}. {}", error.advice()));
        let free_bytes = error.is_none().then(|| free_bytes(&place.folder)).flatten();
        self.looks().insert(place.name.clone(), Look { state, notice, free_bytes });
    }

    fn view(&self, place: &Place) -> Target {
        let known = self.known.get(&place.name).unwrap_or_default();
        let look = self.looks().get(&place.name).cloned();
        let unseen = Look { state: TargetState::New, notice: None, free_bytes: None };
        let Look { state, notice, free_bytes } = look.unwrap_or(unseen);
        let same_disk = known.same_device.then(|| {
            format!("The target `{}` is on the same disk as what it protects: a copy there is not yet a backup of that disk.", place.name)
        });
        Target {
            name: place.name.clone(),
            url: place.url.clone(),
            state,
            repository_id: Some(known.repository_id).filter(|id| !id.is_empty()),
            breaker: self.breaker(&place.name),
            last_success: known.last_success,
            verified: known.verified,
            free_bytes,
            notice: notice.or(same_disk),
        }
    }

    fn breaker(&self, name: &str) -> View {
        let breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        breakers.get(name).map(Breaker::view).unwrap_or_default()
    }

    fn looks(&self) -> MutexGuard<'_, std::collections::HashMap<String, Look>> {
        // Entries are replaced whole: a panic elsewhere leaves nothing half changed.
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says whether a target is on the device that any of the sources is on.
fn is_same_device(folder: &Path, sources: &[PathBuf]) -> bool {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.dev());
    let target = device(nearest_existing(folder));
    target.is_some() && sources.iter().any(|source| device(source) == target)
}

/// Returns the bytes that are free for this user on a folder's device.
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(nearest_existing(folder)).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}
