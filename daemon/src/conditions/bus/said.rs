//! What services have said, as values, and how that goes together with what files say.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::conditions::readings::{Power, Reading, Readings};

/// A service on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    /// Where the power comes from.
    Power,
    /// Whether to save it.
    Profile,
    /// The network.
    Network,
    /// Who uses the machine.
    Login,
}

impl Service {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Power, Self::Profile, Self::Network, Self::Login];

    /// Returns where it announces changes: names and objects.
    pub(super) const fn places(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Power => &[
                ("org.freedesktop.UPower", "/org/freedesktop/UPower"),
                ("org.freedesktop.UPower", "/org/freedesktop/UPower/devices/DisplayDevice"),
            ],
            // Its name since 0.20, and the one before.
            Self::Profile => &[
                ("org.freedesktop.UPower.PowerProfiles", "/org/freedesktop/UPower/PowerProfiles"),
                ("net.hadess.PowerProfiles", "/net/hadess/PowerProfiles"),
            ],
            Self::Network => &[("org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager")],
            Self::Login => &[("org.freedesktop.login1", "/org/freedesktop/login1")],
        }
    }

    /// Finds the one with this name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.places().iter().any(|(known, _)| *known == name))
    }

    /// Finds the one with this object.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.places().iter().any(|(_, known)| *known == path))
    }
}

/// The latest answer of each service that gives one, with its time.
pub(super) type Said = BTreeMap<Service, (Answer, Timestamp)>;

/// What a service has answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// UPower's.
    Power {
        /// Whether the power comes from a battery.
        on_battery: bool,
        /// How full the batteries are together.
        percent: Option<u8>,
    },
    /// Whether power is saved.
    Saver(bool),
    /// NetworkManager's.
    Network(Network),
    /// Whether nobody uses the machine.
    Idle(bool),
}

/// What NetworkManager has answered; none where it does not know itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Network {
    /// Whether there is a way to other networks.
    pub(super) online: Option<bool>,
    /// Whether somebody has to sign in first.
    pub(super) captive: Option<bool>,
    /// Whether data costs money, or seems to.
    pub(super) metered: Option<bool>,
    /// The wireless network's name, or else the connection's.
    pub(super) connection: Option<String>,
    /// Whether a VPN is in use.
    pub(super) vpn: Option<bool>,
}

impl Network {
    /// Reads its numbers: `State`, `Connectivity` and `Metered`.
    pub(super) fn of_numbers(state: Option<u32>, connectivity: Option<u32>, metered: Option<u32>) -> Self {
        // Of a link that leads somewhere, but not everywhere, the routes know more.
        let online = match (connectivity, state) {
            (Some(2 | 4), _) | (Some(0) | None, Some(70)) => Some(true),
            (Some(1), _) | (Some(0) | None, Some(10..=20)) => Some(false),
            _ => None,
        };
        let captive = match connectivity {
            Some(2) => Some(true),
            Some(4) => Some(false),
            _ => None,
        };
        // 3 and 4 are its guesses: a phone's hotspot is known by what it announces.
        let metered = match metered {
            Some(1 | 3) => Some(true),
            Some(2 | 4) => Some(false),
            _ => None,
        };
        Self { online, captive, metered, connection: None, vpn: None }
    }
}

/// Lays what services have said over what files say.
pub(super) fn over(said: &Said, mut readings: Readings) -> Readings {
    for (answer, at) in said.values() {
        match answer {
            Answer::Power { on_battery, percent } => {
                let of_files = readings.power.value.and_then(|power| power.percent);
                let power = Power { on_battery: *on_battery, percent: percent.or(of_files) };
                readings.power = Reading::of(Some(power), "UPower", *at);
            }
            Answer::Saver(saver) => readings.power_saver = Reading::of(Some(*saver), "power-profiles-daemon", *at),
            Answer::Network(network) => network_over(network, &mut readings, *at),
            Answer::Idle(idle) => readings.idle = Reading::of(Some(*idle), "logind", *at),
        }
    }
    readings
}

fn network_over(network: &Network, readings: &mut Readings, at: Timestamp) {
    fn lay<T: Clone>(value: Option<&T>, reading: &mut Reading<T>, at: Timestamp) {
        if value.is_some() {
            *reading = Reading::of(value.cloned(), "NetworkManager", at);
        }
    }
    // It does not know of links that it does not manage: a route or a tunnel of another's making is there all the same.
    let unless = |reading: &Reading<bool>, value: Option<bool>| value.filter(|is| *is || reading.value != Some(true));
    lay(unless(&readings.online, network.online).as_ref(), &mut readings.online, at);
    lay(unless(&readings.vpn, network.vpn).as_ref(), &mut readings.vpn, at);
    lay(network.captive.as_ref(), &mut readings.captive, at);
    lay(network.metered.as_ref(), &mut readings.metered, at);
    lay(network.connection.as_ref(), &mut readings.connection, at);
}

#[cfg(test)]
mod tests;
