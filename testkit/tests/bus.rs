//! A laptop whose services speak on a D-Bus: the real programs, on a private bus with dbusmock's services.

#![cfg(target_os = "linux")]

use std::fs;

use backup_testkit::bus::Bus;
use backup_testkit::daemon::{Daemon, Options};
use backup_testkit::seed::Seed;
use backup_testkit::wait;
use serde_json::Value;

const UPOWER: &str = "org.freedesktop.UPower";
const NETWORK: &str = "org.freedesktop.NetworkManager";

/// So slow that there is time for everything. The plan's target needs a network.
const CONFIG: &str = "[limits]\nupload = \"1 KiB/s\"\n\
                      [target.nas]\nurl = \"~/nas\"\npassword-file = \"key\"\nover-network = true\n\
                      [plan.docs]\nsources = [\"~/source\"]\ntargets = [\"nas\"]\n";

/// A daemon with such a plan, on a machine without files that say how it is; and a bus with nobody on it.
fn laptop() -> (tempfile::TempDir, Bus, Daemon) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bus = Bus::start(folder.path());
    let options = Options { config: Some(CONFIG.to_owned()), environment: vec![bus.variable()], ..Options::default() };
    let mut daemon = Daemon::prepare(options);
    fs::write(daemon.config().with_file_name("key"), "secret\n").expect("it is written");
    let bytes = Seed::of_test("testkit", "bus").random().bytes(4 << 20);
    fs::write(daemon.home().join("source"), bytes).expect("it is written");
    daemon.launch();
    daemon.ctl(["target", "init", "nas"]).expect(0);
    (folder, bus, daemon)
}

fn job(daemon: &Daemon, id: &str) -> Value {
    daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0)
}

/// Begins the plan's backup. What is typed is held by a nearly empty battery, a network that costs and one that is closed.
fn begin(daemon: &Daemon) -> String {
    daemon.ctl(["backup", "docs", "--detach"]).expect(0).text().trim().to_owned()
}

/// Waits until a job is in a state.
fn until(daemon: &Daemon, id: &str, state: &str) -> Value {
    wait::until("the job's state", || Some(job(daemon, id)).filter(|job| job["state"] == state))
}

/// Waits until a reading is this, from there.
fn reads(daemon: &Daemon, name: &str, reading: &str, source: &str) {
    wait::until(&format!("{name} is {reading} ({source})"), || {
        let answer = daemon.ctl(["conditions", "--json"]).expect(0).json().remove(0);
        let all = answer["conditions"].as_array().expect("there are some").clone();
        let found = all.into_iter().find(|condition| condition["name"] == name).expect("it is among them");
        (found["reading"] == reading && (source.is_empty() || found["source"] == source)).then_some(())
    });
}

/// Says how full the battery is, and whether the power comes from it.
fn power(bus: &mut Bus, on_battery: bool, percent: u8) {
    let flag = if on_battery { "True" } else { "False" };
    bus.tell(&format!(
        "upower().SetupDisplayDevice(2, 2, {percent}.0, 20.0, 50.0, 1.0, 3600, 0, True, 'battery-good', 3)"
    ));
    bus.tell(&format!("upower().UpdateProperties('{UPOWER}', {{'OnBattery': {flag}}})"));
}

/// Sets one of NetworkManager's numbers.
fn network(bus: &mut Bus, property: &str, number: u32) {
    bus.tell(&format!("network().UpdateProperties('{NETWORK}', {{'{property}': dbus.UInt32({number})}})"));
}

/// S0.29, S0.69.
#[test]
fn power_is_what_upower_says_while_it_is_there() {
    let (_folder, mut bus, daemon) = laptop();
    reads(&daemon, "battery", "unknown", "");
    bus.serve_template("upower", UPOWER);
    power(&mut bus, false, 80);
    reads(&daemon, "battery", "on mains, battery 80 %", "UPower");
    let id = begin(&daemon);
    until(&daemon, &id, "running");
    power(&mut bus, true, 8);
    let paused = until(&daemon, &id, "paused");
    assert_eq!(paused["verdict"]["condition"], "battery_critical");
    let why = daemon.ctl(["why", &id]).expect(0).text();
    assert!(why.contains("(battery 8 %, threshold 10 %)"), "{why}");
    power(&mut bus, false, 8);
    until(&daemon, &id, "running");
}

