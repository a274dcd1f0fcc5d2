//! restic itself judges the patterns: what it would back up is what we do not exclude.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use backup_engine::source::Excludes;
use backup_testkit::restic::Restic;
use serde_json::Value;

/// Files of the source; their folders exist too.
const FILES: [&str; 18] = [
    "a/b/c/file.go",
    "a/b/file.go",
    "a/b/other.c",
    "a/Keep/important.log",
    "a/Keep/x.LOG",
    "node_modules/deep/x.js",
    "x/node_modules",
    "x/y/node_modules/z",
    "foo/bar/baz/test.c",
    "foo/bar/test.c",
    "foo/test.c",
    "work/special/foo/project/bar/test.c",
    "[odd]/-name",
    "star*/a?b",
    "back\\slash",
    "tmp/one.tmp",
    "tmp/two.tmp.kept",
    "é/ü",
];

/// Sets of patterns; `ROOT` stands for the source's own path.
const PATTERNS: [&[&str]; 19] = [
    &["*.go"],
    &["a/*/c"],
    &["**/node_modules"],
    &["node_modules/**", "/ROOT/x"],
    &["ROOT/foo/*/test.c"],
    &["ROOT/foo/**/test.c"],
    &["foo/**/bar/*.c"],
    &["foo/**/bar/**/test.c", "b?r/baz"],
    &["ROOT/a/", "./tmp"],
    &["ROOT/a/../tmp/*.tmp"],
    &["*.log", "!important.log"],
    &["ROOT/a/Keep/*", "!ROOT/a/Keep/i*", "important.log"],
    &["\\[odd\\]"],
    &["[[]odd*", "star\\*"],
    &["back\\\\*", "a\\?b"],
    &["?", "[^a-z]*"],
    &["[a-f]*/b"],
    &["/a", "a/b/c/file.go/"],
    &["**/**/test.c", "**.tmp"],
];

/// Sets of patterns that do not tell upper from lower case.
const PATTERNS_FOLDED: [&[&str]; 2] = [&["*.log", "!ROOT/a/KEEP/IMPORTANT*"], &["É", "[A-F]*/B", "STAR\\*"]];

/// Everything below the source that is not excluded, folders with a slash at their end, as restic prints it.
fn kept(folder: &Path, excludes: &Excludes, kept: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if excludes.excluded(path.as_os_str().as_bytes()) {
            continue;
        }
        let text = path.to_str().unwrap();
        if path.is_dir() {
            kept.insert(format!("{text}/"));
            self::kept(&path, excludes, kept);
        } else {
            kept.insert(text.to_owned());
        }
    }
}

/// What restic would back up below the source.
fn kept_by_restic(restic: &Restic, source: &Path, patterns: &[String], flag: &str) -> BTreeSet<String> {
    let mut arguments = vec![OsStr::new("backup"), OsStr::new("--dry-run"), OsStr::new("--json")];
    arguments.extend([OsStr::new("--verbose=2"), source.as_os_str()]);
    for pattern in patterns {
        arguments.extend([OsStr::new(flag), OsStr::new(pattern)]);
    }
    let text = String::from_utf8(restic.run(arguments)).unwrap();
    let items = text.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message_type"] == "verbose_status").then(|| line["item"].as_str().unwrap().to_owned())
    });
    let below = format!("{}/", source.to_str().unwrap());
    items.filter(|item| item.starts_with(&below) && item.len() > below.len()).collect()
}

#[test]
fn the_same_is_excluded_as_by_restic() {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("source");
    for file in FILES {
        let path = source.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    let password = home.path().join("password");
    fs::write(&password, "a password").unwrap();
    let restic = Restic::new(&home.path().join("repository"), &password);
    restic.init(2);

    let all = kept_by_restic(&restic, &source, &[], "--exclude");
    let root = source.to_str().unwrap();
    let with_root = |patterns: &[&str]| patterns.iter().map(|one| one.replace("ROOT", root)).collect::<Vec<_>>();
    let sets = PATTERNS.iter().map(|patterns| (with_root(patterns), "--exclude"));
    for (patterns, flag) in sets.chain(PATTERNS_FOLDED.iter().map(|patterns| (with_root(patterns), "--iexclude"))) {
        let excludes = match flag {
            "--exclude" => Excludes::new(&patterns).unwrap(),
            _ => Excludes::default().and_ignoring_case(&patterns).unwrap(),
        };
        let mut ours = BTreeSet::new();
        kept(&source, &excludes, &mut ours);
        let theirs = kept_by_restic(&restic, &source, &patterns, flag);
        assert_eq!(ours, theirs, "{flag} {patterns:?}");
        assert!(theirs.is_subset(&all));
    }
}
