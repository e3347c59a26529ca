//! Owns what the values of a page become: plain, or numbers of a dictionary; and the least and the greatest of them.
//! Does not own levels nor pages.

use arrow::array::BooleanBufferBuilder;
use parquet::basic::Encoding;

use super::bounds::Bounds;
use super::byte_dictionary::{AT_ONCE, ByteDictionary};
use super::hybrid;
use super::source::{Places, Source};

/// Collects the values of one column, a page at a time.
pub(super) trait PageValues: Send {
    /// Appends values.
    fn push(&mut self, source: &Source, places: Places<'_>);
    /// About what the values of the open page take, bytes.
    fn page_bytes(&self) -> usize;
    /// Appends the values of the open page to `body` and forgets them.
    fn take_page(&mut self, body: &mut Vec<u8>) -> PageFacts;
    /// Size of the dictionary so far, bytes; `None` without one.
    fn dictionary_bytes(&self) -> Option<usize>;
    /// The dictionary page and how many values it has; later values are plain. The open page must have been taken.
    fn take_dictionary(&mut self) -> Option<(Vec<u8>, usize)>;
    /// Memory held, bytes.
    fn memory_bytes(&self) -> usize;
}

/// What is to be said of the values of a page.
pub(super) struct PageFacts {
    pub(super) encoding: Encoding,
    /// The least and the greatest value, plain; `None` without a value.
    pub(super) bounds: Option<(Vec<u8>, Vec<u8>)>,
    /// Bytes of byte strings, without lengths.
    pub(super) string_bytes: Option<i64>,
}

/// Numbers of dictionary values that wait for their page to end.
#[derive(Default)]
pub(super) struct Indices(Vec<u32>);

impl Indices {
    pub(super) fn push(&mut self, index: u32) {
        self.0.push(index);
    }

    pub(super) fn reserve(&mut self, more: usize) {
        self.0.reserve(more);
    }

    pub(super) fn page_bytes(&self, dictionary_len: usize) -> usize {
        self.0.len() * hybrid::bit_width(dictionary_len as u32) / 8
    }

    pub(super) fn take_into(&mut self, dictionary_len: usize, body: &mut Vec<u8>) {
        let width = hybrid::bit_width(dictionary_len.saturating_sub(1) as u32);
        body.push(width as u8);
        hybrid::encode(&self.0, width, body);
        self.0.clear();
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.0.capacity() * size_of::<u32>()
    }
}

/// Text and bytes.
pub(super) struct ByteValues {
    dictionary: Option<ByteDictionary>,
    indices: Indices,
    plain: PlainBytes,
    bounds: Bounds,
    string_bytes: i64,
    /// Number of the open data page, from 1.
    page: u32,
}

impl ByteValues {
    pub(super) fn new(dictionary: bool) -> Self {
        Self {
            dictionary: dictionary.then(ByteDictionary::default),
            indices: Indices::default(),
            plain: PlainBytes::default(),
            bounds: Bounds::default(),
            string_bytes: 0,
            page: 1,
        }
    }
}

impl PageValues for ByteValues {
    fn push(&mut self, source: &Source, places: Places<'_>) {
        let Source::Bytes { ends, data } = source else { unreachable!("the column is of bytes") };
        let (ends, data): (&[i32], &[u8]) = (ends, data);
        let span = |place: usize| ends[place] as usize..ends[place + 1] as usize;
        let (bounds, page) = (&mut self.bounds, self.page);
        let mut bytes = 0;
        if let Some(dictionary) = &mut self.dictionary {
            let indices = &mut self.indices;
            indices.reserve(places.len());
            places.pieces(AT_ONCE, |places| {
                let values = (0..places.len()).map(|at| &data[span(places.get(at))]);
                let values = values.inspect(|value| bytes += value.len());
                dictionary.numbers(values, page, bounds, |number| indices.push(number));
            });
        } else {
            let plain = &mut self.plain;
            places.each(|place| {
                let span = span(place);
                bytes += span.len();
                bounds.include(&data[span.clone()]);
                plain.push(data, span);
            });
        }
        self.string_bytes += bytes as i64;
    }

