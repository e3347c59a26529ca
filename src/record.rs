//! Owns the hand-over form of consumed records: a [`RecordBlock`] holds a run of records of one topic-partition
//! in offset order, with their bytes wherever the consumer received them (no copy). Does not own decoding.

use std::fmt;
use std::ptr::NonNull;
use std::slice;

use crate::position::Offset;

/// What client and block hold for a record beside its key, value and headers, bytes: the client's message (304, and 16 of
/// the allocator), the record here and a pointer from one to the other, and what frames it in the broker's answer.
pub const RECORD_OVERHEAD_BYTES: usize = 416;

/// The same for each of its headers, which are held twice.
pub const HEADER_OVERHEAD_BYTES: usize = 144;

/// One record, borrowed from its block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    /// Offset in the topic-partition.
    pub offset: Offset,
    /// Kafka timestamp, milliseconds since the epoch; `None` where the broker has none (-1).
    pub timestamp_ms: Option<i64>,
    /// Key bytes; `None` for a null key.
    pub key: Option<&'a [u8]>,
    /// Value bytes; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order. Empty unless the consumer was told that somebody reads them.
    pub headers: &'a [Header],
}

/// A record header, copied out of the message: few connectors read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Header key; invalid UTF-8 is replaced.
    pub key: String,
    /// Header value; `None` for null.
    pub value: Option<Vec<u8>>,
}

/// A record with its own bytes: for tests, simulation and the demo.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnedRecord {
    /// See [`Record::offset`].
    pub offset: Offset,
    /// See [`Record::timestamp_ms`].
    pub timestamp_ms: Option<i64>,
    /// See [`Record::key`].
    pub key: Option<Vec<u8>>,
    /// See [`Record::value`].
    pub value: Option<Vec<u8>>,
    /// See [`Record::headers`].
    pub headers: Vec<Header>,
}

/// A run of records of one topic-partition, offsets strictly ascending, and whatever keeps their bytes alive.
pub struct RecordBlock {
    records: Vec<RawRecord>,
    payload_bytes: usize,
    memory_bytes: usize,
    /// Keeps the memory behind `records` alive; never touched otherwise.
    _owner: Box<dyn Send>,
}

/// A record whose slices point into memory that the block's owner keeps alive.
pub struct RawRecord {
    /// See [`Record::offset`].
    pub offset: Offset,
    /// See [`Record::timestamp_ms`].
    pub timestamp_ms: Option<i64>,
    /// Start and length of the key, or `None` for null.
    pub key: Option<(NonNull<u8>, usize)>,
    /// Start and length of the value, or `None` for a tombstone.
    pub value: Option<(NonNull<u8>, usize)>,
    /// See [`Record::headers`].
    pub headers: Vec<Header>,
}

impl RawRecord {
    /// Bytes that its headers take, here and in the client.
    #[must_use]
    pub fn headers_bytes(&self) -> usize {
        let of = |header: &Header| header.key.len() + header.value.as_ref().map_or(0, Vec::len);
        self.headers.iter().map(|header| 2 * of(header) + HEADER_OVERHEAD_BYTES).sum()
    }
}

// SAFETY: the pointers are only read, only through `&self`, and point into memory owned by the `Send` owner.
unsafe impl Send for RecordBlock {}

impl RecordBlock {
    /// Takes records whose bytes `owner` keeps alive.
    ///
    /// # Safety
    /// Every pointer of `records` must be valid for reads of its length, and the memory unchanged, for as long
    /// as `owner` lives, also when `owner` is moved to another thread.
    ///
    /// # Panics
    /// When offsets do not ascend strictly.
    #[must_use]
    pub unsafe fn from_raw(records: Vec<RawRecord>, owner: Box<dyn Send>) -> Self {
        assert!(
            records.windows(2).all(|pair| pair[0].offset < pair[1].offset),
            "records of a block must ascend in offset"
        );
        let length = |part: &Option<(NonNull<u8>, usize)>| part.map_or(0, |(_, length)| length);
        let payload_bytes = records.iter().map(|record| length(&record.key) + length(&record.value)).sum();
        let headers_bytes: usize = records.iter().map(RawRecord::headers_bytes).sum();
        let memory_bytes = payload_bytes + headers_bytes + records.len() * RECORD_OVERHEAD_BYTES;
        Self { records, payload_bytes, memory_bytes, _owner: owner }
    }

