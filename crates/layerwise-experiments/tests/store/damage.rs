//! Whatever is done to a segment's bytes: no wrong record is given, and every whole one is.

use std::fs;
use std::path::Path;

use layerwise_experiments::store::{Fault, Key, Store};
use proptest::prelude::*;

use crate::{bounds, get, key, put, record, segment};

fn store_of(trials: u64) -> (tempfile::TempDir, Vec<u8>, Vec<usize>) {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), 0..trials);
    let bytes = fs::read(segment(folder.path())).unwrap();
    let bounds = bounds(folder.path());
    assert_eq!(bounds.len() as u64, trials + 1);
    (folder, bytes, bounds)
}

/// The store after its only segment was replaced.
fn reopened(path: &Path, bytes: &[u8]) -> Store {
    fs::write(segment(path), bytes).unwrap();
    Store::open(path).unwrap()
}

/// Asks for every trial: either it is given as it was put, or not at all.
fn given(store: &Store, trials: u64) -> Vec<u64> {
    (0..trials)
        .filter(|&trial| match get(store, trial) {
            Some(given) => {
                assert_eq!(given, record(trial));
                true
            }
            None => {
                assert!(!store.contains(&key(trial)));
                false
            }
        })
        .collect()
}

#[test]
fn a_file_that_ends_anywhere_in_its_last_record_keeps_the_others() {
    let (folder, bytes, bounds) = store_of(3);
    for end in bounds[2]..bounds[3] {
        let store = reopened(folder.path(), &bytes[..end]);
        let damage = store.damage();
        assert_eq!(given(&store, 3), [0, 1], "{end}");
        assert_eq!(store.damage(), damage);
        if end == bounds[2] {
            assert_eq!(damage, []);
        } else {
            let [torn] = damage.try_into().unwrap();
            assert_eq!((torn.fault, torn.offset), (Fault::Torn, bounds[2] as u64), "{end}");
            assert_eq!(torn.length, (end - bounds[2]) as u64);
            assert_eq!(torn.key.is_some(), end >= bounds[2] + 64);
        }
    }
}

#[test]
fn every_altered_byte_is_found() {
    let (folder, bytes, bounds) = store_of(3);
    for at in bounds[1]..bounds[2] {
        for flip in [1 << (at % 8), 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            let store = reopened(folder.path(), &bytes);
            assert_eq!(given(&store, 3), [0, 2], "{at}");
            let [found] = store.damage().try_into().unwrap();
            assert_eq!(
                (found.offset, found.length),
                (bounds[1] as u64, (bounds[2] - bounds[1]) as u64)
            );
            let in_header = at < bounds[1] + 64;
            assert_eq!(found.key, (!in_header).then(|| key(1)));
            let line = found.to_string();
            assert!(!line.contains('\n') && line.contains(&format!("byte {}", bounds[1])));
            assert!(in_header || line.contains(&key(1).to_string()));
        }
    }
}

#[test]
fn a_record_altered_while_the_store_is_open_is_not_given() {
    let (folder, mut bytes, bounds) = store_of(2);
    let store = Store::open(folder.path()).unwrap();
    bytes[bounds[1] - 1] ^= 1;
    fs::write(segment(folder.path()), &bytes).unwrap();
    assert!(store.contains(&key(0)));
    assert_eq!(given(&store, 2), [1]);
    assert_eq!(store.damage().len(), 1);
    // It is computed again.
    store.put(&record(0)).unwrap();
    assert_eq!(given(&store, 2), [0, 1]);
    assert_eq!(given(&Store::open(folder.path()).unwrap(), 2), [0, 1]);
}

#[test]
fn foreign_bytes_are_passed_over() {
    let (folder, bytes, bounds) = store_of(3);
    let magic = &bytes[..8];
    let pieces: [&[u8]; 7] = [
        b"x",
        b"a line of text\n",
        &[0; 4096],
        magic,
        &[magic, magic, b"\x97LW"].concat(),
        &bytes[..64],
        &vec![0x97; (1 << 16) + 3],
    ];
    for piece in pieces {
        for &bound in &bounds {
            let mixed = [&bytes[..bound], piece, &bytes[bound..]].concat();
            let store = reopened(folder.path(), &mixed);
            assert_eq!(given(&store, 3), [0, 1, 2]);
            let [found] = store.damage().try_into().unwrap();
            assert_eq!((found.offset, found.length), (bound as u64, piece.len() as u64));
        }
    }
}

