//! The complete list of methods: name, parameters, result, and the right each one needs.

use schemars::{Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{ErrorKind, RpcError};
use crate::event::Subscribed;
use crate::job::{FailedItem, Job, JobDetail, PlannedItem};
use crate::key::{Key, KeyChanged};
use crate::limit::{LimitGet, LimitList, LimitSet};
use crate::note::Stats;
use crate::page::Page;
use crate::params::{
    BulkOpen, BulkOpened, BulkToken, ConditionsGet, ConfigCheckNow, ConfigShow, DaemonPause, DaemonPaused,
    DaemonResume, DaemonStatus, EventsSubscribe, Hello, JobCancel, JobFailures, JobGet, JobList, JobPause, JobPlanned,
    JobReasons, JobResume, JobRetry, JobSetPriority, JobSubmit, JobWhy, JobsSubmitted, KeyAdd, KeyChange, KeyList,
    KeyRemove, PlanAdd, PlanAdded, PlanList, REQUEST_ID_MAX, RequestId, RpcDiscover, SnapshotCat, SnapshotDiff,
    SnapshotFind, SnapshotHold, SnapshotList, SnapshotLs, SnapshotStats, TargetAdd, TargetAdopt, TargetBreaker,
    TargetCheckNow, TargetInit, TargetList,
};
use crate::snapshot::{Change, Entry, Found, Snapshot};
use crate::status::{Conditions, ConfigCheck, ConfigText, Status};
use crate::target::{Breaker, Plan, Target, TargetCheck};
use crate::version::Welcome;

/// What a caller must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Look at jobs, snapshots and file names.
    Read,
    /// Change something, or see what is inside files.
    Write,
}

/// A method: its parameters are the type that implements this.
pub trait Call: Serialize + DeserializeOwned {
    /// The name on the wire.
    const METHOD: &'static str;
    /// The right it needs.
    const RIGHT: Right;
    /// What it answers.
    type Result: Serialize + DeserializeOwned;
}

/// One row of the table of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The name on the wire.
    pub name: &'static str,
    /// The right it needs.
    pub right: Right,
    /// Whether it changes something and so carries a `request_id`.
    pub is_change: bool,
}

/// The schemas of one method, for the OpenRPC document.
pub(crate) struct MethodSchema {
    pub(crate) method: Method,
    pub(crate) params: Schema,
    pub(crate) result: Schema,
}

macro_rules! methods {
    ($($name:literal $params:ident -> $result:ty, $right:ident, $effect:ident;)*) => {
        /// A request with its parameters.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Request {
            $(#[doc = concat!("`", $name, "`")] $params($params),)*
        }

        /// Every method there is.
        pub const METHODS: &[Method] =
            &[$(Method { name: $name, right: Right::$right, is_change: methods!(@is $effect) },)*];

        impl Request {
            /// Reads a request from the method's name and its parameters.
            ///
            /// # Errors
            /// `method_not_found` or `invalid_params`.
            pub fn decode(method: &str, params: Value) -> Result<Self, RpcError> {
                match method {
                    $($name => read_params($name, params).map(Self::$params),)*
                    _ => Err(RpcError::new(
                        ErrorKind::MethodNotFound,
                        format!("there is no method `{}`", clip(method)),
                        "`rpc.discover` lists the methods.",
                    )),
                }
            }

            /// Returns the method's row in the table.
            #[must_use]
            pub fn method(&self) -> Method {
                match self {
                    $(Self::$params(_) => Method {
                        name: $name,
                        right: Right::$right,
                        is_change: methods!(@is $effect),
                    },)*
                }
            }

            /// Returns the parameters as JSON, as they are compared when a `request_id` comes again.
            ///
            /// # Errors
            /// None for the types of this crate; the signature is that of the serializer.
            pub fn params(&self) -> serde_json::Result<Value> {
                match self {
                    $(Self::$params(params) => serde_json::to_value(params),)*
                }
            }

            /// Returns the name of the change, if this is one.
            #[must_use]
            pub fn request_id(&self) -> Option<&RequestId> {
                match self {
                    $(Self::$params(params) => methods!(@id $effect params),)*
                }
            }
        }

        $(
            impl Call for $params {
                const METHOD: &'static str = $name;
                const RIGHT: Right = Right::$right;
                type Result = $result;
            }

            impl From<$params> for Request {
                fn from(params: $params) -> Self {
                    Self::$params(params)
                }
            }
        )*

        pub(crate) fn schemas(generator: &mut SchemaGenerator) -> Vec<MethodSchema> {
            vec![$(MethodSchema {
                method: Method { name: $name, right: Right::$right, is_change: methods!(@is $effect) },
                params: generator.subschema_for::<$params>(),
                result: generator.subschema_for::<$result>(),
            },)*]
        }
    };
    (@is change) => { true };
    (@is look) => { false };
    (@id change $params:ident) => { Some(&$params.request_id) };
    (@id look $params:ident) => {{
        let _ = $params;
        None
    }};
}

