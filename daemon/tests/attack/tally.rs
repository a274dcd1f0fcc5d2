//! What an attacker sent and heard, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use backup_testkit::caller::kind;
use serde_json::Value;

/// What an attacker sent and heard.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) bytes_sent: usize,
    pub(crate) answers: usize,
    pub(crate) kinds: BTreeMap<String, usize>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.bytes_sent += other.bytes_sent;
        self.answers += other.answers;
        for (kind, count) in &other.kinds {
            *self.kinds.entry(kind.clone()).or_default() += count;
        }
    }

    /// Counts an answer and returns its kind.
    pub(crate) fn heard(&mut self, answer: &Value) -> String {
        self.answers += 1;
        let kind = kind(answer).to_owned();
        if kind != "no error" {
            *self.kinds.entry(kind.clone()).or_default() += 1;
        }
        kind
    }

    /// Counts a welcome, and how often there was no room before it.
    pub(crate) fn admitted(&mut self, refusals: usize) {
        self.answers += 1;
        if refusals > 0 {
            *self.kinds.entry("no room".to_owned()).or_default() += refusals;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors: usize = self.kinds.values().sum();
        write!(f, "{} bytes sent, {} answers of which {errors} errors {:?}", self.bytes_sent, self.answers, self.kinds)
    }
}
