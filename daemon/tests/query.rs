//! Looking into targets and snapshots: what is answered, page by page.

mod house;

use std::collections::BTreeSet;
use std::fs;

use backup_engine::Gate;
use backup_proto::error::ErrorKind;
use backup_proto::message::Request;
use backup_proto::page::PageRequest;
use backup_proto::params::{PlanList, SnapshotCat};
use backup_proto::path::WirePath;
use backup_proto::spec::{ForgetSpec, JobSpec, SnapshotQuery};
use backupd::query::{answer, cat, plans};
use backupd::store::Contents;
use backupd::supervisor::load;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use house::{House, backup_of};

/// A house with two backups of a small tree, between which one file changed and one was added.
fn filled() -> House {
    let house = House::new("");
    let source = house.path("source");
    for folder in ["a", "a/deep", "b"] {
        fs::create_dir(source.join(folder)).expect("it is made");
        for number in 0..5 {
            fs::write(source.join(folder).join(format!("{number}.txt")), folder).expect("it is written");
        }
    }
    let first = house.run("j1", backup_of(&[&source])).0.totals.snapshot;
    fs::write(source.join("b/0.txt"), "changed").expect("it is written");
    fs::write(source.join("b/new.txt"), "new").expect("it is written");
    let second = house.run_with("j2", backup_of(&[&source]), &Gate::new()).0.totals.snapshot;
    assert!(first.is_some() && second.is_some() && first != second);
    house
}

fn ask(house: &House, method: &str, params: Value) -> Value {
    let request = Request::decode(method, params).expect("the parameters fit");
    answer(&house.context, &request).expect("it is answered")
}

/// Reads a list in pages of two.
fn ask_all(house: &House, method: &str, mut params: Value) -> Vec<Value> {
    let mut items = Vec::new();
    loop {
        let after = params["page"]["after"].clone();
        params["page"] = json!({ "limit": 2, "after": after });
        let page = ask(house, method, params.clone());
        items.extend(page["items"].as_array().expect("a page has items").iter().cloned());
        assert!(items.len() < 1000, "the pages never end");
        if page["next"].is_null() {
            return items;
        }
        params["page"]["after"] = page["next"].clone();
    }
}

fn paths(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["path"].as_str().expect("it has a path").to_owned()).collect()
}

#[test]
fn pages_of_a_listing_together_are_what_restic_lists() {
    let house = filled();
    let ours = paths(&ask_all(&house, "snapshot.ls", json!({ "query": { "snapshot": "latest" }, "recursive": true })));
    let snapshot = ask(&house, "snapshot.list", json!({}))["items"][1]["id"].clone();
    let theirs = house.restic().ls(snapshot.as_str().expect("it is text"));
    let theirs: Vec<&str> = theirs.iter().filter_map(|node| node["path"].as_str()).collect();
    assert_eq!(ours.iter().collect::<BTreeSet<_>>().len(), ours.len(), "nothing comes twice");
    assert_eq!(ours.iter().map(String::as_str).collect::<BTreeSet<_>>(), theirs.into_iter().collect());
    let folder = house.path("source/a").to_string_lossy().into_owned();
    let params = json!({ "query": { "snapshot": "latest" }, "folder": folder });
    assert_eq!(ask_all(&house, "snapshot.ls", params).len(), 6, "five files and a folder");
}

#[test]
fn a_search_finds_each_entry_once_in_each_snapshot() {
    let house = filled();
    let found = ask_all(&house, "snapshot.find", json!({ "pattern": "0.txt" }));
    assert_eq!(found.len(), 6);
    let found = ask_all(&house, "snapshot.find", json!({ "pattern": "new.txt" }));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["target"], "local");
}

#[test]
fn a_comparison_names_what_changed() {
    let house = filled();
    let list = ask_all(&house, "snapshot.list", json!({}));
    let params = json!({ "a": { "snapshot": list[0]["id"] }, "b": { "snapshot": list[1]["id"] } });
    let changes = ask_all(&house, "snapshot.diff", params);
    let changes: BTreeSet<(String, String)> = changes
        .iter()
        .map(|change| (change["change"].to_string(), change["path"].as_str().expect("a path").to_owned()))
        .collect();
    let path = |name: &str| house.path(name).to_string_lossy().into_owned();
    let expected = [("\"modified\"", "source/b/0.txt"), ("\"added\"", "source/b/new.txt")];
    assert_eq!(changes, expected.iter().map(|(kind, name)| ((*kind).to_owned(), path(name))).collect());
}

