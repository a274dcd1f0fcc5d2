//! The bytes of the journal: one frame for each record, one record for each commit.
//!
//! ```text
//! frame    length u32 · crc u32 · sequence u64 · payload       length and crc are of sequence and payload
//! payload  version u8 · for each change: key length u16 · key · value length u32 · record
//! ```
//! All numbers are little-endian. A value length of `u32::MAX` says that the key is removed. A change carries the
//! whole new value and never a difference, so that a record may be applied twice.

use super::record;

/// Bytes of a frame before its payload.
pub(super) const HEADER: usize = 16;

/// The longest payload of a frame, in bytes. A commit holds at most a few hundred changes of some kilobytes.
pub(super) const PAYLOAD_MAX: usize = 64 * 1024 * 1024;

/// Version of the payload's form. In version 1 a record was the bare value.
const VERSION: u8 = super::record::VERSION;

/// The value length that says that a key is removed.
const REMOVED: u32 = u32::MAX;

/// One key with its new value, or with none when it goes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key: a kind and a name, like `job/01J…`.
    pub key: String,
    /// The whole new value; `None` removes the key.
    pub value: Option<Vec<u8>>,
}

impl Change {
    /// Makes a change that sets a key.
    #[must_use]
    pub fn set(key: impl Into<String>, value: Vec<u8>) -> Self {
        Self { key: key.into(), value: Some(value) }
    }

    /// Makes a change that removes a key.
    #[must_use]
    pub fn remove(key: impl Into<String>) -> Self {
        Self { key: key.into(), value: None }
    }
}

/// Changes that were made together, with their place in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The place in the history; each record has the next number.
    pub(super) sequence: u64,
    /// What was changed.
    pub(super) changes: Vec<Change>,
}

/// Encodes a record as a frame; `None` when it is longer than a frame can be.
pub(super) fn encode(record: &Record) -> Option<Vec<u8>> {
    let mut frame = vec![0; 8];
    frame.extend_from_slice(&record.sequence.to_le_bytes());
    frame.push(VERSION);
    encode_changes(&record.changes, &mut frame)?;
    let length = frame.len() - 8;
    if length > PAYLOAD_MAX {
        return None;
    }
    let checksum = crc32fast::hash(&frame[8..]);
    frame[..4].copy_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
    frame[4..8].copy_from_slice(&checksum.to_le_bytes());
    Some(frame)
}

/// Decodes the frame at the start of some bytes; returns it with its length, or `None` when there is no whole and
/// right one.
pub(super) fn decode(bytes: &[u8]) -> Option<(Record, usize)> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    if !(9..=PAYLOAD_MAX).contains(&length) {
        return None;
    }
    let body = bytes.get(8..8 + length)?;
    if crc32fast::hash(body) != u32_at(bytes, 4)? {
        return None;
    }
    let sequence = u64::from_le_bytes(body.get(..8)?.try_into().ok()?);
    Some((Record { sequence, changes: decode_changes(&body[9..], body[8])? }, 8 + length))
}

/// Returns the version of the frame at the start of some bytes, also of a later one that cannot be decoded.
pub(super) fn form(bytes: &[u8]) -> Option<u32> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok().filter(|length| (9..=PAYLOAD_MAX).contains(length))?;
    let body = bytes.get(8..8 + length)?;
    (crc32fast::hash(body) == u32_at(bytes, 4)?).then(|| u32::from(body[8]))
}

/// Appends changes in their stored form; `None` when a key or value is too long for it.
pub(super) fn encode_changes(changes: &[Change], out: &mut Vec<u8>) -> Option<()> {
    for change in changes {
        out.extend_from_slice(&u16::try_from(change.key.len()).ok()?.to_le_bytes());
        out.extend_from_slice(change.key.as_bytes());
        match &change.value {
            None => out.extend_from_slice(&REMOVED.to_le_bytes()),
            Some(value) => {
                let record = record::seal(&change.key, value);
                let length = u32::try_from(record.len()).ok().filter(|length| *length != REMOVED)?;
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&record);
            }
        }
    }
    Some(())
}

/// Reads back what [`encode_changes`] of this or an earlier version wrote; `None` when the bytes are anything else.
pub(super) fn decode_changes(mut bytes: &[u8], version: u8) -> Option<Vec<Change>> {
    if !(1..=VERSION).contains(&version) {
        return None;
    }
    let mut changes = Vec::new();
    while !bytes.is_empty() {
        let key_length = usize::from(u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?));
        let key = std::str::from_utf8(bytes.get(2..2 + key_length)?).ok()?.to_owned();
        bytes = &bytes[2 + key_length..];
        let length = u32_at(bytes, 0)?;
        bytes = &bytes[4..];
        let value = if length == REMOVED {
            None
        } else {
            let length = usize::try_from(length).ok()?;
            let record = bytes.get(..length)?;
            bytes = &bytes[length..];
            Some(if version == 1 { record } else { record::unseal(&key, record)? }.to_vec())
        };
        changes.push(Change { key, value });
    }
    Some(changes)
}

/// Decodes a frame, and the bytes of a payload of each version as if the frame's checksum had fitted; what is accepted
/// has to come back. For fuzzing: a checksum keeps nearly all bent bytes from what is behind it.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let frame = decode(bytes).map(|(record, _)| record.changes);
    let payloads = (1..=VERSION).filter_map(|version| decode_changes(bytes, version));
    let mut outcome = Err("neither a frame nor a payload".to_owned());
    for changes in frame.into_iter().chain(payloads) {
        let mut again = Vec::new();
        encode_changes(&changes, &mut again).ok_or("a payload of too many bytes")?;
        assert_eq!(decode_changes(&again, VERSION), Some(changes), "changes have to come back");
        outcome = Ok(());
    }
    outcome
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    fn record() -> Record {
        Record {
            sequence: 7,
            changes: vec![Change::set("job/1", b"one".to_vec()), Change::remove("job/0"), Change::set("", Vec::new())],
        }
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let frame = encode(&record()).unwrap();
        assert_eq!(decode(&frame), Some((record(), frame.len())));
    }

    #[test]
    fn no_part_of_a_frame_is_taken_for_a_whole_one() {
        let frame = encode(&record()).unwrap();
        for length in 0..frame.len() {
            assert_eq!(decode(&frame[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let frame = encode(&record()).unwrap();
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes: Vec<u8>, sequence in any::<u64>()) {
            let _ = decode(&bytes);
            let _ = (decode_changes(&bytes, 1), decode_changes(&bytes, VERSION), form(&bytes));
            let record = Record { sequence, changes: vec![Change::set("k", bytes)] };
            let frame = encode(&record).unwrap();
            assert_eq!(decode(&frame), Some((record, frame.len())));
        }
    }
}
