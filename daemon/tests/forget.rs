//! Forgetting through the real engine: by a plan's rule, by name, and what holds it back.

mod house;

use std::fs;

use backup_engine::Gate;
use backup_proto::error::{Class, ErrorKind};
use backup_proto::job::{JobId, PlannedAction, PlannedItem};
use backup_proto::page::PageRequest;
use backup_proto::spec::{BackupSpec, ForgetSpec, JobSpec, SnapshotQuery};
use backup_proto::target::Keep;
use backupd::inbox::News;
use backupd::job::{Ended, How, Job};

use house::{House, backup_of, job};

const CONFIG: &str = "[plan.docs]\nsources = [\"HOME/source\"]\nkeep = { last = 2 }\n";

fn by_plan() -> ForgetSpec {
    ForgetSpec { plan: Some("docs".to_owned()), ..ForgetSpec::default() }
}

/// A house with so many snapshots of the plan, of ten files each, oldest first.
fn house_with(count: usize) -> (House, Vec<String>) {
    let house = House::new(CONFIG);
    for number in 0..10 {
        fs::write(house.path("source").join(number.to_string()), vec![7; 1000]).expect("it is written");
    }
    let ids = (0..count).map(|number| back_up(&house, &format!("b{number}")));
    let ids = ids.collect();
    (house, ids)
}

fn back_up(house: &House, id: &str) -> String {
    let spec = BackupSpec { plan: Some("docs".to_owned()), ..BackupSpec::default() };
    house.run(id, JobSpec::Backup(spec)).0.totals.snapshot.expect("the backup makes one")
}

fn forget(house: &House, id: &str, spec: ForgetSpec) -> Ended {
    house.run(id, JobSpec::Forget(spec)).0
}

fn listed(house: &House, id: &str) -> Vec<PlannedItem> {
    house.context.ledger.page(&JobId::from(id), 1, &PageRequest::default()).expect("it is readable").items
}

fn there(house: &House) -> Vec<String> {
    house.restic().snapshots().iter().map(|snapshot| snapshot["id"].as_str().expect("an id").to_owned()).collect()
}

/// S0.61, S0.65: the plan says how long its snapshots are kept, and each one that goes is listed with the reason.
#[test]
fn a_plans_rule_removes_what_it_does_not_keep_and_a_dry_run_says_so_before() {
    let (house, ids) = house_with(4);
    let dry = forget(&house, "f1", ForgetSpec { dry_run: true, ..by_plan() });
    assert_eq!((&dry.how, dry.totals.files, there(&house).len()), (&How::Done, 2, 4));
    let verdicts = listed(&house, "f1");
    assert_eq!(verdicts.len(), 4);
    let kept = verdicts.iter().filter(|item| item.action == PlannedAction::Keep);
    assert!(kept.into_iter().all(|item| item.reasons == ["last snapshot"]), "{verdicts:?}");
    let (ended, said) = house.run("f2", JobSpec::Forget(by_plan()));
    assert_eq!((&ended.how, ended.totals.files), (&How::Done, 2));
    assert_eq!(there(&house), ids[2..]);
    let removed: Vec<String> = listed(&house, "f2").into_iter().filter_map(|item| Some(item.snapshot?.id)).collect();
    assert_eq!(removed, ids[..2], "each that was removed is on record");
    let decided = said.iter().find_map(|news| match news {
        News::Chosen { snapshots, .. } => Some(snapshots.len()),
        _ => None,
    });
    assert_eq!(decided, Some(2), "what goes is stored before it goes");
    house.restic().check();
}

/// S1.22: what is held stays, by rule and by name. S0.62: what is not held goes when its owner says so.
#[test]
fn a_hold_is_respected_by_the_rule_and_by_name() {
    let (house, ids) = house_with(4);
    house.restic().run(["tag", "--add", "backupd:hold=2999-12-31", &ids[0]]);
    let held = there(&house).into_iter().find(|id| !ids.contains(id)).expect("restic rewrites it");
    let ended = forget(&house, "f1", by_plan());
    assert_eq!((ended.how, ended.totals.files), (How::Done, 1));
    assert_eq!(there(&house).len(), 3);
    let named = ForgetSpec { snapshots: vec![held[..8].to_owned(), ids[2][..8].to_owned()], ..ForgetSpec::default() };
    let ended = forget(&house, "f2", named);
    assert_eq!((ended.how, ended.totals.files, ended.totals.failed_count), (How::Done, 1, 1));
    assert!(ended.totals.failed[0].message.contains("held until 2999-12-31"), "{:?}", ended.totals.failed);
    assert_eq!(there(&house).len(), 2);
    let unknown = ForgetSpec { snapshots: vec![ids[2].clone()], ..ForgetSpec::default() };
    let How::Failed(error) = forget(&house, "f3", unknown).how else { panic!("it is gone already") };
    assert_eq!(error.data.kind, ErrorKind::SnapshotNotFound);
}

