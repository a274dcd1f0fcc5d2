//! Tests of the index in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use backup_testkit::seed::{Random, Seed, rounds};
use backup_testkit::wait::timed;

use super::*;
use crate::id::RepositoryId;
use crate::pack::pack_length;

fn blob(number: u8) -> PackedBlob {
    let handle = BlobHandle { kind: BlobKind::Data, id: BlobId([number; 32]) };
    PackedBlob { handle, offset: 0, length: 40, uncompressed_length: None }
}

#[test]
fn what_no_index_file_lists_can_be_read_but_not_relied_on() {
    let mut index = Index::default();
    let (first, second) = (PackId([1; 32]), PackId([2; 32]));
    index.add_unlisted_pack(first, &[blob(7)]);
    assert_eq!(index.get(&blob(7).handle).map(|at| at.pack), Some(first));
    assert!(!index.contains(&blob(7).handle) && !index.lists_pack(&first));
    index.add_pack(second, &[blob(7)]);
    assert!(index.contains(&blob(7).handle));
    assert_eq!(index.get_all(&blob(7).handle).iter().map(|at| at.pack).collect::<Vec<_>>(), [second, first]);
    index.add_pack(first, &[blob(7)]);
    assert!(index.lists_pack(&first));
    assert_eq!(index.len(), 2);
    let missing = index.packs_to_forget(|id, length| *id == second && length == pack_length(&[blob(7)]));
    assert_eq!(missing, HashSet::from([first]));
    index.forget_packs(&missing);
    assert_eq!(index.get_all(&blob(7).handle).iter().map(|at| at.pack).collect::<Vec<_>>(), [second]);
}

#[test]
fn index_files_that_list_parts_of_a_pack_are_put_together() {
    let mut index = Index::default();
    let pack = PackId([1; 32]);
    index.add_pack(pack, &[blob(7)]);
    index.add_pack(pack, &[blob(7), blob(8)]);
    assert_eq!(index.len(), 2);
    assert!(index.contains(&blob(8).handle));
}

/// Returns an id that is spread as real ones are.
fn random_id(random: &mut Random) -> [u8; 32] {
    random.bytes(32).try_into().expect("that many were asked for")
}

fn random_blob(random: &mut Random) -> PackedBlob {
    let kind = if random.below(4) == 0 { BlobKind::Tree } else { BlobKind::Data };
    let handle = BlobHandle { kind, id: BlobId(random_id(random)) };
    let length = 40 + u32::try_from(random.below(1000)).expect("it is small");
    PackedBlob { handle, offset: length, length, uncompressed_length: Some(2 * length).filter(|_| length % 2 == 0) }
}

/// Makes packs that share some of their blobs.
fn random_packs(random: &mut Random, count: usize) -> Vec<(PackId, Vec<PackedBlob>)> {
    let shared: Vec<PackedBlob> = (0..20).map(|_| random_blob(random)).collect();
    let mut pack = || {
        let mut blobs: Vec<PackedBlob> = (0..random.below(30)).map(|_| random_blob(random)).collect();
        (0..random.below(5)).for_each(|_| blobs.push(shared[random.index(shared.len())]));
        blobs.sort_by_key(|blob| (blob.handle, blob.offset));
        blobs.dedup();
        (PackId(random_id(random)), blobs)
    };
    (0..count).map(|_| pack()).collect()
}

/// Everything that an index says, in an order of its own.
fn said(index: &Index, packs: &[(PackId, Vec<PackedBlob>)]) -> Vec<String> {
    let mut said = vec![format!("{:?}", BTreeSet::from_iter(index.packs()))];
    for (id, blobs) in packs {
        said.push(format!("{} {}", index.has_pack(id), index.lists_pack(id)));
        for blob in blobs {
            let mut all: Vec<String> = index.get_all(&blob.handle).iter().map(|at| format!("{at:?}")).collect();
            all.sort();
            all.dedup();
            let found = index.get(&blob.handle).is_some();
            said.push(format!("{all:?} {found} {}", index.contains(&blob.handle)));
        }
    }
    for kind in [BlobKind::Data, BlobKind::Tree] {
        said.push(format!("{} {}", index.stored(kind), index.contents(kind)));
    }
    let by_pack: BTreeMap<PackId, Vec<PackedBlob>> =
        index.by_pack().into_iter().filter(|(_, blobs)| !blobs.is_empty()).collect();
    said.push(format!("{by_pack:?}"));
    said
}

