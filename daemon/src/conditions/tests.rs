//! What each state of the machine means for each kind of job, as tables.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::policy::uses_load;
use super::readings::{BATTERY_BAND, LOAD_BAND};
use super::{Policy, Power, Probe, Readings, Ruling, ScriptedProbe, Seen, Subject, rules};
use crate::config::{Config, Surroundings};

fn config(text: &str) -> Config {
    let surroundings = Surroundings { folder: "/etc".into(), home: None };
    Config::parse(&format!("[conditions]\n{text}"), Path::new("/etc/config.toml"), &surroundings).unwrap()
}

fn now() -> Timestamp {
    "2024-05-01T12:00:00Z".parse().unwrap()
}

/// Makes readings of words such as `battery 34` and `metered`; what is not named is unknown.
fn readings(words: &str) -> Readings {
    let mut readings = Readings::unknown(now());
    for word in words.split(", ").filter(|word| !word.is_empty()) {
        let (name, rest) = word.split_once(' ').unwrap_or((word, ""));
        let percent = rest.parse().ok();
        match name {
            "mains" => readings.power.value = Some(Power { on_battery: false, percent }),
            "battery" => readings.power.value = Some(Power { on_battery: true, percent }),
            "saving" => readings.power_saver.value = Some(true),
            "online" => readings.online.value = Some(true),
            "offline" => readings.online.value = Some(false),
            "captive" => readings.captive.value = Some(true),
            "metered" => readings.metered.value = Some(true),
            "unmetered" => readings.metered.value = Some(false),
            "at" => readings.connection.value = Some(rest.to_owned()),
            "vpn" => readings.vpn.value = Some(rest != "off"),
            "load" => readings.load.value = percent,
            "idle" => readings.idle.value = Some(true),
            "used" => readings.idle.value = Some(false),
            other => panic!("{other} is no reading"),
        }
    }
    readings
}

fn subject(words: &str) -> Subject {
    let has = |word: &str| words.split(' ').any(|known| known == word);
    let hours = if has("overdue") { -1 } else { 24 };
    Subject {
        by_hand: has("asked") || has("restore"),
        now: has("now"),
        is_restore: has("restore"),
        over_network: has("remote"),
        due_by: Some(now().checked_add(SignedDuration::from_hours(hours)).unwrap()),
        closed: None,
    }
}

fn ruling(conditions: &str, words: &str, job: &str) -> Ruling {
    let (config, seen) = (config(conditions), Seen::nothing(now()).after(readings(words)));
    rules::decide(&seen, &Policy::of(&config, None, None), &subject(job), now())
}

/// Says a ruling in a few words.
fn said(conditions: &str, words: &str, job: &str) -> String {
    match ruling(conditions, words, job) {
        Ruling::Run => "run".to_owned(),
        Ruling::Slow(slowdown) => format!("slow {} {}", slowdown.rate, slowdown.reason),
        Ruling::Wait(no) => no.condition.unwrap(),
    }
}

#[test]
fn without_a_word_in_the_config_a_low_battery_and_a_dear_or_dead_network_hold_jobs() {
    for (words, planned, planned_remote, asked, asked_remote, restore_remote) in [
        ("", "run", "run", "run", "run", "run"),
        ("mains 5, online, unmetered", "run", "run", "run", "run", "run"),
        ("battery 40", "run", "run", "run", "run", "run"),
        ("battery 39", "battery", "battery", "run", "run", "run"),
        ("battery", "run", "run", "run", "run", "run"),
        ("battery 10", "battery", "battery", "run", "run", "run"),
        ("battery 9", "battery_critical", "battery_critical", "battery_critical", "battery_critical", "run"),
        ("offline", "run", "offline", "run", "offline", "offline"),
        ("captive", "run", "captive", "run", "captive", "captive"),
        ("metered", "run", "metered", "run", "metered", "run"),
        ("saving, vpn, load 99, used, at train", "run", "run", "run", "run", "run"),
    ] {
        let got = ["", "remote", "asked", "asked remote", "restore remote"].map(|job| said("", words, job));
        assert_eq!(got, [planned, planned_remote, asked, asked_remote, restore_remote], "{words}");
    }
}

