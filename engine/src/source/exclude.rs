//! What a backup leaves out and what a restore takes: lists of patterns, files of patterns, tagged caches. Pure.

use std::borrow::Cow;

use super::pattern::{Pattern, SplitPath};
use crate::error::{Error, Result};

/// What a backup leaves out, by restic's patterns.
///
/// The caller does not enter a folder that is excluded; a pattern that takes back something inside it is therefore
/// never asked, as in restic.
#[derive(Clone, Debug, Default)]
pub struct Excludes {
    lists: Vec<PatternList>,
}

impl Excludes {
    /// Reads patterns; empty ones are ignored.
    ///
    /// # Errors
    ///
    /// Misuse that names every malformed pattern and what is wrong with it.
    pub fn new<P: AsRef<[u8]>>(patterns: &[P]) -> Result<Self> {
        Ok(Self { lists: vec![PatternList::new(patterns, false)?] })
    }

    /// Adds patterns that do not tell upper from lower case.
    ///
    /// # Errors
    ///
    /// As [`Excludes::new`].
    pub fn and_ignoring_case<P: AsRef<[u8]>>(mut self, patterns: &[P]) -> Result<Self> {
        self.lists.push(PatternList::new(patterns, true)?);
        Ok(self)
    }

    /// Returns the patterns as bytes that are the same if and only if they are.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for list in &self.lists {
            text.push(if list.ignores_case { 2 } else { 1 });
            for pattern in &list.texts {
                text.extend_from_slice(&(pattern.len() as u64).to_le_bytes());
                text.extend_from_slice(pattern);
            }
        }
        text
    }

    /// Tells whether the entry at this path is left out.
    #[must_use]
    pub fn excluded(&self, path: &[u8]) -> bool {
        self.lists.iter().any(|list| list.matches(path))
    }
}

/// What a restore takes, by the same patterns.
#[derive(Clone, Debug)]
pub struct Includes {
    list: PatternList,
}

impl Includes {
    /// Reads patterns; without any, nothing is included.
    ///
    /// # Errors
    ///
    /// As [`Excludes::new`].
    pub fn new<P: AsRef<[u8]>>(patterns: &[P]) -> Result<Self> {
        Ok(Self { list: PatternList::new(patterns, false)? })
    }

    /// Tells whether the entry at this path is taken.
    #[must_use]
    pub fn included(&self, path: &[u8]) -> bool {
        self.list.matches(path)
    }

    /// Tells whether anything below this folder may be taken; if not, it need not be entered.
    #[must_use]
    pub fn may_match_below(&self, path: &[u8]) -> bool {
        self.list.may_match_below(path)
    }
}

/// Patterns in their order: each adds to what the ones before it matched, or takes back from it.
#[derive(Clone, Debug)]
struct PatternList {
    patterns: Vec<Pattern>,
    /// The same as they were written.
    texts: Vec<Vec<u8>>,
    ignores_case: bool,
}

impl PatternList {
    fn new<P: AsRef<[u8]>>(patterns: &[P], ignores_case: bool) -> Result<Self> {
        let (mut parsed, mut texts) = (Vec::new(), Vec::new());
        let mut problems = Vec::new();
        for pattern in patterns.iter().map(AsRef::as_ref).filter(|pattern| !pattern.is_empty()) {
            let folded = if ignores_case { lower_case(pattern) } else { Cow::Borrowed(pattern) };
            texts.push(pattern.to_vec());
            match Pattern::new(&folded) {
                Ok(pattern) => parsed.push(pattern),
                Err(problem) => problems.push(format!("`{}`: {problem}", String::from_utf8_lossy(pattern))),
            }
        }
        if problems.is_empty() {
            return Ok(Self { patterns: parsed, texts, ignores_case });
        }
        Err(Error::misuse(format!("these patterns are malformed: {}", problems.join("; "))))
    }

    fn matches(&self, path: &[u8]) -> bool {
        self.fold(path, Pattern::matches)
    }

    fn may_match_below(&self, path: &[u8]) -> bool {
        self.fold(path, Pattern::may_match_below)
    }

