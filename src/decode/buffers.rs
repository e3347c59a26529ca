//! Owns the growing column buffers, in pools by kind: a plan reaches each with one index, without dispatch. Does not
//! know which buffer belongs to which column: that is the [`super::layout`].

use arrow::datatypes::i256;

use super::error::Fault;

/// Where the offsets of a column end: Arrow's are 32 bits wide. Within reach in tests.
pub(super) const MAX_OFFSET: usize = if cfg!(test) { 16 << 20 } else { i32::MAX as usize };

/// Bytes that a buffer of byte strings begins with.
const SMALLEST_ROOM: usize = 64;

/// Position of a buffer in the pool of its kind.
pub(super) type Slot = u32;

/// All buffers of a batch.
#[derive(Default)]
pub(super) struct Buffers {
    /// Validity of nullable columns, and the values of boolean ones.
    pub(super) bits: Vec<Bits>,
    pub(super) i32s: Vec<Vec<i32>>,
    pub(super) i64s: Vec<Vec<i64>>,
    pub(super) f32s: Vec<Vec<f32>>,
    pub(super) f64s: Vec<Vec<f64>>,
    pub(super) i128s: Vec<Vec<i128>>,
    pub(super) i256s: Vec<Vec<i256>>,
    pub(super) bytes: Vec<ByteRuns>,
    pub(super) fixed: Vec<FixedBytes>,
    /// Ends of lists and maps, after a leading 0.
    pub(super) ends: Vec<Vec<i32>>,
    /// Lengths of columns that are always null.
    pub(super) nulls: Vec<usize>,
}

/// A placeholder for a value: what a column gets where an enclosing value is null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// Null in a validity, false in a boolean column.
    Bit(Slot),
    I32(Slot),
    I64(Slot),
    F32(Slot),
    F64(Slot),
    I128(Slot),
    I256(Slot),
    Bytes(Slot),
    Fixed(Slot),
    Ends(Slot),
    Null(Slot),
}

impl Buffers {
    #[inline]
    pub(super) fn fill(&mut self, fills: &[Fill]) {
        for fill in fills {
            match *fill {
                Fill::Bit(slot) => self.bits[slot as usize].push(false),
                Fill::I32(slot) => self.i32s[slot as usize].push(0),
                Fill::I64(slot) => self.i64s[slot as usize].push(0),
                Fill::F32(slot) => self.f32s[slot as usize].push(0.0),
                Fill::F64(slot) => self.f64s[slot as usize].push(0.0),
                Fill::I128(slot) => self.i128s[slot as usize].push(0),
                Fill::I256(slot) => self.i256s[slot as usize].push(i256::ZERO),
                Fill::Bytes(slot) => self.bytes[slot as usize].push_empty(),
                Fill::Fixed(slot) => self.fixed[slot as usize].push_zeros(),
                Fill::Ends(slot) => {
                    let ends = &mut self.ends[slot as usize];
                    ends.push(last(ends));
                }
                Fill::Null(slot) => self.nulls[slot as usize] += 1,
            }
        }
    }

    /// Heap bytes in use, without spare capacity.
    pub(super) fn size(&self) -> usize {
        fn wide<T>(pool: &[Vec<T>]) -> usize {
            pool.iter().map(|buffer| buffer.len() * size_of::<T>()).sum()
        }
        self.bits.iter().map(|bits| bits.len / 8).sum::<usize>()
            + wide(&self.i32s)
            + wide(&self.i64s)
            + wide(&self.f32s)
            + wide(&self.f64s)
            + wide(&self.i128s)
            + wide(&self.i256s)
            + self.bytes.iter().map(|runs| runs.used + runs.ends.len() * 4).sum::<usize>()
            + self.fixed.iter().map(|fixed| fixed.data.len()).sum::<usize>()
            + wide(&self.ends)
    }
}

#[cfg(test)]
impl Buffers {
    /// Heap bytes that are taken, spare capacity and all.
    pub(super) fn capacity(&self) -> usize {
        fn wide<T>(pool: &[Vec<T>]) -> usize {
            pool.iter().map(|buffer| buffer.capacity() * size_of::<T>()).sum()
        }
        let bytes = self.bytes.iter().map(|runs| runs.data.capacity() + runs.ends.capacity() * 4);
        self.bits.iter().map(|bits| bits.words.capacity() * 8).sum::<usize>()
            + wide(&self.i32s)
            + wide(&self.i64s)
            + wide(&self.f32s)
            + wide(&self.f64s)
            + wide(&self.i128s)
            + wide(&self.i256s)
            + bytes.sum::<usize>()
            + self.fixed.iter().map(|fixed| fixed.data.capacity()).sum::<usize>()
            + wide(&self.ends)
    }
}