methods! {
    "hello" Hello -> Welcome, Read, look;
    "rpc.discover" RpcDiscover -> Value, Read, look;
    "daemon.status" DaemonStatus -> Status, Read, look;
    "daemon.pause" DaemonPause -> DaemonPaused, Write, change;
    "daemon.resume" DaemonResume -> DaemonPaused, Write, change;
    "job.submit" JobSubmit -> JobsSubmitted, Write, change;
    "job.get" JobGet -> JobDetail, Read, look;
    "job.list" JobList -> Page<Job>, Read, look;
    "job.why" JobWhy -> JobReasons, Read, look;
    "job.pause" JobPause -> Job, Write, change;
    "job.resume" JobResume -> Job, Write, change;
    "job.cancel" JobCancel -> Job, Write, change;
    "job.retry" JobRetry -> Job, Write, change;
    "job.set_priority" JobSetPriority -> Job, Write, change;
    "job.failures" JobFailures -> Page<FailedItem>, Read, look;
    "job.planned" JobPlanned -> Page<PlannedItem>, Read, look;
    "events.subscribe" EventsSubscribe -> Subscribed, Read, look;
    "snapshot.list" SnapshotList -> Page<Snapshot>, Read, look;
    "snapshot.ls" SnapshotLs -> Page<Entry>, Read, look;
    "snapshot.find" SnapshotFind -> Page<Found>, Read, look;
    "snapshot.diff" SnapshotDiff -> Page<Change>, Read, look;
    "snapshot.stats" SnapshotStats -> Stats, Read, look;
    "snapshot.hold" SnapshotHold -> Snapshot, Write, change;
    "snapshot.cat" SnapshotCat -> BulkToken, Write, look;
    "bulk.open" BulkOpen -> BulkOpened, Write, look;
    "target.list" TargetList -> Page<Target>, Read, look;
    "target.add" TargetAdd -> Target, Write, change;
    "target.init" TargetInit -> Target, Write, change;
    "target.adopt" TargetAdopt -> Target, Write, change;
    "target.breaker" TargetBreaker -> Breaker, Write, change;
    "target.check" TargetCheckNow -> TargetCheck, Read, look;
    "key.list" KeyList -> Page<Key>, Read, look;
    "key.add" KeyAdd -> Key, Write, change;
    "key.remove" KeyRemove -> Key, Write, change;
    "key.change" KeyChange -> KeyChanged, Write, change;
    "plan.list" PlanList -> Page<Plan>, Read, look;
    "plan.add" PlanAdd -> PlanAdded, Write, change;
    "limit.set" LimitSet -> LimitList, Write, change;
    "limit.get" LimitGet -> LimitList, Read, look;
    "conditions.get" ConditionsGet -> Conditions, Read, look;
    "config.show" ConfigShow -> ConfigText, Write, look;
    "config.check" ConfigCheckNow -> ConfigCheck, Read, look;
}

/// Reads parameters; absent ones (`null`) are an empty object.
fn read_params<P: DeserializeOwned + Into<Request> + Clone>(method: &str, params: Value) -> Result<P, RpcError> {
    let refuse = |problem: String| {
        let message = format!("the parameters do not fit `{method}`: {problem}");
        RpcError::new(ErrorKind::InvalidParams, message, "`rpc.discover` has the schema of every method.")
    };
    let params = if params.is_null() { Value::Object(serde_json::Map::new()) } else { params };
    if !params.is_object() {
        return Err(refuse("they must be an object with named fields".to_owned()));
    }
    let params: P = serde_json::from_value(params).map_err(|error| refuse(clip(&error.to_string()).to_owned()))?;
    let request: Request = params.clone().into();
    match request.request_id() {
        Some(id) if id.0.is_empty() || id.0.len() > REQUEST_ID_MAX => {
            Err(refuse(format!("`request_id` must have 1 to {REQUEST_ID_MAX} bytes")))
        }
        _ => Ok(params),
    }
}

/// Cuts what a caller sent to a length that is good in a message.
fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}
