//! The bytes of a tensor, some at a time: in row-major order, the lowest byte of an entry first.

use std::io::{self, Read, Write};

use layerwise_linalg::Scalar;
use ndarray::{ArrayView2, ArrayViewMut2, s};
use xxhash_rust::xxh3::Xxh3;

/// Entries at a time: enough for a disk, few enough for a cache.
const CHUNK: usize = 1 << 16;

const BIG_ENDIAN: bool = cfg!(target_endian = "big");

/// Writes an array; returns its checksum.
pub(super) fn write<A: Scalar>(array: ArrayView2<'_, A>, to: &mut impl Write) -> io::Result<u64> {
    let mut checksum = Xxh3::new();
    // What lies in memory as in the file is written from where it is.
    if let (Some(entries), false) = (array.as_slice(), BIG_ENDIAN) {
        for bytes in entries.chunks(CHUNK).map(bytemuck::cast_slice) {
            checksum.update(bytes);
            to.write_all(bytes)?;
        }
        return Ok(checksum.digest());
    }
    let mut buffer = Vec::with_capacity(CHUNK.min(array.len()));
    for [rows, cols] in parts(array.dim()) {
        buffer.clear();
        buffer.extend(array.slice(s![rows, cols]).iter().copied());
        let bytes = bytemuck::cast_slice_mut(&mut buffer);
        swap_on_big_endian(bytes, size_of::<A>());
        checksum.update(bytes);
        to.write_all(bytes)?;
    }
    Ok(checksum.digest())
}

/// Reads what [`write`] wrote of an array of this shape; returns the checksum of what was read.
pub(super) fn read<A: Scalar>(
    mut array: ArrayViewMut2<'_, A>,
    from: &mut impl Read,
) -> io::Result<u64> {
    let mut checksum = Xxh3::new();
    if let (Some(entries), false) = (array.as_slice_mut(), BIG_ENDIAN) {
        for bytes in entries.chunks_mut(CHUNK).map(bytemuck::cast_slice_mut) {
            from.read_exact(bytes)?;
            checksum.update(bytes);
        }
        return Ok(checksum.digest());
    }
    let mut buffer = vec![A::zero(); CHUNK.min(array.len())];
    for [rows, cols] in parts(array.dim()) {
        let mut part = array.slice_mut(s![rows, cols]);
        let entries = &mut buffer[..part.len()];
        let bytes = bytemuck::cast_slice_mut(entries);
        from.read_exact(bytes)?;
        checksum.update(bytes);
        swap_on_big_endian(bytes, size_of::<A>());
        part.iter_mut().zip(&*entries).for_each(|(to, &from)| *to = from);
    }
    Ok(checksum.digest())
}

/// Rectangles of at most [`CHUNK`] entries that follow one another in row-major order.
fn parts((rows, cols): (usize, usize)) -> impl Iterator<Item = [std::ops::Range<usize>; 2]> {
    let (tall, wide) = ((CHUNK / cols.max(1)).max(1), cols.clamp(1, CHUNK));
    (0..rows).step_by(tall).flat_map(move |i| {
        (0..cols).step_by(wide).map(move |j| [i..rows.min(i + tall), j..cols.min(j + wide)])
    })
}

fn swap_on_big_endian(bytes: &mut [u8], entry: usize) {
    if BIG_ENDIAN {
        bytes.chunks_exact_mut(entry).for_each(<[u8]>::reverse);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ShapeBuilder};
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    /// Shapes on either side of a chunk, rows longer than one, and columns that lie together.
    #[test]
    fn an_array_of_any_layout_is_written_row_by_row_and_read_again() -> io::Result<()> {
        for shape in [(1, 1), (3, 5), (2, CHUNK + 3), (CHUNK + 3, 2), (1, CHUNK), (300, 300)] {
            let entry = |(i, j)| f32::from_bits((i * shape.1 + j) as u32);
            let expected: Vec<u8> =
                (0..(shape.0 * shape.1) as u32).flat_map(u32::to_le_bytes).collect();
            for array in
                [Array2::from_shape_fn(shape, entry), Array2::from_shape_fn(shape.f(), entry)]
            {
                let mut bytes = Vec::new();
                let checksum = write(array.view(), &mut bytes)?;
                assert!(bytes == expected, "{shape:?}");
                assert_eq!(checksum, xxh3_64(&expected));
                let rows = Array2::from_elem(shape, 1.0);
                for mut same in [rows, Array2::from_elem(shape.f(), 1.0)] {
                    assert_eq!(read(same.view_mut(), &mut &*bytes)?, checksum);
                    assert!(same == array, "{shape:?}");
                }
            }
        }
        assert!(read(Array2::<f64>::zeros((2, 2)).view_mut(), &mut &[0; 31][..]).is_err());
        Ok(())
    }
}
