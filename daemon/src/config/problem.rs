//! What is wrong with a config: each mistake a sentence with its line and what to do about it.

use std::fmt;
use std::path::PathBuf;

/// One mistake in a config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line it is on, counted from 1; none when it is about the file as a whole.
    pub line: Option<usize>,
    /// What is wrong: one sentence.
    pub message: String,
    /// What to do about it: one sentence.
    pub advice: String,
}

/// A config that cannot be used, with every mistake that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The config file.
    pub path: PathBuf,
    /// The mistakes in the order of their lines; never empty.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// Makes an error about the file as a whole.
    pub(super) fn whole(path: PathBuf, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { path, problems: vec![Problem { line: None, message: message.into(), advice: advice.into() }] }
    }
}

impl fmt::Display for ConfigError {
    /// Writes one line a mistake, in the form `FILE:LINE: what is wrong. What to do.` that editors can jump to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let break_before = if number > 0 { "\n" } else { "" };
            write!(f, "{break_before}{}:", self.path.display())?;
            if let Some(line) = problem.line {
                write!(f, "{line}:")?;
            }
            write!(f, " {} {}", problem.message, problem.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The mistakes found so far in one text, and the arithmetic from byte offsets to lines.
pub(super) struct Findings<'t> {
    text: &'t str,
    list: Vec<Problem>,
}

impl<'t> Findings<'t> {
    /// Starts with none.
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, list: Vec::new() }
    }

    /// Returns the line of a byte offset, counted from 1.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Notes a mistake on a line.
    pub(super) fn add(&mut self, line: usize, message: impl Into<String>, advice: impl Into<String>) {
        self.list.push(Problem { line: Some(line), message: message.into(), advice: advice.into() });
    }

    /// Returns the mistakes in the order of their lines.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| problem.line);
        self.list
    }
}
