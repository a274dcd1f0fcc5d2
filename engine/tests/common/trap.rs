//! A forged repository that is restored beside something that must not change.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_engine::restorer::{RestoreOptions, RestoreSummary, restore};
use backup_engine::{Gate, Repository, Result};
use serde_json::Value;

use super::forge::Forge;
use super::{Place, Remembers};

/// A forged repository and a destination, with something beside it that must stay as it is.
pub(crate) struct Trap {
    pub(crate) forge: Forge,
    pub(crate) place: Place,
}

impl Trap {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        fs::create_dir(place.path("outside")).unwrap();
        fs::write(place.path("outside/file"), "untouched").unwrap();
        Self { forge: Forge::new(), place }
    }

    pub(crate) fn to(&self) -> PathBuf {
        self.place.path("restored")
    }

    /// Restores a forged top of these entries beside a good file, and checks that only the destination changed.
    pub(crate) fn spring(&mut self, nodes: &[Value]) -> (RestoreSummary, Remembers) {
        self.spring_with(nodes, |_| {})
    }

    pub(crate) fn spring_with(
        &mut self,
        nodes: &[Value],
        change: impl Fn(&mut RestoreOptions),
    ) -> (RestoreSummary, Remembers) {
        let good = self.forge.entry("zz good", b"good");
        let tree = self.forge.tree(&[nodes, &[good]].concat());
        let snapshot = self.forge.snapshot(tree);
        let mut options = RestoreOptions::new(snapshot, self.to());
        change(&mut options);
        let (summary, monitor) = run(&self.forge.open(), &options);
        let summary = summary.expect("the restore runs to its end");
        assert_eq!(fs::read(self.to().join("zz good")).unwrap(), b"good");
        assert_eq!(names(&self.place.path("outside")), ["file"]);
        assert_eq!(fs::read(self.place.path("outside/file")).unwrap(), b"untouched");
        assert_eq!(names(&self.place.path("")), ["outside", "password", "restored"]);
        assert_eq!(parts(&self.to()), Vec::<String>::new());
        (summary, monitor)
    }
}

pub(crate) fn run(repository: &Arc<Repository>, options: &RestoreOptions) -> (Result<RestoreSummary>, Remembers) {
    let monitor = Remembers::default();
    let summary = restore(repository, options, &Gate::new(), &monitor);
    (summary, monitor)
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

pub(crate) fn parts(folder: &Path) -> Vec<String> {
    names(folder).into_iter().filter(|name| name.starts_with(".backupd-")).collect()
}
