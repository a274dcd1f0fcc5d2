//! A private D-Bus with python-dbusmock's services in place of the system's, moved by lines of Python.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::{must, wait};

/// Debian's own Python: `python3-dbusmock` is installed for that one and no other.
const PYTHON: &str = "/usr/bin/python3";

/// Runs each line it reads, and answers each with one line. `mock` is a service's remote control.
const DRIVER: &str = r"
import dbus, sys
bus = dbus.bus.BusConnection(sys.argv[1])
UPOWER = '/org/freedesktop/UPower'
NM = '/org/freedesktop/NetworkManager'
def mock(name, path):
    return dbus.Interface(bus.get_object(name, path), 'org.freedesktop.DBus.Mock')
def upower(): return mock('org.freedesktop.UPower', UPOWER)
def network(): return mock('org.freedesktop.NetworkManager', NM)
def has(name): assert bus.name_has_owner(name), name + ' is not there yet'
for line in sys.stdin:
    try:
        exec(line)
        print('ok', flush=True)
    except Exception as error:
        print(repr(error), flush=True)
";

/// The bus: dropping it ends everything on it.
#[derive(Debug)]
pub struct Bus {
    address: String,
    daemon: Ended,
    services: Vec<(String, Ended)>,
    driver: Ended,
    to_driver: ChildStdin,
    from_driver: BufReader<ChildStdout>,
}

/// A process that ends with its owner.
#[derive(Debug)]
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bus {
    /// Starts a bus with nobody on it; its socket is in this folder.
    ///
    /// # Panics
    /// When it does not start: `make test` installs what it needs.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let socket = folder.join("bus");
        let address = format!("unix:path={}", socket.display());
        let daemon = Self::serve(folder, &address);
        wait::until("the bus is there", || socket.exists().then_some(()));
        let mut driver = python(&address, &["-u", "-c", DRIVER, &address]);
        driver.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut driver = Ended(must("start", PYTHON, driver.spawn()));
        let to_driver = driver.0.stdin.take().unwrap_or_else(|| panic!("it has an input"));
        let from_driver = driver.0.stdout.take().unwrap_or_else(|| panic!("it has an output"));
        let from_driver = BufReader::new(from_driver);
        Self { address, daemon, services: Vec::new(), driver, to_driver, from_driver }
    }

    fn serve(folder: &Path, address: &str) -> Ended {
        let config = folder.join("bus.conf");
        let text = format!(
            "<busconfig><type>system</type><listen>{address}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>"
        );
        must("write", &config, fs::write(&config, text));
        let mut command = Command::new("dbus-daemon");
        command.arg("--nofork").arg("--config-file").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        Ended(must("start (`make test` installs it)", "dbus-daemon", command.spawn()))
    }

    /// Returns the variable that leads a daemon to it.
    #[must_use]
    pub fn variable(&self) -> (String, String) {
        ("DBUS_SYSTEM_BUS_ADDRESS".to_owned(), self.address.clone())
    }

    /// Starts a service from one of dbusmock's templates, and waits until it has its name.
    pub fn serve_template(&mut self, template: &str, name: &str) {
        let mut command = python(&self.address, &["-m", "dbusmock", "--system", "--template", template]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.services.push((name.to_owned(), Ended(must("start", PYTHON, command.spawn()))));
        wait::until("the service is there", || (self.try_tell(&format!("has('{name}')")) == "ok").then_some(()));
    }

    /// Kills a service.
    pub fn end_service(&mut self, name: &str) {
        self.services.retain(|(known, _)| known != name);
    }

    /// Kills the bus itself, with everybody on it cut off.
    pub fn end(&mut self) {
        let _ = self.daemon.0.kill();
        let _ = self.daemon.0.wait();
    }

    /// Lets the driver run a line of Python.
    ///
    /// # Panics
    /// When the line fails.
    #[track_caller]
    pub fn tell(&mut self, line: &str) {
        let answer = self.try_tell(line);
        assert_eq!(answer, "ok", "{line}");
    }

    fn try_tell(&mut self, line: &str) -> String {
        must("write to", "the driver", writeln!(self.to_driver, "{line}"));
        let mut answer = String::new();
        must("read from", "the driver", self.from_driver.read_line(&mut answer));
        assert!(!answer.is_empty(), "the driver has ended: {:?}", self.driver.0.try_wait());
        answer.trim_end().to_owned()
    }
}

fn python(address: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(PYTHON);
    command.args(arguments).env("DBUS_SYSTEM_BUS_ADDRESS", address);
    command
}
