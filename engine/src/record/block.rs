//! One folder of the record.

use std::ops::Range;

use super::code::{Reader, put_number, put_text};

/// The folder is marked as a cache: what else is in it does not count.
const CACHE: u8 = 1;

/// The entry may have changed after it was looked at without showing it.
const UNSETTLED: u8 = 1;
/// The entry is a folder that was gone into.
const ENTERED: u8 = 2;

/// A folder as it was: its entries by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    is_cache: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    name: Range<usize>,
    stamp: Range<usize>,
    is_unsettled: bool,
    child: Option<Child>,
}

/// An entry of a folder as it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'b> {
    pub(crate) name: &'b [u8],
    /// What it looked like.
    pub(crate) stamp: &'b [u8],
    /// Whether it may have changed without showing it.
    pub(crate) is_unsettled: bool,
    /// Of a folder that was gone into: where its block is, and what is in it.
    pub(crate) child: Option<Child>,
}

/// Where a folder's block is, and what all below it comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) crc: u32,
    pub(crate) totals: Totals,
}

/// What is in a folder and all below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    /// Folders, this one among them.
    pub(crate) folders: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// Bytes of the blocks themselves.
    pub(crate) stored: u64,
    /// Whether all of it has to be looked at even if nobody says that it changed.
    pub(crate) no_hints: bool,
}

impl Totals {
    /// Adds what is in a folder below.
    pub(crate) fn add(&mut self, more: &Self) {
        self.files = self.files.saturating_add(more.files);
        self.folders = self.folders.saturating_add(more.folders);
        self.entries = self.entries.saturating_add(more.entries);
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.stored = self.stored.saturating_add(more.stored);
        self.no_hints |= more.no_hints;
    }
}

impl Block {
    /// Decodes a block; total over all bytes.
    pub(crate) fn decode(bytes: Vec<u8>) -> Option<Self> {
        let mut reader = Reader::new(&bytes);
        let is_cache = reader.byte().filter(|flags| *flags <= CACHE)? == CACHE;
        let count = reader.count()?;
        let mut spans: Vec<Span> = Vec::with_capacity(count.min(4096));
        for _ in 0..count {
            let flags = reader.byte().filter(|flags| *flags <= (UNSETTLED | ENTERED))?;
            let span = |text: &[u8], reader: &Reader<'_>| {
                let end = bytes.len() - reader.left();
                end - text.len()..end
            };
            let text = reader.text()?;
            let name = span(text, &reader);
            let text = reader.text()?;
            let stamp = span(text, &reader);
            let child = if flags & ENTERED == 0 { None } else { Some(read_child(&mut reader)?) };
            if spans.last().is_some_and(|last| bytes[last.name.clone()] >= bytes[name.clone()]) {
                return None;
            }
            spans.push(Span { name, stamp, is_unsettled: flags & UNSETTLED != 0, child });
        }
        (reader.left() == 0).then_some(())?;
        Some(Self { bytes, spans, is_cache })
    }

    /// Returns the entries in the order of their names.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.spans.iter().map(|span| self.entry(span))
    }

    /// Returns the entry of a name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Entry<'_>> {
        let found = self.spans.binary_search_by(|span| self.bytes[span.name.clone()].cmp(name)).ok()?;
        Some(self.entry(&self.spans[found]))
    }

    /// Returns whether the folder is marked as a cache.
    pub(crate) fn is_cache(&self) -> bool {
        self.is_cache
    }

    /// Returns the encoded block.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn entry(&self, span: &Span) -> Entry<'_> {
        Entry {
            name: &self.bytes[span.name.clone()],
            stamp: &self.bytes[span.stamp.clone()],
            is_unsettled: span.is_unsettled,
            child: span.child,
        }
    }
}

/// A block while a folder is walked.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    entries: Vec<u8>,
    count: u64,
    is_cache: bool,
    totals: Totals,
}

