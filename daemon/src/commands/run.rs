//! One command, run so that nothing it does can hold the daemon up: it has a time, its output is read and mostly
//! dropped, and what it leaves behind is not waited for.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use backup_engine::error::plain;
use backup_engine::{Gate, GateState};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::clock::Clock;

/// How often a running command is looked at. A change of the gate is seen at once.
const LOOK: Duration = Duration::from_millis(50);

/// How long a command that was asked to end may take for it, and how long one that was killed is waited for: what hangs
/// in the kernel does not even die.
const GRACE: Duration = Duration::from_secs(5);

/// The end of the output that is kept, in bytes.
const TAIL_MAX: usize = 4096;

/// Output that is read between two looks at most, in steps of the buffer.
const STEPS_MAX: usize = 64;

/// The longest time that counts between two looks: the command has slept as long as the machine has.
const STRIDE_MAX: Duration = Duration::from_secs(1);

/// Variables that speak to this process alone.
const NOT_INHERITED: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// What is to be run.
pub(crate) struct Order<'a> {
    /// The program and its arguments.
    pub(crate) words: &'a [String],
    /// Variables beside those of the daemon.
    pub(crate) environment: &'a [(&'static str, String)],
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With exit code 0.
    Succeeded,
    /// With another exit code or by a signal of somebody else.
    Failed(ExitStatus),
    /// There is no such program, or it cannot be run: why.
    NotStarted(String),
    /// It took too long and was stopped.
    TookTooLong,
    /// The gate said that the job is to end, and it was stopped.
    Stopped,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    /// How it ended.
    pub(crate) end: End,
    /// The end of what it printed, on both of its outputs.
    pub(crate) output: Output,
}

/// The end of a command's output.
#[derive(Debug, Default)]
pub(crate) struct Output {
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Output {
    fn add(&mut self, bytes: &[u8]) {
        self.tail.extend(bytes);
        let excess = self.tail.len().saturating_sub(TAIL_MAX);
        self.tail.drain(..excess);
        self.dropped += excess as u64;
    }

    /// Returns it as one line that is safe to print; empty when nothing was printed.
    pub(crate) fn line(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let clean = |line: &str| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        let lines: Vec<String> =
            text.lines().map(|line| clean(line).trim().to_owned()).filter(|line| !line.is_empty()).collect();
        let more = if self.dropped > 0 { format!("({} bytes before that) … ", self.dropped) } else { String::new() };
        format!("{more}{}", lines.join(" / "))
    }
}

/// Runs a command to its end. The gate stops it when it says that the job is to end; a pause does not.
pub(crate) fn run(order: &Order<'_>, clock: &dyn Clock, gate: &Gate) -> Ran {
    match start(order) {
        Ok((child, reader)) => Watch::new(child, reader).until_its_end(order.limit, clock, gate),
        Err(error) => Ran { end: End::NotStarted(plain(&error)), output: Output::default() },
    }
}

fn start(order: &Order<'_>) -> io::Result<(Child, PipeReader)> {
    let (program, arguments) = order.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let (reader, writer) = io::pipe()?;
    // A program that is left behind may hold the other end for ever.
    fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    let mut command = Command::new(program);
    command.args(arguments).envs(order.environment.iter().map(|(name, value)| (name, value)));
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    // A group of its own, so that what it starts can be stopped with it.
    Ok((command.process_group(0).spawn()?, reader))
}

/// A command that runs.
struct Watch {
    child: Child,
    /// None once there is nothing more to come.
    reader: Option<PipeReader>,
    output: Output,
    /// Why and when it was asked to end, counted from its start.
    asked: Option<(End, Duration)>,
    spent: Duration,
}

impl Watch {
    fn new(child: Child, reader: PipeReader) -> Self {
        Self { child, reader: Some(reader), output: Output::default(), asked: None, spent: Duration::ZERO }
    }

    fn until_its_end(mut self, limit: Duration, clock: &dyn Clock, gate: &Gate) -> Ran {
        let mut last = clock.now().boot;
        while !self.has_ended() {
            let (has_read, now) = (self.read(), clock.now().boot);
            self.spent += now.saturating_sub(last).min(STRIDE_MAX);
            last = now;
            let seen = gate.state();
            if self.asked.is_none() {
                self.stop_if_due(limit, seen);
            } else if self.is_hopeless() {
                break;
            }
            if !has_read {
                gate.rest(seen, LOOK);
            }
        }
        self.collect()
    }

    /// Asks it to end, with all that it has started, if it is time.
    fn stop_if_due(&mut self, limit: Duration, seen: GateState) {
        let why = match seen {
            GateState::Suspend | GateState::Cancel => End::Stopped,
            _ if self.spent >= limit => End::TookTooLong,
            _ => return,
        };
        self.signal(Signal::TERM);
        self.asked = Some((why, self.spent));
    }

    /// Kills what does not end although it was asked to, and says when that does not help either.
    fn is_hopeless(&self) -> bool {
        let since = self.asked.as_ref().map_or(self.spent, |(_, since)| *since);
        let waited = self.spent.saturating_sub(since);
        if waited >= GRACE {
            self.signal(Signal::KILL);
        }
        waited >= GRACE * 2
    }

    /// Takes in its end and what it printed last.
    fn collect(mut self) -> Ran {
        let has_ended = self.has_ended();
        if self.asked.is_some() {
            // Its own number belongs to it until it is waited for, so this is still its group.
            self.signal(Signal::KILL);
        }
        self.read();
        let status = if has_ended { self.child.wait() } else { Err(io::ErrorKind::TimedOut.into()) };
        let end = match (self.asked, status) {
            (Some((why, _)), _) => why,
            (None, Ok(status)) if status.success() => End::Succeeded,
            (None, Ok(status)) => End::Failed(status),
            (None, Err(error)) => End::NotStarted(plain(&error)),
        };
        Ran { end, output: self.output }
    }

    fn has_ended(&self) -> bool {
        let Some(pid) = self.pid() else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        // A child that cannot be asked about is not ours to wait for.
        waitid(WaitId::Pid(pid), options).map_or(true, |status| status.is_some())
    }

    /// Reads what is there, up to a bound; says whether there was anything.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let mut has_read = false;
        for _ in 0..STEPS_MAX {
            let Some(reader) = &mut self.reader else { break };
            match reader.read(&mut buffer) {
                Ok(0) => self.reader = None,
                Ok(length) => {
                    self.output.add(&buffer[..length]);
                    has_read = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.reader = None,
            }
        }
        has_read
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.pid() {
            // All of it may have ended by itself just now.
            let _ = kill_process_group(group, signal);
        }
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }
}

#[cfg(test)]
mod tests;
