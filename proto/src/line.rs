//! Framing: JSON-RPC 2.0, one message a line, at most 1 MiB; a decoder that answers every input and never panics.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::error::{ErrorKind, RpcError};

/// Bytes of a line at most, without its newline. Enough for a page of a list, little enough that a thousand
/// connections cannot exhaust the memory of a small machine.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a text as an [`Id`] at most, so that an error always fits into a line with the id it answers.
pub const ID_BYTES_MAX: usize = 1024;

/// Bytes that a [`LineSplitter`] keeps for lines to come once it has none: that of a usual call.
const IDLE_BYTES: usize = 16 * 1024;

/// The id by which an answer is matched to its call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A number, kept as it was written.
    Number(Number),
    /// A text.
    Text(String),
    /// Of an answer to something that could not be read.
    Null,
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

/// One message, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request that wants an answer.
    Call {
        /// Repeated in the answer.
        id: Id,
        /// The method's name.
        method: String,
        /// Its parameters; `null` when there are none.
        params: Value,
    },
    /// A message that wants no answer.
    Notification {
        /// The method's name.
        method: String,
        /// Its parameters; `null` when there are none.
        params: Value,
    },
    /// The answer to a call.
    Answer {
        /// The call's id.
        id: Id,
        /// What came of it.
        outcome: Result<Value, RpcError>,
    },
}

/// A line that is no message: what to answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Undecodable {
    /// The id of the call, where it could be read.
    pub id: Id,
    /// What is wrong with it.
    pub error: RpcError,
}

impl Undecodable {
    /// Returns the answer that JSON-RPC wants for it.
    #[must_use]
    pub fn into_answer(self) -> Message {
        Message::Answer { id: self.id, outcome: Err(self.error) }
    }
}

/// Returns the error for a line that is too long to be read.
#[must_use]
pub fn too_long() -> Undecodable {
    let error = RpcError::new(
        ErrorKind::LineTooLong,
        format!("the message is longer than {LINE_BYTES_MAX} bytes"),
        "Send less at once; lists are read in pages.",
    );
    Undecodable { id: Id::Null, error }
}

/// Reads one line, without its newline.
///
/// # Errors
/// `parse_error` when it is not JSON (or nested more than 127 deep), `line_too_long`, and `invalid_request` when it
/// is JSON but no JSON-RPC 2.0 message. Batches are refused: calls can simply be written one after the other.
pub fn decode(line: &[u8]) -> Result<Message, Undecodable> {
    if line.len() > LINE_BYTES_MAX {
        return Err(too_long());
    }
    match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => decode_object(object),
        Ok(Value::Array(_)) => Err(invalid(Id::Null, "batches are not supported; write one message a line")),
        Ok(_) => Err(invalid(Id::Null, "a message must be a JSON object")),
        Err(error) => {
            let problem = format!("the line is not JSON: {error}");
            let advice = "Send one JSON-RPC 2.0 message a line, in UTF-8.";
            Err(Undecodable { id: Id::Null, error: RpcError::new(ErrorKind::ParseError, problem, advice) })
        }
    }
}

fn decode_object(mut object: Map<String, Value>) -> Result<Message, Undecodable> {
    let id = match object.remove("id") {
        None => None,
        Some(Value::Null) => Some(Id::Null),
        Some(Value::Number(number)) if is_exact(&number) => Some(Id::Number(number)),
        Some(Value::Number(_)) => return Err(invalid(Id::Null, "a number as `id` must fit into 64 bits")),
        Some(Value::String(text)) if text.len() <= ID_BYTES_MAX => Some(Id::Text(text)),
        Some(Value::String(_)) => return Err(invalid(Id::Null, "a text as `id` may have 1,024 bytes")),
        Some(_) => return Err(invalid(Id::Null, "`id` must be a number or a text")),
    };
    let known_id = id.clone().unwrap_or(Id::Null);
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(invalid(known_id, "`jsonrpc` must be \"2.0\""));
    }
    let params = object.remove("params").unwrap_or(Value::Null);
    match (object.remove("method"), id) {
        (Some(Value::String(method)), Some(id)) => Ok(Message::Call { id, method, params }),
        (Some(Value::String(method)), None) => Ok(Message::Notification { method, params }),
        (Some(_), _) => Err(invalid(known_id, "`method` must be a text")),
        (None, Some(id)) => decode_answer(id, object),
        (None, None) => Err(invalid(known_id, "`method` is missing")),
    }
}

/// Tells whether a number goes back as it came; one that was rounded would name another call.
fn is_exact(number: &Number) -> bool {
    /// Every whole number up to here is a double of its own.
    const DOUBLE_MAX: f64 = 9_007_199_254_740_992.0;
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|double| double.abs() < DOUBLE_MAX)
}

fn decode_answer(id: Id, mut object: Map<String, Value>) -> Result<Message, Undecodable> {
    let outcome = match (object.remove("result"), object.remove("error")) {
        (Some(result), None) => Ok(result),
        (None, Some(error)) => match serde_json::from_value(error) {
            Ok(error) => Err(error),
            Err(_) => return Err(invalid(id, "`error` must have a code and a message")),
        },
        (None, None) => return Err(invalid(id, "`method` is missing")),
        (Some(_), Some(_)) => return Err(invalid(id, "an answer has a result or an error, not both")),
    };
    Ok(Message::Answer { id, outcome })
}

