//! The top of the walk: from `/` down to each source.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::begun::{Earlier, EarlierTrees};
use super::building::{Building, Slot};
use super::roots::Root;
use super::sources;
use super::tracking::Tracking;
use super::walker::{Entry, Walker};
use crate::error::{Error, Result};
use crate::snapshot::Snapshot;
use crate::source::meta::{describe, kind_of};
use crate::source::walk::{Folder, Identity, Stat};
use crate::tree::{Node, NodeKind};

impl Walker<'_, '_, '_> {
    /// Walks everything; the top's tree is stored by whoever stores the last entry.
    pub(super) fn run(&mut self, parent: Option<&Snapshot>) -> Result<()> {
        self.tracking = Tracking::begin(self.session, &self.roots.sources)?;
        let top = Arc::clone(self.session.top.get_or_init(Building::top));
        let earlier = self.trees_at_top(parent.map(|snapshot| snapshot.tree));
        match &self.roots.top {
            Root::Source(source) => self.walk_machine(*source, top, earlier)?,
            Root::Above(names) => self.walk_above(names, Path::new("/"), top, &earlier)?,
        }
        self.end_tracking();
        for (path, source) in self.roots.sources.iter().zip(&*self.sources) {
            for suspicion in parent.map(|parent| source.suspicions(path, parent)).unwrap_or_default() {
                self.session.item_failed(suspicion);
            }
        }
        Ok(())
    }

    /// Walks everything there is.
    fn walk_machine(&mut self, source: usize, top: Arc<Building>, earlier: EarlierTrees) -> Result<()> {
        let path = Path::new("/");
        self.source = source;
        match Folder::open_root(path) {
            Ok(folder) => {
                self.sources[source].device = Some(folder.identity().device);
                self.sources[source].file_system = sources::file_system(path);
                self.worker.tally.counts.entries += 1;
                let track = self.tracking.enter(None, None, &folder);
                self.push(Arc::new(folder), path.to_path_buf(), top, earlier, track)?;
                self.walk_stack()
            }
            Err(error) => {
                self.session.item_error(path, &Error::io("read", path)(error));
                top.close(self.worker)
            }
        }
    }

    fn walk_above(
        &mut self,
        names: &BTreeMap<OsString, Root>,
        path: &Path,
        building: Arc<Building>,
        earlier: &EarlierTrees,
    ) -> Result<()> {
        for (name, root) in names {
            let path = path.join(name);
            let slot = building.add_slot();
            let earlier = earlier.get(name.as_bytes());
            match root {
                Root::Source(source) => {
                    self.source = *source;
                    self.walk_source(&path, name, slot, earlier)?;
                }
                Root::Above(names) => self.walk_folder_above(names, &path, name, slot, &earlier)?,
            }
        }
        building.close(self.worker)
    }

    /// Walks what leads to sources below a folder that is not one itself.
    fn walk_folder_above(
        &mut self,
        names: &BTreeMap<OsString, Root>,
        path: &Path,
        name: &OsStr,
        slot: Slot,
        earlier: &Earlier,
    ) -> Result<()> {
        // Links on the way to a source are followed, as they were meant when it was typed.
        let node = match rustix::fs::stat(path) {
            Ok(stat) => describe(name, &stat, &self.session.owners),
            Err(error) => {
                self.report_missing(path, &Error::io("look at", path)(error.into()));
                return slot.fill(None, self.worker);
            }
        };
        let subtree = earlier.before.as_ref().and_then(|node| node.subtree);
        let trees = self.trees_of(earlier);
        let building = Building::below(slot, Node { size: 0, ..node }, subtree);
        self.walk_above(names, path, building, &trees)
    }

    fn report_missing(&self, path: &Path, error: &Error) {
        for source in self.roots.sources.iter().filter(|source| source.starts_with(path)) {
            self.session.item_failed(sources::missing(source, error));
        }
    }

    /// Walks one source to its end.
    fn walk_source(&mut self, path: &Path, name: &OsStr, slot: Slot, earlier: Earlier) -> Result<()> {
        // It need not even be there: what was stored of it is not in question.
        if let Some(before) = self.take_over(path, earlier.before.as_ref()) {
            return slot.fill(Some(&before), self.worker);
        }
        let above = path.parent().unwrap_or(Path::new("/"));
        let looked = Folder::hold(above).and_then(|folder| Ok((folder.look(name)?, folder)));
        let (stat, folder) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                self.session.item_failed(sources::missing(path, &Error::io("look at", path)(error)));
                return slot.fill(None, self.worker);
            }
        };
        if self.is_ours(path, &stat) {
            let problem = format!("the source {} is the backup's own place, which is never backed up", path.display());
            self.session.item_error(path, &Error::misuse(problem));
            return slot.fill(None, self.worker);
        }
        if kind_of(&stat) == NodeKind::Symlink {
            let link = path.display();
            self.session.monitor.notice(&format!("The source {link} is a link; only the link itself is backed up."));
        }
        self.sources[self.source].device = Some(Identity::of(&stat).device);
        self.sources[self.source].file_system = sources::file_system(path);
        let folder = Arc::new(folder);
        self.entry(Entry { folder: &folder, name, path: path.to_path_buf(), stat, earlier }, slot)?;
        self.walk_stack()
    }

    /// Returns whether a source is one of the caller's own places or lies in one, whatever links lead there.
    fn is_ours(&self, path: &Path, stat: &Stat) -> bool {
        let above = path.parent().and_then(|above| above.canonicalize().ok());
        let folders = above.iter().flat_map(|above| above.ancestors());
        let identities = folders.filter_map(|folder| rustix::fs::stat(folder).ok()).map(|stat| Identity::of(&stat));
        identities.chain([Identity::of(stat)]).any(|identity| self.session.never.contains(&identity))
    }
}
