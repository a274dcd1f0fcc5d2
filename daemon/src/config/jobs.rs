//! `[jobs]`: what jobs may take of the machine.

use backup_engine::limits::ALL_MEMORY;
use backup_proto::size::{parse_size, size};
use toml::de::DeTable;

use super::problem::Findings;
use super::section::{Located, Section, Vocabulary};

/// What the section may hold.
pub(super) const VOCABULARY: Vocabulary = Vocabulary { known: &["memory"], refused: &[] };

/// The least that jobs can be given: with less a backup would take this much all the same.
const MEMORY_MIN: usize = 64 * 1024 * 1024;

/// What jobs may take of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobsConfig {
    /// The memory that all jobs together take for what their threads read, open, seal and write, in bytes. More lets more
    /// threads work at once; the index and the daemon itself come on top.
    pub memory: usize,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self { memory: ALL_MEMORY }
    }
}

/// Reads the section; notes what is wrong with it.
pub(super) fn read(table: Located<&DeTable<'_>>, findings: &mut Findings<'_>) -> JobsConfig {
    let section = Section::open("[jobs]", table, &VOCABULARY, findings);
    let Some(text) = section.text("memory", findings) else { return JobsConfig::default() };
    let advice = format!("Write a size of at least {}, such as `\"128 MiB\"`.", size(MEMORY_MIN as u64));
    match parse_size(&text.value).map(usize::try_from) {
        Ok(Ok(memory)) if memory >= MEMORY_MIN => return JobsConfig { memory },
        Ok(_) => findings.add(text.line, format!("With `{}` of memory no backup can work.", text.value), advice),
        Err(problem) => findings.add(text.line, format!("{problem}."), advice),
    }
    JobsConfig::default()
}
