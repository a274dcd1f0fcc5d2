//! `key`: the passwords that open a repository.

use std::path::{Path, PathBuf};

use backup_proto::error::Exit;
use backup_proto::key::{Key as Info, Secret};
use backup_proto::params::{KeyAdd, KeyChange, KeyList, KeyRemove};
use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::input::request_id;
use crate::render::Output;
use crate::session::Session;
use crate::text;

/// See and change the passwords that open a repository.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// List the keys of a repository; each is a password that opens it.
    List(Target),
    /// Let another password open the repository, beside those that do.
    Add(Add),
    /// Keep a password from opening the repository any more.
    Remove(Remove),
    /// Change the password that the daemon uses.
    Change(Change),
}

#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The target [default: local].
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    target: Target,
    /// Read the new password from this file instead of asking for it.
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The key's id, or the beginning of it.
    key: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
#[command(after_long_help = "\
The password of the target `local` is in a file of the daemon, which gets the new one. For another target the daemon \
goes on with the old one until you have put the new one where its configuration says; both open the repository until \
then.")]
pub(crate) struct Change {
    #[command(flatten)]
    target: Target,
    /// Read the new password from this file instead of asking for it.
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    new_password_file: Option<PathBuf>,
    /// Let the daemon make up a password, as it did for the first one.
    #[arg(long)]
    generate: bool,
}

impl Key {
    pub(crate) fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        match self {
            Self::List(Target { target }) => {
                let keys: Vec<Info> = session.all(|page| KeyList { target: target.clone(), page })?;
                session.table(&keys, &["ID", "CREATED", "USER", "HOST", ""], "The repository has no keys.", row)?;
            }
            Self::Add(Add { target: Target { target }, new_password_file }) => {
                let new_password = new_password(new_password_file.as_deref(), &session.out)?;
                let call = KeyAdd { request_id: request_id()?, new_password, target };
                session.show(&call, |key, _| {
                    vec![format!("Key {} was added: its password opens the repository of {}.", short(key), key.target)]
                })?;
            }
            Self::Remove(Remove { key, target: Target { target } }) => {
                let call = KeyRemove { request_id: request_id()?, key, target };
                session.show(&call, |key, _| {
                    vec![format!(
                        "Key {} was removed: its password does not open the repository of {} any more.",
                        short(key),
                        key.target
                    )]
                })?;
            }
            Self::Change(Change { target: Target { target }, new_password_file, generate }) => {
                let new_password =
                    (!generate).then(|| new_password(new_password_file.as_deref(), &session.out)).transpose()?;
                let call = KeyChange { request_id: request_id()?, target, new_password };
                session.show(&call, |changed, _| {
                    let key = &changed.key;
                    let added = format!("Key {} opens the repository of {} now.", short(key), key.target);
                    let removed =
                        changed.removed.as_deref().map(|old| format!("Key {} was removed.", text::short_id(old)));
                    [Some(added), removed, Some(changed.notice.clone())].into_iter().flatten().collect()
                })?;
            }
        }
        Ok(Exit::Success)
    }
}

fn row(key: &Info, out: &Output) -> Vec<String> {
    let remark = match &key.problem {
        Some(problem) => text::sentence(problem),
        None if key.is_current => "used by the daemon".to_owned(),
        None => String::new(),
    };
    let created = key.created.map(|time| text::time(time, out.zone())).unwrap_or_default();
    let plain = |word: &Option<String>| text::plain(word.as_deref().unwrap_or_default());
    vec![short(key).to_owned(), created, plain(&key.user), plain(&key.host), remark]
}

fn short(key: &Info) -> &str {
    text::short_id(&key.id)
}

/// Reads a new password from a file, or asks for it twice. White space around it in the file does not belong to it,
/// as for restic.
fn new_password(file: Option<&Path>, out: &Output) -> Result<Secret, Failure> {
    if let Some(path) = file {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| Failure::File { path: path.to_path_buf(), source })?;
        return Ok(Secret::new(text.trim_start_matches('\u{feff}').trim().to_owned()));
    }
    let nobody =
        || Failure::Usage("nobody can be asked for the new password; name a file with --new-password-file".to_owned());
    let first = out.ask_password("New password")?.ok_or_else(nobody)?;
    let second = out.ask_password("The same again")?.ok_or_else(nobody)?;
    if first != second {
        return Err(Failure::Usage("the two passwords differ; nothing was changed".to_owned()));
    }
    Ok(Secret::new(first))
}