#[test]
fn the_sorted_part_says_what_the_table_says() {
    let mut random = Seed::of_test("backup-engine", "the_sorted_part_says_what_the_table_says").random();
    for round in 0..rounds(60, 2000) {
        let size = random.index(12);
        let packs = random_packs(&mut random, size);
        let sorted = random.index(packs.len() + 1);
        let mut plain = Index::default();
        packs.iter().for_each(|(id, blobs)| plain.add_pack(*id, blobs));
        let mut builder = build::Builder::default();
        packs[..sorted].iter().for_each(|(id, blobs)| builder.add(*id, blobs.iter().copied()));
        let mut mixed = Index { base: builder.finish(), ..Index::default() };
        packs[sorted..].iter().for_each(|(id, blobs)| mixed.add_pack(*id, blobs));
        // Some are listed twice, which changes nothing.
        packs.iter().take(3).for_each(|(id, blobs)| mixed.add_pack(*id, blobs));
        assert_eq!(said(&mixed, &packs), said(&plain, &packs), "round {round}");

        let gone: HashSet<PackId> = packs.iter().map(|(id, _)| *id).filter(|_| random.below(3) == 0).collect();
        plain.forget_packs(&gone);
        mixed.forget_packs(&gone);
        assert_eq!(said(&mixed, &packs), said(&plain, &packs), "round {round} without {gone:?}");
        let lengths: HashMap<PackId, u64> = packs.iter().map(|(id, blobs)| (*id, pack_length(blobs))).collect();
        assert!(mixed.packs_to_forget(|id, length| lengths[id] == length).is_empty(), "round {round}");
    }
}

#[test]
fn what_is_not_a_whole_cache_is_refused() {
    let mut random = Seed::of_test("backup-engine", "what_is_not_a_whole_cache_is_refused").random();
    let packs = random_packs(&mut random, 4);
    let mut builder = build::Builder::default();
    packs.iter().for_each(|(id, blobs)| builder.add(*id, blobs.iter().copied()));
    let base = builder.finish();
    let (files, repository) = (HashSet::from([IndexId([5; 32])]), RepositoryId([6; 32]));
    let mut bytes = Vec::new();
    cache::encode(&mut bytes, &repository, &files, &base).expect("memory can be written");
    let read = |bytes: &[u8], slim| {
        let header = cache::Header::read(bytes, bytes.len() as u64, &repository).ok()?;
        let files = header.files.clone();
        header.read_base(slim).ok().map(|base| Index { files, base, ..Index::default() })
    };
    let whole = Index { files, base, ..Index::default() };
    assert_eq!(said(&read(&bytes, false).expect("it is whole"), &packs), said(&whole, &packs));
    let slim = read(&bytes, true).expect("it is whole");
    let known = |index: &Index| packs.iter().flat_map(|(_, blobs)| blobs).all(|blob| index.contains(&blob.handle));
    assert!(known(&slim) && slim.stored(BlobKind::Data) == whole.stored(BlobKind::Data));
    assert!(cache::Header::read(&bytes[..], bytes.len() as u64, &RepositoryId([7; 32])).is_err());
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length], true).is_none(), "cut after {length} bytes");
    }
    for at in 0..bytes.len() {
        let mut bent = bytes.clone();
        bent[at] ^= 1 << random.below(8);
        assert!(read(&bent, true).is_none(), "bent at byte {at}");
    }
}

/// The goal of the format's largest users: 10 million blobs (10 TB) in less than 1 GB, from the cache.
#[test]
fn a_blob_takes_less_than_40_bytes_in_a_backup() {
    let count = rounds(100_000, 10_000_000);
    let mut random = Seed(91).random();
    let mut builder = build::Builder::default();
    let mut blobs_of = |number: u64| {
        let mut blobs: Vec<PackedBlob> = (0..100).map(|_| random_blob(&mut random)).collect();
        // One in a hundred is a folder, as where files have 100 KB.
        blobs.iter_mut().for_each(|blob| blob.handle.kind = BlobKind::Data);
        blobs[0].handle.kind = BlobKind::Tree;
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        (PackId(id), blobs)
    };
    let mut sample = Vec::new();
    for number in 0..count / 100 {
        let (pack, blobs) = blobs_of(number);
        sample.push(blobs[7].handle);
        builder.add(pack, blobs);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = IndexCache::new(folder.path().to_path_buf(), RepositoryId([1; 32]));
    cache.write(&HashSet::new(), &builder.finish()).expect("it can be written");
    let (base, opening) = timed(|| cache.open().expect("it is there").read_base(true).expect("it is whole"));
    let index = Index { base, ..Index::default() };
    let (found, looking) = timed(|| sample.iter().filter(|handle| index.contains(handle)).count());
    assert_eq!(found, sample.len());
    let bytes = index.base.bytes();
    let each = bytes as f64 / count as f64;
    assert!(each <= 40.0, "{each:.1} bytes a blob");
    assert_eq!(index.len() as u64, count);
    let look = looking.as_nanos() / sample.len() as u128;
    eprintln!("index: {count} blobs in {bytes} bytes, {each:.1} each, opened in {opening:.1?}, {look} ns a look: held");
}
