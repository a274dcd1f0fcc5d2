//! A pattern for whole paths, by restic's rules.
//!
//! - One that starts with a slash is matched from the root; any other may match anywhere in a path.
//! - It is matched name by name; `**` stands for any number of names, none included.
//! - What matches a folder matches everything below it.
//! - A `!` in front takes back what the patterns before it matched.

use super::glob::Glob;

/// A pattern for whole paths, ready to be matched.
#[derive(Clone, Debug)]
pub struct Pattern {
    rooted: bool,
    negated: bool,
    /// What lies between the `**`. A path matches if it holds these runs in this order, with anything between.
    runs: Vec<Vec<Glob>>,
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    ///
    /// # Errors
    ///
    /// If one of its names is malformed, see [`Glob::new`].
    pub fn new(pattern: &[u8]) -> Result<Self, &'static str> {
        let negated = pattern.first() == Some(&b'!');
        let pattern = if negated { &pattern[1..] } else { pattern };
        let rooted = pattern.first() == Some(&b'/');
        let mut runs = vec![Vec::new()];
        let names = clean(pattern, rooted);
        // restic takes the root alone as everything below it.
        let everything = rooted && names.is_empty();
        for name in names {
            if name == b"**" {
                runs.push(Vec::new());
            } else if let Some(run) = runs.last_mut() {
                run.push(Glob::new(name)?);
            }
        }
        if everything {
            runs.push(Vec::new());
        }
        Ok(Self { rooted, negated, runs })
    }

    /// Tells whether this pattern takes back what others matched.
    #[must_use]
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// Tells whether the path, or a folder that it lies in, matches.
    #[must_use]
    pub fn matches(&self, path: &SplitPath<'_>) -> bool {
        if self.rooted && !path.rooted {
            return false;
        }
        let mut rest = &path.names[..];
        for (index, run) in self.runs.iter().enumerate() {
            let last_start = if index == 0 && self.rooted { Some(0) } else { rest.len().checked_sub(run.len()) };
            // The earliest place for each run leaves the most for the next.
            let Some(last_start) = last_start else { return false };
            let Some(start) = (0..=last_start).find(|&start| is_prefix(run, &rest[start..])) else { return false };
            rest = &rest[start + run.len()..];
        }
        // A pattern of nothing but `**` needs a name to match.
        !path.names.is_empty() || self.rooted
    }

    /// Tells whether anything below the path may match.
    #[must_use]
    pub fn may_match_below(&self, path: &SplitPath<'_>) -> bool {
        if !self.rooted {
            return true;
        }
        let first = &self.runs[0];
        let known = first.len().min(path.names.len());
        path.rooted && is_prefix(&first[..known], &path.names)
    }
}

fn is_prefix(run: &[Glob], names: &[&[u8]]) -> bool {
    run.len() <= names.len() && run.iter().zip(names).all(|(glob, name)| glob.matches(name))
}

/// A path taken apart into its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitPath<'path> {
    rooted: bool,
    names: Vec<&'path [u8]>,
}

impl<'path> SplitPath<'path> {
    /// Takes a path apart; slashes that repeat or end it count for nothing.
    #[must_use]
    pub fn new(path: &'path [u8]) -> Self {
        let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
        Self { rooted: path.first() == Some(&b'/'), names }
    }
}

