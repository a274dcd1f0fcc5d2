//! Whose turn it is, and what is owed.

use super::*;
use crate::clock::SystemClock;

fn owed(job: &str, words: &[&str]) -> Owed {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    let (plan, target) = ("docs".to_owned(), "local".to_owned());
    Owed { plan, job: job.to_owned(), attempt: 1, target, words, limit_seconds: 60 }
}

#[test]
fn of_one_plan_one_backup_at_a_time_is_between_its_commands() {
    let folder = tempfile::tempdir().unwrap();
    let commands = Commands::new(folder.path());
    let gate = Gate::new();
    let first = commands.enter("docs", &gate, || panic!("nobody is in its way")).unwrap();
    drop(commands.enter("photos", &gate, || panic!("another plan is not in its way")).unwrap());
    let (said, waits) = std::sync::mpsc::channel();
    let (other, other_gate) = (commands.clone(), gate.clone());
    let second = std::thread::spawn(move || other.enter("docs", &other_gate, || said.send(()).unwrap()).is_ok());
    waits.recv().unwrap();
    drop(first);
    assert!(second.join().unwrap());
    let _third = commands.enter("docs", &gate, || ()).unwrap();
    gate.cancel();
    assert!(matches!(commands.enter("docs", &gate, || ()), Err(backup_engine::Error::Cancelled)));
}

#[test]
fn what_is_owed_is_found_until_it_is_settled_and_what_is_damaged_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let commands = Commands::new(folder.path());
    assert!(commands.read_old(Timestamp::UNIX_EPOCH).is_empty());
    let (one, two) = (owed("j1", &["true"]), owed("j2", &["true"]));
    commands.owe(&one).unwrap();
    commands.owe(&two).unwrap();
    fs::write(folder.path().join("commands/j3.json"), "{").unwrap();
    assert_eq!(commands.read_old(Timestamp::UNIX_EPOCH), [one.clone(), two.clone()]);
    assert!(folder.path().join("commands/j3.json.bad-19700101T000000Z").exists());
    let ran = commands.settle(&one, &Outcome::of("succeeded"), &SystemClock);
    assert!(matches!(ran.end, End::Succeeded), "{ran:?}");
    assert_eq!(commands.read_old(Timestamp::UNIX_EPOCH), [two]);
}

#[test]
fn a_command_is_told_what_came_of_the_backup() {
    let folder = tempfile::tempdir().unwrap();
    let commands = Commands::new(folder.path());
    let owed = owed("j1", &["sh", "-c", "echo $BACKUPD_EVENT $BACKUPD_OUTCOME $BACKUPD_SNAPSHOT ${#BACKUPD_ERROR}"]);
    let outcome = Outcome { word: "failed", snapshot: Some("ab".into()), error: Some("é".repeat(5000)) };
    let ran = commands.settle(&owed, &outcome, &SystemClock);
    let line = ran.output.line();
    assert!(["after failed ab 1000", "after failed ab 2000"].contains(&line.as_str()), "letters or bytes: {line}");
}
