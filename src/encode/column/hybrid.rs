//! Owns the RLE / bit-packing hybrid of the Parquet format ("Encodings", RLE = 3): levels and dictionary indices.

use arrow::buffer::BooleanBuffer;

/// Values are packed in groups of so many.
const GROUP: usize = 8;
/// A run replaces packed groups that would take at least this many bytes: less does not pay for the two headers.
const RUN_PAYS_BYTES: usize = 5;

/// Bits that the values up to `largest` take.
pub(super) fn bit_width(largest: u32) -> usize {
    (u32::BITS - largest.leading_zeros()) as usize
}

/// Appends `values`, each less than `2^width`.
pub(super) fn encode<T: Copy + PartialEq + Into<u64>>(values: &[T], width: usize, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    if width == 0 {
        return put_run(values.len(), 0, 0, out);
    }
    out.reserve(values.len() * width / 8 + 2 * GROUP);
    let shortest_run = RUN_PAYS_BYTES.div_ceil(width);
    let (mut packed_from, mut at) = (0, 0);
    while at + GROUP <= values.len() {
        let group = &values[at..at + GROUP];
        let value = group[0];
        if group.iter().any(|other| *other != value) {
            at += GROUP;
            continue;
        }
        let run_from = at;
        while at < values.len() && values[at] == value {
            at += 1;
        }
        // What follows begins at a group again, unless the run is the last.
        if at < values.len() {
            at -= (at - run_from) % GROUP;
        }
        if (at - run_from).div_ceil(GROUP) >= shortest_run {
            put_packed(&values[packed_from..run_from], width, out);
            put_run(at - run_from, value.into(), width.div_ceil(8), out);
            packed_from = at;
        }
    }
    put_packed(&values[packed_from..], width, out);
}

/// Appends bits as values of one bit each.
pub(super) fn encode_bits(bits: &BooleanBuffer, out: &mut Vec<u8>) {
    const RUN_BYTES: usize = 8;
    assert_eq!(bits.offset() % 8, 0, "levels are collected from a byte's first bit");
    let bytes = &bits.values()[bits.offset() / 8..(bits.offset() + bits.len()).div_ceil(8)];
    let whole = bits.len() / 8;
    let (mut packed_from, mut at) = (0, 0);
    while at < whole {
        let value = bytes[at];
        if !matches!(value, 0 | 0xff) {
            at += 1;
            continue;
        }
        let run_from = at;
        while at < whole && bytes[at] == value {
            at += 1;
        }
        if at - run_from >= RUN_BYTES {
            put_packed_bytes(&bytes[packed_from..run_from], out);
            put_run((at - run_from) * 8, u64::from(value & 1), 1, out);
            packed_from = at;
        }
    }
    put_packed_bytes(&bytes[packed_from..], out);
}

/// One value so many times.
pub(super) fn put_run(count: usize, value: u64, value_bytes: usize, out: &mut Vec<u8>) {
    put_varint(count << 1, out);
    out.extend_from_slice(&value.to_le_bytes()[..value_bytes]);
}

/// Bits that are packed already; the last byte may have some to spare.
fn put_packed_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        put_varint(bytes.len() << 1 | 1, out);
        out.extend_from_slice(bytes);
    }
}

fn put_packed<T: Copy + Into<u64>>(values: &[T], width: usize, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    put_varint(values.len().div_ceil(GROUP) << 1 | 1, out);
    let bytes_end = out.len() + values.len().div_ceil(GROUP) * width;
    let (mut word, mut filled) = (0_u64, 0);
    for value in values {
        let value: u64 = (*value).into();
        word |= value << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= 64;
            // Of a value that just fits nothing is left; shifting by all its bits is undefined.
            word = if filled == 0 { 0 } else { value >> (width - filled) };
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..filled.div_ceil(8)]);
    // The last group is filled up.
    out.resize(bytes_end, 0);
}

fn put_varint(value: usize, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes by the letter of the specification.
    fn decode(bytes: &[u8], width: usize, count: usize) -> Vec<u64> {
        let (mut values, mut at) = (Vec::new(), 0);
        while values.len() < count {
            let (mut header, mut shift) = (0_usize, 0);
            loop {
                let byte = bytes[at];
                at += 1;
                header |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let mut value = 0;
                for byte in 0..width.div_ceil(8) {
                    value |= u64::from(bytes[at + byte]) << (8 * byte);
                }
                at += width.div_ceil(8);
                values.extend(std::iter::repeat_n(value, header >> 1));
            } else {
                let groups = header >> 1;
                for bit in (0..groups * 8).map(|value| value * width) {
                    values.push(
                        (0..width)
                            .map(|b| u64::from(bytes[at + (bit + b) / 8] >> ((bit + b) % 8) & 1) << b)
                            .sum(),
                    );
                }
                at += groups * width;
            }
        }
        assert_eq!(at, bytes.len(), "bytes are left over");
        values.truncate(count);
        values
    }

    /// Stretches of one value between stretches of many, of any length.
    fn stretches(seed: u64, largest: u32) -> Vec<u32> {
        let mut random = seed | 1;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut values = Vec::new();
        for _ in 0..next(12) {
            let value = next(u64::from(largest) + 1) as u32;
            for _ in 0..next(70) {
                values.push(value);
            }
            for _ in 0..next(40) {
                values.push(next(u64::from(largest) + 1) as u32);
            }
        }
        values
    }

    #[test]
    fn any_values_of_any_width_come_back() {
        for width in 0..=32 {
            let largest = if width == 0 { 0 } else { u32::MAX >> (32 - width) };
            assert_eq!(bit_width(largest), width);
            for seed in 0..200 {
                let values = stretches(seed * 7919 + width as u64, largest);
                let mut out = Vec::new();
                encode(&values, width, &mut out);
                let expected: Vec<u64> = values.iter().map(|value| u64::from(*value)).collect();
                assert_eq!(decode(&out, width, values.len()), expected, "width {width}, seed {seed}");
            }
        }
    }

    #[test]
    fn any_bits_come_back() {
        for seed in 0..2000 {
            let values = stretches(seed, 1);
            let bits: BooleanBuffer = values.iter().map(|value| *value == 1).collect();
            let mut out = Vec::new();
            encode_bits(&bits, &mut out);
            let expected: Vec<u64> = values.iter().map(|value| u64::from(*value)).collect();
            assert_eq!(decode(&out, 1, values.len()), expected, "seed {seed}");
        }
    }

    #[test]
    fn runs_are_short() {
        let mut out = Vec::new();
        encode(&vec![3_u32; 10_000], 2, &mut out);
        assert_eq!(out.len(), 4);
        out.clear();
        encode_bits(&BooleanBuffer::new_set(8_000), &mut out);
        assert_eq!(out.len(), 3);
    }

    /// Only packed groups may hold more values than there are.
    #[test]
    fn a_run_of_bits_ends_with_the_last_whole_byte() {
        let mut out = Vec::new();
        encode_bits(&BooleanBuffer::new_unset(100), &mut out);
        assert_eq!(out, [0xc0, 0x01, 0, 1 << 1 | 1, 0]);
        out.clear();
        encode_bits(&BooleanBuffer::new_set(96), &mut out);
        assert_eq!(out, [0xc0, 0x01, 1]);
    }
}