/// Takes a pattern apart, without `.`, and with `..` resolved by the text alone.
fn clean(pattern: &[u8], rooted: bool) -> Vec<&[u8]> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in pattern.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => match names.last() {
                Some(&last) if last != b".." => _ = names.pop(),
                _ if rooted => {}
                _ => names.push(name),
            },
            _ => names.push(name),
        }
    }
    if names.is_empty() && !rooted {
        names.push(b".");
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern.as_bytes()).unwrap().matches(&SplitPath::new(path.as_bytes()))
    }

    #[test]
    fn paths_match_as_in_restic() {
        for (pattern, path, expected) in [
            ("*.go", "/foo/bar/test.go", true),
            ("*.c", "/foo/bar/test.go", false),
            ("*", "/foo/bar/test.go", true),
            ("**", "/foo/bar/test.go", true),
            ("foo*", "/foo/bar/test.go", true),
            ("/bar*", "/foo/bar/test.go", false),
            ("bar/*", "/foo/bar/test.go", true),
            ("baz/*", "/foo/bar/test.go", false),
            ("ba*/*.go", "/foo/bar/test.go", true),
            ("tesT.*", "/foo/bar/test.go", false),
            ("/foo/bar/", "/foo/bar", true),
            ("/foo///bar", "/foo/bar", true),
            ("/foo/../bar", "/foo/bar", false),
            ("/foo/../bar", "/bar", true),
            ("/../bar", "/bar", true),
            ("/foo", "/foo/baz", true),
            ("/foo/*", "/foo", false),
            ("bar", "/foo/bar/baz", true),
            ("/foo/*test.*", "/foo/bar/test.go", false),
            ("/foo/*/test.*", "/foo/bar/test.go", true),
            ("/*/*/baz/test.*", "/foo/bar/baz/test.go", true),
            ("/foo/bar/test.*", "bar/baz/test.go", false),
            ("baz/test.*", "bar/baz/test.go", true),
            ("sdk/*/cpp/*/*vars*.html", "/usr/share/doc/libreoffice/sdk/docs/cpp/ref/a00517.html", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} against {path}");
        }
    }

    #[test]
    fn double_stars_match_as_in_restic() {
        for (pattern, path, expected) in [
            ("foo/**/bar/*.go", "/home/user/foo/work/special/project/bar/test.go", true),
            ("foo/**/bar/*.go", "/home/user/foo/bar/test.go", true),
            ("foo/**/bar/*.go", "foo/bar/baz/bar/test.go", true),
            ("foo/**/bar/*.go", "/home/user/foo/test.c", false),
            ("foo/**/bar/*.go", "bar/foo/main.go", false),
            ("foo/**/bar", "/home/user/foo/x/y/bar/main.go", true),
            ("foo/**/bar/**/x", "/home/user/foo/blaaa/blaz/bar/shared/work/x", true),
            ("user/**/important*", "/home/user/work/x/y/hidden/x", false),
            ("user/**/hidden*/**/c", "/home/user/work/x/y/hidden/z/a/b/c", true),
            ("foo/**", "/a/foo", true),
            ("**/node_modules", "/a/node_modules/b", true),
            ("**/node_modules", "/a/node_module", false),
            ("/", "/anything", true),
            (".", "/a", false),
            ("./foo", "/a/foo", true),
            ("/**/a", "/b/c/a", true),
            ("/x/**/a", "/b/x/c/a", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} against {path}");
        }
    }

    #[test]
    fn folders_are_entered_where_restic_enters_them() {
        for (pattern, path, expected) in [
            ("foo/bar", "/foo", true),
            ("baz", "/foo/bar", true),
            ("/foo/bar/baz", "/foo/bar", true),
            ("/foo/bar/baz", "/foo/baz", false),
            ("/foo/**/baz", "/foo/bar/baz/blah", true),
            ("/foo/**", "/foo/bar", true),
            ("/foo/*/qux", "/foo/bar", true),
            ("/foo/*/qux", "/foo/bar/boo", false),
            ("/foo/*/qux", "/foo/bar/boo/xx", false),
            ("/baz/bar", "/foo", false),
            ("/foo", "/foo/bar", true),
            ("/*/**", "/foo", true),
            ("/bar/*", "/foo", false),
            ("/foo/*/baz", "/bar/baz", false),
            ("/**/bar", "/foo/bar", true),
        ] {
            let parsed = Pattern::new(pattern.as_bytes()).unwrap();
            assert_eq!(parsed.may_match_below(&SplitPath::new(path.as_bytes())), expected, "{pattern} below {path}");
        }
    }

    #[test]
    fn many_double_stars_take_no_exponential_time() {
        let pattern = "/".to_owned() + &"**/a/".repeat(30) + "b";
        assert!(!matches(&pattern, &"/a".repeat(1000)));
    }

    #[test]
    fn a_malformed_name_anywhere_is_refused() {
        assert!(Pattern::new(b"test/[").is_err());
        assert!(Pattern::new(b"!test/**/[").is_err());
    }
}
