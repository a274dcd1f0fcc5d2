//! Readings from the services on Linux's system bus, laid over those from files.
//!
//! A service that answers is believed before a file. One that is not there, does not answer in time or says something else
//! than was agreed leaves what the files say, or nothing. Nobody waits for the bus: what was said last lies in the
//! [`BusProbe`], and what changes there is an event. No service is started by being asked.

mod ask;
mod said;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, oneshot};

use self::said::{Answer, Said, Service};
use super::files::FileProbe;
use super::probe::Probe;
use super::readings::Readings;
use crate::clock::Clock;
use crate::inbox::{Event, Inbox};

/// How long the start of the daemon waits for the first answers: a job is better not begun than paused at once.
const FIRST_MAX: Duration = Duration::from_secs(1);

/// How old an answer may be before a look asks again, in case that the bus hangs and no change is announced.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// What services have said, over what files say.
pub struct BusProbe {
    files: FileProbe,
    shared: Arc<Shared>,
    /// When a look asked for all answers anew.
    asked: Mutex<Option<Timestamp>>,
}

/// What the probe and those who listen to the bus share.
#[derive(Default)]
struct Shared {
    said: Mutex<Said>,
    /// Something else is said than before.
    changed: Notify,
    /// Somebody looks; without a bus that is when to try again.
    looked: Notify,
    /// Services that are to be asked again.
    again: [Notify; Service::ALL.len()],
}

impl Shared {
    /// Takes in what a service has said; nothing when it does not answer.
    fn take(&self, service: Service, answer: Option<Answer>, at: Timestamp) {
        // Each entry is replaced whole: a panic elsewhere leaves nothing half changed.
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match answer.clone() {
            Some(answer) => said.insert(service, (answer, at)),
            None => said.remove(&service),
        };
        let is_new = before.map(|(before, _)| before) != answer;
        drop(said);
        if is_new {
            tracing::debug!(?service, ?answer, "said on the system bus");
            self.changed.notify_one();
        }
    }

    fn ask_again(&self, service: Service) {
        self.again[service as usize].notify_one();
    }
}

impl BusProbe {
    /// Asks for everything anew now and then: the answers come when they come, and are in the next reading.
    fn keep_fresh(&self, now: Timestamp) {
        self.shared.looked.notify_one();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // Also when the clock was set back.
        if asked.is_none_or(|asked| now.duration_since(asked).abs() >= ASK_AGAIN) {
            *asked = Some(now);
            Service::ALL.into_iter().for_each(|service| self.shared.ask_again(service));
        }
    }
}

impl Probe for BusProbe {
    fn read(&self, now: Timestamp) -> Readings {
        self.keep_fresh(now);
        let files = self.files.read(now);
        said::over(&self.shared.said.lock().unwrap_or_else(PoisonError::into_inner), files)
    }
}

/// Listens to the system bus from now on, and returns what reads files and bus. Waits a moment for the first answers.
pub async fn lay_over(files: FileProbe, clock: Arc<dyn Clock>, inbox: Inbox) -> Arc<dyn Probe> {
    let shared = Arc::new(Shared::default());
    let probe = Arc::new(BusProbe { files, shared: Arc::clone(&shared), asked: Mutex::new(None) });
    let (first, answered) = oneshot::channel();
    tokio::spawn(watch::watch(shared, Arc::clone(&clock), first));
    // Whether everybody answers, or nobody is there, does not matter: it ends when the sender is gone.
    let _ = tokio::time::timeout(FIRST_MAX, answered).await;
    tokio::spawn(tell(Arc::clone(&probe), clock, inbox));
    probe
}

/// Makes an event of each change, so that a job is judged anew at once and not only at the next look.
async fn tell(probe: Arc<BusProbe>, clock: Arc<dyn Clock>, inbox: Inbox) {
    loop {
        probe.shared.changed.notified().await;
        let (probe, now) = (Arc::clone(&probe), clock.now().wall);
        let Ok(readings) = tokio::task::spawn_blocking(move || probe.read(now)).await else { continue };
        if !inbox.post(Event::Readings(Box::new(readings))).await {
            return;
        }
    }
}
