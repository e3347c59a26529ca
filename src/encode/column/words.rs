//! Owns reading byte strings a word at a time: for comparing, and for telling them apart.

/// The first eight bytes such that comparing two of these compares the strings, unless they are equal: then the rest
/// must be looked at.
pub(super) fn order_prefix(value: &[u8]) -> u64 {
    if let Some(first) = value.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut prefix = [0; 8];
    prefix[..value.len()].copy_from_slice(value);
    u64::from_be_bytes(prefix)
}

/// Two words for a byte string. Strings of the same length up to [`EXACT_BYTES`] that have the same words are the same.
pub(super) fn identity(value: &[u8]) -> [u64; 2] {
    let len = value.len();
    if let (Some(first), Some(last)) = (value.first_chunk::<8>(), value.last_chunk::<8>()) {
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        return if len <= EXACT_BYTES { [first, last] } else { [hash_long(value), last] };
    }
    if let (Some(first), Some(last)) = (value.first_chunk::<4>(), value.last_chunk::<4>()) {
        return [u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32, 0];
    }
    match value {
        [] => [0, 0],
        [first, .., last] => [u64::from(*first) | u64::from(value[len / 2]) << 8 | u64::from(*last) << 16, 0],
        [only] => [u64::from(*only), 0],
    }
}

/// Longer strings need to be compared as a whole.
pub(super) const EXACT_BYTES: usize = 16;

/// A hash of a string of `len` bytes with such an identity.
pub(super) fn hash(identity: [u64; 2], len: usize) -> u64 {
    fold(identity[0] ^ SEEDS[0] ^ len as u64, identity[1] ^ SEEDS[1])
}

/// A hash of a number.
pub(super) fn hash_number(value: u64) -> u64 {
    fold(value ^ SEEDS[0], SEEDS[1])
}

pub(super) const SEEDS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

fn hash_long(value: &[u8]) -> u64 {
    let mut hash = SEEDS[1];
    let (pairs, _) = value.as_chunks::<16>();
    for pair in pairs {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| pair[at + byte]));
        hash = fold(word(0) ^ SEEDS[0], word(8) ^ hash);
    }
    // What is left over is at the end, together with some bytes that were taken already.
    let tail = value.last_chunk::<16>().map_or(0, |tail| u128::from_le_bytes(*tail));
    fold(tail as u64 ^ SEEDS[0], (tail >> 64) as u64 ^ hash)
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn prefixes_order_like_strings() {
        let strings: [&[u8]; 9] = [
            b"",
            b"\0",
            b"a",
            b"a\0",
            b"ab",
            b"abcdefg",
            b"abcdefgh",
            b"abcdefgi",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ];
        for a in strings {
            for b in strings {
                let (x, y) = (order_prefix(a), order_prefix(b));
                assert!(x == y || (x < y) == (a < b), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn short_strings_of_one_length_have_identities_of_their_own() {
        for len in 1..=EXACT_BYTES {
            let mut seen = HashSet::new();
            for at in 0..len {
                for byte in 0..=255 {
                    let mut value = vec![b'x'; len];
                    value[at] = byte;
                    if byte != b'x' {
                        assert!(seen.insert(identity(&value)), "{value:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_byte_of_a_long_string_counts() {
        for len in 17..70 {
            let value = vec![7; len];
            for at in 0..len {
                let mut other = value.clone();
                other[at] = 8;
                assert_ne!(identity(&value), identity(&other), "{len} {at}");
            }
        }
    }
}
