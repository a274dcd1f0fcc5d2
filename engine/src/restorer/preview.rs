//! The dry run: the restore's walk and its decisions, without any change.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::chunks::plan_file;
use super::session::Session;
use super::special::plan_special;
use super::target::Target;
use super::walk::{Selection, Start, Visit, contents_length, join};
use crate::error::{Error, Result};
use crate::monitor::{PlannedAction, PlannedItem};
use crate::tree::{Node, NodeKind};

/// Tells the monitor what a restore would do.
pub(super) struct Preview<'s, 'a> {
    session: &'s Session<'a>,
    selection: &'s Selection,
    start: &'s Start,
    /// The destination, and the folders that lead to where the walk is.
    levels: Vec<Level>,
}

struct Level {
    /// The folder, if it is there.
    target: Option<Target>,
    path: Vec<u8>,
    names: HashSet<OsString>,
}

impl<'s, 'a> Preview<'s, 'a> {
    pub(super) fn new(session: &'s Session<'a>, selection: &'s Selection, start: &'s Start) -> Result<Self> {
        let destination = &session.options.destination;
        let target = match Target::existing_root(destination) {
            Ok(target) => Some(target),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", destination)(error)),
        };
        let top = Level { target, path: start.path.clone(), names: HashSet::new() };
        Ok(Self { session, selection, start, levels: vec![top] })
    }

    /// Leaves the folder that was entered last, at the end the destination; writes down what would be removed from it.
    pub(super) fn close(&mut self) -> Result<()> {
        let Some(level) = self.levels.pop().filter(|_| self.session.options.delete) else { return Ok(()) };
        let Some(target) = level.target else { return Ok(()) };
        for name in target.names().map_err(Error::io("list", target.path()))? {
            if !level.names.contains(&name) && self.selection.takes(&join(&level.path, name.as_bytes())) {
                add(self.session, target.path().join(&name), PlannedAction::Delete, 0);
            }
        }
        Ok(())
    }

    fn top(&mut self) -> &mut Level {
        self.levels.last_mut().expect("the destination's own level is never left")
    }

    fn destination(&self, path: &[u8]) -> PathBuf {
        self.session.destination(&self.start.path, path)
    }
}

fn add(session: &Session<'_>, path: PathBuf, action: PlannedAction, bytes: u64) {
    session.monitor.planned(PlannedItem { path, action, bytes });
}

impl Visit for Preview<'_, '_> {
    fn enter(&mut self, path: &[u8], node: &Node, selected: bool) -> Result<bool> {
        let name = OsString::from_vec(node.name.clone());
        self.top().names.insert(name.clone());
        let top = self.levels.last().expect("the destination's own level is never left");
        let target = top.target.as_ref().and_then(|target| target.existing_child(&name).ok());
        let action = match (&top.target, &target) {
            (_, Some(_)) => PlannedAction::Same,
            (Some(above), None) => match above.look(&name).map_err(Error::io("look at", above.path()))? {
                None => PlannedAction::Create,
                Some(there) if self.session.may_replace(node, above, &there) => PlannedAction::Replace,
                Some(_) => PlannedAction::Keep,
            },
            (None, None) => PlannedAction::Create,
        };
        if selected || action == PlannedAction::Keep {
            add(self.session, self.destination(path), action, 0);
        }
        if action == PlannedAction::Keep {
            return Ok(false);
        }
        self.levels.push(Level { target, path: path.to_vec(), names: HashSet::new() });
        Ok(true)
    }

    fn leave(&mut self) -> Result<()> {
        self.close()
    }

    fn entry(&mut self, path: &[u8], node: Node) -> Result<()> {
        let name = OsStr::from_bytes(&node.name);
        self.top().names.insert(name.to_owned());
        let session = self.session;
        let target = self.top().target.as_ref();
        let (action, bytes) = match node.kind {
            NodeKind::File => {
                (plan_file(session, target, name, &node).map(Some), contents_length(session.repository, &node))
            }
            _ => (plan_special(session, target, &node), 0),
        };
        let to = self.destination(path);
        match action {
            Ok(Some(action)) => add(session, to, action, bytes),
            Ok(None) => {}
            Err(error @ (Error::Cancelled | Error::Suspended)) => return Err(error),
            Err(error) => session.item_error(&to, &error),
        }
        Ok(())
    }

    fn broken(&mut self, path: &[u8], error: Error) {
        self.session.item_error(&self.destination(path), &error);
    }
}
