//! `docs/config.md` against the program: every key is there, every example loads, what is said to count without a key
//! does, and a mistake in any key is named with its line.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::section::Vocabulary;
use super::{Config, Surroundings, commands, conditions, jobs, keep, limits, maintenance, plan, socket, target};
use crate::conditions::Policy;

/// A section of the page, the keys it may have, and the lines that stand before such a key in a file.
struct Part {
    heading: &'static str,
    vocabulary: &'static Vocabulary,
    before: &'static str,
}

const TARGET: &str = "[target.nas]\nurl = \"/mnt/nas\"\npassword-file = \"nas.key\"\n";
const PLAN: &str = "[plan.docs]\nsources = [\"/home/ann\"]\n";
const KEEP: &str = "[plan.docs]\nsources = [\"/home/ann\"]\n[plan.docs.keep]\n";
const BEFORE: &str = "[plan.docs]\nsources = [\"/home/ann\"]\n[plan.docs.before]\ncommand = [\"true\"]\n";
const AFTER: &str = "[plan.docs]\nsources = [\"/home/ann\"]\n[plan.docs.after]\ncommand = [\"true\"]\n";
const ENTRY: &str = "[[limits.upload]]\nfrom = \"01:00\"\nto = \"02:00\"\nrate = \"1 MiB/s\"\n";

const PARTS: [Part; 13] = [
    Part { heading: "The whole file", vocabulary: &super::VOCABULARY, before: "" },
    Part { heading: "`[target.NAME]`", vocabulary: &target::VOCABULARY, before: TARGET },
    Part { heading: "`[plan.NAME]`", vocabulary: &plan::VOCABULARY, before: PLAN },
    Part { heading: "`keep` of a plan", vocabulary: &keep::VOCABULARY, before: KEEP },
    Part { heading: "`before` of a plan", vocabulary: &commands::BEFORE, before: BEFORE },
    Part { heading: "`after` of a plan", vocabulary: &commands::AFTER, before: AFTER },
    Part { heading: "`[socket]`", vocabulary: &socket::VOCABULARY, before: "[socket]\n" },
    Part { heading: "`[jobs]`", vocabulary: &jobs::VOCABULARY, before: "[jobs]\n" },
    Part { heading: "`[limits]`", vocabulary: &limits::VOCABULARY, before: "[limits]\n" },
    Part { heading: "Entries of a limit", vocabulary: &limits::ENTRY, before: ENTRY },
    Part { heading: "`[conditions]`", vocabulary: &conditions::VOCABULARY, before: "[conditions]\n" },
    Part { heading: "`networks` of conditions", vocabulary: &conditions::NETWORKS, before: "[conditions.networks]\n" },
    Part { heading: "`[maintenance]`", vocabulary: &maintenance::VOCABULARY, before: "[maintenance]\n" },
];

/// A row of one of the page's tables.
struct Row {
    key: String,
    without: String,
    example: String,
}

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md")).expect("the page is there")
}

/// Returns the page's sections that have a table, in their order.
fn sections(page: &str) -> Vec<(String, Vec<Row>)> {
    let sections = page.split("\n## ").skip(1).map(|section| {
        let (heading, body) = section.split_once('\n').expect("a section has a body");
        let rows = body.lines().filter(|line| line.starts_with("| `")).map(row).collect();
        (heading.to_owned(), rows)
    });
    sections.collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [key, _, without, example] = cells[..] else { panic!("four cells: {line}") };
    let code = |cell: &str| cell.trim_matches('`').to_owned();
    Row { key: code(key), without: without.to_owned(), example: code(example) }
}

/// Makes a file in which a line stands in a section; returns it with that line's number.
fn file(part: &Part, key: &str, line: &str) -> (String, usize) {
    let one_of_each = [&["password-file", "password-command", "systemd-credential"][..], &["command", "shell"]];
    let stays = |known: &&str| {
        let name = known.split(" = ").next().unwrap_or_default();
        name != key && !one_of_each.iter().any(|keys| keys.contains(&name) && keys.contains(&key))
    };
    let mut text = part.before.lines().filter(stays).fold(String::new(), |text, line| text + line + "\n");
    let number = text.lines().count() + 1;
    writeln!(text, "{line}").expect("a text takes it");
    (text, number)
}

fn parse(text: &str) -> Result<Config, super::ConfigError> {
    let surroundings = Surroundings { folder: "/etc/backupd".into(), home: Some("/home/ann".into()) };
    Config::parse(text, Path::new("config.toml"), &surroundings)
}

/// Says all that counts, so that what is written and what counts by itself can be compared.
fn effect(config: &Config) -> String {
    let policy = Policy::of(config, None, None);
    let rules = (policy.on_battery(), policy.power_saver(), policy.offline(), policy.captive(), policy.metered());
    let others = (policy.networks(), policy.vpn(), policy.load(), policy.only_idle(), policy.unknown_waits());
    let times = (policy.window(), policy.deadline());
    let rest = Config { conditions: conditions::ConditionsConfig::default(), ..config.clone() };
    format!("{rules:?} {others:?} {times:?} {rest:?}")
}

#[test]
fn the_page_has_every_key_and_no_other() {
    let sections = sections(&page());
    let headings: Vec<&str> = sections.iter().map(|(heading, _)| heading.as_str()).collect();
    assert_eq!(headings, PARTS.map(|part| part.heading));
    for (part, (heading, rows)) in PARTS.iter().zip(&sections) {
        let known: BTreeSet<&str> = part.vocabulary.known.iter().copied().collect();
        let written: BTreeSet<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(written, known, "{heading}");
        assert_eq!(rows.len(), known.len(), "{heading}: each once");
    }
}

#[test]
fn every_example_loads_and_says_something_and_what_counts_without_a_key_is_what_the_page_says() {
    let mut compared = 0;
    for (part, (heading, rows)) in PARTS.iter().zip(&sections(&page())) {
        for row in rows {
            let load = |line: &str| {
                let (text, _) = file(part, &row.key, line);
                parse(&text).unwrap_or_else(|error| panic!("{heading}: {error}\n{text}"))
            };
            assert!(row.example.starts_with(&format!("{} = ", row.key)), "{heading}: {}", row.example);
            load(&row.example);
            let Some(default) = row.without.strip_prefix('`') else { continue };
            let default = default.trim_end_matches('`');
            assert_eq!(effect(&load(&format!("{} = {default}", row.key))), effect(&load("")), "{}", row.key);
            let is_the_same = row.example == format!("{} = {default}", row.key);
            assert!(is_the_same || effect(&load(&row.example)) != effect(&load("")), "{} has no effect", row.key);
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared} defaults are written so that they can be compared");
}

#[test]
fn a_mistake_in_any_key_is_named_with_its_line_and_what_to_do() {
    for part in &PARTS {
        for key in part.vocabulary.known {
            for line in [format!("{key} = 1979-05-27"), format!("{key}s-x = \"y\"")] {
                let (text, number) = file(part, key, &line);
                let error = parse(&text).expect_err(&line);
                let name = line.split(' ').next().unwrap_or_default();
                let named = |problem: &&super::Problem| problem.line == Some(number) && problem.message.contains(name);
                let problem = error.problems.iter().find(named).unwrap_or_else(|| panic!("{line}: {error}"));
                assert!(problem.advice.ends_with(['.', '?']) && problem.message.ends_with('.'), "{problem:?}");
            }
        }
    }
}
