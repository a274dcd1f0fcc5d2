//! From arguments to a running daemon, and back: what is opened in which order, and closed in which.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_proto::endpoint::{Environment, Overrides, Places, places};
use backup_proto::event::Cursor;
use backup_proto::path::WirePath;
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::iterator::Signals;
use tokio::sync::{mpsc, watch};

use crate::clock::{Clock, SystemClock};
use crate::conditions::{FileProbe, Probe};
use crate::config::{self, ConfigFile, Surroundings};
use crate::context::Context;
use crate::desk::Desk;
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::identity::Identity;
use crate::inbox::{Event, Inbox};
use crate::ledger::Ledger;
use crate::run::{Published, Run};
use crate::server::{self, Listening, Server, Shared};
use crate::service;
use crate::store::{self, Loaded, Store};
use crate::supervisor::{self, About, State, Step};
use crate::targets::{Targets, TargetsOptions};

/// Everything a daemon needs before its first event.
struct House {
    run: Run,
    server: Server,
    listening: Listening,
    events: mpsc::Receiver<Event>,
    first: Step,
    /// Keeps other daemons off the state folder while it is open.
    _state_lock: File,
}

/// Checks the configuration and nothing else.
///
/// # Errors
/// [`Error::Config`] with every mistake.
pub fn check_config(overrides: &Overrides) -> Result<PathBuf> {
    let environment = Environment::of_process();
    let places = find(&environment, overrides)?;
    let folder = places.config.parent().unwrap_or(Path::new("/")).to_path_buf();
    let surroundings = Surroundings { folder, home: home(&environment) };
    config::check(&places.config, overrides.config.is_some(), &surroundings).map_err(refused)?;
    Ok(places.config)
}

/// Runs a daemon until it is told to stop.
///
/// # Errors
/// Why it could not start, or could not go on.
pub fn run(overrides: &Overrides, signals: Signals) -> Result<()> {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("query")
        .build()
        .map_err(Error::io("start the runtime of", "this process"))?;
    let ended = runtime.block_on(async {
        let house = build(overrides).await?;
        live(house, signals).await
    });
    // A question that is still being answered is not waited for: whoever asked has been cut off already.
    runtime.shutdown_background();
    ended
}

