//! The house style as tests: sizes with a ratchet, first lines, and words that do not belong in a file.
//!
//! What is read is rustfmt's layout, which CI enforces: an item ends at the first closing brace in its own column.
//! Sizes beyond what is wanted are listed in `tidy/exceptions.txt` with their number. A number there may only become
//! smaller: the test fails when the file has grown and also when it has shrunk and the list was not lowered.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a file without its inline tests: wanted, and the most that an exception can get.
const FILE_LINES: Limits = Limits { wanted: 300, hard: 500 };

/// Lines of a function from its signature to its closing brace.
const FUNCTION_LINES: Limits = Limits { wanted: 40, hard: 70 };

/// Lines of a file's inline tests; longer ones move to a `tests.rs` of their own.
const INLINE_TEST_LINES: usize = 150;

/// Files that may read the clock, and why.
const CLOCKS: [(&str, &str); 3] = [
    ("engine/tests/common/mod.rs", "tests of the engine play its caller, who has a clock"),
    ("daemon/src/clock.rs", "the one reader of time"),
    ("testkit/src/wait.rs", "time ends a wait for another process that would never end"),
];

struct Limits {
    wanted: usize,
    hard: usize,
}

struct Source {
    /// Relative to the workspace, with forward slashes.
    name: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

/// Returns every Rust file of the workspace outside the build folder.
fn sources() -> Vec<Source> {
    let root = root();
    let mut names = Vec::new();
    collect(&root, &root, &mut names);
    names.sort();
    let read = |name: String| {
        let text = std::fs::read_to_string(root.join(&name)).expect("a source file is readable text");
        Source { name, text }
    };
    let sources: Vec<_> = names.into_iter().map(read).collect();
    assert!(sources.len() > 20, "only {} source files were found", sources.len());
    sources
}

fn collect(root: &Path, folder: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the source folders can be listed") {
        let path = entry.expect("the source folders can be listed").path();
        let name = path.strip_prefix(root).expect("a path below the root").to_string_lossy().into_owned();
        let hidden = name.starts_with('.') || name.starts_with("target");
        if path.is_dir() && !hidden {
            collect(root, &path, names);
        } else if name.ends_with(".rs") {
            names.push(name);
        }
    }
}

/// Splits a file into its code and its inline tests.
fn split(text: &str) -> (Vec<&str>, Vec<&str>) {
    let lines: Vec<_> = text.lines().collect();
    let inline = |at: usize| {
        let next = lines[at + 1..].iter().find(|line| !line.starts_with("#["));
        lines[at] == "#[cfg(test)]" && next.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    };
    let cut = (0..lines.len()).find(|at| inline(*at)).unwrap_or(lines.len());
    let (code, tests) = lines.split_at(cut);
    (code.to_vec(), tests.to_vec())
}

/// Returns name and length in lines of every function with a body.
fn functions(lines: &[&str]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let Some(name) = function_name(code) else { continue };
        let ends = |line: &&str| {
            let inside = line.strip_prefix(indent).is_some_and(|rest| rest.starts_with([' ', '\t']));
            !inside && (*line == format!("{indent}}}") || line.ends_with(';') || line.ends_with('}'))
        };
        let length = lines[start..].iter().position(ends).map_or(lines.len() - start, |last| last + 1);
        found.push((name, length));
    }
    found
}

fn function_name(code: &str) -> Option<String> {
    let mut words = code.split(' ').skip_while(|word| {
        matches!(*word, "pub" | "const" | "async" | "unsafe" | "extern" | "\"C\"") || word.starts_with("pub(")
    });
    (words.next()? == "fn").then_some(())?;
    let name = words.next()?;
    Some(name[..name.find(['(', '<'])?].to_owned())
}

/// Measures what is over the wanted sizes, by the name it has in the list of exceptions.
fn oversized(sources: &[Source]) -> (BTreeMap<String, usize>, String) {
    let (mut over, mut beyond) = (BTreeMap::new(), String::new());
    let mut measure = |key: String, size: usize, limits: &Limits| {
        if size > limits.hard {
            let _ = writeln!(beyond, "{key} has {size} lines; {} is the most there can be", limits.hard);
        }
        if size > limits.wanted {
            over.insert(key, size);
        }
    };
    for source in sources {
        let (code, _) = split(&source.text);
        measure(source.name.clone(), code.len(), &FILE_LINES);
        let mut counts = BTreeMap::<String, usize>::new();
        for (name, size) in functions(&source.text.lines().collect::<Vec<_>>()) {
            // Functions of the same name in one file share an entry: the longest counts.
            let longest = counts.entry(name).or_default();
            *longest = size.max(*longest);
        }
        for (name, size) in counts {
            measure(format!("{}:{name}", source.name), size, &FUNCTION_LINES);
        }
    }
    (over, beyond)
}