/// S1.22: what the config pins stays, by rule and by name.
#[test]
fn what_is_pinned_in_the_config_stays() {
    let (house, ids) = house_with(4);
    let config = format!("{CONFIG}pinned = [\"{}\"]\n", &ids[0][..12]);
    fs::write(house.path("config.toml"), config.replace("HOME", &house.folder.path().to_string_lossy()))
        .expect("it is written");
    let house = house.again();
    let ended = forget(&house, "f1", by_plan());
    assert_eq!((ended.how, ended.totals.files), (How::Done, 1));
    assert_eq!(there(&house), [&ids[0], &ids[2], &ids[3]].map(Clone::clone));
    let named = ForgetSpec { snapshots: vec![ids[0].clone()], ..ForgetSpec::default() };
    let ended = forget(&house, "f2", named);
    assert_eq!((ended.totals.files, ended.totals.failed_count), (0, 1), "{:?}", ended.totals.failed);
    assert_eq!(there(&house).len(), 3);
}

#[test]
fn a_source_that_shrank_forgets_nothing_until_somebody_confirms_and_says_what_to_do() {
    let (house, _) = house_with(3);
    (0..8).for_each(|number| fs::remove_file(house.path("source").join(number.to_string())).expect("it is removed"));
    // The first backup says that the source shrank and counts as incomplete, the next one finds it as it was.
    back_up(&house, "b8");
    back_up(&house, "b9");
    for id in ["f1", "f2"] {
        let ended = forget(&house, id, by_plan());
        assert_eq!((ended.how, ended.totals.files, ended.totals.failed_count), (How::Done, 0, 1));
        let item = &ended.totals.failed[0];
        assert_eq!(item.class, Class::Misuse);
        assert!(item.message.contains("from 10 to 2 files") && item.advice.contains("--confirm-shrunk"), "{item:?}");
        // Another backup of what is left does not make it right.
        back_up(&house, &format!("{id}b"));
    }
    assert_eq!(there(&house).len(), 7);
    let ended = forget(&house, "f3", ForgetSpec { confirm_shrunk: true, ..by_plan() });
    assert_eq!((ended.how, ended.totals.files, ended.totals.failed_count), (How::Done, 5, 0));
    back_up(&house, "b10");
    let ended = forget(&house, "f4", by_plan());
    assert_eq!((ended.totals.files, ended.totals.failed_count), (1, 0), "it is asked once");
}

#[test]
fn an_attempt_that_goes_on_removes_only_what_the_first_one_decided() {
    let (house, ids) = house_with(5);
    let query = |id: &String| SnapshotQuery {
        snapshot: id.clone(),
        target: Some("local".to_owned()),
        plan: None,
        host: None,
        path: None,
    };
    let spec = ForgetSpec { keep: Some(Box::new(Keep { last: Some(1), ..Keep::default() })), ..by_plan() };
    let killed = Job { chosen: ids[..2].iter().map(query).collect(), ..job("f1", JobSpec::Forget(spec)) };
    let (ended, _) = house.run_job(killed, &Gate::new());
    assert_eq!((ended.how, ended.totals.files), (How::Done, 2));
    assert_eq!(there(&house), ids[2..]);
}

#[test]
fn without_a_rule_nothing_goes_and_another_plans_snapshots_are_left_alone() {
    let (house, ids) = house_with(3);
    house.run("o1", backup_of(&[&house.path("source")]));
    house.run("o2", backup_of(&[&house.path("source")]));
    let How::Failed(error) = forget(&house, "f1", ForgetSpec::default()).how else { panic!("there is no rule") };
    assert!(error.message.contains("no rule"), "{error:?}");
    assert_eq!(forget(&house, "f2", by_plan()).totals.files, 1);
    let left = there(&house);
    assert!(left.len() == 4 && !left.contains(&ids[0]), "{left:?}");
}
