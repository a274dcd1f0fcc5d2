//! Changes to the config's file by the daemon: one section more, everything else as the user left it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use backup_proto::target::Keep;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::file::read_text;
use super::keep::age_in_words;
use super::place::Surroundings;
use super::problem::ConfigError;
use super::{Config, DEFAULT_TARGET, valid_name};

/// A target to be added, in the words of the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTarget {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// The file with its password.
    pub password_file: Option<String>,
    /// The command that prints its password.
    pub password_command: Option<String>,
}

/// A plan to be added, in the words of the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPlan {
    /// Its name.
    pub name: String,
    /// What is backed up.
    pub sources: Vec<String>,
    /// What of it is saved before the rest.
    pub critical: Vec<String>,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// Names of targets; empty: the default one.
    pub targets: Vec<String>,
    /// When it is due.
    pub schedule: Option<String>,
    /// What is kept, as in `keep = { last = 5 }`.
    pub keep: Option<Keep>,
}

/// Why the config was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file has mistakes already; it is never edited blindly.
    #[error("the config has mistakes of its own, correct these first:\n{0}")]
    Broken(ConfigError),
    /// With the change it would have mistakes.
    #[error("{}", .0.problems.iter().map(|p| format!("{} {}", p.message, p.advice)).collect::<Vec<_>>().join(" "))]
    Refused(ConfigError),
    /// The name is taken.
    #[error("there is already a {kind} called `{name}`; choose another name, or edit {}", path.display())]
    Exists {
        /// "target" or "plan".
        kind: &'static str,
        /// The name.
        name: String,
        /// The config.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error("cannot {action} {}: {}", path.display(), backup_engine::error::plain(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

/// Adds `[target.NAME]` to the config at `path`, which is created if it is not there.
///
/// # Errors
/// Why the file was left as it was.
pub fn add_target(path: &Path, surroundings: &Surroundings, new: &NewTarget) -> Result<(), EditError> {
    let mut table = Table::new();
    table.insert("url", new.url.as_str().into());
    insert_text(&mut table, "password-file", new.password_file.as_deref());
    insert_text(&mut table, "password-command", new.password_command.as_deref());
    add_section(path, surroundings, "target", &new.name, table)
}

/// Adds `[plan.NAME]` to the config at `path`, which is created if it is not there.
///
/// # Errors
/// Why the file was left as it was.
pub fn add_plan(path: &Path, surroundings: &Surroundings, new: &NewPlan) -> Result<(), EditError> {
    let mut table = Table::new();
    table.insert("sources", list(&new.sources));
    for (key, texts) in [("critical", &new.critical), ("exclude", &new.exclude), ("targets", &new.targets)] {
        if !texts.is_empty() {
            table.insert(key, list(texts));
        }
    }
    insert_text(&mut table, "schedule", new.schedule.as_deref());
    if let Some(keep) = &new.keep {
        table.insert("keep", Item::Value(Value::InlineTable(keep_table(keep))));
    }
    add_section(path, surroundings, "plan", &new.name, table)
}

/// Writes a rule in the words of the config.
fn keep_table(keep: &Keep) -> InlineTable {
    let counts = [
        ("last", keep.last),
        ("hourly", keep.hourly),
        ("daily", keep.daily),
        ("weekly", keep.weekly),
        ("monthly", keep.monthly),
        ("yearly", keep.yearly),
    ];
    let ages = [
        ("within", &keep.within),
        ("within-hourly", &keep.within_hourly),
        ("within-daily", &keep.within_daily),
        ("within-weekly", &keep.within_weekly),
        ("within-monthly", &keep.within_monthly),
        ("within-yearly", &keep.within_yearly),
    ];
    let counts = counts.into_iter().filter_map(|(key, count)| Some((key, Value::from(i64::from(count?)))));
    let ages = ages.into_iter().filter_map(|(key, age)| Some((key, Value::from(age_in_words(age.as_deref()?)))));
    let mut table: InlineTable = counts.chain(ages).collect();
    if !keep.tags.is_empty() {
        table.insert("tags", keep.tags.iter().map(String::as_str).collect::<Array>().into());
    }
    table
}

fn insert_text(table: &mut Table, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        table.insert(key, text.into());
    }
}

fn list(texts: &[String]) -> Item {
    Item::Value(texts.iter().map(String::as_str).collect::<Array>().into())
}

fn add_section(
    path: &Path,
    surroundings: &Surroundings,
    kind: &'static str,
    name: &str,
    mut table: Table,
) -> Result<(), EditError> {
    if let Err(problem) = valid_name(name) {
        let advice = "Use letters, digits, `-`, `_` and `.`, and begin with a letter or digit.";
        return Err(EditError::Refused(ConfigError::whole(path.to_path_buf(), format!("{problem}."), advice)));
    }
    let text = read_text(path).map_err(EditError::Broken)?.unwrap_or_default();
    Config::parse(&text, path, surroundings).map_err(EditError::Broken)?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let advice = "Correct it.";
        EditError::Broken(ConfigError::whole(
            path.to_path_buf(),
            format!("This is not TOML: {}.", error.message()),
            advice,
        ))
    })?;
    let sections = sections_of(&mut document, kind);
    if sections.contains_key(name) || (kind == "target" && name == DEFAULT_TARGET) {
        return Err(EditError::Exists { kind, name: name.to_owned(), path: path.to_path_buf() });
    }
    // The last place, also after sections of another kind.
    table.set_position(Some(isize::MAX));
    sections.insert(name, Item::Table(table));
    keep_last_comments_before(&mut document, kind, name);
    let changed = document.to_string();
    let changed = if text.is_empty() { changed.trim_start() } else { &changed };
    Config::parse(changed, path, surroundings).map_err(EditError::Refused)?;
    write_atomically(path, changed.as_bytes())
}

/// Returns the table that holds the sections of a kind, made without a header of its own if it is not there.
fn sections_of<'d>(document: &'d mut DocumentMut, kind: &str) -> &'d mut dyn TableLike {
    let mut empty = Table::new();
    empty.set_implicit(true);
    let item = document.entry(kind).or_insert(Item::Table(empty));
    item.as_table_like_mut().expect("the config was read without a mistake, so this is a table")
}

/// Comments at the end of the file stay where they are: before the new section, not after it.
fn keep_last_comments_before(document: &mut DocumentMut, kind: &str, name: &str) {
    let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
    let table = document.get_mut(kind).and_then(|item| item.get_mut(name)).and_then(Item::as_table_mut);
    let Some(table) = table else { return };
    table.decor_mut().set_prefix(format!("{trailing}\n"));
    document.set_trailing("");
}

/// Replaces a file so that a reader, and a power cut, finds the old text or the new one. A link stays a link: people
/// keep their configs in other places.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), EditError> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = real.parent().unwrap_or(Path::new("/"));
    let failed = |action, path: &Path| {
        let path = path.to_path_buf();
        move |source| EditError::Io { action, path, source }
    };
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    let mode = fs::metadata(&real).map_or(0o600, |meta| meta.permissions().mode() & 0o7777);
    let temporary = folder.join(format!(".config.toml.{}.new", std::process::id()));
    let written = write_new(&temporary, mode, bytes).map_err(failed("write", &temporary));
    let renamed = written.and_then(|()| fs::rename(&temporary, &real).map_err(failed("replace", &real)));
    if renamed.is_err() {
        // The error that is reported is the first one; a file that cannot be removed is overwritten next time.
        let _ = fs::remove_file(&temporary);
    }
    renamed?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}
