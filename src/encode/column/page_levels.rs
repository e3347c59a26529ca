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