/// S0.29.
#[test]
fn a_service_that_ends_or_says_rubbish_and_a_bus_that_goes_hold_nobody() {
    let (_folder, mut bus, daemon) = laptop();
    bus.serve_template("upower", UPOWER);
    power(&mut bus, true, 8);
    reads(&daemon, "battery", "on battery, 8 %", "UPower");
    let id = begin(&daemon);
    until(&daemon, &id, "queued");
    bus.end_service(UPOWER);
    reads(&daemon, "battery", "unknown", "");
    until(&daemon, &id, "running");
    bus.serve_template("upower", UPOWER);
    power(&mut bus, true, 8);
    reads(&daemon, "battery", "on battery, 8 %", "UPower");
    until(&daemon, &id, "paused");
    // Words in place of a number are nothing that anybody has said.
    bus.tell(&format!("upower().UpdateProperties('{UPOWER}', {{'OnBattery': 'perhaps'}})"));
    reads(&daemon, "battery", "unknown", "");
    power(&mut bus, true, 8);
    until(&daemon, &id, "paused");
    // Without a bus it works as on a machine that has none.
    bus.end();
    reads(&daemon, "battery", "unknown", "");
    until(&daemon, &id, "running");
    daemon.ctl(["limit", "off"]).expect(0);
    until(&daemon, &id, "succeeded");
}

/// S0.29, S0.69.
#[test]
fn a_metered_network_and_one_with_a_sign_in_page_hold_what_needs_it() {
    let (_folder, mut bus, daemon) = laptop();
    bus.serve_template("networkmanager", NETWORK);
    reads(&daemon, "metered", "unknown", "");
    let id = begin(&daemon);
    until(&daemon, &id, "running");
    bus.tell(&format!("network().AddProperty('{NETWORK}', 'Metered', dbus.UInt32(4))"));
    network(&mut bus, "Metered", 1);
    assert_eq!(until(&daemon, &id, "paused")["verdict"]["condition"], "metered");
    reads(&daemon, "metered", "metered", "NetworkManager");
    network(&mut bus, "Metered", 4);
    until(&daemon, &id, "running");
    network(&mut bus, "Connectivity", 2);
    assert_eq!(until(&daemon, &id, "paused")["verdict"]["condition"], "captive");
    let why = daemon.ctl(["why", &id]).expect(0).text();
    assert!(why.contains("Waiting for somebody to sign in to the network"), "{why}");
    network(&mut bus, "Connectivity", 4);
    until(&daemon, &id, "running");
    reads(&daemon, "offline", "online", "NetworkManager");
    reads(&daemon, "vpn", "not in use", "NetworkManager");
    let path = "/org/freedesktop/NetworkManager/ActiveConnection/7";
    bus.tell(&format!(
        "network().AddObject('{path}', '{NETWORK}.Connection.Active', {{'Id': 'office', 'Type': 'wireguard', 'Vpn': False}}, [])"
    ));
    bus.tell(&format!("network().AddProperty('{NETWORK}', 'PrimaryConnection', dbus.ObjectPath('{path}'))"));
    bus.tell(&format!(
        "network().UpdateProperties('{NETWORK}', {{'ActiveConnections': dbus.Array([dbus.ObjectPath('{path}')], signature='o')}})"
    ));
    reads(&daemon, "networks", "`office`", "NetworkManager");
    reads(&daemon, "vpn", "in use", "NetworkManager");
    bus.end_service(NETWORK);
    reads(&daemon, "metered", "unknown", "");
    reads(&daemon, "networks", "unknown", "");
}

#[test]
fn who_uses_the_machine_and_whether_power_is_saved_is_known_before_the_first_job() {
    let (_folder, mut bus, mut daemon) = laptop();
    bus.serve_template("logind", "org.freedesktop.login1");
    bus.serve_template("power_profiles_daemon", "net.hadess.PowerProfiles");
    reads(&daemon, "idle", "somebody uses the machine", "logind");
    bus.tell("mock('org.freedesktop.login1', '/org/freedesktop/login1').UpdateProperties('org.freedesktop.login1.Manager', {'IdleHint': True})");
    reads(&daemon, "idle", "nobody uses the machine", "logind");
    let profile = "mock('net.hadess.PowerProfiles', '/net/hadess/PowerProfiles').UpdateProperties('net.hadess.PowerProfiles', {'ActiveProfile': 'power-saver'})";
    bus.tell(profile);
    reads(&daemon, "power_saver", "saving power", "power-profiles-daemon");
    daemon.stop();
    daemon.launch();
    let answer = daemon.ctl(["conditions"]).expect(0).text();
    assert!(answer.contains("saving power") && answer.contains("nobody uses the machine"), "{answer}");
}