fn invalid(id: Id, problem: &str) -> Undecodable {
    let error = RpcError::new(ErrorKind::InvalidRequest, problem, "See JSON-RPC 2.0 and `rpc.discover`.");
    Undecodable { id, error }
}

/// Writes one message as a line with its newline.
///
/// # Errors
/// `result_too_long` when it does not fit in a line; nothing may then be sent of it.
pub fn encode(message: &Message) -> Result<Vec<u8>, RpcError> {
    let mut object = Map::new();
    object.insert("jsonrpc".to_owned(), "2.0".into());
    match message {
        Message::Call { id, method, params } => {
            object.insert("id".to_owned(), id_value(id));
            insert_method(&mut object, method, params);
        }
        Message::Notification { method, params } => insert_method(&mut object, method, params),
        Message::Answer { id, outcome: Ok(result) } => {
            object.insert("id".to_owned(), id_value(id));
            object.insert("result".to_owned(), result.clone());
        }
        Message::Answer { id, outcome: Err(error) } => {
            object.insert("id".to_owned(), id_value(id));
            object.insert("error".to_owned(), serde_json::to_value(error).unwrap_or(Value::Null));
        }
    }
    let mut line = Value::Object(object).to_string().into_bytes();
    if line.len() > LINE_BYTES_MAX {
        return Err(RpcError::new(
            ErrorKind::ResultTooLong,
            format!("the message has {} bytes; a line may have {LINE_BYTES_MAX}", line.len()),
            "Ask for fewer items in a page.",
        ));
    }
    line.push(b'\n');
    Ok(line)
}

fn insert_method(object: &mut Map<String, Value>, method: &str, params: &Value) {
    object.insert("method".to_owned(), method.into());
    if !params.is_null() {
        object.insert("params".to_owned(), params.clone());
    }
}

fn id_value(id: &Id) -> Value {
    match id {
        Id::Number(number) => Value::Number(number.clone()),
        Id::Text(text) => Value::String(text.clone()),
        Id::Null => Value::Null,
    }
}

/// Cuts a stream of bytes into lines and holds at most one line and what was last pushed.
#[derive(Debug, Default)]
pub struct LineSplitter {
    buffer: Vec<u8>,
    /// Where the next line starts.
    start: usize,
    /// Up to where there is no newline.
    scanned: usize,
    /// Whether the rest of a line that was too long is still being thrown away.
    is_skipping: bool,
}

impl LineSplitter {
    /// Adds bytes as they came. Take out every line before adding more: that is what bounds the memory.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns how many bytes there are of a line whose end has not come yet, once every whole line was taken out.
    #[must_use]
    pub fn begun_bytes(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Throws away the line that has begun, with what is still to come of it.
    pub fn skip_line(&mut self) {
        self.start = self.buffer.len();
        self.is_skipping = true;
        self.drop_taken();
    }

    /// Returns the next whole line without its newline, or none when more bytes are needed. Blank lines are skipped.
    /// A line that is too long is reported once and thrown away up to its end.
    pub fn next_line(&mut self) -> Option<Result<&[u8], Undecodable>> {
        loop {
            let Some(length) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') else {
                return self.wait_for_more();
            };
            let line = self.start..self.scanned + length;
            self.start = line.end + 1;
            self.scanned = self.start;
            if std::mem::take(&mut self.is_skipping) {
                continue;
            }
            if line.len() > LINE_BYTES_MAX {
                return Some(Err(too_long()));
            }
            if !self.buffer[line.clone()].trim_ascii().is_empty() {
                return Some(Ok(&self.buffer[line]));
            }
        }
    }

    /// Moves what was pushed and not taken out as a line to a buffer, as much as fits, and returns how much that is.
    pub fn take_rest(&mut self, buffer: &mut [u8]) -> usize {
        let length = buffer.len().min(self.begun_bytes());
        buffer[..length].copy_from_slice(&self.buffer[self.start..self.start + length]);
        self.start += length;
        self.scanned = self.start;
        if self.begun_bytes() == 0 {
            self.drop_taken();
        }
        length
    }

    fn wait_for_more(&mut self) -> Option<Result<&[u8], Undecodable>> {
        let is_too_long = !self.is_skipping && self.buffer.len() - self.start > LINE_BYTES_MAX;
        self.is_skipping |= is_too_long;
        if self.is_skipping {
            self.start = self.buffer.len();
        }
        self.drop_taken();
        is_too_long.then(|| Err(too_long()))
    }

    /// Gives up what was taken out; one long line must not cost its length for as long as the connection lives.
    fn drop_taken(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.scanned = self.buffer.len();
        if self.buffer.len() < IDLE_BYTES {
            self.buffer.shrink_to(IDLE_BYTES);
        }
    }
}

#[cfg(test)]
mod tests;
