//! Owns the checksum over all bytes of a file, which stands in its footer: how it is taken although it is among these bytes.
//! Does not own the checksum over a file's records, which says whether two files have the same content.

use std::ops::Range;

use xxhash_rust::xxh3::Xxh3;

use super::footer::FooterKey;

/// Digits of the checksum, hexadecimal: XXH3 of 64 bits.
const DIGITS: usize = 16;
/// Length of the footer and the format's magic bytes.
const TRAILER_BYTES: usize = 8;

/// The checksum of a file whose bytes come one after the other. Its own digits count as zeros.
#[derive(Clone)]
pub struct FileChecksum(Xxh3);

impl Default for FileChecksum {
    fn default() -> Self {
        Self(Xxh3::new())
    }
}

impl FileChecksum {
    /// What the digits are before the checksum is known. A file that has them was written without one.
    pub const UNKNOWN: &'static str = "0000000000000000";

    /// Further bytes in front of the end.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum as it stands in a footer, 16 hexadecimal digits. `end` is the rest of the file, with the whole footer; the
    /// digits in it do not matter.
    #[must_use]
    pub fn finish(mut self, end: &[u8]) -> String {
        if let Some(place) = place_of_digits(end) {
            self.0.update(&end[..place.start]);
            self.0.update(Self::UNKNOWN.as_bytes());
            self.0.update(&end[place.end..]);
        } else {
            self.0.update(end);
        }
        format!("{:016x}", self.0.digest())
    }

    /// As [`Self::finish`], and puts the digits in their place, if the footer has one.
    pub(super) fn write_into(self, end: &mut [u8]) {
        let Some(place) = place_of_digits(end) else { return };
        let digits = self.finish(end);
        end[place].copy_from_slice(digits.as_bytes());
    }
}

/// Bytes at the end of a file that are its footer, given at least the last eight of the file. `None` where the file is
/// shorter than it says.
#[must_use]
pub(super) fn footer_bytes(last: &[u8]) -> Option<usize> {
    let trailer = last.last_chunk::<TRAILER_BYTES>()?;
    let length = u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]);
    usize::try_from(length).ok()?.checked_add(TRAILER_BYTES)
}

/// Where the digits are: behind their key, in Thrift's compact protocol (Parquet format, `KeyValue` in `parquet.thrift`).
/// The key-values come after the statistics, which hold values of the data, so the last place that looks so is meant.
fn place_of_digits(end: &[u8]) -> Option<Range<usize>> {
    let footer = end.len().checked_sub(footer_bytes(end)?)?;
    // Field 2 of a struct after field 1, a byte string, and its length.
    let pattern: Vec<u8> = [FooterKey::FileChecksum.as_str().as_bytes(), &[0x18, DIGITS as u8]].concat();
    let found = end[footer..].windows(pattern.len()).rposition(|window| window == pattern)?;
    let start = footer + found + pattern.len();
    (start + DIGITS <= end.len()).then_some(start..start + DIGITS)
}
