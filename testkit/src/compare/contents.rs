//! Whether two files hold the same bytes, and whether holes stayed holes.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How much of each file is read at a time.
const STEP: usize = 1 << 20;

/// How many bytes on disk a copy may take beyond the original before that counts as lost holes: file systems round up
/// and keep maps of extents.
const SLACK: u64 = 1 << 20;

/// Returns the offset of the first byte in which two files differ; a file that ends early differs at its end.
pub(super) fn first_difference(original: &Path, copy: &Path) -> io::Result<Option<u64>> {
    let (mut original, mut copy) = (File::open(original)?, File::open(copy)?);
    let (mut left, mut right) = (vec![0; STEP], vec![0; STEP]);
    let mut offset = 0;
    loop {
        let (have, got) = (fill(&mut original, &mut left)?, fill(&mut copy, &mut right)?);
        if left[..have] != right[..got] {
            let same = left[..have].iter().zip(&right[..got]).take_while(|(a, b)| a == b).count();
            return Ok(Some(offset + same as u64));
        }
        if have < STEP {
            return Ok(None);
        }
        offset += STEP as u64;
    }
}

/// Says whether a file that had holes takes clearly more room than before.
///
/// Below half of its length on disk counts as having holes: file systems also pad and compress.
pub(super) fn lost_its_holes(before: &Metadata, after: &Metadata) -> bool {
    let had = before.blocks() * 512;
    had < before.len() / 2 && after.blocks() * 512 > had * 2 + SLACK
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
