//! Asking the services. What is not there, or is of another type than was agreed, is none.

use std::collections::HashMap;

use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use super::said::{Answer, Network, Service};

/// The bus itself.
const BUS: &str = "org.freedesktop.DBus";

/// What NetworkManager's names begin with.
const MANAGER: &str = "org.freedesktop.NetworkManager";

/// As many connections of one machine are looked at.
const CONNECTIONS_MAX: usize = 16;

/// How NetworkManager calls the types of VPNs.
const VPN_TYPES: [&str; 3] = ["vpn", "wireguard", "tun"];

/// Asks a service how things are; none when it is not there or says nothing of use.
pub(super) async fn ask(bus: &Connection, service: Service) -> Option<Answer> {
    match service {
        Service::Power => power(bus).await,
        Service::Profile => profile(bus).await,
        Service::Network => network(bus).await,
        Service::Login => {
            let asked = Asked::find(bus, "org.freedesktop.login1").await?;
            let mut manager = asked.all("/org/freedesktop/login1", "org.freedesktop.login1.Manager").await?;
            manager.take("IdleHint").map(Answer::Idle)
        }
    }
}

async fn power(bus: &Connection) -> Option<Answer> {
    let asked = Asked::find(bus, "org.freedesktop.UPower").await?;
    let mut daemon = asked.all("/org/freedesktop/UPower", "org.freedesktop.UPower").await?;
    let on_battery = daemon.take("OnBattery")?;
    let display = "/org/freedesktop/UPower/devices/DisplayDevice";
    let percent = asked.all(display, "org.freedesktop.UPower.Device").await.and_then(|mut device| {
        let is_there: bool = device.take("IsPresent")?;
        device.take("Percentage").filter(|_| is_there).and_then(percent)
    });
    Some(Answer::Power { on_battery, percent })
}

/// Makes a whole number of a percentage; 39.9 % is less than 40 %.
fn percent(value: f64) -> Option<u8> {
    (0.0..=100.0).contains(&value).then(|| format!("{:.0}", value.floor()).parse().ok())?
}

async fn profile(bus: &Connection) -> Option<Answer> {
    for (name, path) in Service::Profile.places() {
        let Some(asked) = Asked::find(bus, name).await else { continue };
        // The interface is called as the service is.
        let Some(mut profiles) = asked.all(path, name).await else { continue };
        if let Some(profile) = profiles.take::<String>("ActiveProfile") {
            return Some(Answer::Saver(profile == "power-saver"));
        }
    }
    None
}

async fn network(bus: &Connection) -> Option<Answer> {
    let asked = Asked::find(bus, MANAGER).await?;
    let mut manager = asked.all("/org/freedesktop/NetworkManager", MANAGER).await?;
    let (state, connectivity, metered) = (manager.take("State"), manager.take("Connectivity"), manager.take("Metered"));
    let mut network = Network::of_numbers(state, connectivity, metered);
    if let Some(path) = manager.take::<OwnedObjectPath>("PrimaryConnection").filter(|path| path.as_str() != "/") {
        network.connection = connection(&asked, path.as_str()).await;
    }
    if let Some(active) = manager.take::<Vec<OwnedObjectPath>>("ActiveConnections") {
        network.vpn = Some(false);
        for path in active.iter().take(CONNECTIONS_MAX) {
            if is_vpn(&asked, path.as_str()).await {
                network.vpn = Some(true);
                break;
            }
        }
    }
    Some(Answer::Network(network))
}

/// Returns what a connection is called: of a wireless one its network's name.
async fn connection(asked: &Asked<'_>, path: &str) -> Option<String> {
    let mut active = asked.all(path, &format!("{MANAGER}.Connection.Active")).await?;
    if active.take::<String>("Type").is_some_and(|kind| kind == "802-11-wireless") {
        let point = active.take::<OwnedObjectPath>("SpecificObject").filter(|path| path.as_str() != "/");
        let name = match point {
            Some(point) => asked.all(point.as_str(), &format!("{MANAGER}.AccessPoint")).await,
            None => None,
        };
        if let Some(name) = name.and_then(|mut point| point.take::<Vec<u8>>("Ssid")).filter(|name| !name.is_empty()) {
            return Some(String::from_utf8_lossy(&name).into_owned());
        }
    }
    active.take("Id")
}

async fn is_vpn(asked: &Asked<'_>, path: &str) -> bool {
    let Some(mut active) = asked.all(path, &format!("{MANAGER}.Connection.Active")).await else { return false };
    let kind: Option<String> = active.take("Type");
    active.take("Vpn").unwrap_or(false) || kind.is_some_and(|kind| VPN_TYPES.contains(&kind.as_str()))
}

/// A service that runs.
struct Asked<'b> {
    bus: &'b Connection,
    /// Its own address on the bus: whoever is asked there is not started by it.
    owner: String,
}

impl<'b> Asked<'b> {
    async fn find(bus: &'b Connection, name: &str) -> Option<Self> {
        let answer =
            bus.call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), "GetNameOwner", &name).await.ok()?;
        let owner = answer.body().deserialize().ok()?;
        Some(Self { bus, owner })
    }

    /// Reads all properties of an object.
    async fn all(&self, path: &str, interface: &str) -> Option<Properties> {
        let properties = Some("org.freedesktop.DBus.Properties");
        let answer =
            self.bus.call_method(Some(self.owner.as_str()), path, properties, "GetAll", &interface).await.ok()?;
        answer.body().deserialize().ok().map(Properties)
    }
}

/// What an object says of itself.
struct Properties(HashMap<String, OwnedVariant>);

impl Properties {
    fn take<T: TryFrom<OwnedVariant>>(&mut self, name: &str) -> Option<T> {
        T::try_from(self.0.remove(name)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_one_or_it_is_none() {
        assert_eq!([0.0, 39.9, 100.0].map(percent), [Some(0), Some(39), Some(100)]);
        assert_eq!([-1.0, 100.1, f64::NAN, f64::INFINITY].map(percent), [None; 4]);
    }

    #[test]
    fn what_is_of_another_type_is_none() {
        let mut properties = Properties(HashMap::from([("OnBattery".to_owned(), OwnedVariant::from(1_u32))]));
        assert_eq!(properties.take::<bool>("OnBattery"), None);
        assert_eq!(properties.take::<bool>("Percentage"), None);
    }
}
