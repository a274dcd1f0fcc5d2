//! Who this daemon is: machine, user and process, as locks and snapshots name it.

/// Machine, user and process of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The machine's name.
    pub hostname: String,
    /// The user's name, or its number if it has none.
    pub username: String,
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The process.
    pub pid: i32,
}

impl Identity {
    /// Asks the system who this process is.
    #[must_use]
    pub fn of_this_process() -> Self {
        let (uid, gid) = (uzers::get_effective_uid(), uzers::get_effective_gid());
        let username = uzers::get_user_by_uid(uid).map(|user| user.name().to_string_lossy().into_owned());
        Self {
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            username: username.unwrap_or_else(|| uid.to_string()),
            uid,
            gid,
            pid: rustix::process::getpid().as_raw_nonzero().get(),
        }
    }

    /// Returns the name that goes into locks. It is not the machine's plain name, so that restic on the same machine
    /// judges the lock by its age: it would signal the process, and see no difference between the daemon that holds
    /// the lock and one that was started since.
    #[must_use]
    pub fn lock_hostname(&self) -> String {
        format!("{}/backupd", self.hostname)
    }
}