    /// Asks every pattern in order; those that take back always by what they match themselves.
    fn fold(&self, path: &[u8], ask: impl Fn(&Pattern, &SplitPath<'_>) -> bool) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let path = if self.ignores_case { lower_case(path) } else { Cow::Borrowed(path) };
        let path = SplitPath::new(&path);
        self.patterns.iter().fold(false, |matched, pattern| match pattern.is_negated() {
            true => matched && !pattern.matches(&path),
            false => matched || ask(pattern, &path),
        })
    }
}

/// Folds the case of everything that is UTF-8 and leaves other bytes as they are.
fn lower_case(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut folded = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        folded.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        folded.extend_from_slice(chunk.invalid());
    }
    Cow::Owned(folded)
}

/// Reads the patterns of an exclude file: one a line, without comments (`#`) and blank lines.
///
/// `$NAME` and `${NAME}` are replaced by what `variable` knows, `$$` by a dollar, as restic does. The text may be
/// UTF-8, with or without a byte order mark, or UTF-16 with one.
///
/// # Errors
///
/// If the text is announced as UTF-16 and is not.
pub fn parse_pattern_file(text: &[u8], variable: impl Fn(&str) -> Option<String>) -> Result<Vec<Vec<u8>>> {
    let text = decode(text)?;
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let patterns = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    Ok(patterns.map(|line| expand(line, &variable)).collect())
}

fn decode(text: &[u8]) -> Result<Cow<'_, [u8]>> {
    let (rest, to_unit): (_, fn([u8; 2]) -> u16) = match text {
        [0xEF, 0xBB, 0xBF, rest @ ..] => return Ok(Cow::Borrowed(rest)),
        [0xFF, 0xFE, rest @ ..] => (rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => (rest, u16::from_be_bytes),
        _ => return Ok(Cow::Borrowed(text)),
    };
    let refused = || Error::misuse("the file of patterns starts like UTF-16 but goes on otherwise");
    let (units, []) = rest.as_chunks::<2>() else { return Err(refused()) };
    let decoded: Result<String, _> = char::decode_utf16(units.iter().map(|&unit| to_unit(unit))).collect();
    decoded.map(|text| Cow::Owned(text.into_bytes())).map_err(|_| refused())
}

