//! Readings from the files in which Linux says how the machine is. What no file says is unknown; on other systems
//! that is everything.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::probe::Probe;
use super::readings::{Power, Reading, Readings};

/// Where the power supplies are.
const SUPPLIES: &str = "sys/class/power_supply";

/// What the machine's firmware calls the profile that saves power.
const SAVER: &str = "low-power";

/// How the interfaces of VPNs are called.
const VPNS: [&str; 4] = ["tun", "tap", "wg", "ppp"];

/// Reads files below a folder: the root of the machine, or a likeness of it.
#[derive(Clone, Debug)]
pub struct FileProbe {
    root: PathBuf,
}

impl FileProbe {
    /// Makes one for the machine whose `proc` and `sys` are in this folder.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn text(&self, path: &str) -> Option<String> {
        text(&self.root.join(path))
    }

    fn power(&self) -> Option<Power> {
        let entries = fs::read_dir(self.root.join(SUPPLIES)).ok()?;
        let supplies: Vec<Supply> = entries.flatten().filter_map(|entry| Supply::read(&entry.path())).collect();
        let (batteries, mains): (Vec<&Supply>, Vec<&Supply>) = supplies.iter().partition(|supply| supply.is_battery);
        let says = |status: &str| batteries.iter().any(|battery| battery.status == status);
        let is_fed = mains.iter().any(|supply| supply.is_online);
        let on_battery = match (is_fed || batteries.is_empty(), says("Discharging")) {
            (true, _) => false,
            (false, true) => true,
            (false, false) if says("Charging") || says("Full") || says("Not charging") => false,
            (false, false) if !mains.is_empty() => true,
            (false, false) => return None,
        };
        let known: Vec<u32> = batteries.iter().filter_map(|battery| battery.capacity).collect();
        let count = u32::try_from(known.len()).ok()?;
        let mean = known.iter().sum::<u32>().checked_div(count);
        Some(Power { on_battery, percent: mean.and_then(|mean| u8::try_from(mean.min(100)).ok()) })
    }

    fn power_saver(&self) -> Option<bool> {
        self.text("sys/firmware/acpi/platform_profile").map(|profile| profile == SAVER)
    }

    /// Returns the interfaces of all routes, each with whether it leads everywhere; none if nobody tells.
    fn routes(&self) -> Option<Vec<(String, bool)>> {
        let (four, six) = (self.text("proc/net/route"), self.text("proc/net/ipv6_route"));
        if four.is_none() && six.is_none() {
            return None;
        }
        let four = four.unwrap_or_default();
        let six = six.unwrap_or_default();
        Some(four.lines().skip(1).filter_map(route_of_four).chain(six.lines().filter_map(route_of_six)).collect())
    }

    /// How much others wait, and who says so.
    fn load(&self) -> (Option<u8>, &'static str) {
        let waits = ["cpu", "io"].map(|what| {
            let all = self.text(&format!("proc/pressure/{what}")).as_deref().and_then(some_of_a_minute)?;
            Some(all.saturating_sub(self.own_share(what)))
        });
        match waits.into_iter().flatten().max() {
            Some(load) => (Some(load), "/proc/pressure"),
            None => (self.text("proc/loadavg").as_deref().and_then(load_average), "/proc/loadavg"),
        }
    }

    /// Returns how much we wait ourselves, where the daemon has a control group of its own.
    fn own_share(&self, what: &str) -> u8 {
        let groups = self.text("proc/self/cgroup").unwrap_or_default();
        let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).filter(|path| !path.is_empty());
        let pressure = own.and_then(|path| self.text(&format!("sys/fs/cgroup/{path}/{what}.pressure")));
        pressure.as_deref().and_then(some_of_a_minute).unwrap_or(0)
    }
}

impl Probe for FileProbe {
    fn read(&self, now: Timestamp) -> Readings {
        let routes = self.routes();
        let online = routes.as_ref().map(|routes| routes.iter().any(|(_, is_default)| *is_default));
        let is_vpn = |name: &str| VPNS.iter().any(|vpn| name.starts_with(vpn));
        let vpn = routes.as_ref().map(|routes| routes.iter().any(|(name, _)| is_vpn(name)));
        let (load, load_source) = self.load();
        Readings {
            power: Reading::of(self.power(), "/sys/class/power_supply", now),
            power_saver: Reading::of(self.power_saver(), "/sys/firmware/acpi/platform_profile", now),
            online: Reading::of(online, "/proc/net/route", now),
            vpn: Reading::of(vpn, "/proc/net/route", now),
            load: Reading::of(load, load_source, now),
            ..Readings::unknown(now)
        }
    }
}

/// One power supply.
struct Supply {
    is_battery: bool,
    is_online: bool,
    status: String,
    capacity: Option<u32>,
}

impl Supply {
    /// Reads one; none for those of mice and the like.
    fn read(folder: &Path) -> Option<Self> {
        let field = |name: &str| text(&folder.join(name));
        if field("scope").is_some_and(|scope| scope == "Device") {
            return None;
        }
        Some(Self {
            is_battery: matches!(field("type")?.as_str(), "Battery" | "UPS"),
            is_online: field("online").is_some_and(|online| online != "0"),
            status: field("status").unwrap_or_default(),
            capacity: field("capacity").and_then(|capacity| capacity.parse().ok()),
        })
    }
}

fn text(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// A line of `/proc/net/route`: interface, destination, gateway, flags, three counters, mask; numbers in hex.
fn route_of_four(line: &str) -> Option<(String, bool)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [name, destination, _, flags, _, _, _, mask, ..] = fields[..] else { return None };
    let is_up = u32::from_str_radix(flags, 16).ok()? & 1 != 0;
    is_up.then(|| (name.to_owned(), destination == "00000000" && mask == "00000000"))
}

/// A line of `/proc/net/ipv6_route`: destination and its length, source and its length, next hop, metric, two
/// counters, flags, interface.
fn route_of_six(line: &str) -> Option<(String, bool)> {
    const REJECT: u32 = 0x200;
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [destination, length, _, _, _, _, _, _, flags, name] = fields[..] else { return None };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let leads = flags & 1 != 0 && flags & REJECT == 0 && name != "lo";
    leads.then(|| (name.to_owned(), length == "00" && destination.bytes().all(|digit| digit == b'0')))
}

/// The share of the last minute in which somebody waited, in percent: `avg60` of the line `some`.
fn some_of_a_minute(text: &str) -> Option<u8> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let number = line.split(' ').find_map(|field| field.strip_prefix("avg60="))?;
    number.split('.').next()?.parse().ok()
}

/// The load of the last minute in percent of the processors.
fn load_average(text: &str) -> Option<u8> {
    let (whole, part) = text.split(' ').next()?.split_once('.')?;
    let hundredths = whole.parse::<usize>().ok()?.checked_mul(100)?.checked_add(part.parse().ok()?)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u8::try_from((hundredths / processors).min(100)).ok()
}

#[cfg(test)]
mod tests;
