//! Bytes to cut points: where a file is cut into blobs. Pure.
//!
//! The cut points are restic's own, so that what restic stored yesterday is not stored again today: the first place
//! behind the smallest size at which the fingerprint of the last 64 bytes ends in zeros, the largest size at the
//! latest. rustic lets a repository choose other sizes, or chunks of one fixed size; both are obeyed.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::limits::{BLOB_MAX, CHUNK_MASK_BITS, CHUNK_MAX, CHUNK_MIN, CHUNK_WINDOW};
use crate::polynomial::Polynomial;
use crate::rabin::Fingerprint;

/// What a repository's config says about content-defined chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkerParams {
    /// The repository's own polynomial.
    pub polynomial: Polynomial,
    /// Size of the smallest chunk that is not the end of a file, in bytes.
    pub min: usize,
    /// Size of the largest chunk in bytes.
    pub max: usize,
    /// Number of low bits of the fingerprint that are zero at a cut; two to this power is the mean distance from
    /// the smallest size to the cut, in bytes.
    pub mask_bits: u32,
}

impl ChunkerParams {
    /// Returns restic's sizes with the given polynomial.
    #[must_use]
    pub fn restic(polynomial: Polynomial) -> Self {
        Self { polynomial, min: CHUNK_MIN, max: CHUNK_MAX, mask_bits: CHUNK_MASK_BITS }
    }

    /// Returns the mask that belongs to rustic's `chunk_size`, in bytes.
    ///
    /// # Errors
    ///
    /// If the size is not a power of two; rustic refuses such a repository too.
    pub fn mask_bits_of(average: usize) -> Result<u32> {
        if average.is_power_of_two() {
            Ok(average.trailing_zeros())
        } else {
            Err(refused(format_args!("an average of {average} bytes is not a power of two")))
        }
    }
}

/// The rule by which one repository cuts files. Cheap to clone: the tables are shared.
#[derive(Clone)]
pub struct Chunker {
    rule: Rule,
}

#[derive(Clone)]
enum Rule {
    Rabin { fingerprint: Arc<Fingerprint>, min: usize, max: usize },
    Fixed { size: usize },
}

impl Chunker {
    /// Makes the rule for content-defined chunks.
    ///
    /// # Errors
    ///
    /// If the sizes contradict each other, or need more memory than a blob may take.
    pub fn rabin(params: &ChunkerParams) -> Result<Self> {
        let ChunkerParams { polynomial, min, max, mask_bits } = *params;
        if min <= CHUNK_WINDOW {
            return Err(refused(format_args!("chunks of {min} bytes are not longer than the fingerprint's window")));
        }
        if max < min {
            return Err(refused(format_args!("the largest size, {max} bytes, is below the smallest, {min} bytes")));
        }
        check_memory(max)?;
        let fingerprint = Arc::new(Fingerprint::new(polynomial, mask_bits));
        Ok(Self { rule: Rule::Rabin { fingerprint, min, max } })
    }

    /// Makes the rule for chunks of one size, in bytes.
    ///
    /// # Errors
    ///
    /// If the size is zero, or needs more memory than a blob may take.
    pub fn fixed(size: usize) -> Result<Self> {
        if size == 0 {
            return Err(refused(format_args!("chunks of no bytes")));
        }
        check_memory(size)?;
        Ok(Self { rule: Rule::Fixed { size } })
    }

    /// Returns the size of the largest chunk in bytes: a buffer of this many always ends in a cut.
    #[must_use]
    pub fn max(&self) -> usize {
        match self.rule {
            Rule::Rabin { max, .. } => max,
            Rule::Fixed { size } => size,
        }
    }

    /// Finds the end of the chunk that `data` starts with; `None` if it takes more data to tell, or there is none.
    #[must_use]
    pub fn next_cut(&self, data: &[u8], end_of_file: bool) -> Option<usize> {
        self.search().next_cut(data, end_of_file)
    }

    /// Starts to look for cuts in a buffer that grows.
    #[must_use]
    pub fn search(&self) -> CutSearch {
        CutSearch { chunker: self.clone(), searched: 0 }
    }
}

/// The search for the end of one chunk after the other, in a buffer that grows: no byte is looked at twice.
#[derive(Clone)]
pub struct CutSearch {
    chunker: Chunker,
    /// No cut is at this length of the chunk or below.
    searched: usize,
}

impl CutSearch {
    /// Finds the end of the chunk that `data` starts with; `None` if it takes more data to tell, or there is none.
    ///
    /// After `None` the same bytes are given again, with more behind them. After a cut the next call is given what
    /// follows it.
    pub fn next_cut(&mut self, data: &[u8], end_of_file: bool) -> Option<usize> {
        let found = match &self.chunker.rule {
            Rule::Fixed { size } => Some(*size).filter(|&size| size <= data.len()),
            Rule::Rabin { fingerprint, min, max } => {
                let data = &data[..data.len().min(*max)];
                let start = self.searched.max(min - 1);
                let matched = if start < data.len() { fingerprint.find(data, start) } else { None };
                matched.or(Some(*max).filter(|&max| max == data.len()))
            }
        };
        let rest = || Some(data.len()).filter(|&length| end_of_file && length > 0);
        let cut = found.or_else(rest);
        self.searched = if cut.is_some() { 0 } else { data.len() };
        cut
    }
}

fn check_memory(size: usize) -> Result<()> {
    if size <= BLOB_MAX {
        return Ok(());
    }
    Err(Error::Limit {
        what: format!("the repository's chunk size of {size} bytes"),
        limit: format!("{BLOB_MAX} bytes"),
    })
}

fn refused(problem: std::fmt::Arguments<'_>) -> Error {
    Error::misuse(format!("the repository's chunker settings cannot be used: {problem}"))
}

#[cfg(test)]
mod tests;
