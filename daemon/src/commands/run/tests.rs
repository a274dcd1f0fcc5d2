//! Commands that behave, and those that do not.

use rustix::process::{kill_process, test_kill_process};

use super::*;
use crate::clock::SystemClock;

const MINUTE: Duration = Duration::from_secs(60);

fn shell(text: &str, limit: Duration, gate: &Gate) -> Ran {
    let words = ["sh", "-c", text].map(str::to_owned);
    run(&Order { words: &words, environment: &[("BACKUPD_PLAN", "docs".into())], limit }, &SystemClock, gate)
}

/// Returns the process whose number a command printed first.
fn printed_pid(ran: &Ran) -> Pid {
    let line = ran.output.line();
    let first = line.split(' ').next().and_then(|word| word.parse().ok());
    first.and_then(Pid::from_raw).unwrap_or_else(|| panic!("no number in `{line}`"))
}

#[test]
fn what_a_command_says_and_how_it_ends_is_known() {
    let gate = Gate::new();
    let good = shell("echo to $BACKUPD_PLAN; echo and >&2; printf '\\033[1m'", MINUTE, &gate);
    assert!(matches!(good.end, End::Succeeded), "{good:?}");
    assert_eq!(good.output.line(), "to docs / and / [1m", "nothing in it steers a terminal");
    assert!(matches!(shell("exit 3", MINUTE, &gate).end, End::Failed(status) if status.code() == Some(3)));
    let missing = ["/no/such/program".to_owned()];
    let order = Order { words: &missing, environment: &[], limit: MINUTE };
    assert!(matches!(run(&order, &SystemClock, &gate).end, End::NotStarted(_)));
}

#[test]
fn a_program_that_is_left_behind_with_the_output_open_is_neither_waited_for_nor_ended() {
    let ran = shell("sleep 300 & echo $!", MINUTE, &Gate::new());
    assert!(matches!(ran.end, End::Succeeded), "{ran:?}");
    let left = printed_pid(&ran);
    assert!(test_kill_process(left).is_ok(), "it runs");
    kill_process(left, Signal::KILL).expect("it is ours");
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_what_it_started_even_if_it_does_not_listen() {
    let ran = shell("trap '' TERM; echo $$; while :; do sleep 1; done", Duration::from_secs(1), &Gate::new());
    assert!(matches!(ran.end, End::TookTooLong), "{ran:?}");
    assert!(test_kill_process(printed_pid(&ran)).is_err(), "it is gone");
}

#[test]
fn of_a_flood_of_output_only_the_end_is_kept() {
    let ran = shell("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo the end", MINUTE, &Gate::new());
    assert!(matches!(ran.end, End::Succeeded), "{ran:?}");
    assert!(ran.output.line().ends_with("x / the end"));
    assert_eq!((ran.output.tail.len(), ran.output.dropped), (TAIL_MAX, 20_000_009 - TAIL_MAX as u64));
}

#[test]
fn a_pause_lets_a_command_end_and_a_cancel_does_not() {
    let gate = Gate::new();
    gate.pause();
    assert!(matches!(shell("sleep 0.2", MINUTE, &gate).end, End::Succeeded));
    let other = gate.clone();
    let cancel = std::thread::spawn(move || other.cancel());
    let ran = shell("while :; do sleep 0.1; done", MINUTE, &gate);
    cancel.join().expect("it does not panic");
    assert!(matches!(ran.end, End::Stopped), "{ran:?}");
}