#[test]
fn a_file_comes_out_as_it_went_in_and_a_wrong_path_is_said() {
    let house = filled();
    let query = SnapshotQuery { snapshot: "latest".to_owned(), target: None, plan: None, host: None, path: None };
    let read = |name: &str| {
        let file = WirePath::from(house.path(name));
        let mut bytes = Vec::new();
        let params = SnapshotCat { query: query.clone(), file, offset: None, length: None };
        cat(&house.context, &params, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .map(|()| bytes)
    };
    assert_eq!(read("source/b/0.txt"), Ok(b"changed".to_vec()));
    assert_eq!(read("source/b/none").map_err(|error| error.data.kind), Err(ErrorKind::PathNotFound));
}

#[test]
fn looking_at_an_empty_house_makes_nothing() {
    let house = House::new("");
    assert_eq!(ask(&house, "snapshot.list", json!({}))["items"], json!([]));
    assert_eq!(ask_all(&house, "snapshot.find", json!({ "pattern": "x" })).len(), 0);
    assert_eq!(ask(&house, "target.list", json!({}))["items"][0]["state"], "new");
    assert!(!house.path("data").exists());
}

#[test]
fn targets_and_plans_that_are_added_are_in_the_config_and_in_the_lists() {
    let house = House::new("# mine\n");
    fs::write(house.path("nas.key"), "secret").expect("it is written");
    let url = house.path("nas").to_string_lossy().into_owned();
    let add = json!({ "request_id": "r1", "name": "nas", "url": url, "password_file": "nas.key" });
    assert_eq!(ask(&house, "target.add", add)["name"], "nas");
    assert_eq!(ask(&house, "target.init", json!({ "request_id": "r2", "name": "nas" }))["state"], "ready");
    assert_eq!(ask(&house, "target.check", json!({ "name": "nas" }))["snapshots"], 0);
    let source = house.path("source").to_string_lossy().into_owned();
    let plan = json!({ "name": "docs", "sources": [source], "targets": ["nas"], "schedule": "every 1h", "keep": { "last": 3 } });
    let added = ask(&house, "plan.add", json!({ "request_id": "r3", "plan": plan }));
    assert_eq!(added["plan"]["keep"], json!({ "last": 3 }));
    let now = house.context.clock.now().wall;
    let (state, _) = load(&Contents::new(), house.context.config(), TimeZone::UTC, 0, now);
    let listed = plans(&PlanList { page: PageRequest::default() }, &house.context, &state).items;
    assert_eq!((listed.len(), listed[0].last_success), (1, None));
    assert!(listed[0].next_run.is_some_and(|next| next >= now), "it is due as soon as the daemon looks");
    assert_eq!(ask_all(&house, "target.list", json!({})).len(), 2);
    assert_eq!(ask(&house, "config.check", json!({}))["problems"], json!([]));
    let text = ask(&house, "config.show", json!({}))["text"].as_str().expect("it is text").to_owned();
    assert!(text.starts_with("# mine\n") && text.contains("[target.nas]"), "{text}");
}

#[test]
fn a_held_snapshot_keeps_its_note_and_a_forget_leaves_it_alone() {
    let house = House::new("");
    fs::write(house.path("source/a"), "a").expect("it is written");
    let mut job = house::job("j1", backup_of(&[&house.path("source")]));
    job.reason = Some("before the move".to_owned());
    house.run_job(job, &Gate::new());
    let listed = || ask(&house, "snapshot.list", json!({}))["items"].as_array().expect("there are some").clone();
    let first = listed()[0].clone();
    assert_eq!((&first["note"]["reason"], &first["note"]["job"]), (&json!("before the move"), &json!("j1")));

    let hold = |until: Value| json!({ "request_id": "r", "query": { "snapshot": "latest" }, "until": until });
    let held = ask(&house, "snapshot.hold", hold("2999-12-31".into()));
    assert_eq!(held["tags"], json!(["backupd:major", "backupd:hold=2999-12-31"]));
    assert_eq!(listed().len(), 1, "the old form is gone");
    let refused = Request::decode("snapshot.hold", hold("yesterday".into())).expect("the parameters fit");
    answer(&house.context, &refused).expect_err("it is no day");

    let forget = ForgetSpec { snapshots: vec![held["id"].as_str().expect("text").to_owned()], ..ForgetSpec::default() };
    let (ended, _) = house.run("j2", JobSpec::Forget(forget));
    assert_eq!((ended.totals.files, ended.totals.failed_count), (0, 1), "it is held");
    // restic drops what it does not know when it rewrites a snapshot.
    house.restic().run(["tag", "--add", "theirs"]);
    assert_eq!(listed()[0]["note"], first["note"]);
    let free = ask(&house, "snapshot.hold", hold(Value::Null));
    assert_eq!(free["tags"], json!(["backupd:major", "theirs"]));

    let stats = ask(&house, "snapshot.stats", json!({ "snapshots": ["latest"] }));
    let stats = &stats["targets"][0];
    assert_eq!((&stats["snapshots"], &stats["files"], &stats["restore_bytes"]), (&json!(1), &json!(1), &json!(1)));
}
