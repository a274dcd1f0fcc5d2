//! How Go writes bytes into JSON: base64 for byte slices, and quoted strings for names that need not be UTF-8.

use std::fmt::Write as _;

/// Bytes as base64 text.
pub(crate) mod base64_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        // Go writes `null` for an empty slice.
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}

/// A field that may be absent, as base64 text.
pub(crate) mod base64_option {
    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        super::base64_text::serialize(bytes.as_deref().unwrap_or_default(), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        super::base64_text::deserialize(deserializer).map(|bytes| if bytes.is_empty() { None } else { Some(bytes) })
    }
}

/// Returns a name as Go's `strconv.Quote` writes it, without the quotes: bytes that are not UTF-8 become `\xff`.
pub(crate) fn quote(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for part in name.utf8_chunks() {
        for character in part.valid().chars() {
            match character {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\u{7}' => text.push_str("\\a"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{b}' => text.push_str("\\v"),
                '\0'..='\u{1f}' | '\u{7f}' => push_hex(&mut text, 'x', 2, u32::from(character)),
                // Not printable in Go's sense; only the identity of tree blobs with restic's hangs on this list.
                '\u{80}'..='\u{a0}' | '\u{ad}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{feff}' => {
                    push_hex(&mut text, 'u', 4, u32::from(character));
                }
                _ => text.push(character),
            }
        }
        for &byte in part.invalid() {
            push_hex(&mut text, 'x', 2, u32::from(byte));
        }
    }
    text
}

fn push_hex(text: &mut String, letter: char, digits: usize, value: u32) {
    write!(text, "\\{letter}{value:0digits$x}").expect("writing to a string does not fail");
}

/// Returns the name that [`quote`] wrote, or `None` if this is not what Go's `strconv.Unquote` accepts.
pub(crate) fn unquote(text: &str) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find(['\\', '"', '\n']) {
        name.extend_from_slice(&rest.as_bytes()[..position]);
        let mut characters = rest[position..].chars();
        if characters.next() != Some('\\') {
            return None;
        }
        let letter = characters.next()?;
        rest = characters.as_str();
        match letter {
            '\\' | '"' => name.push(u8::try_from(letter).ok()?),
            'a' => name.push(7),
            'b' => name.push(8),
            'f' => name.push(12),
            'n' => name.push(b'\n'),
            'r' => name.push(b'\r'),
            't' => name.push(b'\t'),
            'v' => name.push(11),
            'x' => name.push(u8::try_from(take_digits(&mut rest, 2, 16)?).ok()?),
            'u' | 'U' => {
                let value = take_digits(&mut rest, if letter == 'u' { 4 } else { 8 }, 16)?;
                name.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
            }
            '0'..='7' => {
                let mut value = letter.to_digit(8)?;
                value = value * 64 + take_digits(&mut rest, 2, 8)?;
                name.push(u8::try_from(value).ok()?);
            }
            _ => return None,
        }
    }
    name.extend_from_slice(rest.as_bytes());
    Some(name)
}

fn take_digits(rest: &mut &str, count: usize, radix: u32) -> Option<u32> {
    let digits = rest.get(..count)?;
    if !digits.bytes().all(|byte| char::from(byte).is_digit(radix)) {
        return None;
    }
    *rest = &rest[count..];
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_as_go_does() {
        let name = b"a\"b\\c\n\x01\x7f\xff\xc3\xa9\xc2\xa0";
        let text = r#"a\"b\\c\n\x01\x7f\xffé\u00a0"#;
        assert_eq!(quote(name), text);
        assert_eq!(unquote(text).unwrap(), name);
        assert_eq!(unquote(r"\101\U0001f600").unwrap(), "A😀".as_bytes());
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in ["\"", "\\", "\\x1", "\\xgg", "\\ud800", "\\q", "a\nb", "\\400", "\\u+123"] {
            assert_eq!(unquote(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unquote(&quote(&name)), Some(name));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = unquote(&text);
        }
    }
}
