//! `find` by id: what uses a blob, a tree or a pack is what restic finds in the same repository.

mod house;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::message::Request;
use backup_testkit::seed::{Random, Seed};
use backup_testkit::tree::Tree;
use backupd::query::answer;
use serde_json::{Value, json};

use house::{House, backup_of};

/// Backups, of which restic makes the last.
const BACKUPS: u64 = 3;
const EMPTY_FOLDERS: usize = 5;

/// What was found: the kind of the blob, its id, the path that uses it, and the snapshot.
type Hit = (String, String, String, String);

fn ask(house: &House, params: Value) -> Result<Value, RpcError> {
    answer(&house.context, &Request::decode("snapshot.find", params).expect("the parameters fit"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Asks for all pages, of which each is short; nothing may come twice.
fn ours(house: &House, mut params: Value) -> BTreeSet<Hit> {
    let mut found = BTreeSet::new();
    loop {
        params["page"] = json!({ "limit": 7, "after": params["page"]["after"] });
        let page = ask(house, params.clone()).expect("it is answered");
        for item in page["items"].as_array().expect("a page has items") {
            let blob = &item["blob"];
            let hit = (text(&blob["kind"]), text(&blob["id"]), text(&item["path"]), text(&item["snapshot"]));
            assert!(found.insert(hit.clone()), "{hit:?} comes twice");
        }
        if page["next"].is_null() {
            return found;
        }
        params["page"]["after"] = page["next"].clone();
    }
}

fn theirs<'a>(house: &House, arguments: impl IntoIterator<Item = &'a str>) -> BTreeSet<Hit> {
    let text_of = house.restic().run(["find", "--json"].into_iter().chain(arguments));
    let found: Value = serde_json::from_slice(&text_of).expect("restic prints JSON");
    let hit = |item: &Value| {
        let kind = if item["object_type"] == "blob" { "data" } else { "tree" };
        (kind.to_owned(), text(&item["id"]), text(&item["path"]), text(&item["snapshot"]))
    };
    found.as_array().expect("it is a list").iter().map(hit).collect()
}

fn lines(house: &House, arguments: [&str; 2]) -> Vec<String> {
    let text = String::from_utf8(house.restic().run(arguments)).expect("ids are text");
    text.lines().map(str::to_owned).collect()
}

/// Changes some files of a tree in which the same contents are under many names.
fn change(tree: &Tree, pool: &[Vec<u8>], random: &mut Random) {
    for _ in 0..14 {
        let name = format!("{}/{}/file {}", random.below(3), random.below(2), random.below(5));
        let (first, second) = (random.index(pool.len()), random.index(pool.len()));
        let contents =
            if random.below(3) == 0 { [&*pool[first], &*pool[second]].concat() } else { pool[first].clone() };
        tree.file(name, &contents);
    }
}

/// A repository of several snapshots of a tree with duplicates, and of empty folders, which share their tree.
fn filled(random: &mut Random) -> House {
    let house = House::new("");
    let tree = Tree::new(house.path("source"), Seed(random.next_u64()));
    let lengths = [10, 500, 3_000, 70_000, 1_400_000, 2_900_000];
    let pool: Vec<Vec<u8>> = lengths.map(|length| random.bytes(length)).to_vec();
    for number in 0..EMPTY_FOLDERS {
        tree.folder(format!("empty {number}"));
    }
    for number in 0..BACKUPS {
        change(&tree, &pool, random);
        match number + 1 < BACKUPS {
            true => drop(house.run(&format!("j{number}"), backup_of(&[tree.root()]))),
            false => drop(house.restic().backup(tree.root())),
        }
    }
    house
}

/// Returns the shortest beginning that no other has.
fn shortened<'a>(id: &'a str, all: &[String]) -> &'a str {
    let is_unique = |length: &usize| all.iter().filter(|other| other.starts_with(&id[..*length])).count() == 1;
    &id[..(1..=64).find(is_unique).expect("ids differ")]
}

#[test]
fn what_uses_a_blob_a_tree_or_a_pack_is_what_restic_finds() {
    let mut random = Seed::of_test("backupd", "what_uses_a_blob_a_tree_or_a_pack").random();
    let house = filled(&mut random);
    let mut blobs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines(&house, ["list", "blobs"]) {
        let (kind, id) = line.split_once(' ').expect("kind and id");
        blobs.entry(kind.to_owned()).or_default().push(id.to_owned());
    }
    data_blobs(&house, &blobs["data"]);
    trees(&house, &blobs["tree"], &mut random);
    packs(&house);
}

fn data_blobs(house: &House, all: &[String]) {
    let found = theirs(house, ["--blob"].into_iter().chain(all.iter().map(String::as_str)));
    assert!(found.len() > all.len(), "nothing is there twice");
    let mine = all.iter().flat_map(|id| ours(house, json!({ "blob": shortened(id, all) })));
    assert_eq!(mine.collect::<BTreeSet<_>>(), found);
}

