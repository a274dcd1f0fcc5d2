//! What the configuration says about the state of the machine: a plan's word before its target's, that before the
//! general one, and what counts where nobody has said anything.

use std::time::Duration;

use crate::config::{Act, ConditionsConfig, Config, Networks, Rule, VpnRule, Window};

/// Below this much, in percent, nothing is begun on battery, whatever the limits are; unless the rule for batteries is to run.
pub const BATTERY_CRITICAL: u8 = 10;

/// What counts below this much of a battery where nobody has said anything else: the job waits.
const ON_BATTERY: Rule = Rule { act: Act::Pause, limit: Some(40) };

/// How long a job waits where nobody has said anything else.
const DEADLINE: Duration = Duration::from_secs(3 * 24 * 3600);

const RUN: Rule = Rule { act: Act::Run, limit: None };
const PAUSE: Rule = Rule { act: Act::Pause, limit: None };

/// What counts for a job.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'c> {
    /// What was said, the nearest to the job first.
    layers: [Option<&'c ConditionsConfig>; 3],
}

impl<'c> Policy<'c> {
    /// Returns what counts for the jobs of a plan on a target.
    #[must_use]
    pub fn of(config: &'c Config, plan: Option<&str>, target: Option<&str>) -> Self {
        let plan = plan.and_then(|plan| config.plans.get(plan)).map(|plan| &plan.conditions);
        let target = target.and_then(|target| config.targets.get(target)).map(|target| &target.conditions);
        Self { layers: [plan, target, Some(&config.conditions)] }
    }

    fn pick<T>(&self, of: impl Fn(&'c ConditionsConfig) -> Option<T>) -> Option<T> {
        self.layers.iter().flatten().find_map(|layer| of(layer))
    }

    /// Returns the rule for batteries.
    #[must_use]
    pub fn on_battery(&self) -> Rule {
        self.pick(|layer| layer.on_battery).unwrap_or(ON_BATTERY)
    }

    /// Returns the rule for a machine that is to save power. It says how fast the machine should be and not whether it
    /// may work; what matters is the battery.
    #[must_use]
    pub fn power_saver(&self) -> Rule {
        self.pick(|layer| layer.power_saver).unwrap_or(RUN)
    }

    /// Returns the rule for a machine without a network.
    #[must_use]
    pub fn offline(&self) -> Rule {
        self.pick(|layer| layer.offline).unwrap_or(PAUSE)
    }

    /// Returns the rule for a network at which somebody has to sign in.
    #[must_use]
    pub fn captive(&self) -> Rule {
        self.pick(|layer| layer.captive).unwrap_or(PAUSE)
    }

    /// Returns the rule for a network on which data costs money.
    #[must_use]
    pub fn metered(&self) -> Rule {
        self.pick(|layer| layer.metered).unwrap_or(PAUSE)
    }

    /// Returns which networks may be used; none: any.
    #[must_use]
    pub fn networks(&self) -> Option<&'c Networks> {
        self.pick(|layer| layer.networks.as_ref())
    }

    /// Returns the rule for a VPN.
    #[must_use]
    pub fn vpn(&self) -> VpnRule {
        self.pick(|layer| layer.vpn).unwrap_or(VpnRule::Run)
    }

    /// Returns the rule for a machine that others keep busy.
    #[must_use]
    pub fn load(&self) -> Rule {
        self.pick(|layer| layer.load).unwrap_or(RUN)
    }

    /// Says whether jobs run only while nobody uses the machine.
    #[must_use]
    pub fn only_idle(&self) -> bool {
        self.pick(|layer| layer.only_idle).unwrap_or(false)
    }

    /// Says whether jobs wait where a rule needs a reading that nobody can give.
    #[must_use]
    pub fn unknown_waits(&self) -> bool {
        self.pick(|layer| layer.unknown_waits).unwrap_or(false)
    }

    /// Returns at which times of the week jobs run; none: always.
    #[must_use]
    pub fn window(&self) -> Option<&'c Window> {
        self.pick(|layer| layer.window.as_ref()).and_then(Option::as_ref)
    }

    /// Returns how long a job waits at most, but for what is hard; none: for ever. Where nobody has said it, the time for
    /// which the window stays closed does not count: one that opens once a week is not meant to be passed over.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let closed = || self.window().map(Window::closed_for).unwrap_or_default();
        self.pick(|layer| layer.deadline).unwrap_or_else(|| Some(DEADLINE + closed()))
    }
}

/// Says whether any rule of a configuration depends on the load.
#[must_use]
pub fn uses_load(config: &Config) -> bool {
    let plans = config.plans.values().map(|plan| &plan.conditions);
    let targets = config.targets.values().map(|target| &target.conditions);
    let mut all = plans.chain(targets).chain([&config.conditions]);
    all.any(|layer| layer.load.is_some_and(|rule| rule.act != Act::Run))
}
