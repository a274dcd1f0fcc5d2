//! `rpc`: any method with any parameters, for what has no command of its own.

use backup_proto::error::Exit;
use backup_proto::message::METHODS;
use clap::Args;
use serde_json::{Map, Value};

use crate::exit::Failure;
use crate::input::request_id;
use crate::session::Session;

/// Call a method of the protocol and print its result as JSON.
///
/// `backupctl schema` describes the methods. A `request_id` is added where one is needed and none is given.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  backupctl rpc daemon.status
  backupctl rpc job.set_priority '{\"job\": \"k3v9\", \"priority\": \"high\"}'")]
pub(crate) struct Rpc {
    /// The method.
    method: String,
    /// Its parameters, a JSON object.
    #[arg(default_value = "{}")]
    params: String,
}

impl Rpc {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let params: Map<String, Value> = serde_json::from_str(&self.params)
            .map_err(|error| Failure::Usage(format!("the parameters are not a JSON object: {error}")))?;
        let mut params = params;
        if METHODS.iter().any(|method| method.name == self.method && method.is_change) {
            params.entry("request_id").or_insert(Value::String(request_id()?.0));
        }
        let result = session.client.call_raw(&self.method, Value::Object(params))?;
        session.out.json(&result)?;
        Ok(Exit::Success)
    }
}