    fn page_bytes(&self) -> usize {
        match &self.dictionary {
            Some(dictionary) => self.indices.page_bytes(dictionary.len()),
            None => self.plain.len,
        }
    }

    fn take_page(&mut self, body: &mut Vec<u8>) -> PageFacts {
        let encoding = if let Some(dictionary) = &self.dictionary {
            self.indices.take_into(dictionary.len(), body);
            Encoding::RLE_DICTIONARY
        } else {
            self.plain.take_into(body);
            Encoding::PLAIN
        };
        self.page += 1;
        let string_bytes = Some(std::mem::take(&mut self.string_bytes));
        PageFacts { encoding, bounds: self.bounds.take(), string_bytes }
    }

    fn dictionary_bytes(&self) -> Option<usize> {
        self.dictionary.as_ref().map(ByteDictionary::page_bytes)
    }

    fn take_dictionary(&mut self) -> Option<(Vec<u8>, usize)> {
        self.indices = Indices::default();
        let dictionary = self.dictionary.take()?;
        let values = dictionary.len();
        Some((dictionary.into_page(), values))
    }

    fn memory_bytes(&self) -> usize {
        let dictionary = self.dictionary.as_ref().map_or(0, ByteDictionary::memory_bytes);
        dictionary + self.indices.memory_bytes() + self.plain.buffer.capacity() + self.bounds.memory_bytes()
    }
}

/// Byte strings one after the other, each after its length.
#[derive(Default)]
struct PlainBytes {
    /// Written up to `len`; what follows is room.
    buffer: Vec<u8>,
    len: usize,
}

impl PlainBytes {
    /// So many bytes are copied whatever a value's length, where there is room: cheaper than a call.
    const AT_ONCE: usize = 32;

    #[inline]
    fn push(&mut self, data: &[u8], span: std::ops::Range<usize>) {
        const HEAD: usize = size_of::<u32>();
        let len = span.len();
        let needed = self.len + HEAD + len.max(Self::AT_ONCE);
        if needed > self.buffer.len() {
            self.buffer.resize(needed + needed / 2 + 4096, 0);
        }
        let out = &mut self.buffer[self.len..needed];
        out[..HEAD].copy_from_slice(&(len as u32).to_le_bytes());
        match data.get(span.start..span.start + Self::AT_ONCE) {
            Some(some) if len <= Self::AT_ONCE => out[HEAD..HEAD + Self::AT_ONCE].copy_from_slice(some),
            _ => out[HEAD..HEAD + len].copy_from_slice(&data[span]),
        }
        self.len += HEAD + len;
    }

    fn take_into(&mut self, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.buffer[..self.len]);
        self.len = 0;
    }
}

/// True and false.
pub(super) struct BooleanValues {
    bits: BooleanBufferBuilder,
}

impl BooleanValues {
    pub(super) fn new() -> Self {
        Self { bits: BooleanBufferBuilder::new(0) }
    }
}

impl PageValues for BooleanValues {
    fn push(&mut self, source: &Source, places: Places<'_>) {
        let Source::Boolean(values) = source else { unreachable!("the column is of booleans") };
        match places {
            Places::Run(range) => self.bits.append_buffer(&values.slice(range.start, range.len())),
            Places::Listed(places) => {
                for place in places {
                    self.bits.append(values.value(*place as usize));
                }
            }
        }
    }

    fn page_bytes(&self) -> usize {
        self.bits.len() / 8
    }

    fn take_page(&mut self, body: &mut Vec<u8>) -> PageFacts {
        let bits = self.bits.finish();
        let set = bits.count_set_bits();
        let bounds = (!bits.is_empty()).then(|| (vec![u8::from(set == bits.len())], vec![u8::from(set > 0)]));
        body.extend_from_slice(&bits.values()[..bits.len().div_ceil(8)]);
        PageFacts { encoding: Encoding::PLAIN, bounds, string_bytes: None }
    }

    fn dictionary_bytes(&self) -> Option<usize> {
        None
    }

    fn take_dictionary(&mut self) -> Option<(Vec<u8>, usize)> {
        None
    }

    fn memory_bytes(&self) -> usize {
        self.bits.capacity() / 8
    }
}
