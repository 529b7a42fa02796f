//! White signs as bits: n signs of a coordinate are n bits, and the sum of their products with
//! another coordinate's is n − 2·popcount(xor).

use layerwise_linalg::mirror_lower;
use ndarray::{Array1, Array2, ArrayViewMut2};
use pulp::{Arch, Simd, WithSimd};
use rand::Rng;

use crate::white::sign;

/// The number of words that hold 64 samples of each of d coordinates: d, rounded up so that
/// coordinates can be compared with one in whole groups.
fn width(d: usize) -> usize {
    d.next_multiple_of(LANES)
}

/// Draws n signs of each of d coordinates. Word b·[`width`] + i holds samples 64 b … 64 b + 63 of
/// coordinate i; the bits of samples beyond n are clear, the words beyond d without meaning.
pub(crate) fn fill_words<R: Rng + ?Sized>(n: usize, d: usize, rng: &mut R, words: &mut Vec<u64>) {
    let blocks = n.div_ceil(64);
    words.resize(blocks * width(d), 0);
    words.iter_mut().for_each(|word| *word = rng.random());
    let tail = n % 64;
    if tail != 0 {
        let mask = (1 << tail) - 1;
        words.iter_mut().skip((blocks - 1) * width(d)).for_each(|word| *word &= mask);
    }
}

/// UᵀU/n (d × d) and Uᵀ1/n of the signs U in `words`.
pub(crate) fn white_moments(
    n: usize,
    words: &[u64],
    gram: &mut Array2<f64>,
    mean: &mut Array1<f64>,
) {
    Arch::new().dispatch(Count { n, words, gram, mean });
}

/// [`white_moments`], compiled for the widest vectors that the processor has: no bit depends on them.
struct Count<'a> {
    n: usize,
    words: &'a [u64],
    gram: &'a mut Array2<f64>,
    mean: &'a mut Array1<f64>,
}

impl WithSimd for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Count { n, words, gram, mean } = self;
        let d = mean.len();
        let product = |differing: u64| (n as f64 - 2.0 * differing as f64) / n as f64;
        for i in 0..d {
            for j in (0..=i).step_by(LANES) {
                let counts = differing_signs(words, width(d), i, j);
                for (lane, &count) in counts.iter().enumerate().take(i - j + 1) {
                    gram[[i, j + lane]] = product(count);
                }
            }
            let own = words.iter().skip(i).step_by(width(d));
            mean[i] = product(own.map(|word| u64::from(word.count_ones())).sum());
        }
        mirror_lower(&mut gram.view_mut());
    }
}

/// Coordinates that are compared with one at a time.
const LANES: usize = 4;

/// One word of each.
type Lanes = [u64; LANES];

/// For coordinates j … j + LANES − 1, the number of samples whose sign differs from coordinate
/// i's.
///
/// Counts by carry-save adders: of four words of differing bits, and what was left over before,
/// one word of carries of weight four is made, and only that one's bits are counted (Harley and
/// Seal's method; H. S. Warren, *Hacker's Delight*, 2nd ed., §5-1). All of it is elementwise on
/// the lanes, which compiles to the vector instructions of the function that it is a part of.
#[inline(always)]
fn differing_signs(words: &[u64], width: usize, i: usize, j: usize) -> Lanes {
    let mut total = [0; LANES];
    let (mut ones, mut twos) = ([0; LANES], [0; LANES]);
    // 31 counts of at most 8 fit into a byte.
    for group in words.chunks(31 * 4 * width) {
        let mut bytes = [0; LANES];
        for four in group.chunks(4 * width) {
            let mut differing = [[0; LANES]; 4];
            for (bits, block) in differing.iter_mut().zip(four.chunks_exact(width)) {
                let own = block[i];
                bits.iter_mut().zip(&block[j..j + LANES]).for_each(|(b, word)| *b = own ^ word);
            }
            let [a, b, c, d] = differing;
            let carry = add(&mut ones, a, b);
            let other = add(&mut ones, c, d);
            let fours = add(&mut twos, carry, other);
            for (sum, word) in bytes.iter_mut().zip(fours) {
                *sum += bits_of_bytes(word);
            }
        }
        for (sum, word) in total.iter_mut().zip(bytes) {
            *sum += 4 * sum_of_bytes(word);
        }
    }
    for ((sum, one), two) in total.iter_mut().zip(ones).zip(twos) {
        *sum += sum_of_bytes(bits_of_bytes(one) + 2 * bits_of_bytes(two));
    }
    total
}

