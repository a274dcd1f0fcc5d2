//! restic itself judges the cut points: it backs up files, and we cut them where it did.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use backup_engine::chunker::{Chunker, ChunkerParams};
use backup_engine::polynomial::Polynomial;
use backup_testkit::restic::Restic;
use backup_testkit::seed::Seed;
use serde_json::Value;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A repository made by restic, in a folder that goes away.
struct ResticRepository {
    home: tempfile::TempDir,
    restic: Restic,
}

impl ResticRepository {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let password = home.path().join("password");
        fs::write(&password, "a password").unwrap();
        let restic = Restic::new(&home.path().join("repository"), &password);
        restic.init(2);
        Self { home, restic }
    }

    fn source(&self) -> PathBuf {
        let source = self.home.path().join("source");
        fs::create_dir_all(&source).unwrap();
        source
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.restic.run(arguments)).unwrap()
    }

    fn polynomial(&self) -> Polynomial {
        let config = self.json(&["cat", "config"]);
        config["chunker_polynomial"].as_str().unwrap().parse().unwrap()
    }

    /// The length of every data blob by its id, from all index files.
    fn blob_lengths(&self) -> HashMap<String, u64> {
        let mut lengths = HashMap::new();
        let ids = String::from_utf8(self.restic.run(["list", "index"])).unwrap();
        for id in ids.split_whitespace() {
            let index = self.json(&["cat", "index", id]);
            let packs = index["packs"].as_array().unwrap().iter();
            for blob in packs.flat_map(|pack| pack["blobs"].as_array().unwrap()) {
                // A blob that was not worth compressing lies between 16 bytes of nonce and 16 of authentication.
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
        let mut tree = self.restic.snapshots()[0]["tree"].as_str().unwrap().to_owned();
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

fn noise(length: usize, seed: u64) -> Vec<u8> {
    Seed(seed).random().bytes(length)
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

/// Files of all sizes, with matches at all places where a search may go wrong.
fn files(polynomial: Polynomial) -> Vec<(String, Vec<u8>)> {
    const MIN: usize = 512 * KIB;
    const MAX: usize = 8 * MIB;
    let mut files = vec![
        ("noise".to_owned(), noise(17 * MIB, 1)),
        ("zeros".to_owned(), vec![0; 3 * MIB + 5]),
        ("empty".to_owned(), Vec::new()),
    ];
    for length in [1, 63, 64, 65].into_iter().chain(MIN - 65..=MIN - 63).chain(MIN - 2..=MIN + 2) {
        files.push((format!("{length} bytes of noise"), noise(length, 5)));
    }
    // Ones match no polynomial but one in a million, so these are cut at the largest size.
    for length in [MAX - 1, MAX, MAX + 1, MAX + MIN] {
        files.push((format!("{length} ones"), vec![1; length]));
    }
    // The lanes of a search start one byte before the smallest size, at every 8 KiB while there is much left and
    // at every 512 bytes when there is little.
    let seams = (0..=5).map(|lane| MIN - 1 + lane * 8 * KIB);
    let short_seams = (1..=5).map(|lane| MIN - 1 + 40 * KIB + lane * 512);
    for position in seams.chain(short_seams).flat_map(|seam| seam..=seam + 2) {
        files.push((format!("match at {position}"), data_with_match_at(polynomial, position, MIN + 50 * KIB)));
    }
    for position in [MIN + 63, MIN + 64, MIN + 65, MIB, MAX - 1, MAX] {
        files.push((format!("match at {position} of many"), data_with_match_at(polynomial, position, MAX + 3)));
    }
    files
}

#[test]
fn files_are_cut_where_restic_cuts_them() {
    let repository = ResticRepository::new();
    let polynomial = repository.polynomial();
    let source = repository.source();
    for (name, data) in files(polynomial) {
        fs::write(source.join(name), data).unwrap();
    }
    repository.restic.backup(&source);

    let chunker = Chunker::rabin(&ChunkerParams::restic(polynomial)).unwrap();
    let theirs = repository.chunks_by_name();
    assert_eq!(theirs.len(), fs::read_dir(&source).unwrap().count());
    for (name, chunks) in theirs {
        assert_eq!(our_chunks(&chunker, &source.join(&name)), chunks, "{name}");
    }
}
