//! Verifying a part, one snapshot, and a snapshot beside its files.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use backup_engine::archiver::BackupOptions;
use backup_engine::checker::{Part, SourceOptions, VerifyOptions, VerifySummary, coverage, verify};
use backup_engine::id::SnapshotId;
use backup_engine::monitor::{Difference, DifferenceKind, ItemFailure, Monitor, Progress};
use backup_engine::source::exclude::Excludes;
use backup_engine::{Class, Error, Gate, Repository};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Acts, Place, Remembers, back_up, now, options};
use jiff::SignedDuration;

/// A repository with a dozen packs or so.
fn many_packs(place: &Place) -> Arc<Repository> {
    let repository = place.create(2);
    for number in 0..6 {
        let source = place.path(&format!("source-{number}"));
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), Seed(number).random().bytes(300_000)).unwrap();
        back_up(&repository, &options(&source));
    }
    repository
}

fn run(repository: &Arc<Repository>, options: &VerifyOptions) -> (VerifySummary, Vec<ItemFailure>) {
    let monitor = Remembers::default();
    let summary = verify(&repository.with_own_index(), options, &Gate::new(), &monitor).unwrap();
    (summary, monitor.failures())
}

fn part(place: &Place, part: Part, hours: i64) -> VerifyOptions {
    VerifyOptions {
        read_data: true,
        part: Some(part),
        records: Some(place.path("verified")),
        now: now().wall + SignedDuration::from_hours(hours),
        ..VerifyOptions::default()
    }
}

fn packs(place: &Place) -> Vec<PathBuf> {
    let folders = fs::read_dir(place.repository().join("data")).unwrap();
    let mut packs: Vec<PathBuf> = folders
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    packs.sort();
    packs
}

#[test]
fn a_tenth_each_time_has_read_everything_after_ten_times() {
    let place = Place::new();
    let repository = many_packs(&place);
    let count = packs(&place).len() as u64;
    let mut read = 0;
    for hours in 0..10 {
        let (summary, failures) = run(&repository, &part(&place, Part::Share(1000), hours));
        assert_eq!(failures, []);
        assert!(summary.packs_read > 0 && summary.packs_read < count, "{summary:?}");
        read += summary.packs_read;
        let known = summary.coverage.unwrap();
        assert_eq!(known.packs_never, count.saturating_sub(read), "never-read packs come first");
        let looked = coverage(&repository, &place.path("verified"), now().wall + SignedDuration::from_hours(20));
        assert_eq!(looked.unwrap(), known, "a look at the record says the same");
    }
    let known = coverage(&repository, &place.path("verified"), now().wall + SignedDuration::from_hours(20)).unwrap();
    assert!(known.packs_never == 0 && known.whole_since.is_some(), "{known:?}");
}

#[test]
fn a_lost_or_damaged_record_means_that_nothing_was_read() {
    let place = Place::new();
    let repository = many_packs(&place);
    run(&repository, &part(&place, Part::Share(10_000), 0));
    let record = fs::read_dir(place.path("verified")).unwrap().next().unwrap().unwrap().path();
    let at = now().wall + SignedDuration::from_hours(1);
    let never = || coverage(&repository, &place.path("verified"), at).unwrap().packs_never;
    assert_eq!(never(), 0);
    assert_eq!(fs::metadata(&record).unwrap().permissions().mode() & 0o777, 0o600);
    let mut bytes = fs::read(&record).unwrap();
    assert_eq!(bytes.len(), 48 + 40 * packs(&place).len() + 4, "the record is compact");
    bytes[100] ^= 1;
    fs::write(&record, &bytes).unwrap();
    assert_eq!(never(), packs(&place).len() as u64);
    fs::remove_file(&record).unwrap();
    assert_eq!(run(&repository, &part(&place, Part::Bytes(1), 0)).0.packs_read, 1);
    assert_eq!(never(), packs(&place).len() as u64 - 1);
}

