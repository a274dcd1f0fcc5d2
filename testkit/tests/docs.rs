//! The documents: every file they name is there, every link leads somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The beginnings by which a word in backticks is known to be a path of this repository.
const FOLDERS: [&str; 10] =
    ["proto/", "engine/", "daemon/", "ctl/", "testkit/", "docs/", "scripts/", "packaging/", "systemd/", "launchd/"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

/// Returns every document with its folder and its text.
fn documents() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut paths = vec![root.join("README.md"), root.join("packaging/README.md")];
    for entry in std::fs::read_dir(root.join("docs")).expect("the documents can be listed") {
        paths
            .extend(Some(entry.expect("the documents can be listed").path()).filter(|path| path.extension().is_some()));
    }
    let read = |path: PathBuf| (path.clone(), std::fs::read_to_string(path).expect("a document is text"));
    paths.into_iter().map(read).collect()
}

/// Returns the parts of a text between two marks.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0))
}

/// Returns the anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let letter = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    headings.map(|heading| heading.chars().filter_map(letter).collect()).collect()
}

#[test]
fn every_path_in_backticks_exists() {
    let root = root();
    for (document, text) in documents() {
        // Inside fenced blocks three marks stand together, and there is nothing between them.
        for word in text.split('`').skip(1).step_by(2) {
            let is_path =
                FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.contains([' ', '\n', '*', '<']);
            let there = !is_path || root.join(word).exists();
            assert!(there, "{} names {word}, which is not there", document.display());
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for (document, text) in documents() {
        let folder = document.parent().expect("a document lies in a folder");
        for link in between(&text, "](", ")").filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { document.clone() } else { folder.join(path) };
            assert!(target.exists(), "{} links to {link}, which is not there", document.display());
            if let Some(anchor) = anchor {
                let text = std::fs::read_to_string(&target).expect("a document is text");
                assert!(anchors(&text).contains(anchor), "{} links to {link}: no such heading", document.display());
            }
        }
    }
}
