//! Owns a set of offsets that stays small whether they lie dense or far apart. Does not own what a duplicate means.

use std::collections::HashMap;

use crate::position::Offset;

/// Offsets of one chunk: those that share all but their low 16 bits.
const CHUNK_OFFSETS: u64 = 1 << 16;
/// Beyond this many a bit map is smaller than a list.
const MAX_LISTED: usize = 4096;
const WORDS: usize = (CHUNK_OFFSETS / 64) as usize;

/// A set of offsets: a sorted list of low halves for each thinly filled chunk of 65,536 offsets, a bit map of 8 KiB for
/// each full one. At most two bytes an offset, and the cost of a map entry for each chunk in use.
#[derive(Debug, Default)]
pub(super) struct OffsetSet {
    /// All chunks but the one at hand.
    chunks: HashMap<u64, Chunk>,
    /// Offsets come mostly in order, so the next one is mostly in the chunk of the last.
    at_hand: Option<(u64, Chunk)>,
}

#[derive(Debug)]
enum Chunk {
    Listed(Vec<u16>),
    Mapped(Box<[u64; WORDS]>),
}

impl OffsetSet {
    /// Adds an offset; `false` when it was there already.
    pub(super) fn insert(&mut self, offset: Offset) -> bool {
        let raw = offset.as_i64() as u64;
        let (key, low) = (raw / CHUNK_OFFSETS, (raw % CHUNK_OFFSETS) as u16);
        if self.at_hand.as_ref().is_none_or(|(at_hand, _)| *at_hand != key) {
            if let Some((key, chunk)) = self.at_hand.take() {
                self.chunks.insert(key, chunk);
            }
            let chunk = self.chunks.remove(&key).unwrap_or_else(|| Chunk::Listed(Vec::new()));
            self.at_hand = Some((key, chunk));
        }
        self.at_hand.as_mut().is_some_and(|(_, chunk)| chunk.insert(low))
    }

    /// Empties the set.
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.at_hand = None;
    }
}

impl Chunk {
    fn insert(&mut self, low: u16) -> bool {
        match self {
            Self::Listed(list) => {
                if list.last().is_none_or(|last| *last < low) {
                    list.push(low);
                } else {
                    match list.binary_search(&low) {
                        Ok(_) => return false,
                        Err(place) => list.insert(place, low),
                    }
                }
                if list.len() > MAX_LISTED {
                    let mut map = Box::new([0; WORDS]);
                    for low in list {
                        set_bit(&mut map, *low);
                    }
                    *self = Self::Mapped(map);
                }
                true
            }
            Self::Mapped(map) => set_bit(map, low),
        }
    }
}

/// `false` when the bit was set already.
fn set_bit(map: &mut [u64; WORDS], low: u16) -> bool {
    let (word, bit) = (&mut map[usize::from(low / 64)], 1 << (low % 64));
    let new = *word & bit == 0;
    *word |= bit;
    new
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::audit::tests::Dice;

    #[test]
    fn it_agrees_with_an_ordinary_set() {
        for seed in 0..50 {
            let mut dice = Dice::new(seed);
            let (mut set, mut expected) = (OffsetSet::default(), BTreeSet::new());
            // Dense, thin and far apart, and in any order.
            let spread = [1_000, 20_000, 1 << 20, i64::MAX as u64][dice.below(4) as usize];
            for _ in 0..20_000 {
                let raw = dice.below(spread) as i64;
                assert_eq!(
                    set.insert(Offset::new(raw).unwrap()),
                    expected.insert(raw),
                    "seed {seed}, offset {raw}"
                );
            }
        }
    }

    #[test]
    fn a_cleared_set_knows_nothing() {
        let mut set = OffsetSet::default();
        for raw in [1, 70_000] {
            assert!(set.insert(Offset::new(raw).unwrap()));
        }
        set.clear();
        assert!(set.insert(Offset::new(1).unwrap()) && set.insert(Offset::new(70_000).unwrap()));
    }

    #[test]
    fn chunks_that_fill_up_become_bit_maps() {
        let mut set = OffsetSet::default();
        for raw in 0..200_000 {
            assert!(set.insert(Offset::new(raw).unwrap()));
        }
        assert!(
            set.chunks.values().all(|chunk| matches!(chunk, Chunk::Mapped(_))),
            "two bytes an offset at most"
        );
        assert!((0..200_000).all(|raw| !set.insert(Offset::new(raw).unwrap())));
    }
}
