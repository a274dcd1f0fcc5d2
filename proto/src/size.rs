//! Sizes as people read them, the same wherever they are said.

/// Says a size: `0 B`, `1.5 KiB`, `20.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // The unit is chosen after rounding, so that nothing reads "1024.0 KiB".
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = 0;
    tenths = (tenths + 512) / 1024;
    while tenths >= 10240 {
        tenths = (tenths + 512) / 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Reads a size such as `4096`, `20TiB` or `3 GiB` in bytes.
///
/// # Errors
/// A sentence that says how one is written.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let refuse = || format!("`{text}` is not a size; write it like 4096, 500MiB or 20 TiB");
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let power = match unit.trim_start() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        "PiB" => 50,
        _ => return Err(refuse()),
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    number.checked_mul(1 << power).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        for (text, meant) in [("0", 0), ("4096", 4096), ("20TiB", 20 << 40), ("3 GiB", 3 << 30), ("7B", 7)] {
            assert_eq!(parse_size(text), Ok(meant), "{text}");
        }
        for text in ["", "GiB", "3GB", "-1", "1.5GiB", "99999999999PiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
