//! Compares a folder with its copy and lists every difference: `make demo` judges with it.
//!
//! Usage: `compare-trees ORIGINAL COPY [--except PATH]... [--failed FILE]`, where FILE holds what
//! `backupctl job ID --json` printed. Ends 0 when equal, 1 with differences, 2 when called wrongly.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use backup_testkit::compare::{Comparison, Options, compare};
use backup_testkit::failed::paths_in;

/// How many differences are printed; the rest are counted.
const SHOWN: usize = 50;

fn main() -> ExitCode {
    let (text, code) = match run(std::env::args_os().skip(1)) {
        Ok(found) => (report(&found), u8::from(!found.differences.is_empty())),
        Err(problem) => (format!("compare-trees: {problem}\n"), 2),
    };
    // A closed pipe must not turn the verdict into a panic.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn run(mut arguments: impl Iterator<Item = OsString>) -> Result<Comparison, String> {
    let mut options = Options::default();
    let mut folders = Vec::new();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{} needs a value", argument.display()));
        match argument.to_str() {
            Some("--except") => _ = options.except.insert(value()?.into()),
            Some("--failed") => {
                let path = PathBuf::from(value()?);
                let text = std::fs::read_to_string(&path);
                let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                options.reported.extend(paths_in(&text)?);
            }
            _ => folders.push(PathBuf::from(&argument)),
        }
    }
    match &folders[..] {
        [original, copy] => Ok(compare(original, copy, &options)),
        _ => Err("usage: compare-trees ORIGINAL COPY [--except PATH]... [--failed FILE]".to_owned()),
    }
}

fn report(found: &Comparison) -> String {
    let mut text = String::new();
    for difference in found.differences.iter().take(SHOWN) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {difference}");
    }
    if found.differences.len() > SHOWN {
        let _ = writeln!(text, "  and {} more", found.differences.len() - SHOWN);
    }
    let verdict = match found.differences.len() {
        0 => "equal".to_owned(),
        count => format!("{count} differences"),
    };
    let owners = if found.owners { "owners, " } else { "" };
    let _ = writeln!(
        text,
        "{verdict}: {} files ({} bytes; {} further names of hard-linked files), {} folders, {} symbolic links, \
         {} fifos and devices; compared were bytes, kinds, modes, modification times, links, holes, {owners}attributes",
        found.files, found.bytes, found.hard_links, found.folders, found.links, found.special
    );
    if found.reported > 0 {
        let _ = writeln!(text, "not compared, because reported as failed: {}", found.reported);
    }
    if found.sockets > 0 {
        let _ = writeln!(text, "not restored, because their programs make them anew: {} sockets", found.sockets);
    }
    text
}
