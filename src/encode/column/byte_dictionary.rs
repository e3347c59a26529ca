//! Owns the dictionary of a column of byte strings: which number a value has. Numbers are given in the order in which
//! values come, so that the same rows make the same bytes.

use super::bounds::Bounds;
use super::words::{EXACT_BYTES, hash, identity};

/// Values that are looked up together.
pub(super) const AT_ONCE: usize = 16;
/// With more different values than this, most lookups wait for memory.
const CACHED_VALUES: usize = 2048;
const FIRST_SLOTS: usize = 256;
/// A chain this long is no accident but made so; the dictionary is given up.
const LONGEST_CHAIN: usize = 256;

/// The different values of a column chunk.
pub(super) struct ByteDictionary {
    /// The dictionary page: every value after its length.
    page: Vec<u8>,
    values: Vec<Value>,
    /// Number + 1 of a value, zero where there is none; a power of two long.
    slots: Vec<u32>,
    /// Whether a chain was too long.
    overfull: bool,
}

// Two to a line of the cache, none across two.
#[repr(align(32))]
struct Value {
    identity: [u64; 2],
    /// Of the value in the page.
    at: u32,
    len: u32,
    /// Last data page that has it.
    page: u32,
}

/// A value that is looked up.
struct Sought<'a> {
    value: &'a [u8],
    identity: [u64; 2],
    hash: u64,
}

impl Default for ByteDictionary {
    fn default() -> Self {
        Self { page: Vec::new(), values: Vec::new(), slots: vec![0; FIRST_SLOTS], overfull: false }
    }
}