/// restic stops at the first place of a tree and never names the top.
fn trees(house: &House, all: &[String], random: &mut Random) {
    let snapshots = house.restic().snapshots();
    for _ in 0..4 {
        let id = &all[random.index(all.len())];
        let mine = ours(house, json!({ "tree": shortened(id, all) }));
        assert!(!mine.is_empty(), "tree {id} is nowhere");
        for snapshot in snapshots.iter().map(|snapshot| text(&snapshot["id"])) {
            let found = theirs(house, ["--snapshot", snapshot.as_str(), "--tree", id.as_str()]);
            let mine: BTreeSet<Hit> = mine.iter().filter(|hit| hit.3 == snapshot && hit.2 != "/").cloned().collect();
            assert!(mine.is_superset(&found) && mine.is_empty() == found.is_empty(), "{mine:?} but {found:?}");
        }
    }
    let empty = house.path("source/empty 0").to_string_lossy().into_owned();
    let places = |id: &String| ours(house, json!({ "tree": id }));
    let shared = all.iter().map(places).find(|places| places.iter().any(|hit| hit.2 == empty));
    assert_eq!(shared.map(|places| places.len()), Some(EMPTY_FOLDERS * snapshots.len()));
    let tops = snapshots.iter().map(|snapshot| text(&snapshot["tree"]));
    for (top, snapshot) in tops.zip(&snapshots) {
        let hit = ("tree".to_owned(), top.clone(), "/".to_owned(), text(&snapshot["id"]));
        assert_eq!(ours(house, json!({ "tree": top })), [hit].into());
    }
}

/// restic names only the data in a pack; of trees we name the same as when each of them is asked for.
fn packs(house: &House) {
    let all = lines(house, ["list", "packs"]);
    let mut of_trees = 0;
    for id in &all {
        let (data, trees): (BTreeSet<Hit>, BTreeSet<Hit>) =
            ours(house, json!({ "pack": shortened(id, &all) })).into_iter().partition(|hit| hit.0 == "data");
        let found = theirs(house, ["--pack", id.as_str()]).into_iter().filter(|hit| hit.0 == "data");
        assert_eq!(data, found.collect());
        let ids: BTreeSet<&String> = trees.iter().map(|hit| &hit.1).collect();
        of_trees += ids.len();
        assert_eq!(trees, ids.into_iter().flat_map(|id| ours(house, json!({ "tree": id }))).collect());
    }
    assert!(of_trees > 0, "no pack holds a tree");
}

#[test]
fn an_id_that_nothing_has_finds_nothing_and_one_that_says_too_little_is_refused() {
    let house = filled(&mut Seed(12).random());
    for key in ["blob", "tree", "pack"] {
        assert_eq!(ours(&house, json!({ (key): "0".repeat(64) })), BTreeSet::new());
    }
    // Of more than sixteen, two begin with the same digit.
    let blobs = lines(&house, ["list", "blobs"]);
    let digits: Vec<&str> = blobs.iter().filter_map(|line| line.strip_prefix("tree ")).map(|id| &id[..1]).collect();
    assert!(digits.len() > 16);
    let twice = digits.iter().find(|digit| digits.iter().filter(|other| other == digit).count() > 1);
    for params in [
        json!({ "tree": twice }),
        json!({ "blob": "" }),
        json!({ "blob": "xyz" }),
        json!({ "pack": "0".repeat(65) }),
        json!({}),
        json!({ "pattern": "*", "blob": "00" }),
    ] {
        let refused = ask(&house, params.clone()).expect_err("it is refused");
        assert_eq!(refused.data.kind, ErrorKind::InvalidParams, "{params}: {}", refused.message);
    }
}

#[test]
fn what_is_lost_has_users_too() {
    let house = filled(&mut Seed(13).random());
    let snapshot = house.restic().snapshots().remove(0);
    let blob =
        lines(&house, ["list", "blobs"]).into_iter().find_map(|line| line.strip_prefix("data ").map(str::to_owned));
    let params = json!({ "blob": blob.expect("there is data") });
    let before = ours(&house, params.clone());
    let of_tree = json!({ "tree": snapshot["tree"], "snapshot": snapshot["id"] });
    let pack_of = |params: &Value| ours(&house, params.clone());
    assert!(!before.is_empty() && pack_of(&of_tree).len() == 1);
    let packs = house.path("data/repository/data");
    for pack in lines(&house, ["list", "packs"]) {
        let holds_trees = ours(&house, json!({ "pack": pack })).iter().any(|hit| hit.0 == "tree");
        if !holds_trees {
            fs::remove_file(packs.join(&pack[..2]).join(&pack)).expect("it is removed");
        }
    }
    assert_eq!(ours(&house, params.clone()), before, "its data is lost, its files are known");
    fs::remove_dir_all(&packs).expect("it is removed");
    assert_eq!(ours(&house, of_tree).len(), 1, "what is asked for may be lost itself");
    let refused = ask(&house, params).expect_err("no tree can be read");
    assert_eq!(refused.data.kind, ErrorKind::RepositoryDamaged);
}