#[test]
fn each_rule_does_what_it_says() {
    for (conditions, words, expected) in [
        ("on-battery = \"run\"", "battery 3", "run"),
        ("on-battery = \"pause\"", "battery 99", "battery"),
        ("on-battery = \"pause\"", "battery", "battery"),
        ("on-battery = \"slow 2 MiB/s\"", "battery 80", "slow 2097152 on battery"),
        ("on-battery = \"slow 2 MiB/s below 50%\"", "battery 50", "run"),
        ("on-battery = \"slow 2 MiB/s\"", "battery 9", "battery_critical"),
        ("power-saver = \"pause\"", "saving", "power_saver"),
        ("offline = \"run\"", "offline", "run"),
        ("captive = \"run\"", "captive", "run"),
        ("metered = \"slow 1 MiB/s\"", "metered", "slow 1048576 the network is metered"),
        ("networks = { deny = [\"train\"] }", "at train", "networks"),
        ("networks = { deny = [\"train\"] }", "at home", "run"),
        ("networks = { allow = [\"home\"] }", "at train", "networks"),
        ("networks = { allow = [\"home\"] }", "at home", "run"),
        ("vpn = \"pause\"", "vpn", "vpn"),
        ("vpn = \"only\"", "vpn", "run"),
        ("vpn = \"only\"", "vpn off", "vpn"),
        ("load = \"pause above 80%\"", "load 80", "run"),
        ("load = \"pause above 80%\"", "load 81", "load"),
        ("idle = \"only\"", "used", "idle"),
        ("idle = \"only\"", "idle", "run"),
        (
            "on-battery = \"slow 3 MiB/s\"\nmetered = \"slow 1 MiB/s\"",
            "battery 80, metered",
            "slow 1048576 the network is metered",
        ),
        ("on-battery = \"slow 3 MiB/s\"", "battery 80, offline", "offline"),
    ] {
        assert_eq!(said(conditions, words, "remote"), expected, "{conditions}: {words}");
    }
}

#[test]
fn what_nobody_can_tell_holds_a_job_only_where_a_rule_needs_it_and_the_config_says_so() {
    for (conditions, unknown) in [
        ("on-battery = \"pause below 30%\"", "battery"),
        ("on-battery = \"run\"\nmetered = \"run\"\ncaptive = \"run\"\noffline = \"run\"", "run"),
        ("on-battery = \"run\"\ncaptive = \"run\"\noffline = \"run\"", "metered"),
        ("on-battery = \"run\"\nidle = \"only\"\nmetered = \"run\"\ncaptive = \"run\"\noffline = \"run\"", "idle"),
    ] {
        assert_eq!(said(conditions, "", "remote"), "run", "{conditions}");
        assert_eq!(said(&format!("{conditions}\nunknown = \"pause\""), "", "remote"), unknown, "{conditions}");
    }
    assert_eq!(said("unknown = \"pause\"", "battery", ""), "battery", "a battery that does not tell how full it is");
    assert_eq!(said("unknown = \"pause\"", "mains", ""), "run", "a machine without a battery");
}

#[test]
fn who_waited_for_long_enough_runs_in_spite_of_what_is_soft() {
    for (words, expected) in [
        ("battery 39", "run"),
        ("battery 9", "battery_critical"),
        ("metered", "run"),
        ("offline", "offline"),
        ("captive", "captive"),
    ] {
        assert_eq!(said("", words, "remote overdue"), expected, "{words}");
        assert_eq!(said("", words, "remote now"), "run", "{words}");
    }
    let slow = said("on-battery = \"slow 2 MiB/s\"", "battery 50", "overdue");
    assert_eq!(slow, "slow 2097152 on battery", "late is no reason to be fast");
    let Ruling::Wait(no) = ruling("", "battery 39", "") else { panic!("it waits") };
    assert_eq!((no.next_look, no.runs_by), (subject("").due_by, subject("").due_by));
    let Ruling::Wait(no) = ruling("", "battery 9", "") else { panic!("it waits") };
    assert_eq!((no.next_look, no.runs_by), (None, None), "this does not end by waiting");
}

#[test]
fn the_reason_is_a_sentence_with_its_numbers() {
    for (conditions, words, job, expected) in [
        ("", "battery 34", "", "Waiting for mains power (battery 34 %, threshold 40 %)."),
        ("on-battery = \"pause\"", "battery 34", "", "Waiting for mains power (battery 34 %)."),
        ("", "offline", "remote", "Waiting for a network."),
        ("", "metered, at Pixel", "remote", "Waiting for a network that is not metered (now `Pixel`)."),
        (
            "",
            "metered",
            "remote asked",
            "Waiting for a network that is not metered. With `--now` it runs all the same: `backupctl resume --now` and its id.",
        ),
        (
            "networks = { allow = [\"home\"] }",
            "at train",
            "remote",
            "Waiting for another network (now `train`, which is not among the allowed ones).",
        ),
        (
            "load = \"pause above 80%\"",
            "load 91",
            "",
            "Waiting for the machine to be less busy (load 91 %, threshold 80 %).",
        ),
        ("unknown = \"pause\"", "", "", "Waiting for mains power (unknown here, and `unknown` is `pause`)."),
    ] {
        let Ruling::Wait(no) = ruling(conditions, words, job) else { panic!("{words}: it waits") };
        assert_eq!(no.sentence, expected);
    }
}

