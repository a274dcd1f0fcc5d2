//! The only file that prints: lines and JSON to standard output, notes and the progress bar to standard error.

use std::io::{self, BufRead, BufWriter, IsTerminal, Write};

use backup_proto::job::{JobId, JobState, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::tz::TimeZone;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Serialize;

use crate::exit::Failure;
use crate::text;

/// Where everything that is said goes.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    has_color: bool,
    is_live: bool,
    zone: TimeZone,
}

impl Output {
    /// Looks at the terminal and at `NO_COLOR`.
    pub(crate) fn new(json: bool) -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            json,
            has_color: io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb,
            is_live: io::stderr().is_terminal() && io::stdout().is_terminal() && !json && !is_dumb,
            zone: TimeZone::system(),
        }
    }

    /// Tells whether a program reads the output.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Tells whether somebody watches the screen, so that it can be redrawn.
    pub(crate) fn is_live(&self) -> bool {
        self.is_live
    }

    /// Returns the zone in which times are shown.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Writes lines for a person.
    pub(crate) fn lines<L: AsRef<str>>(&self, lines: impl IntoIterator<Item = L>) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        for line in lines {
            writeln!(out, "{}", line.as_ref())?;
        }
        out.flush()
    }

    /// Writes one line for a person.
    pub(crate) fn line(&self, line: &str) -> io::Result<()> {
        self.lines([line])
    }

    /// Writes a screen for a person, in place of the last one if somebody watches.
    pub(crate) fn screen(&self, lines: &[String]) -> io::Result<()> {
        if self.is_live {
            let mut out = io::stdout().lock();
            write!(out, "\x1b[H\x1b[2J")?;
            out.flush()?;
        }
        self.lines(lines)
    }

    /// Writes one JSON document as one line.
    pub(crate) fn json(&self, value: &impl Serialize) -> io::Result<()> {
        self.line(&serde_json::to_string(value)?)
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(&self) -> impl Write + use<> {
        io::stdout().lock()
    }

    /// Says something to a person beside the output; a program that reads JSON gets nothing.
    pub(crate) fn note(&self, sentence: &str) {
        if !self.json {
            // Nobody can be told that standard error is closed.
            let _ = writeln!(io::stderr(), "{sentence}");
        }
    }

    /// Asks a person at a terminal; anything but a clear yes, and nobody to ask, is a no.
    pub(crate) fn ask(&self, question: &str) -> io::Result<bool> {
        if !self.is_live || !io::stdin().is_terminal() {
            return Ok(false);
        }
        let mut err = io::stderr().lock();
        write!(err, "{question} [y/N] ")?;
        err.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks a person at a terminal for a password, without an echo; `None` if nobody can be asked.
    pub(crate) fn ask_password(&self, question: &str) -> io::Result<Option<String>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let _quiet = Quiet::begin()?;
        let mut err = io::stderr().lock();
        write!(err, "{question}: ")?;
        err.flush()?;
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer)?;
        writeln!(err)?;
        Ok(Some(answer.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Says why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            let _ = self.json(&serde_json::json!({ "type": "error", "error": failure.to_error() }));
        }
        let message = failure.to_string();
        let _ = writeln!(io::stderr(), "backupctl: {message}\n{}", failure.advice());
    }

    /// Returns the word for a state; its colour only repeats what the word says.
    pub(crate) fn state(&self, state: JobState) -> String {
        let color = match state {
            JobState::Succeeded => "32",
            JobState::Partial | JobState::Paused => "33",
            JobState::Failed | JobState::Cancelled => "31",
            JobState::Queued | JobState::Running | JobState::Unknown => "0",
        };
        let word = state.as_str();
        if self.has_color { format!("\x1b[{color}m{word}\x1b[0m") } else { word.to_owned() }
    }

    /// Makes a progress bar; it shows nothing unless somebody watches.
    pub(crate) fn bar(&self) -> Bar {
        let target = if self.is_live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Bar(ProgressBar::with_draw_target(None, target))
    }
}

/// While this lives, the terminal does not show what is typed.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone needs no setting.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Says that the person stopped watching, and how to come back to the jobs.
pub(crate) fn interrupted(jobs: &[JobId]) {
    let mut text = String::from("\n");
    for job in jobs {
        text.push_str(&format!(
            "Job {job} goes on without you. See it with `backupctl job {job}`, stop it with `backupctl cancel {job}`.\n"
        ));
    }
    if jobs.is_empty() {
        text.push_str("Interrupted before the daemon accepted the job.\n");
    }
    let _ = io::stderr().write_all(text.as_bytes());
}

/// A progress bar of two lines: how far, and the current file.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Shows how far the job is.
    pub(crate) fn show(&self, progress: &Progress) {
        self.style(if progress.bytes_total.is_some() {
            "[{bar:20}] {prefix}\n  {wide_msg}"
        } else {
            "{prefix}\n  {wide_msg}"
        });
        self.0.set_length(progress.bytes_total.unwrap_or(1).max(1));
        self.0.set_position(progress.bytes);
        self.0.set_prefix(text::progress(progress));
        self.0.set_message(progress.current.as_ref().map(ToString::to_string).unwrap_or_default());
    }

    /// Shows a sentence in place of the progress.
    pub(crate) fn say(&self, sentence: &str) {
        self.style("{wide_msg}");
        self.0.set_message(sentence.to_owned());
        self.0.tick();
    }

    /// Takes the bar away for good.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }

    fn style(&self, template: &str) {
        let style = ProgressStyle::with_template(template).expect("the templates are written in this file");
        self.0.set_style(style.progress_chars("=> "));
    }
}
