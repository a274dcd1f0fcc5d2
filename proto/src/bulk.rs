//! Bulk bytes: raw frames and a final status on a connection of their own.
//!
//! A call such as `snapshot.cat` answers with a one-use token. The client opens a second connection, says `hello`,
//! and calls `bulk.open` with the token, or with the parameters of `snapshot.cat` themselves. After the answer's newline
//! the server sends frames and nothing else, and closes the connection or, with `keep`, takes further calls:
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | kind: 0 data, 1 end |
//! | 4 | length of what follows, big-endian, at most 262,144 |
//! | length | data: raw bytes; end: [`BulkStatus`] as JSON |
//!
//! A stream is whole only if its end frame came without an error and its count is that of the bytes received.

use std::io::{self, Read, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::RpcError;
use crate::params::{SnapshotCat, params};

/// Bytes in one frame at most.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// Bytes in front of what is in a frame.
pub const FRAME_HEADER_BYTES: usize = 5;

const KIND_DATA: u8 = 0;
const KIND_END: u8 = 1;

params! {
    /// Turns this connection into the carrier of the bytes of a file. Exactly one of the first two is given.
    BulkOpen {
        ?
        /// The token that stands for them; it works once.
        token: Option<String>,
        /// The file itself, without a token.
        cat: Option<SnapshotCat>,
        /// Take calls again behind the end frame, instead of closing the connection.
        keep: bool,
    }
}

/// How a stream ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BulkStatus {
    /// Bytes of data that were sent.
    pub bytes: u64,
    /// Why it ended early, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RpcError>,
}

/// Sends a stream of bytes as frames.
#[derive(Debug)]
pub struct BulkWriter<W> {
    output: W,
    bytes: u64,
}

impl<W: Write> BulkWriter<W> {
    /// Starts a stream.
    pub fn new(output: W) -> Self {
        Self { output, bytes: 0 }
    }

    /// Sends bytes, in as many frames as they need.
    ///
    /// # Errors
    /// Those of the output.
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        for piece in data.chunks(FRAME_BYTES_MAX) {
            write_frame(&mut self.output, KIND_DATA, piece)?;
            self.bytes += u64::try_from(piece.len()).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Ends the stream and returns the output.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self, error: Option<RpcError>) -> io::Result<W> {
        let status = serde_json::to_vec(&BulkStatus { bytes: self.bytes, error })?;
        write_frame(&mut self.output, KIND_END, &status)?;
        self.output.flush()?;
        Ok(self.output)
    }
}

fn write_frame(output: &mut impl Write, kind: u8, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?.to_be_bytes();
    output.write_all(&[kind, length[0], length[1], length[2], length[3]])?;
    output.write_all(body)
}

/// Receives a stream of frames.
#[derive(Debug)]
pub struct BulkReader<R> {
    input: R,
    body: Vec<u8>,
    bytes: u64,
}

/// Why a stream could not be received whole.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// The connection broke, or the output could not be written.
    #[error("the data broke off: {0}")]
    Io(#[from] io::Error),
    /// The server sent something that is no frame.
    #[error("the data is not in frames: {0}")]
    Malformed(String),
    /// The server could not send all of it.
    #[error("{0}")]
    Remote(RpcError),
}

impl<R: Read> BulkReader<R> {
    /// Starts to receive behind the answer to `bulk.open`.
    pub fn new(input: R) -> Self {
        Self { input, body: Vec::new(), bytes: 0 }
    }

    /// Returns the bytes of the next data frame, or none at the end of a whole stream.
    ///
    /// # Errors
    /// When the connection breaks before the end frame, a frame is malformed, the count does not match, or the
    /// server says that it could not send all of it.
    pub fn next_data(&mut self) -> Result<Option<&[u8]>, BulkError> {
        let mut header = [0; FRAME_HEADER_BYTES];
        self.input.read_exact(&mut header)?;
        let [kind, length @ ..] = header;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(BulkError::Malformed(format!("a frame of {length} bytes; {FRAME_BYTES_MAX} is the most")));
        }
        self.body.resize(length, 0);
        self.input.read_exact(&mut self.body)?;
        match kind {
            KIND_DATA => {
                self.bytes += u64::try_from(length).map_err(io::Error::other)?;
                Ok(Some(&self.body))
            }
            KIND_END => self.check_end().map(|()| None),
            _ => Err(BulkError::Malformed(format!("a frame of kind {kind}"))),
        }
    }

    fn check_end(&self) -> Result<(), BulkError> {
        let status: BulkStatus =
            serde_json::from_slice(&self.body).map_err(|error| BulkError::Malformed(error.to_string()))?;
        match status.error {
            Some(error) => Err(BulkError::Remote(error)),
            None if status.bytes != self.bytes => {
                Err(BulkError::Malformed(format!("{} bytes were sent and {} came", status.bytes, self.bytes)))
            }
            None => Ok(()),
        }
    }

    /// Writes all data to an output and returns how many bytes it was.
    ///
    /// # Errors
    /// Those of [`BulkReader::next_data`] and those of the output.
    pub fn copy_to(mut self, output: &mut impl Write) -> Result<u64, BulkError> {
        while let Some(data) = self.next_data()? {
            output.write_all(data)?;
        }
        output.flush()?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn stream(data: &[u8], error: Option<RpcError>) -> Vec<u8> {
        let mut writer = BulkWriter::new(Vec::new());
        writer.write(data).unwrap();
        writer.finish(error).unwrap()
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        for size in [0, 1, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 3 * FRAME_BYTES_MAX] {
            let data: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut out = Vec::new();
            BulkReader::new(&stream(&data, None)[..]).copy_to(&mut out).unwrap();
            assert_eq!(out, data);
        }
    }

    #[test]
    fn a_stream_cut_anywhere_is_never_taken_for_whole() {
        let whole = stream(b"some data", None);
        for length in 0..whole.len() {
            assert!(BulkReader::new(&whole[..length]).copy_to(&mut Vec::new()).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn the_servers_error_is_told() {
        let sent = RpcError::new(ErrorKind::RepositoryDamaged, "blob is damaged", "verify");
        let error = BulkReader::new(&stream(b"half", Some(sent.clone()))[..]).copy_to(&mut Vec::new()).unwrap_err();
        assert!(matches!(error, BulkError::Remote(remote) if remote == sent));
    }

    #[test]
    fn a_frame_that_claims_four_gigabytes_is_refused_before_memory_is_taken() {
        let mut reader = BulkReader::new(&[0, 0xff, 0xff, 0xff, 0xff][..]);
        assert!(matches!(reader.next_data(), Err(BulkError::Malformed(_))));
        assert!(reader.body.capacity() == 0);
    }

    #[test]
    fn a_wrong_count_or_an_unknown_kind_is_refused() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, KIND_END, br#"{"bytes":5}"#).unwrap();
        assert!(BulkReader::new(&bytes[..]).copy_to(&mut Vec::new()).is_err());
        assert!(BulkReader::new(&[9, 0, 0, 0, 0][..]).copy_to(&mut Vec::new()).is_err());
    }
}
