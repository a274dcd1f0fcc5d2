//! The parameters of every method, one type each, in the order of the table in [`crate::message`]; those for keys are in
//! [`crate::key`], those for limits in [`crate::limit`], that of a search is in [`crate::snapshot`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::answer::{BulkOpened, BulkToken, DaemonPaused, JobReasons, JobsSubmitted, PlanAdded};
pub use crate::bulk::BulkOpen;
use crate::event::{Cursor, Topic};
use crate::job::{JobId, JobState, Priority};
pub use crate::key::{KeyAdd, KeyChange, KeyList, KeyRemove};
pub use crate::limit::{LimitGet, LimitSet};
pub use crate::note::{SnapshotHold, SnapshotStats};
use crate::page::PageRequest;
use crate::path::WirePath;
pub use crate::snapshot::SnapshotFind;
use crate::spec::{JobSpec, SnapshotQuery};
use crate::target::{BreakerWish, Plan};
use crate::version::VersionRange;

/// A name the caller gives to one change, so that asking again cannot make it twice: at most 128 bytes, chosen at
/// random.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RequestId(pub String);

/// Bytes of a [`RequestId`] at most.
pub const REQUEST_ID_MAX: usize = 128;

/// Declares a parameter type: documented public fields and the usual derives. A field after `?` may be left out.
macro_rules! params {
    ($($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
        $(? $($(#[$option_doc:meta])* $option:ident: $option_type:ty,)+)?
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            $($($(#[$option_doc])* #[serde(default)] pub $option: $option_type,)+)?
        }
    )*};
}

pub(crate) use params;

params! {
    /// Says who calls and which versions they speak.
    Hello {
        /// Program and version of the client.
        client: String,
        /// The versions it speaks.
        protocol: VersionRange,
    }
    /// Asks for the OpenRPC document.
    RpcDiscover {}
    /// Asks for the state of the daemon.
    DaemonStatus {}
    /// Pauses the whole daemon: running jobs stop, queued ones wait.
    DaemonPause {
        /// The name of this change.
        request_id: RequestId,
        ?
        /// For how long; absent: until somebody resumes it.
        for_seconds: Option<u64>,
    }
    /// Ends the pause of the whole daemon.
    DaemonResume {
        /// The name of this change.
        request_id: RequestId,
    }
    /// Puts jobs into the queue.
    JobSubmit {
        /// The name of this change.
        request_id: RequestId,
        /// What to do.
        spec: JobSpec,
        ?
        /// How urgent; absent: normal; high for a restore; low for a prune, a copy, and a check that reads all data or a part.
        priority: Option<Priority>,
        /// Run even if the conditions say no.
        now: bool,
        /// Why, for the ledger.
        reason: Option<String>,
    }
    /// Asks for everything about one job.
    JobGet {
        /// Its id or a unique prefix of it.
        job: JobId,
    }
    /// Asks for jobs, newest first.
    JobList {
        ?
        /// Also those that have ended.
        all: bool,
        /// Only those in one of these states; empty: any.
        states: Vec<JobState>,
        /// Which part.
        page: PageRequest,
    }
    /// Asks why a job does not run.
    JobWhy {
        /// Its id or a unique prefix of it.
        job: JobId,
    }
    /// Pauses one job.
    JobPause {
        /// The name of this change.
        request_id: RequestId,
        /// Its id or a unique prefix of it.
        job: JobId,
        ?
        /// For how long; absent: until somebody resumes it.
        for_seconds: Option<u64>,
    }
    /// Lets a paused job go on.
    JobResume {
        /// The name of this change.
        request_id: RequestId,
        /// Its id or a unique prefix of it.
        job: JobId,
        ?
        /// Run it even if the conditions say no.
        now: bool,
    }
    /// Stops a job for good.
    JobCancel {
        /// The name of this change.
        request_id: RequestId,
        /// Its id or a unique prefix of it.
        job: JobId,
    }
    /// Makes a new attempt of a job that ended failed, partial or cancelled, or that waits to be tried again.
    JobRetry {
        /// The name of this change.
        request_id: RequestId,
        /// Its id or a unique prefix of it.
        job: JobId,
    }
    /// Changes how urgent a job is.
    JobSetPriority {
        /// The name of this change.
        request_id: RequestId,
        /// Its id or a unique prefix of it.
        job: JobId,
        /// The new priority.
        priority: Priority,
    }
    /// Asks for the items a job could not do, in the order they were met.
    JobFailures {
        /// Its id or a unique prefix of it.
        job: JobId,
        ?
        /// Which part.
        page: PageRequest,
    }
    /// Asks what a dry run found it would do.
    JobPlanned {
        /// Its id or a unique prefix of it.
        job: JobId,
        ?
        /// Which part.
        page: PageRequest,
    }
    /// Asks to be told what happens from now on, or from a cursor on.
    EventsSubscribe {
        ?
        /// The last cursor the caller has seen.
        since: Option<Cursor>,
        /// What to hear of; empty: everything.
        topics: Vec<Topic>,
    }
    /// Asks for snapshots, oldest first within each target.
    SnapshotList {
        ?
        /// Only in this target.
        target: Option<String>,
        /// Only those made by this plan.
        plan: Option<String>,
        /// Only those made on this host.
        host: Option<String>,
        /// Only those of this source.
        path: Option<WirePath>,
        /// Which part.
        page: PageRequest,
    }
    /// Asks for the entries of a folder in a snapshot.
    SnapshotLs {
        /// The snapshot.
        query: SnapshotQuery,
        ?
        /// The folder; absent: the top.
        folder: Option<WirePath>,
        /// Also everything below it.
        recursive: bool,
        /// Also their extended attributes.
        attributes: bool,
        /// Which part.
        page: PageRequest,
    }
    /// Asks how two snapshots of one target differ.
    SnapshotDiff {
        /// The first.
        a: SnapshotQuery,
        /// The second.
        b: SnapshotQuery,
        ?
        /// Also report entries of which only mode, owner, times or attributes differ.
        metadata: bool,
        /// Which part.
        page: PageRequest,
    }
    /// Asks for the contents of a file in a snapshot, or a part of them, over a second connection.
    SnapshotCat {
        /// The snapshot.
        query: SnapshotQuery,
        /// The file.
        file: WirePath,
        ?
        /// Bytes to leave out at the beginning; absent: none. At or past the end there is nothing to send.
        offset: Option<u64>,
        /// Bytes to send at most; absent: all to the end.
        length: Option<u64>,
    }
    /// Asks for the targets.
    TargetList {
        ?
        /// Which part.
        page: PageRequest,
    }
    /// Adds a target to the configuration.
    TargetAdd {
        /// The name of this change.
        request_id: RequestId,
        /// Its name.
        name: String,
        /// Where it is, in restic's form.
        url: String,
        ?
        /// A file that holds the password in its first line.
        password_file: Option<WirePath>,
        /// A command that prints the password.
        password_command: Option<String>,
    }
    /// Creates the repository of a configured target.
    TargetInit {
        /// The name of this change.
        request_id: RequestId,
        /// The target.
        name: String,
        ?
        /// Another target, whose rule for cutting files it takes over; absent: a random one.
        copy_chunker_params: Option<String>,
    }
    /// Takes over the existing repository of a configured target.
    TargetAdopt {
        /// The name of this change.
        request_id: RequestId,
        /// The target.
        name: String,
    }
    /// Resets the breaker of a target, or says what it is to be.
    TargetBreaker {
        /// The name of this change.
        request_id: RequestId,
        /// The target.
        name: String,
        /// What it is to be.
        wish: BreakerWish,
    }
    /// Opens a target and says what it finds.
    TargetCheckNow {
        /// The target.
        name: String,
    }
    /// Asks for the plans.
    PlanList {
        ?
        /// Which part.
        page: PageRequest,
    }
    /// Adds a plan to the configuration.
    PlanAdd {
        /// The name of this change.
        request_id: RequestId,
        /// The plan; what the daemon knows better (`next_run`, `last_success`) is ignored.
        plan: Plan,
    }
    /// Asks for the readings that decide whether jobs may run.
    ConditionsGet {}
    /// Asks for the configuration file.
    ConfigShow {}
    /// Asks what is wrong with the configuration file on disk.
    ConfigCheckNow {}
}
