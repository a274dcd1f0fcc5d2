//! Licences, sources and bans of all dependencies, by the rules in deny.toml.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

fn table(name: &str) -> toml::Table {
    std::fs::read_to_string(root().join(name)).expect("the file is readable").parse().expect("the file is TOML")
}

fn strings(value: &toml::Value) -> BTreeSet<String> {
    let list = value.as_array().expect("a list");
    list.iter().map(|item| item.as_str().expect("a list of text").to_owned()).collect()
}

/// Returns cargo's description of the packages that are built on this system.
fn metadata() -> Value {
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8(rustc.stdout).expect("rustc prints text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", host])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

/// Says whether a licence expression can be met with allowed licences: `OR` binds weaker than `AND`.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // An old way to write OR.
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = text.split_whitespace().collect();
    let (met, rest) = either(&words, allowed);
    met && rest.is_empty()
}

fn either<'a, 'b>(words: &'a [&'b str], allowed: &BTreeSet<String>) -> (bool, &'a [&'b str]) {
    let (mut met, mut rest) = both(words, allowed);
    while let ["OR", after @ ..] = rest {
        let (right, remaining) = both(after, allowed);
        (met, rest) = (met | right, remaining);
    }
    (met, rest)
}

fn both<'a, 'b>(words: &'a [&'b str], allowed: &BTreeSet<String>) -> (bool, &'a [&'b str]) {
    let (mut met, mut rest) = single(words, allowed);
    while let ["AND", after @ ..] = rest {
        let (right, remaining) = single(after, allowed);
        (met, rest) = (met & right, remaining);
    }
    (met, rest)
}

fn single<'a, 'b>(words: &'a [&'b str], allowed: &BTreeSet<String>) -> (bool, &'a [&'b str]) {
    match words {
        ["(", inside @ ..] => match either(inside, allowed) {
            (met, [")", rest @ ..]) => (met, rest),
            (_, rest) => (false, rest),
        },
        [name, "WITH", exception, rest @ ..] => (allowed.contains(&format!("{name} WITH {exception}")), rest),
        [name, rest @ ..] => (allowed.contains(*name), rest),
        [] => (false, &[]),
    }
}

#[test]
fn every_licence_is_allowed_in_deny_toml() {
    let rules = table("deny.toml");
    let allowed = strings(&rules["licenses"]["allow"]);
    let exceptions: BTreeMap<_, _> = rules["licenses"]["exceptions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|rule| (rule["crate"].as_str().expect("text").to_owned(), strings(&rule["allow"])))
        .collect();
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("cargo lists packages");
    assert!(packages.len() > 100, "only {} packages: not the whole graph", packages.len());
    for package in packages {
        let name = package["name"].as_str().expect("a package has a name");
        let licence = package["license"].as_str().unwrap_or("none");
        let met = is_met(licence, exceptions.get(name).unwrap_or(&allowed));
        assert!(met, "the licence of {name} ({licence}) is not allowed by deny.toml");
    }
}

#[test]
fn every_source_is_crates_io_and_nothing_banned_is_there() {
    let rules = table("deny.toml");
    let registries = strings(&rules["sources"]["allow-registry"]);
    let bans = rules["bans"]["deny"].as_array().expect("a list");
    let lock = table("Cargo.lock");
    for package in lock["package"].as_array().expect("a lock file lists packages") {
        let name = package["name"].as_str().expect("a package has a name");
        if let Some(source) = package.get("source").and_then(toml::Value::as_str) {
            let known = source.strip_prefix("registry+").is_some_and(|registry| registries.contains(registry));
            assert!(known, "{name} comes from {source}, which deny.toml does not allow");
        }
        let banned = bans.iter().find(|ban| ban["crate"].as_str() == Some(name));
        assert!(
            banned.is_none(),
            "{name} is banned: {}",
            banned.map_or("", |ban| ban["reason"].as_str().unwrap_or(""))
        );
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    let allowed: BTreeSet<_> = ["MIT", "Zlib", "A WITH B"].map(str::to_owned).into();
    for expression in
        ["MIT", "MIT OR GPL", "GPL OR MIT", "GPL/MIT", "(GPL OR MIT) AND Zlib", "A WITH B", "MIT AND Zlib"]
    {
        assert!(is_met(expression, &allowed), "{expression}");
    }
    for expression in ["GPL", "MIT AND GPL", "(GPL OR MIT) AND GPL", "A", "MIT WITH B", "", "(MIT", "MIT GPL"] {
        assert!(!is_met(expression, &allowed), "{expression}");
    }
}
