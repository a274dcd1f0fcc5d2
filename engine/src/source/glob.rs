//! Wildcards within one name, by the rules of Go's `filepath.Match`, which restic's patterns are made of.
//!
//! `*` stands for any characters, `?` for one, `[a-z]` and `[^a-z]` for one of a class, and `\` takes the next
//! character as it is. Names are bytes; what is not UTF-8 counts as one character a byte.

use std::ops::RangeInclusive;

/// A pattern for one name, ready to be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    AnyCharacter,
    Class { negated: bool, ranges: Vec<RangeInclusive<u32>> },
    AnySequence,
}

impl Glob {
    /// Reads a pattern; the error says what is wrong with it.
    ///
    /// # Errors
    ///
    /// If a class is empty or not closed, a range lacks an end, or nothing follows a backslash.
    pub fn new(pattern: &[u8]) -> Result<Self, &'static str> {
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            tokens.push(match byte {
                b'*' => Token::AnySequence,
                b'?' => Token::AnyCharacter,
                b'[' => parse_class(&mut rest)?,
                b'\\' => {
                    let (&escaped, after) = rest.split_first().ok_or("nothing follows the backslash")?;
                    rest = after;
                    Token::Byte(escaped)
                }
                _ => Token::Byte(byte),
            });
        }
        Ok(Self { tokens })
    }

    /// Tells whether the whole name matches.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let (mut tokens, mut name) = (&self.tokens[..], name);
        // Where to go on with one byte more for the last `*`; going back to an earlier one cannot help.
        let mut retry: Option<(&[Token], &[u8])> = None;
        loop {
            if let Some((Token::AnySequence, after)) = tokens.split_first() {
                retry = Some((after, name));
                tokens = after;
                continue;
            }
            let step = match tokens.split_first() {
                None if name.is_empty() => return true,
                None => None,
                Some((token, after)) => token.strip(name).map(|rest| (after, rest)),
            };
            (tokens, name) = match (step, retry) {
                (Some(next), _) => next,
                (None, Some((after, [_, shorter @ ..]))) => {
                    retry = Some((after, shorter));
                    (after, shorter)
                }
                (None, _) => return false,
            };
        }
    }
}

impl Token {
    /// Returns what follows the one character that this token stands for.
    fn strip<'name>(&self, name: &'name [u8]) -> Option<&'name [u8]> {
        match self {
            Self::Byte(byte) => name.split_first().filter(|(first, _)| *first == byte).map(|(_, rest)| rest),
            Self::AnyCharacter => first_character(name).map(|(_, rest)| rest),
            Self::Class { negated, ranges } => {
                let (character, rest) = first_character(name)?;
                (ranges.iter().any(|range| range.contains(&character)) != *negated).then_some(rest)
            }
            Self::AnySequence => unreachable!("a sequence is taken apart before characters are"),
        }
    }
}

/// Splits off a character; a byte that does not start one counts as the replacement character.
fn first_character(name: &[u8]) -> Option<(u32, &[u8])> {
    let decoded = (1..=name.len().min(4)).find_map(|length| {
        let text = std::str::from_utf8(&name[..length]).ok()?;
        Some((u32::from(text.chars().next()?), &name[length..]))
    });
    decoded.or_else(|| Some((u32::from(char::REPLACEMENT_CHARACTER), name.get(1..)?)))
}

fn parse_class(rest: &mut &[u8]) -> Result<Token, &'static str> {
    let negated = rest.first() == Some(&b'^');
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&b']') && !ranges.is_empty() {
            *rest = &rest[1..];
            return Ok(Token::Class { negated, ranges });
        }
        let low = parse_class_character(rest)?;
        let mut high = low;
        if rest.first() == Some(&b'-') {
            *rest = &rest[1..];
            high = parse_class_character(rest)?;
        }
        ranges.push(low..=high);
    }
}

fn parse_class_character(rest: &mut &[u8]) -> Result<u32, &'static str> {
    match rest.first() {
        None => return Err("a `[` is not closed"),
        Some(b'-') => return Err("a `-` in `[…]` has nothing before it; write `\\-` for the character"),
        Some(b']') => return Err("a `]` in `[…]` closes too early; write `\\]` for the character"),
        Some(b'\\') => *rest = &rest[1..],
        Some(_) => {}
    }
    let (character, after) = first_character(rest).ok_or("nothing follows the backslash")?;
    *rest = after;
    if after.is_empty() { Err("a `[` is not closed") } else { Ok(character) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_go_does() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*", "", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*b*c*d*e*", "axbxcxdxe", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("[\\-x]", "a", false),
            ("*x", "xxx", true),
            ("", "", true),
            ("", "a", false),
            ("?", "", false),
            ("[a]", "", false),
        ] {
            let glob = Glob::new(pattern.as_bytes()).unwrap();
            assert_eq!(glob.matches(name.as_bytes()), expected, "{pattern} against {name}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "a[", "[", "[^", "[^bc", "[]", "[a-]", "\\", "[a", "[.-]", "[\\"]
        {
            assert!(Glob::new(pattern.as_bytes()).is_err(), "{pattern}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_count_as_characters() {
        assert!(Glob::new(b"?.txt").unwrap().matches(b"\xff.txt"));
        assert!(!Glob::new(b"?.txt").unwrap().matches(b"\xff\xfe.txt"));
        assert!(Glob::new(b"*.txt").unwrap().matches(b"\xff\xfe.txt"));
        assert!(Glob::new(b"\xff*").unwrap().matches(b"\xff\xfe"));
        assert!(Glob::new(b"[^a]").unwrap().matches(b"\xff"));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "a*".repeat(60) + "b";
        assert!(!Glob::new(pattern.as_bytes()).unwrap().matches("a".repeat(3000).as_bytes()));
    }
}
