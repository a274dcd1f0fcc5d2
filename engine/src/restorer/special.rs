//! Entries that have no contents: links, pipes and devices.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode};

use super::session::Session;
use super::target::Target;
use crate::error::Error;
use crate::monitor::PlannedAction;
use crate::source::handle::Place;
use crate::source::meta::kind_of;
use crate::tree::{Node, NodeKind};

/// Restores an entry that is neither a folder nor a regular file.
pub(super) fn restore_special(session: &Session<'_>, target: &Target, node: &Node) {
    let name = OsStr::from_bytes(&node.name);
    let path = target.path().join(name);
    match plan_special(session, Some(target), node) {
        Ok(None) => return,
        Ok(Some(PlannedAction::Same)) if !session.may_touch() => {}
        Ok(Some(PlannedAction::Same)) => session.apply(node, Place::Entry(target.as_fd(), name), &path),
        Ok(Some(PlannedAction::Keep)) => return session.kept(&path),
        Ok(Some(action)) => {
            let made = target.make_part(name, |part| make(target, part, node)).and_then(|part| {
                session.apply(node, Place::Entry(target.as_fd(), &part), &path);
                session.take_name(target, name, action == PlannedAction::Replace)
            });
            if let Err(error) = made {
                target.remove_part(name);
                return session.item_error(&path, &Error::io("create", &path)(error));
            }
        }
        Err(error) => return session.item_error(&path, &error),
    }
    session.count(|summary| summary.others += 1);
}

/// Says what is to be done with such an entry; nothing with a socket, which only its program can make.
pub(super) fn plan_special(
    session: &Session<'_>,
    target: Option<&Target>,
    node: &Node,
) -> Result<Option<PlannedAction>, Error> {
    let name = OsStr::from_bytes(&node.name);
    match node.kind {
        NodeKind::Socket => return Ok(None),
        NodeKind::Unknown | NodeKind::Dir | NodeKind::File => {
            return Err(Error::damaged(format!("the entry {}", name.display()), "its kind is not known"));
        }
        NodeKind::Symlink | NodeKind::Dev | NodeKind::Chardev | NodeKind::Fifo => {}
    }
    let Some(target) = target else { return Ok(Some(PlannedAction::Create)) };
    let path = target.path().join(name);
    let there = target.look(name).map_err(Error::io("look at", &path))?;
    Ok(Some(match there {
        None => PlannedAction::Create,
        Some(stat) if kind_of(&stat) == node.kind && is_same(target, name, node, &stat) => PlannedAction::Same,
        Some(stat) if session.may_replace(node, target, &stat) => PlannedAction::Replace,
        Some(_) => PlannedAction::Keep,
    }))
}

fn is_same(target: &Target, name: &OsStr, node: &Node, stat: &rustix::fs::Stat) -> bool {
    match node.kind {
        NodeKind::Symlink => {
            let there = rustix::fs::readlinkat(target.as_fd(), name, Vec::new());
            there.is_ok_and(|there| there.to_bytes() == node.link_target())
        }
        NodeKind::Dev | NodeKind::Chardev => device(node) == Some(stat.st_rdev),
        _ => true,
    }
}

fn make(target: &Target, name: &OsStr, node: &Node) -> io::Result<()> {
    let fd = target.as_fd();
    let private = Mode::RUSR | Mode::WUSR;
    let special = |kind, device| make_special(fd, name, kind, private, device);
    match node.kind {
        NodeKind::Symlink => Ok(rustix::fs::symlinkat(node.link_target(), fd, name)?),
        NodeKind::Fifo => special(FileType::Fifo, 0),
        NodeKind::Dev => special(FileType::BlockDevice, device(node).ok_or(io::ErrorKind::InvalidData)?),
        _ => special(FileType::CharacterDevice, device(node).ok_or(io::ErrorKind::InvalidData)?),
    }
}

#[cfg(not(target_vendor = "apple"))]
type Device = rustix::fs::Dev;

#[cfg(target_vendor = "apple")]
type Device = i32;

fn device(node: &Node) -> Option<Device> {
    // The system keeps 32 bits; of more it would drop some and make another device.
    Device::try_from(node.device).ok().filter(|_| u32::try_from(node.device).is_ok())
}

#[cfg(not(target_vendor = "apple"))]
fn make_special(fd: impl AsFd, name: &OsStr, kind: FileType, mode: Mode, device: Device) -> io::Result<()> {
    Ok(rustix::fs::mknodat(fd, name, kind, mode, device)?)
}

#[cfg(target_vendor = "apple")]
fn make_special(_: impl AsFd, _: &OsStr, _: FileType, _: Mode, _: Device) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
