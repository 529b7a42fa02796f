//! Random streams derived from a seed and a label.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Independent random streams, one for each (task, purpose, trial), derived from one seed.
///
/// A stream depends on its label alone: not on which others were made, nor on their order or
/// thread. The derivation is fixed for ever:
///
/// 1. the key of a ChaCha8 generator is the seed (8 bytes, little-endian) followed by the 24
///    ASCII bytes `layerwise-data streams 1`;
/// 2. its stream number is the 64-bit FNV-1a hash of the task's UTF-8 bytes, one byte 0xFF
///    (which no UTF-8 text contains) and the purpose's;
/// 3. block number `trial` of that keystream (64 bytes) begins with the 32 bytes that are the
///    state of the xoshiro256++ generator.
///
/// ```
/// use layerwise_data::Streams;
/// use rand::Rng;
///
/// let streams = Streams::new(1);
/// let a: u64 = streams.stream("figure 1", "batches", 0).random();
/// let b: u64 = streams.stream("figure 1", "batches", 1).random();
/// assert_ne!(a, b);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The generator for one trial of one purpose of one task.
    pub fn stream(&self, task: &str, purpose: &str, trial: u64) -> Xoshiro256PlusPlus {
        const WORDS_PER_BLOCK: u128 = 16;
        let mut key = [0; 32];
        let (seed, domain) = key.split_at_mut(8);
        seed.copy_from_slice(&self.seed.to_le_bytes());
        domain.copy_from_slice(b"layerwise-data streams 1");
        let mut chacha = ChaCha8Rng::from_seed(key);
        chacha.set_stream(label_hash(task, purpose));
        chacha.set_word_pos(u128::from(trial) * WORDS_PER_BLOCK);
        let mut state = [0; 32];
        chacha.fill_bytes(&mut state);
        Xoshiro256PlusPlus::from_seed(state)
    }
}

/// The stream number of a label.
fn label_hash(task: &str, purpose: &str) -> u64 {
    fnv1a(task.bytes().chain([0xFF]).chain(purpose.bytes()))
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits; offset basis and prime as its authors publish them.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The values are those of a second implementation (of ChaCha8, FNV-1a and xoshiro256++, from
    /// their definitions, in another language). They must never change.
    #[test]
    fn golden_outputs() {
        let golden = [
            (0, "", "", 0, [0x8322_afac_dded_50de, 0x407a_72d3_e573_bd95, 0x7377_aabd_5fe5_96d9]),
            (
                1,
                "figure 1",
                "batches",
                0,
                [0xba3b_cccc_af22_b2c4, 0x6f78_69d4_d58e_70a2, 0x595d_0035_d447_7898],
            ),
            (
                1,
                "figure 1",
                "batches",
                3,
                [0x8e83_cbd1_8a7c_54d0, 0x2a3f_b320_4c3a_6084, 0xe115_d587_1d4e_a216],
            ),
            (
                u64::MAX,
                "figüre",
                "x",
                u64::MAX,
                [0xb096_7fe0_f72d_b583, 0xcb02_01f4_21f4_3685, 0xdcdc_aa90_83d7_9426],
            ),
        ];
        for (seed, task, purpose, trial, expected) in golden {
            let mut rng = Streams::new(seed).stream(task, purpose, trial);
            assert_eq!(expected.map(|_| rng.next_u64()), expected, "{task} {purpose} {trial}");
        }
    }

    /// Test vectors that the hash's authors publish.
    #[test]
    fn fnv1a_vectors() {
        assert_eq!(fnv1a("a".bytes()), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar".bytes()), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn labels_do_not_run_into_each_other() {
        let streams = Streams::new(3);
        let mut seen = HashSet::new();
        for (task, purpose) in [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("c", "ab")] {
            for trial in [0, 1, 2, u64::MAX] {
                assert!(seen.insert(streams.stream(task, purpose, trial).next_u64()));
                assert!(seen.insert(Streams::new(4).stream(task, purpose, trial).next_u64()));
            }
        }
    }

    #[test]
    fn same_label_same_stream() {
        let draw = || {
            let mut rng = Streams::new(9).stream("t", "p", 5);
            [rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(draw(), draw());
        assert_eq!(Streams::new(9).seed(), 9);
    }
}
