//! restic itself judges the cut points: it backs up files, and we cut them where it did.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup_engine::chunker::{Chunker, ChunkerParams};
use backup_engine::polynomial::Polynomial;
use serde_json::Value;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A repository made by restic, in a folder that goes away.
struct ResticRepository {
    home: tempfile::TempDir,
}

impl ResticRepository {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("password"), "a password").unwrap();
        let repository = Self { home };
        repository.restic(&["init"]);
        repository
    }

    fn source(&self) -> PathBuf {
        let source = self.home.path().join("source");
        fs::create_dir_all(&source).unwrap();
        source
    }

    /// Runs restic and returns what it printed. The test fails, not skips, if restic is missing.
    fn restic(&self, arguments: &[&str]) -> String {
        let home = self.home.path();
        let output = Command::new("restic")
            .args(["--no-cache", "--quiet", "--repo"])
            .arg(home.join("repository"))
            .arg("--password-file")
            .arg(home.join("password"))
            .args(arguments)
            .output()
            .expect("this test needs the program `restic`");
        assert!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.restic(arguments)).unwrap()
    }

    fn polynomial(&self) -> Polynomial {
        let config = self.json(&["cat", "config"]);
        config["chunker_polynomial"].as_str().unwrap().parse().unwrap()
    }

    /// The length of every data blob by its id, from all index files.
    fn blob_lengths(&self) -> HashMap<String, u64> {
        let mut lengths = HashMap::new();
        for id in self.restic(&["list", "index"]).split_whitespace() {
            let index = self.json(&["cat", "index", id]);
            let packs = index["packs"].as_array().unwrap().iter();
            for blob in packs.flat_map(|pack| pack["blobs"].as_array().unwrap()) {
                // Format 1 stores blobs as they are, behind 16 bytes of nonce and before 16 of authentication.
                let length = blob["uncompressed_length"].as_u64();
                let length = length.unwrap_or_else(|| blob["length"].as_u64().unwrap() - 32);
                lengths.insert(blob["id"].as_str().unwrap().to_owned(), length);
            }
        }
        lengths
    }

    /// The blob lengths of every file of the newest snapshot, by file name.
    fn chunks_by_name(&self) -> HashMap<String, Vec<u64>> {
        let lengths = self.blob_lengths();
        let snapshot = self.restic(&["list", "snapshots"]);
        let mut tree = self.json(&["cat", "snapshot", snapshot.trim()])["tree"].as_str().unwrap().to_owned();
        loop {
            let nodes = self.json(&["cat", "blob", &tree])["nodes"].as_array().unwrap().clone();
            if nodes[0]["type"] == "dir" {
                nodes[0]["subtree"].as_str().unwrap().clone_into(&mut tree);
                continue;
            }
            let name = |node: &Value| node["name"].as_str().unwrap().to_owned();
            let chunks = |node: &Value| {
                let content = node["content"].as_array().unwrap().iter();
                content.map(|id| lengths[id.as_str().unwrap()]).collect()
            };
            return nodes.iter().map(|node| (name(node), chunks(node))).collect();
        }
    }
}

fn noise(length: usize, mut state: u64) -> Vec<u8> {
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

fn our_chunks(chunker: &Chunker, path: &Path) -> Vec<u64> {
    let data = fs::read(path).unwrap();
    let (mut chunks, mut rest) = (Vec::new(), &data[..]);
    while let Some(length) = chunker.next_cut(rest, true) {
        chunks.push(u64::try_from(length).unwrap());
        rest = &rest[length..];
    }
    chunks
}

/// Data in which a match ends at `position`: a window of noise that the polynomial maps to zeros, among ones.
fn data_with_match_at(polynomial: Polynomial, position: usize, length: usize) -> Vec<u8> {
    let chunker = Chunker::rabin(&ChunkerParams::restic(polynomial)).unwrap();
    let window = (1..).find_map(|seed| {
        let noise = noise(2 * MIB, seed);
        let end = chunker.next_cut(&noise, false)?;
        Some(noise[end - 64..end].to_vec())
    });
    let mut data = vec![1; length];
    data[position - 64..position].copy_from_slice(&window.unwrap());
    data
}

#[test]
fn files_are_cut_where_restic_cuts_them() {
    let repository = ResticRepository::new();
    let polynomial = repository.polynomial();
    let source = repository.source();
    let write = |name: &str, data: &[u8]| fs::write(source.join(name), data).unwrap();
    write("noise", &noise(17 * MIB, 1));
    write("zeros", &vec![0; 3 * MIB + 5]);
    write("ones", &vec![1; 8 * MIB + 1]);
    write("empty", &[]);
    for length in [1, 512 * KIB - 1, 512 * KIB, 512 * KIB + 1] {
        write(&format!("noise of {length}"), &noise(length, 5));
    }
    for position in [512 * KIB - 1, 512 * KIB, 512 * KIB + 1, 512 * KIB + 63, 512 * KIB + 8 * KIB, MIB, 8 * MIB - 1] {
        write(&format!("match at {position}"), &data_with_match_at(polynomial, position, 8 * MIB + 3));
    }
    repository.restic(&["backup", source.to_str().unwrap()]);

    let chunker = Chunker::rabin(&ChunkerParams::restic(polynomial)).unwrap();
    let theirs = repository.chunks_by_name();
    assert_eq!(theirs.len(), 15);
    for (name, chunks) in theirs {
        assert_eq!(our_chunks(&chunker, &source.join(&name)), chunks, "{name}");
    }
}
