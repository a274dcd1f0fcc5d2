//! One stored value: with the version of its form and a checksum that covers its key as well, so that a value which
//! ended up under another key is noticed too.
//!
//! ```text
//! version u8 · crc u32 of key and value · value
//! ```

/// The version of every record that is written. States of version 1 had values without any of this.
pub(super) const VERSION: u8 = 2;

/// Bytes before the value.
const HEADER: usize = 5;

/// Returns a value as it is stored.
pub(super) fn seal(key: &str, value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER + value.len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&checksum(key, value).to_le_bytes());
    sealed.extend_from_slice(value);
    sealed
}

/// Returns the value of a stored record; `None` when it is not what was stored under this key.
pub(super) fn unseal<'s>(key: &str, sealed: &'s [u8]) -> Option<&'s [u8]> {
    let (header, value) = sealed.split_at_checked(HEADER)?;
    let is_whole = header[0] == VERSION && header[1..] == checksum(key, value).to_le_bytes();
    is_whole.then_some(value)
}

/// The same for sled's copy in a state of version 1, whose values had a checksum alone.
pub(super) fn unseal_1(sealed: &[u8]) -> Option<&[u8]> {
    let (checksum, value) = sealed.split_at_checked(4)?;
    (crc32fast::hash(value).to_le_bytes() == checksum).then_some(value)
}

fn checksum(key: &str, value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key.as_bytes());
    hasher.update(&[0]);
    hasher.update(value);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_under_its_own_key_alone_and_every_flipped_bit_is_noticed() {
        let sealed = seal("job/1", b"value");
        assert_eq!(unseal("job/1", &sealed), Some(b"value".as_slice()));
        assert_eq!(unseal("job/2", &sealed), None);
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal("job/1", &damaged), None, "bit {bit}");
        }
        assert!((0..sealed.len()).all(|length| unseal("job/1", &sealed[..length]).is_none()));
    }
}
