//! Configs that must load, and configs that must not, each with the exact words it is refused with.
//!
//! `config/loads/*.toml` load. `config/refused/NAME.toml` is refused with the text in `NAME.txt`. Stored files are
//! never edited; new cases are new files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backup_proto::target::Keep;
use backupd::config::{Config, ConfigFile, NewPlan, NewTarget, PasswordSource, PlanCommand, Surroundings, check};

fn surroundings() -> Surroundings {
    Surroundings { folder: "/etc/backupd".into(), home: Some("/home/ann".into()) }
}

fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it is readable").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

fn parse(path: &Path) -> Result<Config, String> {
    let text = fs::read_to_string(path).expect("the case is readable");
    Config::parse(&text, Path::new("config.toml"), &surroundings()).map_err(|error| error.to_string())
}

#[test]
fn what_must_load_loads() {
    for path in cases("loads") {
        if let Err(error) = parse(&path) {
            panic!("{}: {error}", path.display());
        }
    }
}

#[test]
fn what_must_not_load_is_refused_in_the_stored_words() {
    for path in cases("refused") {
        let error = parse(&path).expect_err(&format!("{} is refused", path.display()));
        let stored = path.with_extension("txt");
        let expected = fs::read_to_string(&stored).unwrap_or_default();
        assert_eq!(format!("{error}\n"), expected, "{}", stored.display());
    }
}

#[test]
fn every_setting_arrives_where_it_belongs() {
    let path = cases("loads").into_iter().find(|path| path.ends_with("everything.toml")).expect("it is there");
    let config = parse(&path).expect("it loads");
    assert_eq!(config.targets["nas"].folder, Path::new("/mnt/nas/backup"));
    assert_eq!(config.targets["nas"].password, PasswordSource::File("/etc/backupd/nas.key".into()));
    assert_eq!(config.targets["vault"].folder, Path::new("/home/ann/vault"));
    let words = ["secret-tool", "lookup", "backup", "usb drive"].map(str::to_owned).to_vec();
    assert_eq!(config.targets["usb"].password, PasswordSource::Command(words));
    let plan = &config.plans["documents"];
    assert_eq!(plan.sources, [Path::new("/home/ann/Documents"), Path::new("/home/ann/Pictures")]);
    assert_eq!(plan.targets, ["local", "nas"]);
    assert!(plan.one_file_system && plan.exclude_caches);
    assert_eq!(plan.keep.as_ref().expect("it has a keep").monthly, Some(12));
    assert!(plan.critical.is_empty());
    let critical = cases("loads").into_iter().find(|path| path.ends_with("critical.toml")).expect("it is there");
    let critical = &parse(&critical).expect("it loads").plans["documents"].critical;
    assert_eq!(*critical, [Path::new("/home/ann/Documents/taxes"), Path::new("/home/ann/Pictures")]);
    let jobs = cases("loads").into_iter().find(|path| path.ends_with("jobs.toml")).expect("it is there");
    assert_eq!(parse(&jobs).expect("it loads").jobs.memory, 256 << 20);
    assert_eq!(config.plans["etc"].targets, ["local"], "the default target is where a plan goes by itself");
}

#[test]
fn the_commands_of_a_plan_are_words_and_a_shell_only_where_the_plan_asks_for_one() {
    let path = cases("loads").into_iter().find(|path| path.ends_with("commands.toml")).expect("it is there");
    let config = parse(&path).expect("it loads");
    let command = |words: &[&str], seconds, stops_backup| {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Some(PlanCommand { words, limit: Duration::from_secs(seconds), stops_backup })
    };
    let short = &config.plans["short"].commands;
    assert_eq!(short.before, command(&["systemctl", "stop", "app"], 600, true));
    assert_eq!(short.after, command(&["systemctl", "start", "app"], 600, true));
    let long = &config.plans["long"].commands;
    assert_eq!(long.before, command(&["/bin/sh", "-c", "pg_dump app > ~/a/dump"], 3600, false));
    assert_eq!(long.after, command(&["rm", "-f", "/home/ann/a/dump"], 30, true));
}

#[test]
fn how_long_a_plan_may_have_no_success_follows_from_its_schedule_where_nobody_says_it() {
    let path = cases("loads").into_iter().find(|path| path.ends_with("schedules.toml")).expect("it is there");
    let config = parse(&path).expect("it loads");
    let days = |plan: &str| config.plans[plan].stale_after.map(|after| after.as_secs() / (24 * 3600));
    let all = ["hourly", "daily", "weekly", "working-days", "monthly", "asked"].map(days);
    assert_eq!(all, [Some(3), Some(7), Some(14), Some(6), None, Some(90)]);
    assert_eq!(config.plans["hourly"].jitter.as_secs(), 600);
}

