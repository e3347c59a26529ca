//! Owns what the values of a page of integers become, and the dictionary of such a column.

use parquet::basic::Encoding;

use super::source::{Places, Source};
use super::values::{Indices, PageFacts, PageValues};
use super::words::hash_number;

/// Integers of a width.
pub(super) trait Integer: Copy + Ord + Send + Into<i64> {
    /// The values of a source of this width and their bytes.
    fn values(source: &Source) -> (&[Self], &[u8]);
    /// Appends the value as the format has it.
    fn put(self, out: &mut Vec<u8>);
}

impl Integer for i32 {
    fn values(source: &Source) -> (&[Self], &[u8]) {
        match source {
            Source::Int32(values) => (values, values.inner()),
            _ => unreachable!("the column is of 32 bits"),
        }
    }

    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
}

impl Integer for i64 {
    fn values(source: &Source) -> (&[Self], &[u8]) {
        match source {
            Source::Int64(values) => (values, values.inner()),
            _ => unreachable!("the column is of 64 bits"),
        }
    }

    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
}

/// Numbers, days, times and decimals.
pub(super) struct IntegerValues<T> {
    dictionary: Option<IntegerDictionary<T>>,
    indices: Indices,
    plain: Vec<u8>,
    bounds: Option<(T, T)>,
}

impl<T: Integer> IntegerValues<T> {
    pub(super) fn new(dictionary: bool) -> Self {
        Self {
            dictionary: dictionary.then(IntegerDictionary::default),
            indices: Indices::default(),
            plain: Vec::new(),
            bounds: None,
        }
    }
}

impl<T: Integer> PageValues for IntegerValues<T> {
    fn push(&mut self, source: &Source, places: Places<'_>) {
        let (values, bytes) = T::values(source);
        let first = match &places {
            Places::Run(range) => range.clone().next(),
            Places::Listed(places) => places.first().map(|place| *place as usize),
        };
        let Some(first) = first else { return };
        let (mut least, mut greatest) = self.bounds.unwrap_or((values[first], values[first]));
        match &mut self.dictionary {
            Some(dictionary) => {
                let indices = &mut self.indices;
                indices.reserve(places.len());
                places.each(|place| {
                    let value = values[place];
                    least = least.min(value);
                    greatest = greatest.max(value);
                    indices.push(dictionary.number(value));
                });
            }
            None => {
                if let Places::Run(range) = &places {
                    self.plain
                        .extend_from_slice(&bytes[range.start * size_of::<T>()..range.end * size_of::<T>()]);
                    for value in &values[range.clone()] {
                        least = least.min(*value);
                        greatest = greatest.max(*value);
                    }
                } else {
                    let plain = &mut self.plain;
                    plain.reserve(places.len() * size_of::<T>());
                    places.each(|place| {
                        let value = values[place];
                        least = least.min(value);
                        greatest = greatest.max(value);
                        value.put(plain);
                    });
                }
            }
        }
        self.bounds = Some((least, greatest));
    }

    fn page_bytes(&self) -> usize {
        match &self.dictionary {
            Some(dictionary) => self.indices.page_bytes(dictionary.values.len()),
            None => self.plain.len(),
        }
    }

    fn take_page(&mut self, body: &mut Vec<u8>) -> PageFacts {
        let encoding = if let Some(dictionary) = &self.dictionary {
            self.indices.take_into(dictionary.values.len(), body);
            Encoding::RLE_DICTIONARY
        } else {
            body.append(&mut self.plain);
            Encoding::PLAIN
        };
        let plain = |value: T| {
            let mut bytes = Vec::with_capacity(size_of::<T>());
            value.put(&mut bytes);
            bytes
        };
        let bounds = self.bounds.take().map(|(least, greatest)| (plain(least), plain(greatest)));
        PageFacts { encoding, bounds, string_bytes: None }
    }

    fn dictionary_bytes(&self) -> Option<usize> {
        self.dictionary.as_ref().map(IntegerDictionary::page_bytes)
    }

    fn take_dictionary(&mut self) -> Option<(Vec<u8>, usize)> {
        self.indices = Indices::default();
        let dictionary = self.dictionary.take()?;
        let mut page = Vec::with_capacity(dictionary.values.len() * size_of::<T>());
        dictionary.values.iter().for_each(|value| value.put(&mut page));
        Some((page, dictionary.values.len()))
    }

    fn memory_bytes(&self) -> usize {
        let dictionary = self.dictionary.as_ref().map_or(0, IntegerDictionary::memory_bytes);
        dictionary + self.indices.memory_bytes() + self.plain.capacity()
    }
}

/// The different values of a column chunk, numbered in the order in which they come.
struct IntegerDictionary<T> {
    values: Vec<T>,
    /// Number + 1 of the values from 0 to 255: codes, counts and the like are found without hashing.
    small: Box<[u32; 256]>,
    /// Number + 1 of the others, zero where there is none; a power of two long.
    slots: Vec<u32>,
    overfull: bool,
}

const FIRST_SLOTS: usize = 256;
/// See [`super::byte_dictionary`].
const LONGEST_CHAIN: usize = 256;

impl<T: Integer> Default for IntegerDictionary<T> {
    fn default() -> Self {
        Self { values: Vec::new(), small: Box::new([0; 256]), slots: vec![0; FIRST_SLOTS], overfull: false }
    }
}

impl<T: Integer> IntegerDictionary<T> {
    #[inline]
    fn number(&mut self, value: T) -> u32 {
        let wide: i64 = value.into();
        if let Ok(small) = u8::try_from(wide) {
            let known = &mut self.small[usize::from(small)];
            if *known == 0 {
                self.values.push(value);
                *known = self.values.len() as u32;
            }
            return *known - 1;
        }
        let mask = self.slots.len() - 1;
        let mut slot = hash_number(wide as u64) as usize & mask;
        let mut chain = 0;
        while let Some(number) = self.slots[slot].checked_sub(1) {
            if self.values[number as usize] == value {
                return number;
            }
            chain += 1;
            self.overfull |= chain > LONGEST_CHAIN;
            slot = (slot + 1) & mask;
        }
        self.values.push(value);
        self.slots[slot] = self.values.len() as u32;
        if self.values.len() * 2 > self.slots.len() {
            self.grow();
        }
        self.values.len() as u32 - 1
    }

    /// As for byte strings: as good as endless when it is no use to go on.
    fn page_bytes(&self) -> usize {
        if self.overfull { usize::MAX } else { self.values.len() * size_of::<T>() }
    }

    fn memory_bytes(&self) -> usize {
        self.values.capacity() * size_of::<T>()
            + (self.slots.capacity() + self.small.len()) * size_of::<u32>()
    }

    #[cold]
    fn grow(&mut self) {
        let mask = self.slots.len() * 4 - 1;
        let mut slots = vec![0; mask + 1];
        for (number, value) in self.values.iter().enumerate() {
            let wide: i64 = (*value).into();
            let mut slot = hash_number(wide as u64) as usize & mask;
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

    #[test]
    fn integers_made_to_collide_end_the_dictionary() {
        // The table has 1,024 places when it holds so many values.
        let colliding = (256_i64..).filter(|value| hash_number(*value as u64).is_multiple_of(1024));
        let mut dictionary = IntegerDictionary::<i64>::default();
        for (number, value) in colliding.take(LONGEST_CHAIN + 100).enumerate() {
            assert_eq!(dictionary.number(value), number as u32);
            if number < LONGEST_CHAIN {
                assert!(dictionary.page_bytes() < 10_000);
            }
        }
        assert_eq!(dictionary.page_bytes(), usize::MAX);
    }
}
