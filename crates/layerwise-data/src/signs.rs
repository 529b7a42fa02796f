//! White signs as bits: n signs of a coordinate are n bits, and the sum of their products with
//! another coordinate's is n − 2·popcount(xor).

use ndarray::{Array1, Array2, ArrayViewMut2};
use rand::Rng;

use crate::white::sign;

/// Draws n signs of each of d coordinates. Word b·d + i holds samples 64 b … 64 b + 63 of
/// coordinate i; bits beyond n are clear.
pub(crate) fn fill_words<R: Rng + ?Sized>(n: usize, d: usize, rng: &mut R, words: &mut Vec<u64>) {
    let blocks = n.div_ceil(64);
    words.resize(blocks * d, 0);
    words.iter_mut().for_each(|word| *word = rng.random());
    let tail = n % 64;
    if tail != 0 {
        let mask = (1 << tail) - 1;
        words.iter_mut().skip((blocks - 1) * d).for_each(|word| *word &= mask);
    }
}

/// UᵀU/n (d × d) and Uᵀ1/n of the signs U in `words`.
pub(crate) fn white_moments(
    n: usize,
    words: &[u64],
    gram: &mut Array2<f64>,
    mean: &mut Array1<f64>,
) {
    let d = mean.len();
    let scale = (n as f64).recip();
    let product = |differing: u64| (n as f64 - 2.0 * differing as f64) * scale;
    for i in 0..d {
        gram[[i, i]] = 1.0;
        let mut j = 0;
        while j < i {
            let lanes = LANES.min(d - j);
            let counts = differing_signs(words, d, i, j);
            for (lane, &count) in counts.iter().enumerate().take(lanes.min(i - j)) {
                let value = product(count);
                gram[[i, j + lane]] = value;
                gram[[j + lane, i]] = value;
            }
            j += LANES;
        }
        let negative: u64 =
            words.iter().skip(i).step_by(d).map(|word| u64::from(word.count_ones())).sum();
        mean[i] = product(negative);
    }
}

/// Coordinates that are compared with one at a time.
const LANES: usize = 8;

/// For coordinates j … j + LANES − 1 (those below d), the number of samples whose sign differs
/// from coordinate i's.
///
/// Bits are counted by halving fields, as in the textbook's population count, on whole lanes at a
/// time, which compiles to vector instructions on any target; 31 words add up before a byte can
/// overflow.
fn differing_signs(words: &[u64], d: usize, i: usize, j: usize) -> [u64; LANES] {
    let mut total = [0_u64; LANES];
    for group in words.chunks(31 * d) {
        let mut bytes = [0_u64; LANES];
        for block in group.chunks_exact(d) {
            let own = block[i];
            let others = &block[j..d.min(j + LANES)];
            let mut lanes = [0_u64; LANES];
            lanes[..others.len()].copy_from_slice(others);
            for (sum, other) in bytes.iter_mut().zip(lanes) {
                let bits = own ^ other;
                let pairs = bits - ((bits >> 1) & 0x5555_5555_5555_5555);
                let nibbles =
                    (pairs & 0x3333_3333_3333_3333) + ((pairs >> 2) & 0x3333_3333_3333_3333);
                *sum += (nibbles + (nibbles >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
            }
        }
        for (sum, byte) in total.iter_mut().zip(bytes) {
            let pairs = (byte & 0x00ff_00ff_00ff_00ff) + ((byte >> 8) & 0x00ff_00ff_00ff_00ff);
            *sum += pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48;
        }
    }
    total
}

/// The signs as ±1 in `out` (n × d).
pub(crate) fn expand(words: &[u64], out: &mut ArrayViewMut2<'_, f64>) {
    let d = out.ncols();
    for (sample, mut row) in out.outer_iter_mut().enumerate() {
        let block = words.iter().skip(sample / 64 * d);
        row.iter_mut().zip(block).for_each(|(value, &word)| *value = sign(word, sample % 64));
    }
}
