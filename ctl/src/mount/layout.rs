//! The names under which snapshots are found: by id, by time, by host and by tag, as restic's mount has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use backup_proto::snapshot::Snapshot;
use jiff::tz::TimeZone;

/// The tags of what an interrupted first backup left, and of what is critical: `latest` is one of these only if there is no
/// other.
const PART_TAGS: [&str; 2] = ["backupd:interrupted", "backupd:critical"];

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// More names.
    Folder(Names),
    /// The top of a snapshot.
    Snapshot(Arc<Snapshot>),
    /// Another name in the same folder.
    Link(String),
}

/// The names in a folder.
pub(crate) type Names = BTreeMap<String, Name>;

/// Names snapshots, which are given from the oldest to the newest.
pub(crate) fn names(snapshots: &[Arc<Snapshot>], zone: &TimeZone) -> Names {
    let mut hosts: BTreeMap<String, Vec<Arc<Snapshot>>> = BTreeMap::new();
    let mut tags: BTreeMap<String, Vec<Arc<Snapshot>>> = BTreeMap::new();
    for snapshot in snapshots {
        hosts.entry(file_name(&snapshot.host)).or_default().push(Arc::clone(snapshot));
        for tag in &snapshot.tags {
            let of_tag = tags.entry(file_name(tag)).or_default();
            if !of_tag.last().is_some_and(|last| Arc::ptr_eq(last, snapshot)) {
                of_tag.push(Arc::clone(snapshot));
            }
        }
    }
    let folders = |groups: BTreeMap<String, Vec<Arc<Snapshot>>>| {
        Name::Folder(groups.into_iter().map(|(name, group)| (name, Name::Folder(by_time(&group, zone)))).collect())
    };
    Names::from([
        ("ids".to_owned(), Name::Folder(by_id(snapshots))),
        ("snapshots".to_owned(), Name::Folder(by_time(snapshots, zone))),
        ("hosts".to_owned(), folders(hosts)),
        ("tags".to_owned(), folders(tags)),
    ])
}

/// Returns the newest snapshot; one of a part of its sources only if there is no other.
pub(crate) fn latest(snapshots: &[Arc<Snapshot>]) -> Option<&Arc<Snapshot>> {
    let is_whole = |snapshot: &&Arc<Snapshot>| !snapshot.tags.iter().any(|tag| PART_TAGS.contains(&tag.as_str()));
    snapshots.iter().rfind(is_whole).or(snapshots.last())
}

fn by_id(snapshots: &[Arc<Snapshot>]) -> Names {
    let short = |snapshot: &Snapshot| crate::text::short_id(&snapshot.id).to_owned();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for snapshot in snapshots {
        *times.entry(short(snapshot)).or_default() += 1;
    }
    let name = |snapshot: &Arc<Snapshot>| match short(snapshot) {
        name if times.get(&name) == Some(&1) => name,
        _ => snapshot.id.clone(),
    };
    snapshots.iter().map(|snapshot| (name(snapshot), Name::Snapshot(Arc::clone(snapshot)))).collect()
}

/// Names snapshots by their time to the second; further ones of the same second have a number.
fn by_time(snapshots: &[Arc<Snapshot>], zone: &TimeZone) -> Names {
    let mut names = Names::new();
    let mut newest = None;
    for snapshot in snapshots {
        let zoned = snapshot.time.to_zoned(zone.clone());
        let time = match zoned.offset().is_zero() {
            true => zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            false => zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        };
        let further = (1..).map(|number| format!("{time}-{number}"));
        let name = std::iter::once(time.clone()).chain(further).find(|name| !names.contains_key(name));
        let Some(name) = name else { continue };
        if latest(snapshots).is_some_and(|latest| Arc::ptr_eq(latest, snapshot)) {
            newest = Some(name.clone());
        }
        names.insert(name, Name::Snapshot(Arc::clone(snapshot)));
    }
    names.extend(newest.map(|name| ("latest".to_owned(), Name::Link(name))));
    names
}

/// Makes a text the name of a folder.
fn file_name(text: &str) -> String {
    match text {
        "" | "." => "_".to_owned(),
        ".." => "__".to_owned(),
        text => text.replace(['/', '\0'], "_"),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;

    fn snapshot(id: &str, time: &str, host: &str, tags: &[&str]) -> Arc<Snapshot> {
        let json = serde_json::json!({
            "id": id, "target": "local", "time": time, "host": host, "paths": [], "tags": tags,
        });
        Arc::new(serde_json::from_value(json).unwrap())
    }

    fn folder<'n>(names: &'n Names, path: &[&str]) -> &'n Names {
        path.iter().fold(names, |names, name| match &names[*name] {
            Name::Folder(names) => names,
            other => panic!("{name} is {other:?}"),
        })
    }

    fn keys(names: &Names) -> Vec<&str> {
        names.keys().map(String::as_str).collect()
    }

    #[test]
    fn each_snapshot_is_found_by_id_time_host_and_tag() {
        let a = snapshot("aaaaaaaa11", "2026-01-02T03:04:05Z", "one", &["x", "y/z"]);
        let b = snapshot("bbbbbbbb22", "2026-02-02T03:04:05Z", "two", &["x"]);
        let names = names(&[a.clone(), b.clone()], &TimeZone::UTC);
        assert_eq!(keys(&names), ["hosts", "ids", "snapshots", "tags"]);
        assert_eq!(keys(folder(&names, &["ids"])), ["aaaaaaaa", "bbbbbbbb"]);
        let times = ["2026-01-02T03:04:05Z", "2026-02-02T03:04:05Z"];
        assert_eq!(keys(folder(&names, &["snapshots"])), [times[0], times[1], "latest"]);
        assert_eq!(folder(&names, &["snapshots"])["latest"], Name::Link(times[1].to_owned()));
        assert_eq!(folder(&names, &["snapshots"])[times[0]], Name::Snapshot(a));
        assert_eq!(keys(folder(&names, &["hosts"])), ["one", "two"]);
        assert_eq!(folder(&names, &["hosts", "one"])["latest"], Name::Link(times[0].to_owned()));
        assert_eq!(keys(folder(&names, &["tags"])), ["x", "y_z"]);
        assert_eq!(folder(&names, &["tags", "x"]).len(), 3);
    }

    #[test]
    fn names_are_unique_and_in_the_zone_of_whoever_looks() {
        let time = "2026-01-02T03:04:05.5Z";
        let all = [snapshot("aaaaaaaa11", time, "h", &[]), snapshot("aaaaaaaa22", time, "..", &[])];
        let names = names(&all, &Offset::constant(2).to_time_zone());
        let first = "2026-01-02T05:04:05+02:00";
        assert_eq!(keys(folder(&names, &["snapshots"])), [first, &format!("{first}-1"), "latest"]);
        assert_eq!(keys(folder(&names, &["ids"])), ["aaaaaaaa11", "aaaaaaaa22"]);
        assert_eq!(keys(folder(&names, &["hosts"])), ["__", "h"]);
    }

    #[test]
    fn latest_is_one_of_a_part_only_if_there_is_no_other() {
        let whole = snapshot("aaaaaaaa11", "2026-01-02T03:04:05Z", "h", &[]);
        for tag in PART_TAGS {
            let left = snapshot("bbbbbbbb22", "2026-01-03T03:04:05Z", "h", &[tag]);
            assert_eq!(latest(&[whole.clone(), left.clone()]), Some(&whole));
            assert_eq!(latest(std::slice::from_ref(&left)), Some(&left));
        }
        assert_eq!(latest(&[]), None);
    }
}
