//! Each kind of difference is seen, and equal trees are equal.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Options, compare};
use crate::seed::Seed;
use crate::tree::{Tree, open_up};

fn copy_of(tree: &Tree, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(tree.root()).arg(to).status().expect("cp runs");
    assert!(status.success());
}

/// Plants the awkward tree and an exact copy, changes the copy, and returns what was found.
fn differences_after(change: impl Fn(&Path)) -> Vec<String> {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let tree = Tree::awkward(temporary.path().join("a"), Seed(1));
    let copy = temporary.path().join("b");
    copy_of(&tree, &copy);
    change(&copy);
    let found = compare(tree.root(), &copy, &Options::default());
    assert!(found.files > 40 && found.hard_links == 2, "{found:?}");
    open_up(temporary.path());
    let prefix = tree.root().to_path_buf();
    found
        .differences
        .iter()
        .map(|one| format!("{:?}: {}", one.path.strip_prefix(&prefix).expect("a path of the original"), one.what))
        .collect()
}

#[test]
fn an_exact_copy_is_equal() {
    assert_eq!(differences_after(|_| ()), Vec::<String>::new());
}

#[test]
fn one_changed_byte_with_the_old_time_is_seen() {
    let found = differences_after(|copy| {
        let path = copy.join("several chunks");
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[4_000_000] ^= 1;
        fs::write(&path, bytes).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    });
    assert_eq!(found, ["\"several chunks\": the contents differ from byte 4000000 on"]);
}

#[test]
fn missing_and_added_entries_are_seen() {
    let found = differences_after(|copy| {
        let parent = fs::metadata(copy).unwrap().modified().unwrap();
        fs::remove_file(copy.join("zeros")).unwrap();
        fs::write(copy.join("added"), b"").unwrap();
        fs::File::open(copy).unwrap().set_modified(parent).unwrap();
    });
    assert_eq!(found, ["\"added\": is in the copy only", "\"zeros\": is missing in the copy"]);
}

#[test]
fn modes_times_targets_and_attributes_are_seen() {
    let tree = |copy: &Path| Tree::new(copy, Seed(2));
    let found = differences_after(|copy| {
        let tree = tree(copy);
        tree.mode(&copy.join("one byte"), 0o600);
        tree.modified(&copy.join("times/link"), 1_000_000_000, 987_654_320);
        tree.xattr(&copy.join("attributes"), "user.plain", b"other");
    });
    assert_eq!(
        found,
        [
            "\"attributes\": the attribute user.plain has another value",
            "\"one byte\": had mode 0644 and has 0600",
            "\"times/link\": was modified at 1000000000.987654321 and now says 1000000000.987654320 (seconds since 1970)",
        ]
    );
}

#[test]
fn a_hard_link_that_became_a_copy_is_seen() {
    let found = differences_after(|copy| {
        let folder = copy.join("hard");
        let times = fs::metadata(&folder).unwrap().modified().unwrap();
        let status = Command::new("cp").arg("-a").args([folder.join("second"), folder.join("new")]).status().unwrap();
        assert!(status.success());
        fs::rename(folder.join("new"), folder.join("second")).unwrap();
        fs::File::open(&folder).unwrap().set_modified(times).unwrap();
    });
    assert!(found.len() == 1 && found[0].contains("is no longer one file with"), "{found:?}");
}

#[test]
fn a_sparse_file_that_was_written_out_is_seen() {
    let found = differences_after(|copy| {
        let path = copy.join("sparse");
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, fs::read(&path).unwrap()).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    });
    assert!(found.len() == 1 && found[0].contains("lost them"), "{found:?}");
}

#[test]
fn reported_and_excepted_items_are_left_out_and_reported_ones_counted() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let tree = Tree::plain(temporary.path().join("a"), Seed(3));
    let copy = temporary.path().join("b");
    copy_of(&tree, &copy);
    fs::write(copy.join("folder 0/file 0.bin"), b"changed").unwrap();
    fs::write(copy.join("folder 1/file 1.bin"), b"changed").unwrap();
    let options = Options {
        except: [tree.path("folder 0/file 0.bin")].into(),
        reported: [tree.path("folder 1/file 1.bin")].into(),
    };
    let found = compare(tree.root(), &copy, &options);
    found.assert_equal();
    assert_eq!((found.reported, found.files, found.folders), (1, 30, 5));
}