impl ByteDictionary {
    /// Gives `take` the number of each value, in order; the bounds of data page `page` get to know them.
    ///
    /// # Panics
    /// When there are more than [`AT_ONCE`].
    #[inline]
    pub(super) fn numbers<'a>(
        &mut self,
        values: impl Iterator<Item = &'a [u8]>,
        page: u32,
        bounds: &mut Bounds,
        mut take: impl FnMut(u32),
    ) {
        let mut sought = [const { Sought { value: &[], identity: [0; 2], hash: 0 } }; AT_ONCE];
        let mut count = 0;
        for value in values {
            let identity = identity(value);
            sought[count] = Sought { value, identity, hash: hash(identity, value.len()) };
            count += 1;
        }
        let sought = &sought[..count];
        if self.values.len() > CACHED_VALUES {
            self.touch(sought);
        }
        for sought in sought {
            take(self.number(sought, page, bounds));
        }
    }

    /// Reads what looking up will read, without waiting for one before asking for the next.
    #[inline]
    fn touch(&self, sought: &[Sought<'_>]) {
        let mask = self.slots.len() - 1;
        let mut numbers = [0; AT_ONCE];
        for (number, sought) in numbers.iter_mut().zip(sought) {
            *number = self.slots[sought.hash as usize & mask];
        }
        let mut touched = 0;
        for number in &numbers[..sought.len()] {
            // A free slot stands for the first value, which is as good as any.
            touched ^= self.values[number.saturating_sub(1) as usize].identity[0];
        }
        std::hint::black_box(touched);
    }

    #[inline]
    fn number(&mut self, sought: &Sought<'_>, page: u32, bounds: &mut Bounds) -> u32 {
        let Sought { value, identity, hash } = *sought;
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        let mut chain = 0;
        loop {
            let Some(number) = self.slots[slot].checked_sub(1) else {
                return self.add(slot, value, identity, page, bounds);
            };
            let known = &mut self.values[number as usize];
            if known.identity == identity
                && known.len as usize == value.len()
                && (value.len() <= EXACT_BYTES || self.page[known.at as usize..][..value.len()] == *value)
            {
                if known.page != page {
                    known.page = page;
                    bounds.include(value);
                }
                return number;
            }
            chain += 1;
            self.overfull |= chain > LONGEST_CHAIN;
            slot = (slot + 1) & mask;
        }
    }

    /// Different values.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Size of the dictionary page, bytes; as good as endless when it is no use to go on.
    pub(super) fn page_bytes(&self) -> usize {
        if self.overfull { usize::MAX } else { self.page.len() }
    }

    /// The dictionary page.
    pub(super) fn into_page(self) -> Vec<u8> {
        self.page
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.page.capacity()
            + self.values.capacity() * size_of::<Value>()
            + self.slots.capacity() * size_of::<u32>()
    }

    #[cold]
    fn add(&mut self, slot: usize, value: &[u8], identity: [u64; 2], page: u32, bounds: &mut Bounds) -> u32 {
        bounds.include(value);
        self.page.extend_from_slice(&(value.len() as u32).to_le_bytes());
        let at = self.page.len() as u32;
        self.page.extend_from_slice(value);
        self.values.push(Value { identity, at, len: value.len() as u32, page });
        self.slots[slot] = self.values.len() as u32;
        if self.values.len() * 2 > self.slots.len() {
            self.grow();
        }
        self.values.len() as u32 - 1
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 4 - 1;
        let mut slots = vec![0; mask + 1];
        for (number, value) in self.values.iter().enumerate() {
            let mut slot = hash(value.identity, value.len as usize) as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = number as u32 + 1;
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::column::words::SEEDS;

    /// Checks that every value has a number of its own, also when it comes again, and stands in the page.
    fn check(values: &[Vec<u8>]) -> ByteDictionary {
        let (mut dictionary, mut bounds) = (ByteDictionary::default(), Bounds::default());
        for _ in 0..2 {
            let mut numbers = Vec::new();
            for some in values.chunks(AT_ONCE) {
                let some = some.iter().map(Vec::as_slice);
                dictionary.numbers(some, 1, &mut bounds, |number| numbers.push(number));
            }
            assert!(numbers.iter().copied().eq(0..values.len() as u32), "values were taken for one another");
        }
        let in_page = |value: &Vec<u8>| [&(value.len() as u32).to_le_bytes(), value.as_slice()].concat();
        assert!(dictionary.page == values.iter().flat_map(in_page).collect::<Vec<u8>>());
        assert_eq!(dictionary.len(), values.len());
        dictionary
    }

    #[test]
    fn values_of_other_lengths_with_the_same_words_are_told_apart() {
        let mut met = 0;
        for [x, y] in (0..=u16::MAX).map(u16::to_le_bytes) {
            let (two, three) = (vec![x, y], vec![x, y, y]);
            assert_eq!(identity(&two), identity(&three));
            let place = |value: &[u8]| hash(identity(value), value.len()) as usize % FIRST_SLOTS;
            // Those that are looked for in the same place.
            if place(&two) == place(&three) {
                check(&[two, three]);
                met += 1;
            }
        }
        assert!(met > 0, "no pair proves nothing");
    }

    /// With this word in front the hash of the first sixteen bytes is that word's, whatever follows it.
    #[test]
    fn long_values_with_the_same_hash_are_told_apart() {
        let value = |byte: u8| [&SEEDS[0].to_le_bytes()[..], &[byte; 8], &[b'x'; 16]].concat();
        let values: Vec<Vec<u8>> = (0..=255).map(value).collect();
        assert!(values.iter().all(|other| identity(other) == identity(&values[0])), "or this proves nothing");
        check(&values);
    }

    #[test]
    fn a_dictionary_of_values_made_to_collide_is_given_up() {
        let value = |number: u64| [(SEEDS[0] ^ 16).to_le_bytes(), number.to_le_bytes()].concat();
        let values: Vec<Vec<u8>> = (0..LONGEST_CHAIN as u64 + 2).map(value).collect();
        assert!(check(&values[..LONGEST_CHAIN]).page_bytes() < 10_000);
        assert_eq!(check(&values).page_bytes(), usize::MAX);
    }
}
