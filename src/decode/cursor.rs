//! Owns reading the primitives of the Avro binary encoding from what is left of a datum. Allocates nothing; a length
//! is believed only as far as there are bytes.

use super::error::Fault;

/// Text of at most this many bytes is passed on in one piece of fixed size, which takes no call to copy.
pub(super) const SHORT_TEXT_BYTES: usize = 32;

/// UTF-8 from a datum.
pub(super) enum Text<'d> {
    /// The first `length` bytes of the window; what follows belongs to other values.
    Short {
        window: &'d [u8; SHORT_TEXT_BYTES],
        length: usize,
    },
    Long(&'d [u8]),
}

/// What is left of a datum.
pub(super) struct Cursor<'d> {
    rest: &'d [u8],
}

impl<'d> Cursor<'d> {
    pub(super) fn new(datum: &'d [u8]) -> Self {
        Self { rest: datum }
    }

    #[inline]
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Zig-zag varint of at most 10 bytes.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Fault> {
        match *self.rest {
            [byte, ref rest @ ..] if byte < 0x80 => {
                self.rest = rest;
                Ok(zigzag(u64::from(byte)))
            }
            [low, high, ref rest @ ..] if high < 0x80 => {
                self.rest = rest;
                Ok(zigzag(u64::from(low & 0x7F) | u64::from(high) << 7))
            }
            _ => self.wide_long(),
        }
    }

    /// Zig-zag varint of at most 5 bytes.
    #[inline]
    pub(super) fn int(&mut self) -> Result<i32, Fault> {
        let before = self.rest.len();
        let value = self.long()?;
        if before - self.rest.len() > 5 {
            return Err(Fault::OverlongVarint);
        }
        i32::try_from(value).map_err(|_| Fault::OverlongVarint)
    }

    fn wide_long(&mut self) -> Result<i64, Fault> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7F) << (7 * index);
            if *byte < 0x80 {
                if index == 9 && *byte > 1 {
                    return Err(Fault::OverlongVarint);
                }
                self.rest = &self.rest[index + 1..];
                return Ok(zigzag(value));
            }
        }
        Err(if self.rest.len() < 10 { Fault::Truncated } else { Fault::OverlongVarint })
    }

    #[inline]
    pub(super) fn boolean(&mut self) -> Result<bool, Fault> {
        match *self.rest {
            [byte @ (0 | 1), ref rest @ ..] => {
                self.rest = rest;
                Ok(byte == 1)
            }
            [] => Err(Fault::Truncated),
            _ => Err(Fault::BadBoolean),
        }
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// The next `count` bytes.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'d [u8], Fault> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Length and so many bytes.
    #[inline]
    pub(super) fn sized(&mut self) -> Result<&'d [u8], Fault> {
        let length = self.long()?;
        if length as u64 > self.rest.len() as u64 {
            return Err(if length < 0 { Fault::NegativeLength } else { Fault::LengthBeyondDatum });
        }
        self.take(length as usize)
    }

    /// As [`Self::text`]; short ones come with what follows them.
    #[inline]
    pub(super) fn short_text(&mut self) -> Result<Text<'d>, Fault> {
        if let [length, ref rest @ ..] = *self.rest
            && let Some(window) = rest.first_chunk()
            && length <= 2 * SHORT_TEXT_BYTES as u8
            && length & 1 == 0
        {
            let length = usize::from(length / 2);
            if !is_short_ascii(window, length) && std::str::from_utf8(&window[..length]).is_err() {
                return Err(Fault::BadUtf8);
            }
            self.rest = &rest[length..];
            return Ok(Text::Short { window, length });
        }
        self.text().map(Text::Long)
    }

    /// Length and UTF-8 of that length.
    #[inline]
    pub(super) fn text(&mut self) -> Result<&'d [u8], Fault> {
        let bytes = self.sized()?;
        // Most strings are short and ASCII, where asking the standard library costs more than looking.
        if is_ascii(bytes) || std::str::from_utf8(bytes).is_ok() { Ok(bytes) } else { Err(Fault::BadUtf8) }
    }

    /// The head of the next block of an array or map; `None` at its end.
    pub(super) fn block(&mut self) -> Result<Option<Block>, Fault> {
        let count = self.long()?;
        if count >= 0 {
            return Ok((count > 0).then_some(Block { items: count as u64, end: None }));
        }
        let size = self.long()?;
        let left = self.rest.len() as u64;
        if size < 0 {
            return Err(Fault::NegativeLength);
        }
        let end = left.checked_sub(size as u64).ok_or(Fault::LengthBeyondDatum)?;
        Ok(Some(Block { items: count.unsigned_abs(), end: Some(end as usize) }))
    }
}

/// The head of a block.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// Items of the block; not yet believed.
    pub(super) items: u64,
    /// Bytes that must be left after it, where the block says its size.
    pub(super) end: Option<usize>,
}

impl Block {
    /// The size is only ever checked: following it would let a datum be read in another way than item by item.
    pub(super) fn check_end(self, cursor: &Cursor<'_>) -> Result<(), Fault> {
        match self.end {
            Some(end) if end != cursor.remaining() => Err(Fault::BlockSizeMismatch),
            _ => Ok(()),
        }
    }
}

