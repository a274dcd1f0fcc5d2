//! What is known of the machine: each reading with its source and its time, or nothing where nobody can tell.

use jiff::Timestamp;

/// By how many points a battery has to be charged above a limit before what waits below it goes on.
pub const BATTERY_BAND: u8 = 5;

/// By how many points the load has to fall below a limit before what waits above it goes on.
pub const LOAD_BAND: u8 = 10;

/// Where a value comes from that nobody has read.
const NOWHERE: &str = "nothing on this machine tells";

/// One reading. Two are equal when they say the same, whenever they were made.
#[derive(Clone, Debug)]
pub struct Reading<T> {
    /// What it is; none: unknown.
    pub value: Option<T>,
    /// Where it comes from, or why it is unknown.
    pub source: &'static str,
    /// When it was read.
    pub at: Timestamp,
}

impl<T> Reading<T> {
    /// Makes a reading of what a source has said, if it has.
    #[must_use]
    pub fn of(value: Option<T>, source: &'static str, at: Timestamp) -> Self {
        let source = if value.is_some() { source } else { NOWHERE };
        Self { value, source, at }
    }

    /// Makes one of what nobody can tell.
    #[must_use]
    pub fn unknown(at: Timestamp) -> Self {
        Self::of(None, NOWHERE, at)
    }
}

impl<T: PartialEq> PartialEq for Reading<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.source == other.source
    }
}

/// Where the power comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Power {
    /// Whether it comes from a battery.
    pub on_battery: bool,
    /// How full the batteries are, in percent; none where there is no battery, or none that tells.
    pub percent: Option<u8>,
}

/// All readings of one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Readings {
    /// Where the power comes from.
    pub power: Reading<Power>,
    /// Whether somebody, or the system, has asked the machine to save power.
    pub power_saver: Reading<bool>,
    /// Whether there is a way to other networks.
    pub online: Reading<bool>,
    /// Whether the network lets data through only after somebody has signed in.
    pub captive: Reading<bool>,
    /// Whether data costs money.
    pub metered: Reading<bool>,
    /// What the connection is called: of a wireless one its network's name.
    pub connection: Reading<String>,
    /// Whether a VPN is in use.
    pub vpn: Reading<bool>,
    /// How much other programs wait for processor or disk, in percent of the time.
    pub load: Reading<u8>,
    /// Whether nobody uses the machine.
    pub idle: Reading<bool>,
}

impl Readings {
    /// Returns what is known before anybody has looked: nothing.
    #[must_use]
    pub fn unknown(at: Timestamp) -> Self {
        Self {
            power: Reading::unknown(at),
            power_saver: Reading::unknown(at),
            online: Reading::unknown(at),
            captive: Reading::unknown(at),
            metered: Reading::unknown(at),
            connection: Reading::unknown(at),
            vpn: Reading::unknown(at),
            load: Reading::unknown(at),
            idle: Reading::unknown(at),
        }
    }
}

/// The readings, with what the ones before them leave behind so that nothing flaps.
///
/// Battery and load are each followed at a distance: down at once and up only beyond the band, or the other way round.
/// Whatever limit the followed value is compared with, it is passed at the limit in the one direction and beyond the
/// band in the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The latest readings.
    pub readings: Readings,
    /// The battery as it counts for limits; none on mains.
    pub battery: Option<u8>,
    /// The load as it counts for limits.
    pub load: Option<u8>,
}

impl Seen {
    /// Begins with nothing known.
    #[must_use]
    pub fn nothing(at: Timestamp) -> Self {
        Self { readings: Readings::unknown(at), battery: None, load: None }
    }

    /// Takes in new readings.
    #[must_use]
    pub fn after(&self, readings: Readings) -> Self {
        let battery = readings.power.value.filter(|power| power.on_battery).and_then(|power| power.percent);
        let battery = battery.map(|now| match self.battery {
            Some(before) => before.clamp(now.saturating_sub(BATTERY_BAND), now),
            None => now,
        });
        let load = readings.load.value.map(|now| match self.load {
            Some(before) => before.clamp(now, now.saturating_add(LOAD_BAND)),
            None => now,
        });
        Self { readings, battery, load }
    }

    /// Says whether readings are worth an event. The load is never twice the same: it counts only where somebody has
    /// made a rule for it.
    #[must_use]
    pub fn is_news(&self, readings: &Readings, uses_load: bool) -> bool {
        let known = &self.readings;
        match uses_load {
            true => known != readings,
            false => *known != Readings { load: known.load.clone(), ..readings.clone() },
        }
    }
}