#[test]
fn a_record_is_found_wherever_the_search_for_it_is_parted() {
    let (folder, bytes, bounds) = store_of(2);
    for length in (1 << 16) - 10..(1 << 16) + 10 {
        let mixed = [&bytes[..bounds[1]], &vec![1; length], &bytes[bounds[1]..]].concat();
        assert_eq!(given(&reopened(folder.path(), &mixed), 2), [0, 1], "{length}");
    }
}

#[test]
fn the_first_good_record_of_a_key_counts() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), [5, 5, 5]);
    let mut bytes = fs::read(segment(folder.path())).unwrap();
    let bounds = bounds(folder.path());
    bytes[bounds[1] - 1] ^= 1;
    bytes[bounds[2] - 1] ^= 1;
    let store = reopened(folder.path(), &bytes);
    assert_eq!(store.len(), 1);
    assert_eq!(get(&store, 5), Some(record(5)));
    assert_eq!(store.damage().len(), 2);
    assert_eq!(store.len(), 1);
}

#[test]
fn a_record_under_a_foreign_key_is_not_given() {
    let (folder, mut bytes, _) = store_of(1);
    // Such a header is not damaged, but its checksum must be right for that.
    let other = Key::of("another");
    let digits = u128::from_str_radix(&other.to_string(), 16).unwrap();
    bytes[16..32].copy_from_slice(&digits.to_le_bytes());
    let check = xxhash_rust::xxh3::xxh3_128(&bytes[..48]);
    bytes[48..64].copy_from_slice(&check.to_le_bytes());
    let store = reopened(folder.path(), &bytes);
    assert!(store.contains(&other));
    assert_eq!(store.get(&other).unwrap(), None);
    let [found] = store.damage().try_into().unwrap();
    assert_eq!(found.fault, Fault::OtherKey);
}

#[test]
fn a_file_that_is_no_segment_is_damage() {
    let (folder, ..) = store_of(1);
    let records = folder.path().join("records");
    fs::write(records.join("notes.txt"), "abc").unwrap();
    fs::create_dir(records.join("folder.records")).unwrap();
    fs::write(records.join(".nfs0001"), "left by the file system").unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(given(&store, 1), [0]);
    let faults: Vec<Fault> = store.damage().iter().map(|damage| damage.fault).collect();
    assert_eq!(faults, [Fault::NoSegment; 2]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    /// Bytes are removed, others put in their place, several times.
    #[test]
    fn records_beside_any_damage_are_there(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..400, prop::collection::vec(any::<u8>(), 0..400)),
            1..4,
        ),
        cut_frames in any::<bool>(),
    ) {
        const TRIALS: u64 = 6;
        let (folder, bytes, bounds) = store_of(TRIALS);
        // From behind, so that places stay what they were.
        let mut edits: Vec<(usize, usize, Vec<u8>)> = edits
            .into_iter()
            .map(|(at, removed, put)| {
                let at = at.index(bytes.len());
                let put = if cut_frames { bytes[..put.len()].to_vec() } else { put };
                (at, removed.min(bytes.len() - at), put)
            })
            .collect();
        edits.sort_by_key(|edit| std::cmp::Reverse(edit.0));
        edits.dedup_by(|a, b| b.0 < a.0 + a.1);
        let mut edited = bytes.clone();
        for (at, removed, put) in &edits {
            edited.splice(*at..*at + *removed, put.iter().copied());
        }
        let store = reopened(folder.path(), &edited);
        let given = given(&store, TRIALS);
        for (trial, frame) in bounds.windows(2).enumerate() {
            let hit = edits.iter().any(|(at, removed, put)| {
                let inside = *at > frame[0] && *at < frame[1] && !put.is_empty();
                inside || (*at < frame[1] && *at + *removed > frame[0])
            });
            prop_assert!(hit || given.contains(&(trial as u64)), "trial {trial}");
        }
        if edited != bytes {
            // Whole frames that are missing leave no trace.
            let seen = given.len() as u64 == TRIALS || !store.damage().is_empty();
            let whole = edits.iter().all(|(at, removed, put)| {
                put.is_empty() && bounds.contains(at) && bounds.contains(&(at + removed))
            });
            prop_assert!(seen || whole);
        }
    }
}