    /// Takes records that own their bytes.
    ///
    /// # Panics
    /// When offsets do not ascend strictly.
    #[must_use]
    pub fn from_owned(records: Vec<OwnedRecord>) -> Self {
        let point =
            |bytes: &Option<Vec<u8>>| bytes.as_deref().map(|b| (NonNull::from(b).cast::<u8>(), b.len()));
        let raw = records
            .iter()
            .map(|record| RawRecord {
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                key: point(&record.key),
                value: point(&record.value),
                headers: record.headers.clone(),
            })
            .collect();
        // SAFETY: the pointers lead into heap buffers of the vectors inside `records`, which is moved into the
        // owner unchanged; moving the outer vector does not move those buffers.
        unsafe { Self::from_raw(raw, Box::new(records)) }
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the block holds no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Bytes that the block holds: keys, values and headers, and what each record costs beside them.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The record at `index`, or `None` past the end.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        self.records.get(index).map(|raw| {
            // SAFETY: `from_raw`'s contract: valid and unchanged while the owner lives, and it lives as long as `self`.
            let borrow = |part: Option<(NonNull<u8>, usize)>| {
                part.map(|(start, length)| unsafe { slice::from_raw_parts(start.as_ptr(), length) })
            };
            Record {
                offset: raw.offset,
                timestamp_ms: raw.timestamp_ms,
                key: borrow(raw.key),
                value: borrow(raw.value),
                headers: &raw.headers,
            }
        })
    }

    /// The records in offset order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Offset of the first record.
    #[must_use]
    pub fn first_offset(&self) -> Option<Offset> {
        self.records.first().map(|record| record.offset)
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Option<Offset> {
        self.records.last().map(|record| record.offset)
    }
}

impl fmt::Debug for RecordBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordBlock")
            .field("records", &self.len())
            .field("first", &self.first_offset())
            .field("last", &self.last_offset())
            .field("payload_bytes", &self.payload_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(offset: i64, value: Option<&[u8]>) -> OwnedRecord {
        OwnedRecord {
            offset: Offset::new(offset).unwrap(),
            key: Some(b"k".to_vec()),
            value: value.map(<[u8]>::to_vec),
            ..OwnedRecord::default()
        }
    }

    #[test]
    fn a_block_keeps_bytes_alive_across_threads() {
        let block =
            RecordBlock::from_owned(vec![owned(3, Some(b"abc")), owned(9, None), owned(10, Some(b""))]);
        let values: Vec<Option<Vec<u8>>> =
            std::thread::spawn(move || block.iter().map(|r| r.value.map(<[u8]>::to_vec)).collect())
                .join()
                .unwrap();
        assert_eq!(values, [Some(b"abc".to_vec()), None, Some(Vec::new())]);
    }

    #[test]
    fn fault_98_a_block_counts_what_it_holds_for_each_record() {
        // Of librdkafka 2.12: a message in its queue, as the allocator gives it, and the frame of a record without headers.
        let (message, frame) = (304 + 16, 8);
        let held = message + frame + size_of::<RawRecord>() + size_of::<usize>();
        assert!((held..held + 16).contains(&RECORD_OVERHEAD_BYTES), "{held} bytes for each record");
        let header = Header { key: "trace".to_owned(), value: Some(vec![0; 1_000]) };
        let plain = owned(3, Some(b"abc"));
        let with_header = OwnedRecord { headers: vec![header], ..plain.clone() };
        let bytes = [plain, with_header].map(|record| RecordBlock::from_owned(vec![record]).memory_bytes());
        assert_eq!(bytes[0], RECORD_OVERHEAD_BYTES + 4);
        assert_eq!(bytes[1], bytes[0] + 2 * 1_005 + HEADER_OVERHEAD_BYTES);
    }

    #[test]
    #[should_panic(expected = "ascend")]
    fn a_block_out_of_order_is_refused() {
        let _ = RecordBlock::from_owned(vec![owned(3, None), owned(3, None)]);
    }
}