impl BlockBuilder {
    /// Says whether the folder is marked as a cache.
    pub(crate) fn set_cache(&mut self, is_cache: bool) {
        self.is_cache = is_cache;
    }

    /// Says that all in this folder has to be looked at whatever others say.
    pub(crate) fn forbid_hints(&mut self) {
        self.totals.no_hints = true;
    }

    /// Counts a file.
    pub(crate) fn count_file(&mut self, bytes: u64) {
        self.totals.files += 1;
        self.totals.bytes = self.totals.bytes.saturating_add(bytes);
    }

    /// Adds an entry; to be called in the order of names.
    pub(crate) fn copy(&mut self, entry: &Entry<'_>) {
        let unsettled = if entry.is_unsettled { UNSETTLED } else { 0 };
        let entered = if entry.child.is_some() { ENTERED } else { 0 };
        self.entries.push(unsettled | entered);
        put_text(&mut self.entries, entry.name);
        put_text(&mut self.entries, entry.stamp);
        if let Some(child) = &entry.child {
            put_child(&mut self.entries, child);
            self.totals.add(&child.totals);
        } else {
            self.totals.entries = self.totals.entries.saturating_add(1);
            self.totals.no_hints |= entry.is_unsettled;
        }
        self.count += 1;
    }

    /// Returns the block, and what it and all below it come to.
    pub(crate) fn finish(self) -> (Vec<u8>, Totals) {
        let mut bytes = Vec::with_capacity(self.entries.len() + 10);
        bytes.push(if self.is_cache { CACHE } else { 0 });
        put_number(&mut bytes, self.count);
        bytes.extend_from_slice(&self.entries);
        let mut totals = self.totals;
        totals.folders = totals.folders.saturating_add(1);
        totals.entries = totals.entries.saturating_add(1);
        totals.stored = totals.stored.saturating_add(bytes.len() as u64);
        (bytes, totals)
    }
}

fn put_child(out: &mut Vec<u8>, child: &Child) {
    let Totals { files, folders, entries, bytes, stored, no_hints } = child.totals;
    for number in [child.offset, u64::from(child.length), files, folders, entries, bytes, stored, u64::from(no_hints)] {
        put_number(out, number);
    }
    out.extend_from_slice(&child.crc.to_le_bytes());
}

fn read_child(reader: &mut Reader<'_>) -> Option<Child> {
    let offset = reader.number()?;
    let length = u32::try_from(reader.number()?).ok()?;
    let (files, folders, entries) = (reader.number()?, reader.number()?, reader.number()?);
    let (bytes, stored) = (reader.number()?, reader.number()?);
    let no_hints = match reader.number()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let crc = u32::from_le_bytes(reader.array()?);
    Some(Child { offset, length, crc, totals: Totals { files, folders, entries, bytes, stored, no_hints } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_and_its_entries_are_found() {
        let child = Child { offset: 7, length: 9, crc: 3, totals: Totals { files: 2, bytes: 10, ..Totals::default() } };
        let mut builder = BlockBuilder::default();
        let entry = |name, is_unsettled, child| Entry { name, stamp: b"looks", is_unsettled, child };
        builder.copy(&entry(b"a", false, Some(child)));
        builder.count_file(5);
        builder.copy(&entry(b"b", true, None));
        let (bytes, totals) = builder.finish();
        assert_eq!((totals.files, totals.bytes, totals.folders, totals.no_hints), (3, 15, 1, true));
        let block = Block::decode(bytes.clone()).unwrap();
        assert_eq!(block.get(b"a").unwrap().child, Some(child));
        assert!(block.get(b"b").unwrap().is_unsettled && block.get(b"c").is_none());
        for end in 0..bytes.len() {
            assert_eq!(Block::decode(bytes[..end].to_vec()), None, "cut at {end}");
        }
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        let mut builder = BlockBuilder::default();
        for name in [b"b", b"a"] {
            builder.copy(&Entry { name, stamp: b"", is_unsettled: false, child: None });
        }
        assert_eq!(Block::decode(builder.finish().0), None);
    }
}
