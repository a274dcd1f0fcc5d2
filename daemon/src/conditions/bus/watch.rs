//! The one who listens to the bus: connects, hears of changes, asks who has changed, and begins anew when the bus is gone.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::oneshot::Sender;
use tokio::time::{sleep, timeout};
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream};

use super::Shared;
use super::ask::ask;
use super::said::Service;
use crate::clock::Clock;

/// How long to wait for the bus.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long to wait for all answers of one service.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The pause between two questions to one service, however often it announces changes.
const ASK_PAUSE: Duration = Duration::from_millis(50);

/// When to try again after the bus has gone.
const AGAIN: Duration = Duration::from_secs(1);

/// When to try again, at the earliest, where there is none. That is at somebody's next look: at rest nobody wakes up.
const AGAIN_WITHOUT: Duration = Duration::from_secs(5);

/// Listens for as long as the daemon runs. `first` is dropped when everybody has been asked once, or nobody can be.
pub(super) async fn watch(shared: Arc<Shared>, clock: Arc<dyn Clock>, first: Sender<()>) {
    let mut first = Some(first);
    loop {
        // A task of its own: should what comes from the bus make it panic, that is like a bus that is not there.
        let attempt = tokio::spawn(attempt(Arc::clone(&shared), Arc::clone(&clock), first.take()));
        let had_bus = attempt.await.unwrap_or(false);
        for service in Service::ALL {
            shared.take(service, None, clock.now().wall);
        }
        sleep(if had_bus { AGAIN } else { AGAIN_WITHOUT }).await;
        if !had_bus {
            shared.looked.notified().await;
        }
    }
}

/// Connects, and listens for as long as there is a bus. False when there was none.
async fn attempt(shared: Arc<Shared>, clock: Arc<dyn Clock>, first: Option<Sender<()>>) -> bool {
    match timeout(CONNECT_MAX, Connection::system()).await {
        Ok(Ok(bus)) => {
            tracing::debug!("connected to the system bus");
            listen(bus, shared, clock, first).await;
            tracing::warn!("the system bus has gone; until it is back the machine is read from files alone");
            true
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "no system bus; the machine is read from files alone");
            false
        }
        Err(_) => {
            tracing::warn!("the system bus does not answer; the machine is read from files alone");
            false
        }
    }
}

/// Listens until the bus is gone.
async fn listen(bus: Connection, shared: Arc<Shared>, clock: Arc<dyn Clock>, first: Option<Sender<()>>) {
    let mut stream = MessageStream::from(&bus);
    // Polled all the time: what nobody takes out of it holds up the answers.
    let hearing = async {
        while let Some(message) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
            if let Some(service) = message.ok().as_ref().and_then(changed) {
                shared.ask_again(service);
            }
        }
    };
    let asking = async {
        if timeout(CONNECT_MAX, subscribe(&bus)).await.is_err() {
            return;
        }
        let all = |once| {
            let [power, profile, network, login] =
                Service::ALL.map(|service| follow(service, &bus, &shared, clock.as_ref(), once));
            async move { tokio::join!(power, profile, network, login) }
        };
        all(true).await;
        drop(first);
        all(false).await;
    };
    tokio::select! {
        () = hearing => {}
        () = asking => {}
    }
}

/// Asks a service: once, or whenever it has changed, for ever.
async fn follow(service: Service, bus: &Connection, shared: &Shared, clock: &dyn Clock, once: bool) {
    loop {
        if !once {
            sleep(ASK_PAUSE).await;
            shared.again[service as usize].notified().await;
        }
        let answer = timeout(ANSWER_MAX, ask(bus, service)).await.ok().flatten();
        shared.take(service, answer, clock.now().wall);
        if once {
            return;
        }
    }
}

/// Asks the bus for what services announce, and for when they come and go. One that the bus refuses is then asked at
/// looks alone.
async fn subscribe(bus: &Connection) {
    for (name, path) in Service::ALL.iter().flat_map(|service| service.places()) {
        let changes = format!(
            "type='signal',sender='{name}',path='{path}',interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'"
        );
        let owners = format!(
            "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{name}'"
        );
        for rule in [changes, owners] {
            let bus_name = Some("org.freedesktop.DBus");
            let added = bus.call_method(bus_name, "/org/freedesktop/DBus", bus_name, "AddMatch", &rule).await;
            if let Err(error) = added {
                tracing::debug!(%error, rule, "the system bus does not announce this");
            }
        }
    }
}

/// Says which service a signal tells of.
fn changed(message: &Message) -> Option<Service> {
    if message.message_type() != Type::Signal {
        return None;
    }
    let header = message.header();
    match header.member()?.as_str() {
        "NameOwnerChanged" => {
            let (name, _, _): (String, String, String) = message.body().deserialize().ok()?;
            Service::of_name(&name)
        }
        _ => Service::of_path(header.path()?.as_str()),
    }
}
