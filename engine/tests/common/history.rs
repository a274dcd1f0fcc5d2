//! A repository of many snapshots of nothing, each at a chosen time: for what looks at snapshots alone.

use std::collections::BTreeMap;

use backup_engine::id::SnapshotId;
use backup_engine::retention::Candidate;
use backup_engine::storage::{Bytes, FileKind, LocalStorage, Storage};
use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::{Value, json};

use super::Place;
use super::forge::Forge;

/// Writes snapshots of nothing into a forged repository, and puts it where restic finds it.
pub(crate) struct History {
    pub(crate) place: Place,
    pub(crate) forge: Forge,
    pub(crate) made: BTreeMap<SnapshotId, Candidate>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { place: Place::new(), forge: Forge::new(), made: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, time: Timestamp, offset: Offset, more: &Value) {
        let time = time.display_with_offset(offset).to_string();
        let mut snapshot = json!({ "time": time, "tree": "0".repeat(64), "paths": ["/a"], "hostname": "host" });
        for (key, value) in more.as_object().expect("it is an object") {
            snapshot[key] = value.clone();
        }
        let text = snapshot.to_string();
        let id = SnapshotId(self.forge.file(FileKind::Snapshot, text.as_bytes()));
        self.made.insert(id, Candidate::decode(id, text.as_bytes()).expect("it is a snapshot"));
    }

    pub(crate) fn export(&self) {
        let storage = LocalStorage::new(self.place.repository());
        storage.create().expect("the folders can be made");
        let repository = self.forge.open();
        for kind in [FileKind::Config, FileKind::Key, FileKind::Snapshot] {
            for (name, _) in repository.storage().list(kind).expect("memory can be listed") {
                let bytes = repository.storage().read(&name).expect("what is listed can be read");
                storage.write(&name, &mut Bytes::new(&bytes)).expect("the disk takes it");
            }
        }
    }
}
