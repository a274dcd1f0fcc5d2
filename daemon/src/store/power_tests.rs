//! Power cuts at every step of the store, with sled's folder replaced by whatever else it may be: what was acknowledged
//! is there, and nothing that was never asked for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use backup_testkit::seed::{Random, Seed, rounds};

use super::simulated::{Simulated, Step, fast_folder};
use super::tests::{close, copy};
use super::*;

/// What a history of commits did to the disk.
struct History {
    steps: Vec<Step>,
    /// What the store held after each commit, and how many steps had been done when it was acknowledged.
    commits: Vec<(Contents, usize)>,
    /// Copies of sled's folder from different moments, and how many steps had been done then.
    copies: Vec<(PathBuf, usize)>,
}

/// Sessions of the store with a clean stop after each, so that checkpoints are written and journals removed.
fn record(random: &mut Random, home: &Path) -> History {
    let folder = home.join("recorded");
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (log, inside) = (Arc::clone(&steps), folder.clone());
    let disk = Disk::watched(move |op| {
        log.lock().unwrap().extend(Step::of(op, &inside));
        Ok(())
    });
    let mut history = History { steps: Vec::new(), commits: vec![(Contents::new(), 0)], copies: Vec::new() };
    for session in 0..4 {
        let (store, loaded) = Store::open_on(&disk, &folder, "now").unwrap();
        let mut contents = loaded.contents;
        for _ in 0..random.below(12) + 3 {
            let changes: Vec<Change> = (0..=random.below(3)).map(|_| change(random)).collect();
            writer::apply(&mut contents, &changes);
            store.commit_blocking(changes).unwrap();
            history.commits.push((contents.clone(), steps.lock().unwrap().len()));
        }
        close(store);
        let kept = home.join(format!("sled-{session}"));
        copy(&folder.join("queue"), &kept);
        history.copies.push((kept, steps.lock().unwrap().len()));
    }
    history.steps = std::mem::take(&mut *steps.lock().unwrap());
    history
}

fn change(random: &mut Random) -> Change {
    let key = format!("job/{}", random.below(12));
    if random.below(5) == 0 {
        return Change::remove(key);
    }
    // Some are longer than a page, so that they can be torn.
    let length = if random.below(4) == 0 { 9000 } else { 60 };
    Change::set(key, random.bytes(length))
}

/// What becomes of sled's folder.
const FATES: [&str; 7] = ["missing", "empty", "older", "mixed", "torn", "flipped", "a file"];

fn replace_sled(fate: &str, random: &mut Random, copies: &[PathBuf], sled: &Path) {
    let pick = |random: &mut Random| copies[usize::try_from(random.below(copies.len() as u64)).unwrap()].clone();
    match fate {
        _ if copies.is_empty() => return,
        "missing" => return,
        "empty" => return fs::create_dir(sled).unwrap(),
        "a file" => return fs::write(sled, "no folder").unwrap(),
        _ => copy(&pick(random), sled),
    }
    if fate == "mixed" {
        for file in files_in(&pick(random)) {
            if random.below(2) == 0 {
                fs::copy(&file, sled.join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    for file in files_in(sled) {
        let mut bytes = fs::read(&file).unwrap();
        let at = usize::try_from(random.below(bytes.len().max(1) as u64)).unwrap();
        match fate {
            "torn" => bytes.truncate(at),
            "flipped" if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
        fs::write(&file, bytes).unwrap();
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort_unstable();
    files
}

/// Cuts the power at a step, replaces sled's folder, and opens what is left.
fn check(history: &History, at: usize, fate: &str, random: &mut Random, home: &Path) {
    let mut disk = Simulated::default();
    history.steps[..at].iter().for_each(|step| disk.apply(step));
    let folder = home.join("cut");
    fs::create_dir(&folder).unwrap();
    disk.cut_power(random, &folder);
    let (by_journal, _) = load::read_whole(&folder).unwrap().expect("a power cut is no damage");
    // sled is never ahead of the journal.
    let copies = history.copies.iter().filter(|(_, steps)| *steps <= at).map(|(path, _)| path.clone());
    replace_sled(fate, random, &copies.collect::<Vec<_>>(), &folder.join("queue"));
    let (store, loaded) = Store::open_on(&Disk::default(), &folder, "later").unwrap();
    assert!(loaded.contents == by_journal, "cut at step {at}, sled {fate}: the copy changed the result");
    let acknowledged = history.commits.iter().rposition(|(_, steps)| *steps <= at).unwrap();
    let possible = &history.commits[acknowledged..history.commits.len().min(acknowledged + 2)];
    let is_right = possible.iter().any(|(contents, _)| *contents == loaded.contents);
    assert!(is_right, "cut at step {at}, sled {fate}: neither commit {acknowledged} nor the one that was under way");
    close(store);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_acknowledged_whatever_becomes_of_sled() {
    let mut random = Seed::of_test("backupd", "a_power_cut_at_any_step").random();
    let cases = rounds(500, 20_000);
    let (mut done, mut cuts) = (0, BTreeSet::new());
    while done < cases {
        let home = fast_folder();
        let history = record(&mut random, home.path());
        // Every step once, each with another fate of sled.
        for at in 0..=history.steps.len() {
            let fate = FATES[usize::try_from(done % FATES.len() as u64).unwrap()];
            check(&history, at, fate, &mut random, home.path());
            cuts.insert((at, fate));
            done += 1;
        }
    }
    println!("power cut: {done} cases held, {} different moments and copies", cuts.len());
}
