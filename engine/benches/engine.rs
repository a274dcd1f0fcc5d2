//! What the parts of the pipe cost: `cargo bench --workspace --bench engine`. Compare two states of the code on one
//! machine in one sitting; the numbers say nothing about another.
#![expect(clippy::unwrap_used, reason = "a helper of a bench fails the bench")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::hint::black_box;
use std::sync::Arc;

use backup_engine::checker::{VerifyOptions, verify};
use backup_engine::chunker::{Chunker, ChunkerParams};
use backup_engine::id::{BlobHandle, BlobId, BlobKind, PackId};
use backup_engine::index::Index;
use backup_engine::monitor::PackedBlob;
use backup_engine::storage::MemoryStorage;
use backup_engine::tree::Tree;
use backup_engine::{Gate, Monitor};
use backup_testkit::seed::Seed;
use common::{Place, Remembers, back_up, create, options};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

const MIB: usize = 1024 * 1024;

fn main() {
    divan::main();
}

/// Finds the cuts of 64 MiB of noise.
#[divan::bench]
fn chunk(bencher: Bencher<'_, '_>) {
    let noise = Seed(1).random().bytes(64 * MIB);
    let params = ChunkerParams::restic("3DA3358B4DC173".parse().unwrap());
    let chunker = Chunker::rabin(&params).unwrap();
    bencher.counter(BytesCount::of_slice(&noise)).bench(|| {
        let mut rest = noise.as_slice();
        while let Some(cut) = chunker.next_cut(black_box(rest), true) {
            rest = &rest[cut..];
        }
    });
}

/// Backs up 64 MiB into memory: cut, hash, compress, seal, pack. Noise does not compress, text does.
#[divan::bench(args = ["noise", "text"], sample_count = 10)]
fn seal(bencher: Bencher<'_, '_>, kind: &str) {
    let place = Place::new();
    let mut bytes = Seed(2).random().bytes(64 * MIB);
    if kind == "text" {
        bytes.iter_mut().for_each(|byte| *byte = b"etaoin shrdlu"[usize::from(*byte) % 13]);
    }
    fs::write(place.path("file"), &bytes).unwrap();
    bencher
        .counter(BytesCount::of_slice(&bytes))
        .with_inputs(|| create(Arc::new(MemoryStorage::new()), 2))
        .bench_values(|repository| back_up(&repository, &options(&place.path("file"))).0);
}

/// Reads, opens and hashes every blob of 64 MiB of noise.
#[divan::bench(sample_count = 10)]
fn open(bencher: Bencher<'_, '_>) {
    let place = Place::new();
    fs::write(place.path("file"), Seed(3).random().bytes(64 * MIB)).unwrap();
    let repository = create(Arc::new(MemoryStorage::new()), 2);
    back_up(&repository, &options(&place.path("file")));
    let verify_options = VerifyOptions { read_data: true, ..VerifyOptions::default() };
    let monitor: &dyn Monitor = &Remembers::default();
    bencher
        .counter(BytesCount::new(64 * MIB))
        .bench(|| verify(&repository, &verify_options, &Gate::new(), monitor).unwrap());
}

/// Looks up blobs that are known among 200,000 others.
#[divan::bench]
fn index(bencher: Bencher<'_, '_>) {
    let mut random = Seed(4).random();
    let mut known = Vec::new();
    let mut index = Index::default();
    for pack in 0..200_u8 {
        let blob = |number: u32| {
            let id = BlobId(random.bytes(32).try_into().unwrap());
            let handle = BlobHandle { kind: BlobKind::Data, id };
            PackedBlob { handle, offset: number * 1000, length: 1000, uncompressed_length: None }
        };
        let blobs: Vec<PackedBlob> = (0..1000).map(blob).collect();
        known.push(blobs[500].handle);
        index.add_pack(PackId([pack; 32]), &blobs);
    }
    bencher
        .counter(ItemsCount::new(known.len()))
        .bench(|| known.iter().filter(|handle| index.contains(black_box(handle))).count());
}

/// Decodes the tree of a folder with 1,000 files.
#[divan::bench]
fn tree(bencher: Bencher<'_, '_>) {
    let node = |number: u32| {
        let id = BlobId::of(&number.to_le_bytes());
        format!(
            r#"{{"name":"file {number:04}","type":"file","mode":420,"mtime":"2026-01-01T00:00:00.123456789Z","uid":1000,"gid":1000,"user":"ada","group":"ada","inode":{number},"size":1000,"links":1,"content":["{id}"]}}"#
        )
    };
    let nodes: Vec<String> = (0..1000).map(node).collect();
    let json = format!(r#"{{"nodes":[{}]}}"#, nodes.join(","));
    bencher.counter(ItemsCount::new(nodes.len())).bench(|| Tree::decode(black_box(json.as_bytes())).unwrap());
}
