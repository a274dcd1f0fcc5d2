//! Folders that play a machine.

use super::*;
use crate::conditions::{Policy, Ruling, Seen, Subject, rules};
use crate::config::Config;

fn now() -> Timestamp {
    "2024-05-01T12:00:00Z".parse().unwrap()
}

/// Makes a likeness of a machine out of paths and texts.
fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    }
    root
}

fn power_of(files: &[(&str, &str)]) -> Option<(bool, Option<u8>)> {
    let root = machine(files);
    let power = FileProbe::new(root.path()).read(now()).power;
    assert_eq!(power.value.is_some(), power.source == "/sys/class/power_supply");
    power.value.map(|power| (power.on_battery, power.percent))
}

#[test]
fn power_supplies_say_where_the_power_comes_from() {
    const BAT: &str = "sys/class/power_supply/BAT0/";
    let battery = |status, capacity| {
        [("type", "Battery"), ("status", status), ("capacity", capacity)]
            .map(|(name, text)| (format!("{BAT}{name}"), text))
    };
    let with = |parts: &[(String, &str)], mains: Option<&str>| {
        let mut files: Vec<(&str, &str)> = parts.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        if let Some(online) = mains {
            files.push(("sys/class/power_supply/AC/type", "Mains"));
            files.push(("sys/class/power_supply/AC/online", online));
        }
        power_of(&files)
    };
    assert_eq!(with(&battery("Discharging", "34"), Some("0")), Some((true, Some(34))));
    assert_eq!(with(&battery("Charging", "34"), Some("1")), Some((false, Some(34))));
    assert_eq!(with(&battery("Discharging", "100"), Some("1")), Some((false, Some(100))), "topping up now and then");
    assert_eq!(with(&battery("Discharging", "80"), None), Some((true, Some(80))));
    assert_eq!(with(&battery("Not charging", "80"), None), Some((false, Some(80))));
    assert_eq!(with(&battery("Unknown", "80"), None), None);
    assert_eq!(with(&battery("Unknown", "80"), Some("0")), Some((true, Some(80))));
    assert_eq!(with(&battery("Discharging", "many"), None), Some((true, None)));
    assert_eq!(power_of(&[("sys/class/power_supply/.keep", "")]), Some((false, None)), "no battery at all");
    assert_eq!(power_of(&[("sys/.keep", "")]), None, "nobody tells");
    let mouse = [("type", "Battery"), ("scope", "Device"), ("status", "Discharging"), ("capacity", "3")];
    let mouse = mouse.map(|(name, text)| (format!("sys/class/power_supply/mouse/{name}"), text));
    assert_eq!(with(&mouse, None), Some((false, None)), "a mouse is no machine");
    let second = battery("Discharging", "90").map(|(path, text)| (path.replace("BAT0", "BAT1"), text));
    assert_eq!(with(&[battery("Unknown", "10"), second].concat(), None), Some((true, Some(50))));
}

#[test]
fn routes_lead_everywhere_or_somewhere() {
    const HEAD: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
    let routes = |lines: &str, six: &str| {
        let root = machine(&[("proc/net/route", &format!("{HEAD}{lines}")), ("proc/net/ipv6_route", six)]);
        let readings = FileProbe::new(root.path()).read(now());
        (readings.online.value, readings.vpn.value)
    };
    let default = "wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0";
    let local = "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0";
    let (zero, reject) =
        ("0".repeat(32), format!("{0} 00 {0} 00 {0} ffffffff 00000001 00000000 00200200 lo", "0".repeat(32)));
    let six = format!("{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000003 00000000 00000003 wg0");
    assert_eq!(routes(default, ""), (Some(true), Some(false)));
    assert_eq!(routes(local, &reject), (Some(false), Some(false)), "a bridge of its own leads nowhere");
    assert_eq!(routes(local, &six), (Some(true), Some(true)));
}

#[test]
fn pressure_and_profile_are_read() {
    let load = |files: &[(&str, &str)]| {
        let readings = FileProbe::new(machine(files).path()).read(now()).load;
        readings.value.map(|load| (load, readings.source))
    };
    let some = |percent: u8| {
        format!(
            "some avg10=99.00 avg60={percent}.49 avg300=1.00 total=1\nfull avg10=0.00 avg60=77.00 avg300=0.00 total=0"
        )
    };
    let (cpu, io) = (some(60), some(20));
    let pressure = [("proc/pressure/cpu", cpu.as_str()), ("proc/pressure/io", io.as_str())];
    assert_eq!(load(&pressure), Some((60, "/proc/pressure")));
    let own = some(50);
    let group = [
        ("proc/self/cgroup", "0::/user.slice/backupd"),
        ("sys/fs/cgroup/user.slice/backupd/cpu.pressure", own.as_str()),
    ];
    assert_eq!(load(&[pressure, group].concat()), Some((20, "/proc/pressure")), "what we wait for does not count");
    assert_eq!(load(&[("proc/loadavg", "9999.00 1.0 1.0 1/1 1")]), Some((100, "/proc/loadavg")));
    assert_eq!(load(&[("proc/loadavg", "0.00 1.0 1.0 1/1 1")]), Some((0, "/proc/loadavg")));
    assert_eq!(load(&[("proc/loadavg", "much")]), None);
    let saver = |text| {
        FileProbe::new(machine(&[("sys/firmware/acpi/platform_profile", text)]).path()).read(now()).power_saver.value
    };
    assert_eq!((saver("low-power"), saver("balanced")), (Some(true), Some(false)));
}

#[test]
fn a_machine_without_any_of_the_files_is_unknown_and_holds_nobody() {
    let root = tempfile::tempdir().unwrap();
    let readings = FileProbe::new(root.path()).read(now());
    assert_eq!(readings, Readings::unknown(now()));
    let seen = Seen::nothing(now()).after(readings);
    assert_eq!(
        rules::decide(
            &seen,
            &Policy::of(&Config::default(), None, None),
            &Subject { over_network: true, ..Subject::default() },
            now()
        ),
        Ruling::Run
    );
}