/// The last end of a list of ends, which always has one.
#[inline]
pub(super) fn last(ends: &[i32]) -> i32 {
    ends.last().copied().unwrap_or(0)
}

/// A bitmap, least significant bit first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Bits {
    words: Vec<u64>,
    /// The bits after the last whole word; zero beyond `len`.
    open: u64,
    len: usize,
}

impl Bits {
    #[inline]
    pub(super) fn push(&mut self, bit: bool) {
        let at = self.len % 64;
        self.open |= u64::from(bit) << at;
        self.len += 1;
        if at == 63 {
            self.words.push(self.open);
            self.open = 0;
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        let (whole, part) = (len / 64, len % 64);
        let word = self.words.get(whole).copied().unwrap_or(self.open);
        self.open = word & !(u64::MAX << part);
        self.words.truncate(whole);
        self.len = len;
    }

    pub(super) fn reserve(&mut self, bits: usize) {
        self.words.reserve(bits / 64 + 1);
    }

    /// The words, the last one padded with zeros, and the number of bits.
    pub(super) fn take(&mut self) -> (Vec<u64>, usize) {
        let mut words = std::mem::take(&mut self.words);
        if !self.len.is_multiple_of(64) {
            words.push(self.open);
        }
        self.open = 0;
        (words, std::mem::take(&mut self.len))
    }
}

/// Byte strings one after the other.
#[derive(Clone, Debug)]
pub(super) struct ByteRuns {
    /// Longer than what is used: short strings are copied in pieces of fixed size, which takes no call.
    data: Vec<u8>,
    used: usize,
    /// Where each ends, after a leading 0.
    pub(super) ends: Vec<i32>,
}

impl Default for ByteRuns {
    fn default() -> Self {
        Self { data: Vec::new(), used: 0, ends: vec![0] }
    }
}

impl ByteRuns {
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let end = self.end_after(bytes.len())?;
        if self.data.len() < end {
            self.grow(bytes.len());
        }
        self.data[self.used..end].copy_from_slice(bytes);
        self.used = end;
        self.ends.push(end as i32);
        Ok(())
    }

    /// Pushes the first `length` bytes of `window`.
    #[inline]
    pub(super) fn push_short<const N: usize>(
        &mut self,
        window: &[u8; N],
        length: usize,
    ) -> Result<(), Fault> {
        let end = self.end_after(length)?;
        if self.data.len() < self.used + N {
            self.grow(N);
        }
        self.data[self.used..self.used + N].copy_from_slice(window);
        self.used = end;
        self.ends.push(end as i32);
        Ok(())
    }

    #[inline]
    fn push_empty(&mut self) {
        self.ends.push(last(&self.ends));
    }

    #[inline]
    fn end_after(&self, bytes: usize) -> Result<usize, Fault> {
        let end = self.used + bytes;
        if end > MAX_OFFSET { Err(Fault::NoRoom) } else { Ok(end) }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        let wanted = (self.used + bytes).max(2 * self.data.len()).max(SMALLEST_ROOM);
        self.data.resize(wanted, 0);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.ends.truncate(len + 1);
        self.used = last(&self.ends) as usize;
    }

    /// The bytes; makes room for as many.
    pub(super) fn take_data(&mut self) -> Vec<u8> {
        self.data.truncate(self.used);
        let fresh = vec![0; self.used + SMALLEST_ROOM];
        self.used = 0;
        std::mem::replace(&mut self.data, fresh)
    }
}

/// Byte strings of one size.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FixedBytes {
    pub(super) data: Vec<u8>,
    pub(super) size: usize,
}

impl FixedBytes {
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        // Arrow reckons positions in such columns with 32 bits too.
        if self.data.len() + bytes.len() > MAX_OFFSET {
            return Err(Fault::NoRoom);
        }
        self.data.extend_from_slice(bytes);
        Ok(())
    }

    fn push_zeros(&mut self) {
        self.data.resize(self.data.len() + self.size, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_bits_are_as_if_never_pushed() {
        let build = |len: usize| {
            let mut bits = Bits::default();
            (0..len).for_each(|index| bits.push(index % 3 != 0));
            bits
        };
        for len in [0, 1, 63, 64, 65, 127, 128, 129] {
            for more in [0, 1, 64, 130] {
                let mut bits = build(len + more);
                bits.truncate(len);
                assert_eq!(bits, build(len), "{len} + {more}");
            }
        }
    }
}
