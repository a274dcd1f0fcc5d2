//! The service manager and signals: ready, stopping, watchdog; TERM and INT end the daemon, HUP reads the config.

use std::sync::OnceLock;
use std::time::Duration;

use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};
use crate::inbox::{Event, Inbox};

/// Says that the daemon answers.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the daemon is about to end.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping: running jobs write a checkpoint")]);
}

/// Says that the loop goes round.
pub fn watchdog() {
    if watchdog_interval().is_some() {
        notify(&[NotifyState::Watchdog]);
    }
}

/// Returns how often the service manager wants to hear of the loop: half of what it would wait for.
pub fn watchdog_interval() -> Option<Duration> {
    static INTERVAL: OnceLock<Option<Duration>> = OnceLock::new();
    *INTERVAL.get_or_init(|| sd_notify::watchdog_enabled().map(|limit| limit / 2))
}

fn notify(states: &[NotifyState<'_>]) {
    // Without a service manager there is nobody to tell.
    let _ = sd_notify::notify(states);
}

/// Takes SIGHUP from the very start: restic sends it to the process that a lock names, to see whether it lives, and
/// its default would end the daemon.
///
/// # Errors
/// When the system refuses.
pub fn take_signals() -> Result<Signals> {
    Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(Error::io("take signals for", "this process"))
}

/// Listens for signals on a thread of its own. The first TERM or INT stops in order, the second ends at once.
///
/// # Errors
/// When the thread cannot be started.
pub fn listen(mut signals: Signals, inbox: Inbox, reload: impl Fn() -> Option<Event> + Send + 'static) -> Result<()> {
    let body = move || {
        let mut is_stopping = false;
        for signal in &mut signals {
            match signal {
                SIGHUP => {
                    if let Some(event) = reload() {
                        inbox.send(event);
                    }
                }
                _ if is_stopping => {
                    tracing::warn!("told to stop a second time; ending at once");
                    // Everything acknowledged is in the journal; what runs is found interrupted at the next start.
                    std::process::exit(1);
                }
                _ => {
                    is_stopping = true;
                    tracing::info!("told to stop");
                    stopping();
                    inbox.send(Event::Stop);
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(body)
        .map(|_| ())
        .map_err(Error::io("start a thread in", "this process"))
}
