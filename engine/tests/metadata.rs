//! restic itself judges metadata: what it stores about an odd tree is what we store.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;

use backup_engine::id::BlobId;
use backup_engine::source::meta::{complete, describe};
use backup_engine::source::{Folder, Owners, Place};
use backup_engine::tree::{Node, NodeKind, Tree};
use backup_testkit::restic::Restic;
use backup_testkit::seed::Seed;
use backup_testkit::tree::{Tree as OddTree, open_up};

fn tree(restic: &Restic, id: &BlobId) -> Tree {
    Tree::decode(&restic.run(["cat", "blob", &id.to_string()])).unwrap()
}

/// Describes what is in a folder as we do, and compares it with restic's tree of the same folder, at every depth.
fn compare(restic: &Restic, theirs: &Tree, folder: &Folder, compared: &mut usize) {
    let owners = Owners::default();
    for their_node in &theirs.nodes {
        let name = OsStr::from_bytes(&their_node.name);
        let mut our_node = describe(name, &folder.look(name).unwrap(), &owners);
        let problems = complete(&mut our_node, Place::Entry(folder.as_fd(), name)).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        if their_node.kind == NodeKind::Dir {
            let subtree = tree(restic, &their_node.subtree.unwrap());
            compare(restic, &subtree, &folder.open_child(name).unwrap(), compared);
        }
        let their_node = Node { content: None, subtree: None, ..their_node.clone() };
        // Only restic from 0.16 on keeps a target that is not UTF-8.
        let their_node = match their_node.linktarget_raw {
            None => Node { linktarget_raw: our_node.linktarget_raw.clone(), ..their_node },
            Some(_) => their_node,
        };
        assert_eq!(our_node, their_node);
        let json = |node| serde_json::to_string(node).unwrap();
        assert_eq!(json(&our_node), json(&their_node));
        *compared += 1;
    }
    let names = folder.names().unwrap().names;
    let theirs: Vec<&OsStr> = theirs.nodes.iter().map(|node| OsStr::from_bytes(&node.name)).collect();
    assert_eq!(names, theirs);
}

#[test]
fn an_odd_tree_is_described_as_restic_describes_it() {
    let home = tempfile::tempdir().unwrap();
    let odd = OddTree::awkward(home.path().join("odd"), Seed(5));
    // Every folder costs a call of restic.
    fs::remove_dir_all(odd.path("deep 00")).unwrap();
    let password = home.path().join("password");
    fs::write(&password, "a password").unwrap();
    let restic = Restic::new(&home.path().join("repository"), &password);
    restic.init(2);
    restic.backup(odd.root());

    let mut id: BlobId = restic.snapshots()[0]["tree"].as_str().unwrap().parse().unwrap();
    for name in odd.root().iter().skip(1) {
        id = tree(&restic, &id).get(name.as_bytes()).unwrap().subtree.unwrap();
    }
    let mut compared = 0;
    compare(&restic, &tree(&restic, &id), &Folder::open_root(odd.root()).unwrap(), &mut compared);
    assert!(compared > 40, "{compared} entries");
    open_up(home.path());
}