/// Adds a + b to `sum` bit by bit; returns the carries.
#[inline(always)]
fn add(sum: &mut Lanes, a: Lanes, b: Lanes) -> Lanes {
    let mut carry = [0; LANES];
    for lane in 0..LANES {
        let half = sum[lane] ^ a[lane];
        carry[lane] = (sum[lane] & a[lane]) | (half & b[lane]);
        sum[lane] = half ^ b[lane];
    }
    carry
}

/// The number of bits of each byte, in that byte.
#[inline(always)]
fn bits_of_bytes(word: u64) -> u64 {
    let pairs = word - ((word >> 1) & 0x5555_5555_5555_5555);
    let nibbles = (pairs & 0x3333_3333_3333_3333) + ((pairs >> 2) & 0x3333_3333_3333_3333);
    (nibbles + (nibbles >> 4)) & 0x0f0f_0f0f_0f0f_0f0f
}

/// The sum of the eight bytes.
#[inline(always)]
fn sum_of_bytes(word: u64) -> u64 {
    let pairs = (word & 0x00ff_00ff_00ff_00ff) + ((word >> 8) & 0x00ff_00ff_00ff_00ff);
    let quads = (pairs & 0x0000_ffff_0000_ffff) + ((pairs >> 16) & 0x0000_ffff_0000_ffff);
    (quads & 0xffff_ffff) + (quads >> 32)
}

/// The signs as ±1 in `out` (n × d).
pub(crate) fn expand(words: &[u64], out: &mut ArrayViewMut2<'_, f64>) {
    let width = width(out.ncols());
    for (sample, mut row) in out.outer_iter_mut().enumerate() {
        let block = words.iter().skip(sample / 64 * width);
        row.iter_mut().zip(block).for_each(|(value, &word)| *value = sign(word, sample % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Streams;

    /// Bits and moments against sums over the expanded signs, exact since all are integers.
    fn check(n: usize, d: usize) {
        let mut rng = Streams::new(11).stream("signs", "words", (n * 100 + d) as u64);
        let mut words = Vec::new();
        fill_words(n, d, &mut rng, &mut words);
        let mut signs = Array2::zeros((n, d));
        expand(&words, &mut signs.view_mut());
        assert!(signs.iter().all(|&v| v == 1.0 || v == -1.0));

        let (mut gram, mut mean) = (Array2::zeros((d, d)), Array1::zeros(d));
        white_moments(n, &words, &mut gram, &mut mean);
        for i in 0..d {
            assert_eq!(mean[i], signs.column(i).sum() / n as f64, "n = {n}, d = {d}, mean {i}");
            for j in 0..d {
                let sum = (&signs.column(i) * &signs.column(j)).sum();
                let expected = if i == j { 1.0 } else { sum / n as f64 };
                assert_eq!(gram[[i, j]], expected, "n = {n}, d = {d}, entry ({i}, {j})");
            }
        }
    }

    #[test]
    fn counted_moments_are_those_of_the_expanded_signs() {
        for n in [1, 2, 63, 64, 65, 127, 128, 256, 257, 500, 1024] {
            for d in [1, 2, 3, 4, 5, 8, 9, 13] {
                check(n, d);
            }
        }
    }

    /// More words than the bytes of one group can count.
    #[test]
    fn many_words_do_not_overflow() {
        check(31 * 4 * 64, 5);
        check(31 * 4 * 64 + 1, 5);
        check(3 * 31 * 4 * 64 + 777, 5);
        // All bits of one coordinate set: the largest counts.
        let (n, d) = (2 * 31 * 4 * 64 + 64, 2);
        let words: Vec<u64> =
            (0..n / 64 * width(d)).map(|k| if k % width(d) == 0 { u64::MAX } else { 0 }).collect();
        let (mut gram, mut mean) = (Array2::zeros((d, d)), Array1::zeros(d));
        white_moments(n, &words, &mut gram, &mut mean);
        assert_eq!(gram[[1, 0]], -1.0);
        assert_eq!(mean.to_vec(), [-1.0, 1.0]);
    }
}
