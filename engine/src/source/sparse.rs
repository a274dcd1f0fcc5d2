//! Holes in files, left or made when writing.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

/// Length of the pieces in bytes that become holes when they are zeros: the block size of nearly all file systems.
const BLOCK: usize = 4096;

/// A block of zeros.
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Writes data at an offset of a new file that already has its length, and leaves out what is zeros there anyway.
///
/// # Errors
///
/// The operating system's.
pub fn write_sparse(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    for run in data_runs(data, offset) {
        file.write_all_at(&data[run.clone()], offset + run.start as u64)?;
    }
    Ok(())
}

/// Makes a stretch of a file read as zeros, as a hole where the file system can.
///
/// # Errors
///
/// The operating system's.
pub fn write_zeros(file: &File, range: Range<u64>) -> io::Result<()> {
    if range.is_empty() || punch_hole(file, &range)? {
        return Ok(());
    }
    let mut offset = range.start;
    while offset < range.end {
        let length = usize::try_from(range.end - offset).unwrap_or(BLOCK).min(BLOCK);
        file.write_all_at(&ZEROS[..length], offset)?;
        offset += length as u64;
    }
    Ok(())
}

/// Returns the stretches of `data` that hold anything but whole blocks of zeros. Blocks are counted from the start of
/// the file, since a hole that does not cover one of its blocks saves nothing.
fn data_runs(data: &[u8], offset: u64) -> impl Iterator<Item = Range<usize>> {
    let misaligned = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
    let mut at = 0;
    let mut next_block = move || {
        let length = if at == 0 { BLOCK - misaligned } else { BLOCK };
        let block = at..data.len().min(at + length);
        at = block.end;
        (!block.is_empty()).then_some(block)
    };
    let mut pending = None;
    std::iter::from_fn(move || {
        loop {
            let block = next_block();
            let is_data = |block: &Range<usize>| data[block.clone()] != ZEROS[..block.len()];
            match (pending.take(), block) {
                (run, Some(block)) if is_data(&block) => {
                    pending = Some(run.map_or(block.start, |run: Range<usize>| run.start)..block.end);
                }
                (Some(run), _) => return Some(run),
                (None, Some(_)) => {}
                (None, None) => return None,
            }
        }
    })
}

/// Makes a hole; tells whether the file system can.
#[cfg(target_os = "linux")]
fn punch_hole(file: &File, range: &Range<u64>) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(file, flags, range.start, range.end - range.start) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn punch_hole(_: &File, _: &Range<u64>) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn runs(data: &[u8], offset: u64) -> Vec<Range<usize>> {
        data_runs(data, offset).collect()
    }

    #[test]
    fn whole_blocks_of_zeros_are_left_out() {
        let mut data = vec![0; 5 * BLOCK];
        assert_eq!(runs(&data, 0), []);
        assert_eq!(runs(&[], 0), []);
        data[BLOCK] = 1;
        data[3 * BLOCK - 1] = 1;
        assert_eq!(runs(&data, 0), vec![BLOCK..3 * BLOCK]);
        data[5 * BLOCK - 1] = 1;
        assert_eq!(runs(&data, 0), [BLOCK..3 * BLOCK, 4 * BLOCK..5 * BLOCK]);
        assert_eq!(runs(&data[..BLOCK + 1], 0), vec![BLOCK..BLOCK + 1]);
    }

    #[test]
    fn blocks_are_those_of_the_file() {
        let mut data = vec![0; 3 * BLOCK];
        data[0] = 1;
        assert_eq!(runs(&data, 100), vec![0..BLOCK - 100]);
        assert_eq!(runs(&data, 7 * BLOCK as u64), vec![0..BLOCK]);
    }

    #[test]
    fn what_is_written_sparsely_reads_the_same_and_takes_less_room() {
        let file = tempfile::tempfile().unwrap();
        let length = 8 * MIB + 5;
        file.set_len(length).unwrap();
        let mut data = vec![0; usize::try_from(length).unwrap()];
        data[3_000_000] = 1;
        data[8 * 1024 * 1024 + 4] = 2;
        for (number, piece) in data.chunks(100_000).enumerate() {
            write_sparse(&file, piece, number as u64 * 100_000).unwrap();
        }
        let mut read = vec![0; data.len()];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read == data);
        assert!(file.metadata().unwrap().blocks() * 512 < MIB, "{} blocks", file.metadata().unwrap().blocks());
    }

    #[test]
    fn zeros_over_old_data_read_as_zeros_and_leave_the_rest() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![7; 100_000], 0).unwrap();
        write_zeros(&file, 1000..90_000).unwrap();
        write_zeros(&file, 5..5).unwrap();
        let mut read = vec![1; 100_000];
        file.read_exact_at(&mut read, 0).unwrap();
        let expected = |at: usize| if (1000..90_000).contains(&at) { 0 } else { 7 };
        assert!(read.iter().enumerate().all(|(at, &byte)| byte == expected(at)));
        assert_eq!(file.metadata().unwrap().len(), 100_000);
    }
}
