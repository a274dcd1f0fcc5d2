//! Files of exclude patterns, read as restic reads them. A pattern is bytes, since names are.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;

use backup_proto::path::WirePath;

/// Reads the patterns of an exclude file: one a line, blank lines and lines that start with `#` are left out, and so is
/// white space around a pattern; `$NAME` and `${NAME}` stand for variables of the environment. UTF-16 is known by the
/// mark that it begins with; all else is taken as it is.
///
/// # Errors
/// When what begins like UTF-16 is none.
pub(crate) fn parse(text: &[u8], variable: impl Fn(&str) -> Option<OsString>) -> io::Result<Vec<WirePath>> {
    let text = decode(text)?;
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let patterns = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    Ok(patterns.map(|line| WirePath::from_bytes(expand(line, &variable))).collect())
}

fn decode(text: &[u8]) -> io::Result<Cow<'_, [u8]>> {
    let (rest, to_unit): (_, fn([u8; 2]) -> u16) = match text {
        [0xEF, 0xBB, 0xBF, rest @ ..] => return Ok(Cow::Borrowed(rest)),
        [0xFF, 0xFE, rest @ ..] => (rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => (rest, u16::from_be_bytes),
        _ => return Ok(Cow::Borrowed(text)),
    };
    let refused = || io::Error::new(io::ErrorKind::InvalidData, "it begins like UTF-16 and goes on otherwise");
    let (units, []) = rest.as_chunks::<2>() else { return Err(refused()) };
    let decoded: Result<String, _> = char::decode_utf16(units.iter().map(|unit| to_unit(*unit))).collect();
    decoded.map(|text| Cow::Owned(text.into_bytes())).map_err(|_| refused())
}

/// Puts the values of variables in the place of their names; one that is not set is nothing, `$$` is a dollar sign.
fn expand(line: &[u8], variable: impl Fn(&str) -> Option<OsString>) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
        expanded.extend_from_slice(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix(b"$") {
            expanded.push(b'$');
            rest = after;
            continue;
        }
        match split_name(rest) {
            // What is no name stays as it is.
            ([], _) => expanded.push(b'$'),
            (name, after) => {
                let value = std::str::from_utf8(name).ok().and_then(&variable).unwrap_or_default();
                expanded.extend_from_slice(value.as_bytes());
                rest = after;
            }
        }
    }
    expanded.extend_from_slice(rest);
    expanded
}

/// Splits what follows a dollar sign into a variable's name and the rest.
fn split_name(text: &[u8]) -> (&[u8], &[u8]) {
    if let Some(inside) = text.strip_prefix(b"{")
        && let Some(end) = inside.iter().position(|byte| *byte == b'}')
    {
        return (&inside[..end], &inside[end + 1..]);
    }
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(text: &[u8]) -> Vec<Vec<u8>> {
        let home = |name: &str| (name == "HOME").then(|| "/home/ada".into());
        parse(text, home).unwrap().iter().map(|pattern| pattern.as_bytes().to_vec()).collect()
    }

    #[test]
    fn there_is_a_pattern_a_line() {
        let text = "\u{feff}*.tmp\r\n\n# note\n  /a b  \n#x\n$HOME/x\n${HOME}y\n$NONE/a$$b$/\n${\n$";
        let wanted = ["*.tmp", "/a b", "/home/ada/x", "/home/aday", "/a$b$/", "${", "$"];
        assert_eq!(patterns(text.as_bytes()), wanted.map(|pattern| pattern.as_bytes().to_vec()));
    }

    #[test]
    fn a_pattern_that_is_not_utf_8_is_kept_byte_by_byte() {
        assert_eq!(patterns(b"caf\xe9*\n$HOME/\xff\n"), [b"caf\xe9*".to_vec(), b"/home/ada/\xff".to_vec()]);
    }

    #[test]
    fn utf_16_is_read_and_what_only_begins_like_it_refused() {
        let little: Vec<u8> = "\u{feff}é\n*.o".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "\u{feff}é\n*.o".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!((patterns(&little), patterns(&big)), (patterns("é\n*.o".as_bytes()), patterns("é\n*.o".as_bytes())));
        assert!(parse(b"\xff\xfea", |_| None).is_err());
    }
}
