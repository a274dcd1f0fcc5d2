//! Tests of the index in memory.

use super::*;
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
    let kept = index.without(&missing);
    assert_eq!(kept.get_all(&blob(7).handle).iter().map(|at| at.pack).collect::<Vec<_>>(), [second]);
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