/// Replaces variables by the rules of a shell, as far as Go's `os.Expand` knows them.
fn expand(line: &[u8], variable: &impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(dollar) = rest.iter().position(|&byte| byte == b'$') {
        expanded.extend_from_slice(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        let (name, length) = variable_name(rest);
        match name {
            Some(b"$") => expanded.push(b'$'),
            Some(name) => {
                let value = std::str::from_utf8(name).ok().and_then(variable);
                expanded.extend_from_slice(value.unwrap_or_default().as_bytes());
            }
            // A dollar before anything else stands for itself; `${` without a name is dropped.
            None if length == 0 => expanded.push(b'$'),
            None => {}
        }
        rest = &rest[length..];
    }
    expanded.extend_from_slice(rest);
    expanded
}

/// Returns the name of the variable behind a dollar, and how many bytes belong to it.
fn variable_name(rest: &[u8]) -> (Option<&[u8]>, usize) {
    match rest.first() {
        Some(b'{') => match rest.iter().position(|&byte| byte == b'}') {
            None => (None, 1),
            Some(1) => (None, 2),
            Some(end) => (Some(&rest[1..end]), end + 1),
        },
        Some(b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9') => (Some(&rest[..1]), 1),
        _ => {
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let length = rest.iter().take_while(|byte| is_name(byte)).count();
            (Some(&rest[..length]).filter(|name| !name.is_empty()), length)
        }
    }
}

/// The name of the file that marks a folder as a cache. The folder and this file are kept, what else is in it is not.
pub const CACHE_TAG_NAME: &str = "CACHEDIR.TAG";

/// What a file of that name starts with if it means it.
pub const CACHE_TAG_HEADER: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Tells whether a file named [`CACHE_TAG_NAME`] that starts like this marks a cache.
#[must_use]
pub fn is_cache_tag(start: &[u8]) -> bool {
    start.starts_with(CACHE_TAG_HEADER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(patterns: &[&str]) -> Excludes {
        Excludes::new(patterns).unwrap()
    }

    #[test]
    fn without_patterns_nothing_is_excluded_or_included() {
        assert!(!Excludes::default().excluded(b"/a"));
        assert!(!excludes(&["", ""]).excluded(b"/a"));
        let none = Includes::new::<&str>(&[]).unwrap();
        assert!(!none.included(b"/a") && !none.may_match_below(b"/a"));
    }

    #[test]
    fn a_later_pattern_takes_back_and_a_still_later_one_adds_again() {
        let excludes = excludes(&["*.log", "!important.log", "/tmp/important.log"]);
        assert!(excludes.excluded(b"/a/x.log"));
        assert!(!excludes.excluded(b"/a/important.log"));
        assert!(excludes.excluded(b"/tmp/important.log"));
    }

    #[test]
    fn case_matters_unless_it_is_ignored() {
        let both = excludes(&["*.TMP"]).and_ignoring_case(&["*.Ärger"]).unwrap();
        assert!(both.excluded(b"/a.TMP") && !both.excluded(b"/a.tmp"));
        assert!(both.excluded("/a.äRGER".as_bytes()));
        assert!(both.excluded(b"/\xff/b.\xc3\x84rger"));
    }

    #[test]
    fn names_that_are_not_utf_8_are_matched() {
        let excludes = Excludes::new(&[b"caf\xe9*".as_slice()]).unwrap();
        assert!(excludes.excluded(b"/a/caf\xe9.txt"));
        assert!(!excludes.excluded("/a/café.txt".as_bytes()));
    }

    #[test]
    fn every_malformed_pattern_is_named() {
        let refused = Excludes::new(&["*.foo", "*[._]log[.-][0-9]", "!a/["]).unwrap_err().to_string();
        assert!(refused.contains("`*[._]log[.-][0-9]`") && refused.contains("`!a/[`"), "{refused}");
        assert!(!refused.contains("foo"), "{refused}");
    }

    #[test]
    fn a_restore_enters_only_where_something_may_match() {
        let includes = Includes::new(&["/home/me/*.txt", "!/home/me/no"]).unwrap();
        assert!(includes.may_match_below(b"/home") && includes.may_match_below(b"/home/me"));
        assert!(!includes.may_match_below(b"/etc") && !includes.may_match_below(b"/home/me/no"));
        assert!(includes.included(b"/home/me/a.txt") && !includes.included(b"/home/me/a.rs"));
    }

    #[test]
    fn a_pattern_file_has_comments_blank_lines_and_variables() {
        let known = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
        let text = b"# comment\n\n  *.tmp  \r\n$HOME/a\n${HOME}b\n$HOMEc\n$$x\na$\n${}y\n${open\n$1z\n$/q";
        let patterns = parse_pattern_file(text, known).unwrap();
        let expected = ["*.tmp", "/home/me/a", "/home/meb", "", "$x", "a$", "y", "open", "z", "$/q"];
        assert_eq!(patterns, expected.map(|pattern| pattern.as_bytes().to_vec()));
    }

    #[test]
    fn a_pattern_file_may_have_a_byte_order_mark() {
        let none = |_: &str| None;
        assert_eq!(parse_pattern_file(b"\xEF\xBB\xBFa", none).unwrap(), [b"a"]);
        assert_eq!(parse_pattern_file(b"\xFF\xFEa\0\n\0b\0", none).unwrap(), [b"a", b"b"]);
        assert_eq!(parse_pattern_file(b"\xFE\xFF\0a", none).unwrap(), [b"a"]);
        assert!(parse_pattern_file(b"\xFF\xFEa", none).is_err());
        assert!(parse_pattern_file(b"\xFF\xFE\0\xD8", none).is_err());
    }

    #[test]
    fn a_cache_is_marked_by_the_header_alone() {
        assert!(is_cache_tag(b"Signature: 8a477f597d28d172789f06886806bc55\n# more"));
        assert!(!is_cache_tag(b"Signature: 8a477f597d28d172789f06886806bc5"));
        assert!(!is_cache_tag(b""));
    }
}