#[test]
fn a_damaged_pack_stays_unread_and_is_reported_each_time() {
    let place = Place::new();
    let repository = many_packs(&place);
    let damaged = packs(&place)[3].clone();
    bend(&damaged);
    for hours in 0..3 {
        let (summary, failures) = run(&repository, &part(&place, Part::Share(10_000), hours));
        assert_eq!(summary.coverage.unwrap().packs_never, 1);
        let name = damaged.file_name().unwrap().to_str().unwrap();
        assert!(failures.iter().any(|failure| failure.path.to_string_lossy().contains(name)), "{failures:?}");
    }
    // One that comes first every time leaves room for the others.
    let (summary, _) = run(&repository, &part(&place, Part::Share(5000), 4));
    assert!(summary.packs_read > 1, "{summary:?}");
}

#[test]
fn another_attempt_reads_only_what_the_first_did_not() {
    let place = Place::new();
    let repository = many_packs(&place);
    let all = VerifyOptions { part: None, threads: 1, ..part(&place, Part::Bytes(1), 0) };
    let begun = VerifyOptions { since: Some(all.now), ..all };
    let gate = Gate::new();
    let read = Mutex::new(0);
    let stop = |progress: &Progress| {
        let mut read = read.lock().unwrap();
        *read += u64::from(progress.bytes > 0);
        if *read == 3 {
            gate.suspend();
        }
    };
    let monitor = Acts { progress: Some(Box::new(stop)), ..Acts::default() };
    let ended = verify(&repository.with_own_index(), &begun, &gate, &monitor);
    assert!(matches!(ended, Err(Error::Suspended)), "{ended:?}");
    drop(monitor);
    let later = VerifyOptions { now: begun.now + SignedDuration::from_mins(1), ..begun.clone() };
    let (summary, failures) = run(&repository, &later);
    assert_eq!((summary.packs_read, failures), (packs(&place).len() as u64 - 2, Vec::new()));
    let anew = VerifyOptions { since: Some(later.now + SignedDuration::from_mins(1)), ..later };
    assert_eq!(run(&repository, &anew).0.packs_read, packs(&place).len() as u64, "another verification reads all");
}

/// Changes one byte in the middle of a file, and nothing that a look at it would tell.
fn bend(path: &Path) {
    let before = fs::metadata(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    let times = fs::FileTimes::new().set_modified(before.modified().unwrap());
    fs::File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    fs::set_permissions(path, before.permissions()).unwrap();
}

#[test]
fn of_one_snapshot_all_is_read_and_nothing_else() {
    let place = Place::new();
    let repository = many_packs(&place);
    let snapshots = repository.snapshots().unwrap().list;
    let whole: Vec<(VerifySummary, Vec<ItemFailure>)> =
        snapshots.iter().map(|(id, _)| run(&repository, &one(*id))).collect();
    assert!(
        whole
            .iter()
            .all(|(summary, failures)| failures.is_empty() && summary.snapshots == 1 && summary.bytes > 290_000)
    );
    for pack in packs(&place) {
        let kept = fs::read(&pack).unwrap();
        bend(&pack);
        let affected = snapshots.iter().filter(|(id, _)| !run(&repository, &one(*id)).1.is_empty()).count();
        assert!(affected <= 1, "each pack belongs to one snapshot");
        fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&pack, kept).unwrap();
    }
    let missing = verify(&repository, &one(SnapshotId([1; 32])), &Gate::new(), &Remembers::default());
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}

fn one(id: SnapshotId) -> VerifyOptions {
    VerifyOptions { snapshot: Some(id), ..VerifyOptions::default() }
}

/// Remembers what differs.
#[derive(Default)]
struct Differs {
    found: Mutex<Vec<(PathBuf, DifferenceKind)>>,
    remembers: Remembers,
}

impl Monitor for Differs {
    fn differs(&self, difference: Difference) {
        self.found.lock().unwrap().push((difference.path, difference.kind));
    }
    fn item_failed(&self, failure: ItemFailure) {
        self.remembers.item_failed(failure);
    }
}

fn beside(repository: &Arc<Repository>, id: SnapshotId, never: Vec<PathBuf>) -> (VerifySummary, Differs) {
    let monitor = Differs::default();
    let options = VerifyOptions { source: Some(SourceOptions { never }), ..one(id) };
    let summary = verify(&repository.with_own_index(), &options, &Gate::new(), &monitor).unwrap();
    (summary, monitor)
}

