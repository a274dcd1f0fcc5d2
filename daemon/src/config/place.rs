//! Where a setting points: paths with `~`, and the targets' urls.

use std::path::{Path, PathBuf};

/// What paths in a config are relative to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The config's own folder: key files are named relative to it.
    pub folder: PathBuf,
    /// The home of the daemon's user, which `~` stands for, if it is known.
    pub home: Option<PathBuf>,
}

/// Why a setting cannot be used: the sentence and the advice.
pub(super) type Refusal = (String, String);

/// Storage that restic knows and this version does not, by the scheme of its url.
const REMOTE: [&str; 12] =
    ["s3", "sftp", "rest", "webdav", "webdavs", "b2", "azure", "gs", "swift", "rclone", "http", "https"];

impl Surroundings {
    /// Turns a path with an optional `~` at its front into a full one.
    ///
    /// A relative path is refused: a daemon has no current folder that a person could know.
    pub(super) fn absolute(&self, text: &str) -> Result<PathBuf, Refusal> {
        let path = self.expand(text)?;
        if path.is_absolute() {
            return Ok(plain(&path));
        }
        Err((format!("`{text}` is not a full path."), "Write it from `/` on, or begin it with `~/`.".to_owned()))
    }

    /// Turns a path into a full one; a relative one is inside the config's folder.
    pub(super) fn beside(&self, text: &str) -> Result<PathBuf, Refusal> {
        Ok(plain(&self.folder.join(self.expand(text)?)))
    }

    /// Turns a target's url into the folder it names.
    pub(super) fn target_folder(&self, url: &str) -> Result<PathBuf, Refusal> {
        let Some((scheme, rest)) = scheme_of(url) else { return self.absolute(url) };
        if scheme == "file" || scheme == "local" {
            let path = rest.strip_prefix("//localhost/").map(|rest| format!("/{rest}"));
            let path = path.as_deref().unwrap_or(rest.strip_prefix("//").unwrap_or(rest));
            return self.absolute(path);
        }
        if REMOTE.contains(&scheme) {
            let advice = "Use a folder, for example on a mounted drive, or a later version.";
            return Err((format!("`{scheme}:` targets are not supported by this version."), advice.to_owned()));
        }
        Err((
            format!("`{scheme}:` is no storage that is known here."),
            "Write a folder from `/` on, or begin it with `~/`.".to_owned(),
        ))
    }

    fn expand(&self, text: &str) -> Result<PathBuf, Refusal> {
        if text.is_empty() || text.contains('\0') {
            return Err(("A path is empty or holds a zero byte.".to_owned(), "Write a path.".to_owned()));
        }
        let Some(rest) = text.strip_prefix('~') else { return Ok(PathBuf::from(text)) };
        if !rest.is_empty() && !rest.starts_with('/') {
            let advice = "Write the path in full; `~` stands only for the daemon's own user.";
            return Err((format!("`{text}` names another user's home."), advice.to_owned()));
        }
        match &self.home {
            Some(home) => Ok(home.join(rest.trim_start_matches('/'))),
            None => {
                Err((format!("The home that `{text}` begins with is not known."), "Write the path in full.".to_owned()))
            }
        }
    }
}

/// Returns the scheme of a url and what follows its colon; none for a path.
fn scheme_of(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    is_scheme.then_some((scheme, rest))
}

/// Drops `.` parts, doubled and trailing slashes, so that two spellings of one path compare equal.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Splits a command as a shell would, with quotes and backslashes and nothing else: restic's rule for its
/// `--password-command`.
pub(super) fn split_command(text: &str) -> Result<Vec<String>, Refusal> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if quote.is_some() {
        return Err((format!("`{text}` has a quote that is not closed."), "Close it.".to_owned()));
    }
    if words.first().is_none_or(String::is_empty) {
        return Err(("The command is empty.".to_owned(), "Write a program and its arguments.".to_owned()));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings() -> Surroundings {
        Surroundings { folder: "/etc/backupd".into(), home: Some("/home/ann".into()) }
    }

    #[test]
    fn paths_are_full_and_plain() {
        let around = surroundings();
        assert_eq!(around.absolute("~/Documents/"), Ok("/home/ann/Documents".into()));
        assert_eq!(around.absolute("~"), Ok("/home/ann".into()));
        assert_eq!(around.absolute("/srv//./x"), Ok("/srv/x".into()));
        assert_eq!(around.beside("nas.key"), Ok("/etc/backupd/nas.key".into()));
        assert!(around.absolute("Documents").is_err());
        assert!(around.absolute("~bob/x").is_err());
        assert!(Surroundings { home: None, ..around }.absolute("~/x").is_err());
    }

    #[test]
    fn urls_name_folders_and_nothing_remote() {
        let around = surroundings();
        for url in ["/srv/b", "file:/srv/b", "file:///srv/b", "file://localhost/srv/b", "local:/srv/b", "/srv/./b/"] {
            assert_eq!(around.target_folder(url), Ok("/srv/b".into()), "{url}");
        }
        assert_eq!(around.target_folder("/srv/with:colon"), Ok("/srv/with:colon".into()));
        for url in ["s3:https://h/b", "sftp://a@b//c", "rest:http://h/", "webdav:https://h"] {
            let (message, _) = around.target_folder(url).expect_err(url);
            assert!(message.contains("not supported by this version"), "{message}");
        }
        assert!(around.target_folder("ftp://h/x").is_err());
    }

    #[test]
    fn commands_split_as_in_a_shell() {
        let words = |text| split_command(text).expect("it is well formed");
        assert_eq!(words("pass show 'my repo'"), ["pass", "show", "my repo"]);
        assert_eq!(words(r#"a "b \" c" d\ e '\'"#), ["a", "b \" c", "d e", "\\"]);
        assert_eq!(words("x ''"), ["x", ""]);
        assert!(split_command("a 'b").is_err());
        assert!(split_command("  ").is_err());
    }
}
