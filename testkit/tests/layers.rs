//! The allowed dependencies between the workspace's crates, each way one and with its reason.

use std::collections::BTreeSet;
use std::path::Path;

/// Who may use whom in the programs, and why no more than that.
const ALLOWED: [(&str, &[&str], &str); 5] = [
    ("backup-proto", &[], "both sides speak it, so it knows neither of them"),
    ("backup-engine", &[], "a library that could serve anyone: no socket, no queue, no words of the wire"),
    (
        "backupd",
        &["backup-proto", "backup-engine"],
        "policy: it tells the engine what to do and the clients what happened",
    ),
    ("backupctl", &["backup-proto"], "arguments, one call, text: whatever else it needs belongs behind the socket"),
    ("backup-testkit", &["backup-proto", "backup-engine"], "fakes and fixtures of the seams, for tests alone"),
];

/// The one crate that any other may use in its tests.
const FOR_TESTS: &str = "backup-testkit";

struct Package {
    name: String,
    normal: BTreeSet<String>,
    dev: BTreeSet<String>,
}

/// Reads the manifests of all members of the workspace.
fn packages() -> Vec<Package> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let manifest = read(&root.join("Cargo.toml"));
    let members = manifest["workspace"]["members"].as_array().expect("a workspace lists its members");
    let members = members.iter().map(|member| member.as_str().expect("a member is a folder"));
    members.map(|member| package(&read(&root.join(member).join("Cargo.toml")))).collect()
}

fn read(path: &Path) -> toml::Table {
    std::fs::read_to_string(path).expect("the manifest is readable").parse().expect("the manifest is TOML")
}

fn package(manifest: &toml::Table) -> Package {
    let mut names = Package {
        name: manifest["package"]["name"].as_str().expect("a package has a name").to_owned(),
        normal: BTreeSet::new(),
        dev: BTreeSet::new(),
    };
    collect(manifest, &mut names);
    // The same three tables again, for one system each.
    for system in manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values) {
        collect(system.as_table().expect("a target is a table"), &mut names);
    }
    names
}

fn collect(manifest: &toml::Table, names: &mut Package) {
    let keys = |table: &str| {
        let table = manifest.get(table).and_then(toml::Value::as_table);
        table.into_iter().flat_map(toml::Table::keys).cloned().collect::<Vec<_>>()
    };
    names.normal.extend(keys("dependencies"));
    names.normal.extend(keys("build-dependencies"));
    names.dev.extend(keys("dev-dependencies"));
}

#[test]
fn every_edge_between_our_crates_is_in_the_table() {
    let packages = packages();
    let ours: BTreeSet<_> = packages.iter().map(|package| package.name.clone()).collect();
    for package in &packages {
        let (_, allowed, reason) = ALLOWED
            .iter()
            .find(|(name, ..)| *name == package.name)
            .unwrap_or_else(|| panic!("{} is new: say in this table whom it may use, and why", package.name));
        for used in package.normal.intersection(&ours) {
            assert!(allowed.contains(&used.as_str()), "{} must not use {used}: {reason}", package.name);
        }
        for used in package.dev.intersection(&ours) {
            let fine = used == FOR_TESTS || allowed.contains(&used.as_str());
            assert!(fine, "the tests of {} must not use {used}: {reason}", package.name);
        }
    }
}

#[test]
fn the_table_names_only_crates_that_exist() {
    let ours: BTreeSet<_> = packages().into_iter().map(|package| package.name).collect();
    for (name, allowed, _) in ALLOWED {
        for named in allowed.iter().chain([&name]) {
            assert!(ours.contains(*named), "the table names {named}, which is no member of the workspace");
        }
    }
}
