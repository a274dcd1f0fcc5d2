//! Hints, where what they say is not all: file systems that are not a disk of this machine, and what is mounted meanwhile.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use backup_engine::archiver::{BackupOptions, BackupSummary};
use backup_engine::browse;
use backup_testkit::{mount, wait};
use common::scene::Scene;

#[test]
fn what_is_mounted_on_a_folder_that_nobody_named_is_found() {
    mount::run("what_is_mounted_on_a_folder_that_nobody_named_is_found", || {
        let mut scene = Scene::new();
        scene.plant();
        scene.with_record();
        let disk = scene.tree.path("b/c");
        assert!(scene.hinted(&[]).0.hinted);
        mount::tmpfs(&disk, 1 << 20);
        fs::write(disk.join("on the other disk"), "new").unwrap();
        let (mounted, _) = scene.hinted(&[]);
        assert_eq!(
            (mounted.hinted, mounted.files),
            (false, 21 - 8 + 1),
            "eight are hidden, and there is one on top of them"
        );
        scene.assert_same_as_without(&mounted);
        assert!(scene.hinted(&[]).0.hinted, "it is as it was");
        mount::unmount(&disk);
        let (unmounted, _) = scene.hinted(&[]);
        assert_eq!((unmounted.hinted, unmounted.files), (false, 21));
        scene.assert_same_as_without(&unmounted);
    });
}

/// A shell that opens what it is told to. Its folder in `/proc` is like one on a server: it changes and nobody here sees that.
struct Shell(Child);

impl Shell {
    fn start() -> Self {
        let mut command = Command::new("sh");
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd", self.0.id()))
    }

    fn open(&mut self, file: &Path) {
        let line = format!("exec 9<'{}'\n", file.display());
        self.0.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        let link = self.folder().join("9");
        wait::until("the shell has opened it", || fs::read_link(&link).ok().filter(|target| target == file));
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_folder_that_is_not_on_a_disk_of_this_machine_is_looked_at_whatever_the_hints_say() {
    let mut scene = Scene::new();
    scene.plant();
    let mut shell = Shell::start();
    let (fd, local) = (shell.folder(), scene.tree.root().to_owned());
    let back_up = |scene: &mut Scene| {
        let options = scene.options(true);
        let sources = vec![local.clone(), fd.clone()];
        scene.back_up(&BackupOptions { sources, changed: scene.changed([]), ..options }).0
    };
    let first = back_up(&mut scene);
    assert_eq!((first.hinted, first.failed), (false, 0));
    fs::write(scene.tree.path("b/file 1"), "nobody says so").unwrap();
    let opened = scene.place.path("opened");
    fs::write(&opened, "").unwrap();
    shell.open(&opened);
    let second = back_up(&mut scene);
    assert_eq!((second.hinted, second.failed), (true, 0));
    assert_eq!(second.files_changed, 0, "where the hints may be believed they are");
    let found = links(&scene, &second, &fd);
    assert!(found.contains(&opened.display().to_string()), "{found:?}");
}

/// Returns where the links lead that a snapshot has in a folder.
fn links(scene: &Scene, summary: &BackupSummary, folder: &Path) -> Vec<String> {
    let repository = scene.repository.with_own_index();
    repository.load_index().unwrap();
    let snapshots = repository.snapshots().unwrap().list;
    let (id, _) = snapshots.into_iter().find(|(id, _)| Some(*id) == summary.snapshot).unwrap();
    let mut found = Vec::new();
    browse::list(&repository, &id, folder.as_os_str().as_encoded_bytes(), true, &mut |_, node| {
        found.push(node.linktarget.clone());
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    found
}