/// Opens everything, in the order in which a failure leaves the least behind.
async fn build(overrides: &Overrides) -> Result<House> {
    let environment = Environment::of_process();
    let places = find(&environment, overrides)?;
    let config = Arc::new(ConfigFile::open(&places.config, home(&environment)).map_err(refused)?);
    if !places.config.exists() {
        tracing::info!("there is no {}; everything is as without a config", places.config.display());
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stamp = clock.now().wall.strftime("%Y%m%dT%H%M%SZ").to_string();
    let state_lock = hold_state(&places.state_dir, &stamp)?;
    let listening = Listening::on(&places.socket, config.last_good().socket.mode)?;
    let (store, loaded) = Store::open(&places.state_dir, &stamp)?;
    let ledger = Ledger::open(&places.state_dir)?;
    let about = about(&places, clock.as_ref());
    let targets = open_targets(&places, &config, &clock)?;
    let sequence = loaded.sequence;
    let (state, first) = first_state(loaded, &config, clock.as_ref(), about.uid);
    let (inbox, events) = Inbox::new();
    let probe = probe(&environment, &clock, &inbox).await;
    let context = Arc::new(Context::new(Arc::clone(&clock), targets, ledger, probe));
    let hub = Arc::new(Hub::new(sequence));
    let desk = Arc::new(Desk::default());
    let (published, watching) = watch::channel(Published { state: Arc::new(state), cursor: Cursor(sequence) });
    let server = Server {
        context: Arc::clone(&context),
        hub: Arc::clone(&hub),
        desk: Arc::clone(&desk),
        inbox: inbox.clone(),
        published: watching,
        about,
        shared: Shared::new(config.last_good().socket.has_guests()),
    };
    let run = Run { context, store, hub, desk, inbox, published };
    Ok(House { run, server, listening, events, first, _state_lock: state_lock })
}

/// Reads the machine from its files, and from what services say of it. In tests that play a machine its files are below
/// another folder than the root; such a machine has no bus but one that is named.
async fn probe(environment: &Environment, clock: &Arc<dyn Clock>, inbox: &Inbox) -> Arc<dyn Probe> {
    let variable = |name: &str| environment.variables.get(std::ffi::OsStr::new(name));
    let root = variable("BACKUPD_MACHINE_ROOT");
    let files = FileProbe::new(root.map_or_else(|| PathBuf::from("/"), PathBuf::from));
    match root.is_none() || variable("DBUS_SYSTEM_BUS_ADDRESS").is_some() {
        true => with_services(files, clock, inbox).await,
        false => Arc::new(files),
    }
}

#[cfg(target_os = "linux")]
async fn with_services(files: FileProbe, clock: &Arc<dyn Clock>, inbox: &Inbox) -> Arc<dyn Probe> {
    crate::conditions::bus::lay_over(files, Arc::clone(clock), inbox.clone()).await
}

#[cfg(not(target_os = "linux"))]
async fn with_services(files: FileProbe, _: &Arc<dyn Clock>, _: &Inbox) -> Arc<dyn Probe> {
    Arc::new(files)
}

/// Makes the state folder if it is not there, and keeps other daemons off it.
fn hold_state(state_dir: &Path, stamp: &str) -> Result<File> {
    let create = DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
    create.map_err(Error::io("create", state_dir))?;
    let lock = state_dir.join("lock");
    store::mend::free_lock(&lock, stamp)?;
    server::lock_file(&lock, state_dir)
}

/// Makes the state to begin with of what was stored, and says what was not as it should be.
fn first_state(loaded: Loaded, config: &ConfigFile, clock: &dyn Clock, uid: u32) -> (State, Step) {
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
    let (mut state, first) =
        supervisor::load(&loaded.contents, config.last_good(), clock.time_zone(), uid, clock.now().wall);
    state.notices.extend(loaded.notices);
    state.shortage = loaded.shortage;
    state.machine = Identity::of_this_process().hostname;
    (state, first)
}

/// Serves and works until the loop has ended, then closes what has to be closed.
async fn live(house: House, signals: Signals) -> Result<()> {
    let House { run, server, listening, events, first, _state_lock } = house;
    let (store, desk) = (run.store.clone(), Arc::clone(&run.desk));
    let context = Arc::clone(&run.context);
    // Before any job of these plans begins.
    context.commands.settle_old(&context.clock);
    service::listen(signals, run.inbox.clone(), move || match context.config_file().current() {
        Ok(config) => Some(Event::Configured(config)),
        Err(error) => {
            tracing::warn!("the configuration stays as it was: {error}");
            None
        }
    })?;
    // Whoever has connected by then waits for an answer until there is something true to say.
    let running = run.begin(first).await?;
    let socket = server.about.socket.to_string();
    let serving = tokio::spawn(server::accept(listening, Arc::new(server)));
    tracing::info!(socket, "ready");
    service::ready("ready");
    let ended = running.run(events).await;
    serving.abort();
    desk.close();
    ended?;
    store.close().await?;
    tracing::info!("stopped");
    Ok(())
}

fn find(environment: &Environment, overrides: &Overrides) -> Result<Places> {
    let mut places = places(environment, overrides).map_err(|error| Error::Config { message: error.to_string() })?;
    // A daemon may change its folder; what it was told is meant from where it was started.
    for path in
        [&mut places.config, &mut places.state_dir, &mut places.keys, &mut places.socket, &mut places.repository]
    {
        *path = std::path::absolute(&*path).map_err(Error::io("find", &*path))?;
    }
    Ok(places)
}

/// The home folder that `~` in the configuration stands for.
fn home(environment: &Environment) -> Option<PathBuf> {
    let variable = environment.variables.get(std::ffi::OsStr::new("HOME")).map(PathBuf::from);
    let of_user = || {
        use uzers::os::unix::UserExt;
        uzers::get_user_by_uid(environment.uid).map(|user| user.home_dir().to_path_buf())
    };
    variable.filter(|home| home.is_absolute()).or_else(of_user)
}

fn refused(error: config::ConfigError) -> Error {
    Error::Config { message: error.to_string() }
}

fn open_targets(places: &Places, config: &Arc<ConfigFile>, clock: &Arc<dyn Clock>) -> Result<Targets> {
    Targets::open(TargetsOptions {
        state: places.state_dir.clone(),
        socket: places.socket.clone(),
        default_folder: places.repository.clone(),
        config: Arc::clone(config),
        identity: Identity::of_this_process(),
        clock: Arc::clone(clock),
        hook: None,
    })
}

fn about(places: &Places, clock: &dyn Clock) -> About {
    let mut id = [0_u8; 8];
    // Without randomness the start time and the process still tell two runs apart.
    let now = clock.now();
    let instance_id = match getrandom::fill(&mut id) {
        Ok(()) => hex::encode(id),
        Err(_) => format!("{:x}{:x}", now.wall.as_nanosecond(), std::process::id()),
    };
    About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance_id,
        pid: std::process::id(),
        uid: rustix::process::geteuid().as_raw(),
        started: now.wall,
        socket: WirePath::from(places.socket.as_path()),
        state_dir: WirePath::from(places.state_dir.as_path()),
        config: WirePath::from(places.config.as_path()),
    }
}

/// Lets this process open as many files as the system allows it: a thousand sessions beside a backup need more than
/// the usual soft limit.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it was");
    }
}