#[test]
fn the_nearest_word_counts_and_what_it_leaves_out_comes_from_the_next() {
    let text = "on-battery = \"run\"\nload = \"pause above 80%\"\ndeadline = \"1 day\"\n[target.nas]\nurl = \"/nas\"\npassword-file = \"/key\"\nconditions = { on-battery = \"slow 1 MiB/s\", metered = \"run\" }\n[plan.a]\nsources = [\"/a\"]\nconditions = { on-battery = \"pause\", deadline = \"never\" }\n";
    let config = config(text);
    let policy = |plan, target| Policy::of(&config, plan, target);
    let words = |policy: Policy<'_>| (policy.on_battery().act.to_string(), policy.metered().act.to_string());
    assert_eq!(words(policy(None, None)), ("run".into(), "pause".into()));
    assert_eq!(words(policy(None, Some("nas"))), ("slow 1.0 MiB/s".into(), "run".into()));
    assert_eq!(words(policy(Some("a"), Some("nas"))), ("pause".into(), "run".into()));
    assert_eq!(words(policy(Some("a"), Some("local"))), ("pause".into(), "pause".into()));
    assert_eq!(policy(Some("a"), None).deadline(), None);
    assert_eq!(policy(Some("a"), None).load().limit, Some(80));
    assert!(uses_load(&config) && !uses_load(&self::config("load = \"run\"")));
}

#[test]
fn a_limit_is_passed_at_once_in_the_one_direction_and_beyond_the_band_in_the_other() {
    // Each percentage followed by whether a job waits: down, up in small steps, and away from the battery.
    let steps: [(&str, bool); 12] = [
        ("battery 41", false),
        ("battery 40", false),
        ("battery 39", true),
        ("battery 41", true),
        ("battery 44", true),
        ("battery 43", true),
        ("battery 45", false),
        ("battery 41", false),
        ("battery 39", true),
        ("mains 39", false),
        ("battery 40", false),
        ("battery 39", true),
    ];
    let config = config("");
    let mut seen = Seen::nothing(now());
    for (number, (words, waits)) in steps.into_iter().enumerate() {
        seen = seen.after(readings(words));
        let ruling = rules::decide(&seen, &Policy::of(&config, None, None), &subject(""), now());
        assert_eq!(matches!(ruling, Ruling::Wait(_)), waits, "step {number}: {words}");
        if words == "battery 43" {
            let Ruling::Wait(no) = ruling else { panic!("it waits") };
            assert_eq!(no.sentence, "Waiting for mains power (battery 43 %, goes on at 45 %).");
        }
    }
}

/// Whatever the values are: for every limit at once, a followed value is within the band and on the right side.
#[test]
fn followed_values_never_flap_within_the_band() {
    let mut random: u64 = 7;
    let mut seen = Seen::nothing(now());
    let mut waits: BTreeMap<u8, (bool, bool)> = (1..100).map(|limit| (limit, (false, false))).collect();
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = u8::try_from((random >> 33) % 101).unwrap();
        seen = seen.after(readings(&format!("battery {value}, load {value}")));
        for (limit, (low, busy)) in &mut waits {
            let expect = |was: bool, bad: bool, good: bool| bad || (was && !good);
            *low = expect(*low, value < *limit, value >= limit.saturating_add(BATTERY_BAND));
            *busy = expect(*busy, value > *limit, value.saturating_add(LOAD_BAND) <= *limit);
            let (battery, load) = (seen.battery.unwrap(), seen.load.unwrap());
            assert_eq!((battery < *limit, load > *limit), (*low, *busy), "{value} at {limit}");
        }
    }
}

#[test]
fn only_what_matters_is_news() {
    let probe = ScriptedProbe::new(readings("battery 50, load 3"));
    let seen = Seen::nothing(now()).after(probe.read(now()));
    assert!(!seen.is_news(&probe.read(now()), true));
    probe.set(readings("battery 50, load 90"));
    assert!(!seen.is_news(&probe.read(now()), false), "the load, and no rule for it");
    assert!(seen.is_news(&probe.read(now()), true));
    probe.set(readings("battery 49, load 3"));
    assert!(seen.is_news(&probe.read(now()), false));
    let later = now().checked_add(SignedDuration::from_secs(5)).unwrap();
    let again =
        Readings { power: super::Reading { at: later, ..seen.readings.power.clone() }, ..seen.readings.clone() };
    assert!(!seen.is_news(&again, true), "the same, later");
}
