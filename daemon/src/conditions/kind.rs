//! The kinds of rules: what each is about, and which jobs it concerns.

use super::rules::Subject;

/// What a rule is about; its name on the wire stays the same for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A battery that is nearly empty.
    BatteryCritical,
    /// A battery.
    Battery,
    /// A machine that is to save power.
    PowerSaver,
    /// No network.
    Offline,
    /// A network at which somebody has to sign in.
    Captive,
    /// A network on which data costs money.
    Metered,
    /// A network of a certain name.
    Networks,
    /// A VPN.
    Vpn,
    /// A busy machine.
    Load,
    /// Somebody at the machine.
    Idle,
    /// The time of the week.
    Window,
}

impl Kind {
    /// Returns the word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BatteryCritical => "battery_critical",
            Self::Battery => "battery",
            Self::PowerSaver => "power_saver",
            Self::Offline => "offline",
            Self::Captive => "captive",
            Self::Metered => "metered",
            Self::Networks => "networks",
            Self::Vpn => "vpn",
            Self::Load => "load",
            Self::Idle => "idle",
            Self::Window => "window",
        }
    }

    /// Says whether a job that has waited for long enough runs all the same.
    pub(super) fn is_soft(self) -> bool {
        !matches!(self, Self::BatteryCritical | Self::Offline | Self::Captive)
    }

    /// Says whether it concerns a job.
    pub(super) fn concerns(self, job: &Subject) -> bool {
        match self {
            Self::BatteryCritical => !job.is_restore,
            Self::Offline | Self::Captive => job.over_network,
            // Somebody who asks does not see what the link costs.
            Self::Metered => job.over_network && !job.is_restore,
            Self::Networks | Self::Vpn => job.over_network && !job.is_restore && !job.by_hand,
            Self::Battery | Self::PowerSaver | Self::Load | Self::Idle | Self::Window => {
                !job.is_restore && !job.by_hand
            }
        }
    }
}