#[test]
fn files_and_functions_keep_their_size_and_exceptions_only_shrink() {
    let (over, mut complaints) = oversized(&sources());
    let list = include_str!("tidy/exceptions.txt");
    let mut listed = BTreeMap::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (number, name) = line.split_once(' ').expect("an exception is a number and a name");
        listed.insert(name.to_owned(), number.parse::<usize>().expect("an exception starts with a number"));
    }
    for (name, size) in &over {
        match listed.get(name) {
            None => _ = writeln!(complaints, "{name} has {size} lines: split it by idea"),
            Some(limit) if size > limit => _ = writeln!(complaints, "{name} grew from {limit} to {size} lines"),
            Some(limit) if size < limit => {
                _ = writeln!(complaints, "{name} shrank from {limit} to {size} lines: lower its exception");
            }
            Some(_) => {}
        }
    }
    for name in listed.keys().filter(|name| !over.contains_key(*name)) {
        let _ = writeln!(complaints, "{name} no longer needs its exception: take it off the list");
    }
    assert!(complaints.is_empty(), "testkit/tests/tidy/exceptions.txt is not true:\n{complaints}");
}

#[test]
fn inline_tests_are_short() {
    for source in sources() {
        let (_, tests) = split(&source.text);
        let lines = tests.len();
        assert!(lines <= INLINE_TEST_LINES, "{} has {lines} lines of inline tests: move them to tests.rs", source.name);
    }
}

#[test]
fn every_file_opens_with_what_it_is() {
    for source in sources() {
        assert!(source.text.starts_with("//! "), "{} does not start with `//! ` and a sentence", source.name);
    }
}

#[test]
fn nothing_is_unfinished_or_skipped() {
    // Put together here, so that this file does not find itself.
    let words = ["todo", "unimplemented"].map(|word| format!("{word}!(")).into_iter();
    let words: Vec<_> = words.chain(["ignore]", "ignore ="].map(|end| format!("#[{end}"))).collect();
    for source in sources() {
        for word in &words {
            assert!(!source.text.contains(word.as_str()), "{} contains `{word}`", source.name);
        }
    }
}

#[test]
fn the_clock_is_read_in_one_file() {
    let types = ["SystemTime", "Instant", "Timestamp", "Zoned"].map(|name| format!("{name}::now("));
    let calls: Vec<_> = types.into_iter().chain([["clock", "gettime("].join("_")]).collect();
    for source in sources().iter().filter(|source| !CLOCKS.iter().any(|(name, _)| *name == source.name)) {
        for line in source.text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let read = calls.iter().find(|call| line.contains(call.as_str()));
            assert!(read.is_none(), "{} reads the clock; take `now` as an argument: {line}", source.name);
        }
    }
}

#[test]
fn no_test_sleeps() {
    let calls = ["thread", "time"].map(|module| format!("{module}::sleep("));
    for source in sources().iter().filter(|source| source.name != "testkit/src/wait.rs") {
        let (code, tests) = split(&source.text);
        let all = source.name.contains("/tests") || source.name.starts_with("testkit/");
        let lines = if all { [code, tests].concat() } else { tests };
        let sleeps = lines.iter().find(|line| calls.iter().any(|call| line.contains(call.as_str())));
        assert!(sleeps.is_none(), "{} sleeps; wait for the event (testkit/src/wait.rs): {sleeps:?}", source.name);
    }
}

#[test]
fn build_output_is_not_tracked() {
    let listed = Command::new("git").args(["ls-files", "target"]).current_dir(root()).output();
    // Without git, as in a source archive, there is nothing tracked.
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    assert!(listed.is_empty(), "{}", String::from_utf8_lossy(&listed));
}

#[test]
fn functions_are_measured_as_rustfmt_lays_them_out() {
    let text = "\
pub(crate) const fn one() -> u8 { 1 }
impl A {
    async fn two<T>(
        a: T,
    ) -> u8
    where
        T: B,
    {
        if a {
        }
        2
    }
}
trait C {
    fn declared(&self);
    fn also_declared(
        &self,
    ) -> u8;
}
let fn_pointer: fn(u8) = one;";
    let lines: Vec<_> = text.lines().collect();
    let expected = [("one", 1), ("two", 10), ("declared", 1), ("also_declared", 3)];
    assert_eq!(functions(&lines), expected.map(|(name, lines)| (name.to_owned(), lines)));
}