#[test]
fn a_missing_file_is_an_empty_config_unless_it_is_what_is_checked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config.toml");
    assert_eq!(check(&path, false, &surroundings()), Ok(Config::default()));
    let error = check(&path, true, &surroundings()).expect_err("there is nothing to check");
    assert_eq!(
        error.to_string(),
        format!("{}: There is no such file. Correct the path, or create the file.", path.display())
    );
}

#[test]
fn bytes_that_are_not_utf8_are_named_by_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config.toml");
    fs::write(&path, b"# fine\n# \xff\n").expect("it is written");
    let error = check(&path, false, &surroundings()).expect_err("it is refused");
    assert!(error.to_string().ends_with("Line 2 is not UTF-8. Save the file as UTF-8."), "{error}");
}

#[test]
fn an_edited_file_is_used_and_a_broken_one_is_said_while_the_last_good_one_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config.toml");
    let file = ConfigFile::open(&path, None).expect("no file is no mistake");
    fs::write(&path, "[plan.a]\nsources = [\"/srv\"]\n").expect("it is written");
    assert!(file.current().expect("it is right").plans.contains_key("a"));
    fs::write(&path, "[plan.a]\nsorces = [\"/srv/longer\"]\n").expect("it is written");
    assert!(file.current().is_err());
    assert!(file.last_good().plans.contains_key("a"));
    fs::remove_file(&path).expect("it is removed");
    assert!(file.current().expect("no file is no mistake").plans.is_empty());
}

#[test]
fn added_sections_keep_comments_and_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config.toml");
    let before = "# mine\n[plan.a] # the first\nsources = [\"/srv\"]\n\n# the end, kept\n";
    fs::write(&path, before).expect("it is written");
    let file = ConfigFile::open(&path, Some("/home/ann".into())).expect("it loads");
    file.add_target(&NewTarget {
        name: "nas".to_owned(),
        url: "/mnt/nas".to_owned(),
        password_file: Some("nas.key".to_owned()),
        password_command: None,
    })
    .expect("it is added");
    let (within_daily, tags) = (Some("1y6m".to_owned()), vec!["a,b".to_owned()]);
    let keep = Keep { last: Some(5), within_daily, tags, ..Keep::default() };
    file.add_plan(&NewPlan {
        name: "b".to_owned(),
        sources: vec!["~/b".to_owned()],
        targets: vec!["nas".to_owned()],
        keep: Some(keep),
        ..NewPlan::default()
    })
    .expect("it is added");
    let text = fs::read_to_string(&path).expect("it is readable");
    let target = "\n[target.nas]\nurl = \"/mnt/nas\"\npassword-file = \"nas.key\"\n";
    let keep = "{ last = 5, within-daily = \"1y 6 months\", tags = [\"a,b\"] }";
    let plan = format!("\n[plan.b]\nsources = [\"~/b\"]\ntargets = [\"nas\"]\nkeep = {keep}\n");
    assert!(text.starts_with(before), "{text}");
    assert!(text.contains(target) && text.contains(&plan), "{text}");
    assert_eq!(text.len(), before.len() + target.len() + plan.len(), "{text}");
    assert_eq!(file.current().expect("it loads").plans["b"].sources, [Path::new("/home/ann/b")]);
}

#[test]
fn an_edit_that_would_break_the_config_leaves_it_as_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config.toml");
    let file = ConfigFile::open(&path, None).expect("it loads");
    let plan = |name: &str, source: &str, target: &str| NewPlan {
        name: name.to_owned(),
        sources: vec![source.to_owned()],
        targets: vec![target.to_owned()],
        ..NewPlan::default()
    };
    for (name, source, target) in [("a", "relative", "local"), ("a", "/srv", "nowhere"), ("a b", "/srv", "local")] {
        file.add_plan(&plan(name, source, target)).expect_err("it is refused");
        assert!(!path.exists(), "nothing was written for {name} {source} {target}");
    }
    file.add_plan(&plan("a", "/srv", "local")).expect("it is added");
    let error = file.add_plan(&plan("a", "/etc", "local")).expect_err("the name is taken");
    assert!(error.to_string().starts_with("there is already a plan called `a`"), "{error}");
    assert_eq!(
        fs::read_to_string(&path).expect("it is there"),
        "[plan.a]\nsources = [\"/srv\"]\ntargets = [\"local\"]\n"
    );
}

#[test]
fn a_config_that_is_a_link_stays_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (link, real) = (folder.path().join("config.toml"), folder.path().join("dotfiles.toml"));
    fs::write(&real, "# real\n").expect("it is written");
    std::os::unix::fs::symlink(&real, &link).expect("it is linked");
    let file = ConfigFile::open(&link, None).expect("it loads");
    let plan = NewPlan { name: "a".to_owned(), sources: vec!["/srv".to_owned()], ..NewPlan::default() };
    file.add_plan(&plan).expect("it is added");
    assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
    assert!(fs::read_to_string(&real).expect("it is there").contains("[plan.a]"));
}
