//! `[socket]`: who may use the daemon's socket.

use toml::de::DeTable;

use super::problem::Findings;
use super::section::{Located, Section, Vocabulary};

/// What the section may hold.
pub(super) const VOCABULARY: Vocabulary = Vocabulary { known: &["mode"], refused: &[] };

/// The modes there are: whoever may use a socket needs both to read and to write it.
const MODES: [(&str, u32); 3] = [("0600", 0o600), ("0660", 0o660), ("0666", 0o666)];

/// Who may use the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketConfig {
    /// The mode of its file.
    pub mode: u32,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self { mode: 0o600 }
    }
}

impl SocketConfig {
    /// Tells whether users other than the daemon's own and root may connect, and then look.
    #[must_use]
    pub fn has_guests(self) -> bool {
        self.mode & 0o066 != 0
    }
}

/// Reads the section; notes what is wrong with it.
pub(super) fn read(table: Located<&DeTable<'_>>, findings: &mut Findings<'_>) -> SocketConfig {
    let section = Section::open("[socket]", table, &VOCABULARY, findings);
    let Some(text) = section.text("mode", findings) else { return SocketConfig::default() };
    match MODES.iter().find(|(word, _)| *word == text.value) {
        Some((_, mode)) => SocketConfig { mode: *mode },
        None => {
            let advice = "Write `\"0600\"` (its owner alone), `\"0660\"` (its group may look) or `\"0666\"` (everybody may look).";
            findings.add(text.line, format!("`{}` is no mode of the socket.", text.value), advice);
            SocketConfig::default()
        }
    }
}
