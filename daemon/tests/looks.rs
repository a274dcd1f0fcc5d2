//! Many looks in a row: the index is loaded once, and what has changed meanwhile is seen all the same.

mod house;

use std::fs;
use std::path::PathBuf;

use backup_proto::error::ErrorKind;
use backup_proto::message::Request;
use backup_proto::params::SnapshotCat;
use backup_proto::path::WirePath;
use backup_proto::spec::SnapshotQuery;
use backup_testkit::seed::Seed;
use backupd::query::{answer, cat};
use serde_json::json;

use house::{House, backup_of};

fn read(house: &House, file: &str, offset: u64, length: u64) -> Result<Vec<u8>, ErrorKind> {
    let query = SnapshotQuery { snapshot: "latest".to_owned(), target: None, plan: None, host: None, path: None };
    let file = WirePath::from(house.path("source").join(file));
    let params = SnapshotCat { query, file, offset: Some(offset), length: Some(length) };
    let mut read = Vec::new();
    let outcome = cat(&house.context, &params, &mut |bytes| {
        read.extend_from_slice(bytes);
        Ok(())
    });
    outcome.map(|()| read).map_err(|error| error.data.kind)
}

fn index_files(house: &House) -> Vec<PathBuf> {
    let folder = house.path("data/repository/index");
    fs::read_dir(folder).expect("it is there").map(|file| file.expect("it is listed").path()).collect()
}

/// Makes index files unreadable, and takes away what the daemon keeps of them on disk.
fn spoil(house: &House, files: &[PathBuf]) {
    for file in files {
        fs::remove_file(file).expect("it goes");
        fs::write(file, "spoilt").expect("it is written");
    }
    fs::remove_dir_all(house.path("state/cache")).expect("it goes");
}

#[test]
fn many_parts_of_a_file_cost_one_load_of_the_index() {
    let house = House::new("");
    let contents = Seed(3).random().bytes(5 << 20);
    fs::write(house.path("source/file"), &contents).expect("it is written");
    house.run("j1", backup_of(&[&house.path("source")]));
    assert_eq!(read(&house, "file", 0, 10), Ok(contents[..10].to_vec()));
    assert_eq!(house.context.looks.count(), 1);
    // Whoever loads it again finds nothing.
    spoil(&house, &index_files(&house));
    for part in 0..50 {
        let at = part * 100_000;
        assert_eq!(read(&house, "file", at as u64, 70_000), Ok(contents[at..at + 70_000].to_vec()));
    }
    let ls = Request::decode("snapshot.ls", json!({ "query": { "snapshot": "latest" }, "recursive": true }));
    answer(&house.context, &ls.expect("it fits")).expect("it is listed");
    assert_eq!(house.context.looks.count(), 1);
}

#[test]
fn what_was_not_looked_into_before_loads_the_index() {
    let house = House::new("");
    fs::write(house.path("source/file"), "contents").expect("it is written");
    house.run("j1", backup_of(&[&house.path("source")]));
    spoil(&house, &index_files(&house));
    assert!(read(&house, "file", 0, 10).is_err(), "so the test before this one can fail");
}

#[test]
fn what_has_changed_between_two_looks_is_seen() {
    let house = House::new("");
    fs::write(house.path("source/file"), "contents").expect("it is written");
    house.run("j1", backup_of(&[&house.path("source")]));
    assert_eq!(read(&house, "file", 3, 3), Ok(b"ten".to_vec()));
    fs::write(house.path("source/new"), "more").expect("it is written");
    house.run("j2", backup_of(&[&house.path("source")]));
    assert_eq!(read(&house, "new", 0, 9), Ok(b"more".to_vec()), "a new index file is read");
    house.restic().run(["forget", "--keep-last", "1"]);
    house.restic().run(["prune", "--max-unused", "0", "--repack-small"]);
    assert_eq!(read(&house, "file", 0, 9), Ok(b"contents".to_vec()), "packs and index files are others");
    fs::rename(house.path("data/repository"), house.path("data/away")).expect("it goes");
    assert!(read(&house, "file", 0, 9).is_err(), "the target is not there");
    fs::rename(house.path("data/away"), house.path("data/repository")).expect("it comes back");
    assert_eq!(read(&house, "file", 0, 9), Ok(b"contents".to_vec()));
}
