//! Every decoder of bytes that come through the socket or from a disk, in one table: what fuzzing and its everyday form
//! call. The engine's are part of it.

use std::path::Path;

use backup_engine::decoders::{Decoder, comes_back};
use backup_proto::bulk::BulkReader;
use backup_proto::event::{EVENT_METHOD, Event};
use backup_proto::line::{LineSplitter, Message, decode, encode};
use backup_proto::message::Request;
use backup_proto::path::WirePath;

use crate::config::{Config, Surroundings};
use crate::job::Job;
use crate::{store, worker};

/// The daemon's own decoders and those of the protocol.
const DECODERS: [Decoder; 7] = [
    Decoder { name: "bulk", decode: bulk },
    Decoder { name: "config", decode: config },
    Decoder { name: "job", decode: job },
    Decoder { name: "journal", decode: store::check_journal },
    Decoder { name: "line", decode: line },
    Decoder { name: "pack_journal", decode: worker::packs::check },
    Decoder { name: "wire_path", decode: wire_path },
];

/// Returns every decoder there is.
pub fn all() -> impl Iterator<Item = Decoder> {
    DECODERS.into_iter().chain(backup_engine::decoders::DECODERS)
}

/// Lines as they come through the socket, and what their calls and events mean.
fn line(bytes: &[u8]) -> Result<(), String> {
    let mut splitter = LineSplitter::default();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut outcome = Ok(());
    for piece in [first, second, b"\n"] {
        splitter.push(piece);
        while let Some(line) = splitter.next_line() {
            let read = line.and_then(decode).map_err(|error| error.to_string());
            outcome = outcome.and(read.and_then(|message| understand(&message)));
        }
    }
    outcome
}

fn understand(message: &Message) -> Result<(), String> {
    let Ok(line) = encode(message) else { return Err("it is too long to be written again".to_owned()) };
    let again = decode(&line[..line.len() - 1]).map_err(|error| error.to_string());
    assert_eq!(again.as_ref(), Ok(message), "a message has to come back");
    match message {
        Message::Call { method, params, .. } => {
            let request = Request::decode(method, params.clone()).map_err(|error| error.to_string())?;
            let params = request.params().map_err(|error| error.to_string())?;
            assert_eq!(Request::decode(method, params).as_ref(), Ok(&request), "a request has to come back");
        }
        Message::Notification { method, params } if method == EVENT_METHOD => {
            serde_json::from_value::<Event>(params.clone()).map_err(|error| error.to_string())?;
        }
        Message::Notification { .. } | Message::Answer { .. } => {}
    }
    Ok(())
}

fn bulk(bytes: &[u8]) -> Result<(), String> {
    let mut reader = BulkReader::new(bytes);
    while reader.next_data().map_err(|error| error.to_string())?.is_some() {}
    Ok(())
}

fn config(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let surroundings = Surroundings { folder: "/etc/backupd".into(), home: Some("/home/ann".into()) };
    Config::parse(text, Path::new("config.toml"), &surroundings).map(|_| ()).map_err(|error| error.to_string())
}

fn job(bytes: &[u8]) -> Result<(), String> {
    let decode = |bytes: &[u8]| serde_json::from_slice::<Job>(bytes).map_err(|error| error.to_string());
    let job = decode(bytes)?;
    comes_back(&job, decode);
    let view = job.view(None, None);
    let _ = job.detail(view);
    Ok(())
}

fn wire_path(bytes: &[u8]) -> Result<(), String> {
    let decode = |bytes: &[u8]| serde_json::from_slice::<WirePath>(bytes).map_err(|error| error.to_string());
    let path = decode(bytes)?;
    comes_back(&path, decode);
    let _ = path.to_string();
    Ok(())
}
