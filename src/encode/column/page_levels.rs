//! Owns the definition or repetition levels of the page that is being filled, and how many there are of each.

use arrow::array::BooleanBufferBuilder;
use parquet::file::metadata::LevelHistogram;

use super::hybrid;
use crate::encode::shred::Levels;

/// The levels of one page of a column whose levels go up to `largest`.
pub(super) struct PageLevels {
    largest: u8,
    collected: Collected,
    histogram: Option<LevelHistogram>,
}

enum Collected {
    /// The same so far.
    Uniform {
        level: u8,
        count: usize,
    },
    /// Of a column with two levels.
    Bits(BooleanBufferBuilder),
    Bytes(Vec<u8>),
}

impl PageLevels {
    pub(super) fn new(largest: u8) -> Self {
        Self {
            largest,
            collected: Collected::Uniform { level: 0, count: 0 },
            histogram: LevelHistogram::try_new(i16::from(largest)),
        }
    }

    /// Appends `len` of `levels` from `from`.
    pub(super) fn push(&mut self, levels: &Levels, from: usize, len: usize) {
        let Some(histogram) = &mut self.histogram else { return };
        if len == 0 {
            return;
        }
        match levels {
            Levels::Uniform(level) => histogram.increment_by(i16::from(*level), len as i64),
            Levels::Bits { zero, one, bits } => {
                let set = bits.slice(from, len).count_set_bits();
                histogram.increment_by(i16::from(*one), set as i64);
                histogram.increment_by(i16::from(*zero), (len - set) as i64);
            }
            Levels::Listed(listed) => {
                let mut counts = [0_i64; 256];
                for level in &listed[from..from + len] {
                    counts[usize::from(*level)] += 1;
                }
                for (level, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                    histogram.increment_by(level as i16, *count);
                }
            }
        }
        if let (Collected::Uniform { level, count }, Levels::Uniform(same)) = (&mut self.collected, levels)
            && (*count == 0 || level == same)
        {
            (*level, *count) = (*same, *count + len);
            return;
        }
        match self.spread() {
            Collected::Bits(out) => match levels {
                Levels::Uniform(level) => out.append_n(len, *level == 1),
                Levels::Bits { bits, .. } => out.append_buffer(&bits.slice(from, len)),
                Levels::Listed(listed) => {
                    listed[from..from + len].iter().for_each(|level| out.append(*level == 1));
                }
            },
            Collected::Bytes(out) => match levels {
                Levels::Uniform(level) => out.resize(out.len() + len, *level),
                Levels::Bits { zero, one, bits } => {
                    out.extend(bits.slice(from, len).iter().map(|bit| if bit { *one } else { *zero }));
                }
                Levels::Listed(listed) => out.extend_from_slice(&listed[from..from + len]),
            },
            Collected::Uniform { .. } => unreachable!("they were spread out"),
        }
    }

    /// How many there are of each level; `None` where there is only one.
    pub(super) fn histogram(&self) -> Option<LevelHistogram> {
        self.histogram.clone()
    }

    /// Appends what a data page of version 1 says of them, and forgets them.
    pub(super) fn take_into(&mut self, out: &mut Vec<u8>) {
        if self.largest == 0 {
            return;
        }
        let head = out.len();
        out.extend_from_slice(&[0; 4]);
        let width = hybrid::bit_width(u32::from(self.largest));
        match &mut self.collected {
            Collected::Uniform { level, count } => {
                hybrid::put_run(*count, u64::from(*level), width.div_ceil(8), out);
            }
            Collected::Bits(bits) => hybrid::encode_bits(&bits.finish(), out),
            Collected::Bytes(levels) => hybrid::encode(levels, width, out),
        }
        let len = (out.len() - head - 4) as u32;
        out[head..head + 4].copy_from_slice(&len.to_le_bytes());
        self.collected = Collected::Uniform { level: 0, count: 0 };
        if let Some(histogram) = &mut self.histogram {
            histogram.reset();
        }
    }

    /// About what they take in memory, bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        match &self.collected {
            Collected::Uniform { .. } => 0,
            Collected::Bits(bits) => bits.capacity() / 8,
            Collected::Bytes(levels) => levels.capacity(),
        }
    }

    /// The levels one by one.
    fn spread(&mut self) -> &mut Collected {
        if let Collected::Uniform { level, count } = self.collected {
            self.collected = if self.largest == 1 {
                let mut bits = BooleanBufferBuilder::new(count);
                bits.append_n(count, level == 1);
                Collected::Bits(bits)
            } else {
                Collected::Bytes(vec![level; count])
            };
        }
        &mut self.collected
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    /// The bytes and the histogram of levels up to `largest` that come in these pieces, and those of all at once.
    fn check(largest: u8, pieces: &[Levels], lengths: &[usize]) {
        let mut levels = PageLevels::new(largest);
        for round in 0..2 {
            let mut all = Vec::new();
            for (piece, len) in pieces.iter().zip(lengths) {
                levels.push(piece, 1, *len);
                all.extend_from_slice(&piece.listed(len + 1)[1..=*len]);
            }
            let histogram = levels.histogram().unwrap();
            for level in 0..=largest {
                let expected = all.iter().map(|other| i64::from(*other == level)).sum::<i64>();
                assert_eq!(histogram.get(usize::from(level)), Some(expected), "level {level}, round {round}");
            }
            let (mut out, mut expected) = (Vec::new(), Vec::new());
            levels.take_into(&mut out);
            if largest == 1 {
                let bits = all.iter().map(|level| *level == 1).collect();
                hybrid::encode_bits(&bits, &mut expected);
            } else {
                hybrid::encode(&all, hybrid::bit_width(u32::from(largest)), &mut expected);
            }
            assert_eq!(out[..4], (expected.len() as u32).to_le_bytes());
            assert_eq!(out[4..], expected, "{all:?}, round {round}");
        }
    }

    #[test]
    fn levels_come_in_pieces_of_any_kind() {
        let listed = |levels: &[u8]| Levels::Listed(Rc::new(levels.to_vec()));
        let bits =
            |zero, one| Levels::Bits { zero, one, bits: [false, true, false, true].into_iter().collect() };
        let narrow =
            [Levels::Uniform(0), Levels::Uniform(1), bits(0, 1), listed(&[1, 0, 1]), Levels::Uniform(0)];
        check(1, &narrow, &[3, 5, 3, 2, 4]);
        let wide =
            [Levels::Uniform(2), Levels::Uniform(0), bits(1, 3), listed(&[0, 3, 1]), Levels::Uniform(3)];
        check(3, &wide, &[2, 9, 3, 2, 1]);
    }
}
