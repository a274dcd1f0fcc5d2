//! What `backupctl` answered: its exit code, its text, its JSON.

use std::process::Output;

use serde_json::Value;

/// How a run of `backupctl` ended and what it printed.
#[derive(Debug)]
pub struct Answer(pub Output);

impl Answer {
    /// Returns the exit code.
    ///
    /// # Panics
    /// When a signal ended it.
    #[must_use]
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.0.status.code().unwrap_or_else(|| panic!("backupctl was killed: {self:?}"))
    }

    /// Checks the exit code.
    ///
    /// # Panics
    /// When it is another one, with all that was printed.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "backupctl printed:\n{}{}", self.text(), self.complaint());
        self
    }

    /// Returns what it printed on stdout.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// Returns what it printed on stderr.
    #[must_use]
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// Returns the JSON documents on stdout, one or one a line.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let documents = serde_json::Deserializer::from_slice(&self.0.stdout).into_iter::<Value>();
        documents
            .map(|document| document.unwrap_or_else(|error| panic!("not JSON: {error}\n{}", self.text())))
            .collect()
    }

    /// Returns the last line of `backup --json` or `restore --json`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn summary(&self) -> Value {
        let last = self.json().pop().unwrap_or_default();
        assert_eq!(last["type"], "summary", "the last line is no summary:\n{}{}", self.text(), self.complaint());
        last
    }
}