#[inline]
fn is_short_ascii(window: &[u8; SHORT_TEXT_BYTES], length: usize) -> bool {
    let mask = &HIGH_BITS_UP_TO[length];
    let words = window.as_chunks().0;
    let masked = |at: usize| u64::from_le_bytes(words[at]) & mask[at];
    masked(0) | masked(1) | masked(2) | masked(3) == 0
}

/// For each length the high bits of so many bytes.
static HIGH_BITS_UP_TO: [[u64; SHORT_TEXT_BYTES / 8]; SHORT_TEXT_BYTES + 1] = {
    let mut masks = [[0; SHORT_TEXT_BYTES / 8]; SHORT_TEXT_BYTES + 1];
    let mut length = 1;
    while length <= SHORT_TEXT_BYTES {
        masks[length] = masks[length - 1];
        masks[length][(length - 1) / 8] |= 0x80 << (8 * ((length - 1) % 8));
        length += 1;
    }
    masks
};

/// Eight bytes at a time; the last eight may overlap those before.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let mut seen = match bytes.last_chunk() {
        Some(last) => u64::from_le_bytes(*last),
        None => match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(first), Some(last)) => u64::from(u32::from_le_bytes(*first) | u32::from_le_bytes(*last)),
            _ => bytes.iter().fold(0, |seen, byte| seen | u64::from(*byte)),
        },
    };
    for chunk in bytes.as_chunks().0 {
        seen |= u64::from_le_bytes(*chunk);
    }
    seen & HIGH_BITS == 0
}

#[inline]
fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_of_every_width_are_read() {
        let long = |bytes: &[u8]| Cursor::new(bytes).long();
        assert_eq!(long(&[0x01]), Ok(-1));
        assert_eq!(long(&[0x80, 0x01]), Ok(64));
        assert_eq!(long(&[0xFE, 0xFF, 0xFF, 0xFF, 0x0F]), Ok(i64::from(i32::MAX)));
        assert_eq!(long(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]), Ok(i64::MIN));
        assert_eq!(long(&[0x80, 0x00]), Ok(0), "a redundant byte within the width is legal");
    }

    #[test]
    fn fault_51_overlong_and_overflowing_varints_are_refused() {
        let mut overflow = [0xFF; 10];
        overflow[9] = 0x02;
        assert_eq!(Cursor::new(&overflow).long(), Err(Fault::OverlongVarint));
        assert_eq!(Cursor::new(&[0x80; 11]).long(), Err(Fault::OverlongVarint));
        assert_eq!(Cursor::new(&[0x80; 9]).long(), Err(Fault::Truncated));
        assert_eq!(Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).int(), Err(Fault::OverlongVarint));
        assert_eq!(Cursor::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0x1F]).int(), Err(Fault::OverlongVarint));
        assert_eq!(Cursor::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]).int(), Ok(i32::MIN));
    }

    #[test]
    fn text_is_checked_at_every_length_and_place() {
        let text = |bytes: &[u8]| {
            let datum = [crate::decode::tests::varint(bytes.len() as i64).as_slice(), bytes].concat();
            let long = Cursor::new(&datum).text().map(<[u8]>::to_vec);
            // What comes after it, bad UTF-8 in itself, is another value's.
            let followed = [datum.as_slice(), &[0xFF; SHORT_TEXT_BYTES]].concat();
            let mut cursor = Cursor::new(&followed);
            let short = cursor.short_text().map(|text| match text {
                Text::Short { window, length } => window[..length].to_vec(),
                Text::Long(bytes) => bytes.to_vec(),
            });
            assert_eq!(short, long);
            assert!(short.is_err() || cursor.remaining() == SHORT_TEXT_BYTES);
            long
        };
        for length in 0..40 {
            let mut bytes = vec![b'a'; length];
            assert_eq!(text(&bytes), Ok(bytes.clone()));
            for at in 0..length {
                bytes[at] = 0xFF;
                assert_eq!(text(&bytes), Err(Fault::BadUtf8), "{length} bytes, the one at {at} is bad");
                bytes[at] = b'a';
            }
            let mut umlaut = bytes.clone();
            umlaut.extend("\u{e4}".bytes());
            assert_eq!(text(&umlaut), Ok(umlaut.clone()));
        }
    }

    #[test]
    fn fault_48_lengths_are_checked_against_what_is_left() {
        let sized = |length: i64| {
            let mut bytes = crate::decode::tests::varint(length);
            bytes.extend([1, 2, 3]);
            Cursor::new(&bytes).sized().map(<[u8]>::len)
        };
        assert_eq!(sized(3), Ok(3));
        assert_eq!(sized(4), Err(Fault::LengthBeyondDatum));
        assert_eq!(sized(i64::MAX), Err(Fault::LengthBeyondDatum));
        assert_eq!(sized(-1), Err(Fault::NegativeLength));
        assert_eq!(sized(i64::MIN), Err(Fault::NegativeLength));
    }
}