#[test]
fn a_snapshot_is_as_its_files_until_they_change() {
    let place = Place::new();
    let source = place.path("source");
    Tree::awkward(&source, Seed(11));
    let repository = place.create(2);
    let id = back_up(&repository, &options(&source)).0.snapshot.unwrap();
    let (summary, monitor) = beside(&repository, id, Vec::new());
    assert_eq!(monitor.found.lock().unwrap()[..], []);
    assert_eq!(monitor.remembers.failures(), []);
    assert!(summary.source.unwrap().bytes > 5_000_000, "{summary:?}");
}

#[test]
fn every_difference_is_named_by_path_and_kind() {
    let place = Place::new();
    let source = place.path("source");
    fs::create_dir_all(source.join("folder/inner")).unwrap();
    for name in ["same", "grown", "touched", "rotten", "large", "gone", "kind", "folder/inner/deep"] {
        fs::write(source.join(name), Seed(1).random().bytes(if name == "large" { 9_000_000 } else { 3000 })).unwrap();
    }
    std::os::unix::fs::symlink("same", source.join("link")).unwrap();
    let repository = place.create(2);
    let excluded = ["*.tmp".to_owned()];
    let options = BackupOptions {
        exclude: Excludes::new(&excluded).unwrap(),
        exclude_patterns: excluded.to_vec(),
        ..options(&source)
    };
    let id = back_up(&repository, &options).0.snapshot.unwrap();

    change(&source);
    let (summary, monitor) = beside(&repository, id, vec![source.join("never")]);
    use DifferenceKind::{Changed, Extra, Missing, Rotten};
    let expected = [
        ("folder", Missing),
        ("gone", Missing),
        ("grown", Changed),
        ("kind", Changed),
        ("large", Rotten),
        ("link", Changed),
        ("new", Extra),
        ("rotten", Rotten),
        ("touched", Changed),
    ];
    let found = monitor.found.lock().unwrap().clone();
    assert_eq!(found, expected.map(|(name, kind)| (source.join(name), kind)));
    let failures = monitor.remembers.failures();
    let failed: Vec<(PathBuf, Class)> = failures.iter().map(|failure| (failure.path.clone(), failure.class)).collect();
    assert_eq!(failed, ["large", "rotten"].map(|name| (source.join(name), Class::Damaged)), "only damage is a failure");
    let report = summary.source.unwrap();
    assert_eq!((report.changed, report.missing, report.extra, report.rotten, report.files), (4, 2, 1, 2, 1));
}

/// Makes one difference of each kind.
fn change(source: &Path) {
    fs::write(source.join("grown"), "longer").unwrap();
    let hour_ago = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    fs::File::options().write(true).open(source.join("touched")).unwrap().set_times(hour_ago).unwrap();
    bend(&source.join("rotten"));
    bend(&source.join("large"));
    fs::remove_file(source.join("gone")).unwrap();
    fs::remove_file(source.join("kind")).unwrap();
    fs::create_dir(source.join("kind")).unwrap();
    fs::remove_file(source.join("link")).unwrap();
    std::os::unix::fs::symlink("other", source.join("link")).unwrap();
    fs::remove_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("new"), "1").unwrap();
    fs::write(source.join("left.tmp"), "1").unwrap();
    fs::create_dir(source.join("never")).unwrap();
}

#[test]
fn what_restic_saved_is_compared_as_well() {
    let place = Place::new();
    let source = place.path("source");
    Tree::awkward(&source, Seed(12));
    place.restic().init(2);
    place.restic().backup(&source);
    let repository = place.open();
    let (id, _) = repository.snapshots().unwrap().list.pop().unwrap();
    let (summary, monitor) = beside(&repository, id, Vec::new());
    // This restic knows no link target that is not UTF-8: what it has stored differs.
    let found = monitor.found.lock().unwrap().clone();
    let is_lost = |path: &Path| path.ends_with("not utf-8 target");
    assert!(found.iter().all(|(path, kind)| is_lost(path) && *kind == DifferenceKind::Changed), "{found:?}");
    assert_eq!(monitor.remembers.failures(), []);
    assert!(summary.source.unwrap().files > 10, "{summary:?}");
}
