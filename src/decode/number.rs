//! Owns numbers and identifiers that Avro keeps as bytes: decimals, big-decimals, UUIDs.

use std::fmt::Write;

use arrow::datatypes::{Decimal128Type, Decimal256Type, DecimalType, i256};

use super::cursor::Cursor;
use super::error::Fault;

/// Bytes of an unscaled value that is turned into text; the work grows with the square.
const MAX_TEXT_VALUE_BYTES: usize = 1_024;

/// Two's complement, big endian, as a decimal of at most `precision` (up to 38) digits. No bytes mean 0.
#[inline]
pub(super) fn decimal128(bytes: &[u8], precision: u8) -> Result<i128, Fault> {
    let value = i128::from_be_bytes(widen(bytes).ok_or(Fault::DecimalOverflow)?);
    let fits = Decimal128Type::is_valid_decimal_precision(value, precision);
    if fits { Ok(value) } else { Err(Fault::DecimalOverflow) }
}

/// As [`decimal128`], up to 76 digits.
pub(super) fn decimal256(bytes: &[u8], precision: u8) -> Result<i256, Fault> {
    let value = i256::from_be_bytes(widen(bytes).ok_or(Fault::DecimalOverflow)?);
    let fits = Decimal256Type::is_valid_decimal_precision(value, precision);
    if fits { Ok(value) } else { Err(Fault::DecimalOverflow) }
}

/// The text of a decimal with any number of digits up to `precision`, written as [`decimal_text`] does.
pub(super) fn long_decimal(bytes: &[u8], precision: usize, scale: usize) -> Result<String, Fault> {
    let (negative, digits) = digits(bytes)?;
    if digits.len() > precision && digits != "0" {
        return Err(Fault::DecimalOverflow);
    }
    Ok(decimal_text(negative, &digits, scale as i64))
}

/// The text of a big-decimal: bytes that hold the unscaled value (as Avro bytes) and the scale (as an Avro int).
pub(super) fn big_decimal(bytes: &[u8]) -> Result<String, Fault> {
    let mut inside = Cursor::new(bytes);
    let unscaled = inside.sized()?;
    // Written as an int by some implementations, as a long by others: the encodings agree.
    let scale = i32::try_from(inside.long()?).map_err(|_| Fault::DecimalOverflow)?;
    if inside.remaining() > 0 {
        return Err(Fault::TrailingBytes);
    }
    let (negative, digits) = digits(unscaled)?;
    Ok(decimal_text(negative, &digits, i64::from(scale)))
}

/// A UUID as RFC 9562 writes it: 36 characters, lower case.
pub(super) fn uuid(bytes: [u8; 16]) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 0xF)];
        at += 2;
    }
    text
}

/// The bytes of a UUID's text, in 36 characters of either case (RFC 9562); `None` for any other text.
pub(super) fn uuid_of_text(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.try_into().ok()?;
    let digit = |at: usize| char::from(text[at]).to_digit(16).map(|digit| digit as u8);
    let mut bytes = [0; 16];
    let mut at = 0;
    for (index, byte) in bytes.iter_mut().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            if text[at] != b'-' {
                return None;
            }
            at += 1;
        }
        *byte = digit(at)? << 4 | digit(at + 1)?;
        at += 2;
    }
    Some(bytes)
}

/// Sign-extends, or drops bytes that repeat the sign; `None` when more than those would have to go.
#[inline]
fn widen<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let sign = if bytes.first().is_some_and(|first| first & 0x80 != 0) { 0xFF } else { 0 };
    let mut wide = [sign; N];
    match bytes.len().checked_sub(N) {
        None | Some(0) => wide[N - bytes.len()..].copy_from_slice(bytes),
        Some(surplus) => {
            let (dropped, kept) = bytes.split_at(surplus);
            let redundant = dropped.iter().all(|byte| *byte == sign) && (kept[0] ^ sign) & 0x80 == 0;
            if !redundant {
                return None;
            }
            wide.copy_from_slice(kept);
        }
    }
    Some(wide)
}

/// Sign and digits of a two's complement, big-endian integer of any width; no leading zeros but in "0".
fn digits(bytes: &[u8]) -> Result<(bool, String), Fault> {
    const GROUP: u64 = 1_000_000_000;
    if bytes.len() > MAX_TEXT_VALUE_BYTES {
        return Err(Fault::DecimalOverflow);
    }
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let mut limbs = magnitude(bytes, negative);
    let mut groups = Vec::new();
    while !limbs.is_empty() {
        let mut rest = 0_u64;
        for limb in limbs.iter_mut().rev() {
            let part = rest << 32 | u64::from(*limb);
            *limb = (part / GROUP) as u32;
            rest = part % GROUP;
        }
        groups.push(rest);
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
    }
    let mut text = groups.pop().unwrap_or(0).to_string();
    for group in groups.iter().rev() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{group:09}");
    }
    Ok((negative, text))
}

/// Absolute value in limbs of 32 bits, least significant first, no leading zero limbs.
fn magnitude(bytes: &[u8], negative: bool) -> Vec<u32> {
    let mut carry = negative;
    let mut limbs = Vec::with_capacity(bytes.len() / 4 + 1);
    for chunk in bytes.rchunks(4) {
        let mut limb = if negative { [0xFF; 4] } else { [0; 4] };
        limb[4 - chunk.len()..].copy_from_slice(chunk);
        let mut limb = u32::from_be_bytes(limb);
        if negative {
            let (sum, overflow) = (!limb).overflowing_add(u32::from(carry));
            limb = sum;
            carry = overflow;
        }
        limbs.push(limb);
    }
    if carry && negative {
        limbs.push(1);
    }
    while limbs.last() == Some(&0) {
        limbs.pop();
    }
    limbs
}

/// `digits` × 10^−`scale` in the canonical form of Java's `BigDecimal`, from which unscaled value and scale can be had
/// back: plain where the scale is not negative and the number not tiny, else with an exponent.
fn decimal_text(negative: bool, digits: &str, scale: i64) -> String {
    let sign = if negative { "-" } else { "" };
    let exponent = digits.len() as i64 - 1 - scale;
    if scale < 0 || exponent < -6 {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let exponent = if exponent == 0 { String::new() } else { format!("E{exponent:+}") };
        return format!("{sign}{first}{point}{rest}{exponent}");
    }
    let scale = scale as usize;
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_54_decimals_are_sign_extended_and_checked() {
        assert_eq!(decimal128(&[], 5), Ok(0));
        assert_eq!(decimal128(&[0xFF], 5), Ok(-1));
        assert_eq!(decimal128(&[0x01, 0x00], 5), Ok(256));
        assert_eq!(decimal128(&[0x03, 0xE7], 3), Ok(999));
        assert_eq!(decimal128(&[0x03, 0xE8], 3), Err(Fault::DecimalOverflow));
        assert_eq!(decimal128(&[0xFC, 0x18], 3), Err(Fault::DecimalOverflow));
        let mut wide = [0xFF; 17];
        assert_eq!(decimal128(&wide, 38), Ok(-1), "repeated sign bytes are fine");
        wide[1] = 0x7F;
        assert_eq!(
            decimal128(&wide, 38),
            Err(Fault::DecimalOverflow),
            "a sign byte that is not redundant is not"
        );
        wide[0] = 0;
        assert_eq!(decimal128(&wide, 38), Err(Fault::DecimalOverflow));
        // What is left without the first byte is a small number of the other sign.
        let beyond = [[0].as_slice(), &[0xFF; 16]].concat();
        assert_eq!(decimal128(&beyond, 38), Err(Fault::DecimalOverflow), "2^128 - 1, not -1");
        let below = [[0xFF].as_slice(), &[0; 15], &[1]].concat();
        assert_eq!(decimal128(&below, 38), Err(Fault::DecimalOverflow), "1 - 2^128, not 1");
        assert_eq!(decimal256(&[0xFF; 40], 76), Ok(i256::MINUS_ONE));
        assert_eq!(decimal256(&[0x7F; 32], 76), Err(Fault::DecimalOverflow));
    }

    #[test]
    fn fault_47_a_big_decimal_is_read_to_its_end() {
        assert_eq!(big_decimal(&[2, 5, 2]), Ok("0.5".to_owned()));
        assert_eq!(big_decimal(&[2, 5, 2, 0]), Err(Fault::TrailingBytes));
        assert_eq!(big_decimal(&[2, 5]), Err(Fault::Truncated));
    }

    #[test]
    fn integers_of_any_width_become_digits() {
        for value in
            [0, 1, -1, 9, -128, 999_999_999, 1_000_000_000, i128::MAX, i128::MIN, -(1 << 32), 1 << 64]
        {
            let (negative, digits) = digits(&value.to_be_bytes()).unwrap();
            assert_eq!(format!("{}{digits}", if negative { "-" } else { "" }), value.to_string());
        }
        assert_eq!(digits(&[0xFF, 0xFF, 0xFF]), Ok((true, "1".to_owned())));
        assert_eq!(digits(&[0x80, 0, 0, 0]), Ok((true, (1_u64 << 31).to_string())));
        assert_eq!(digits(&[1; 1_025]), Err(Fault::DecimalOverflow));
    }

    #[test]
    fn decimal_text_is_that_of_java() {
        let text = |digits: &str, scale| decimal_text(false, digits, scale);
        assert_eq!(text("123", 0), "123");
        assert_eq!(text("123", 2), "1.23");
        assert_eq!(text("123", 5), "0.00123");
        assert_eq!(text("123", 9), "1.23E-7");
        assert_eq!(text("123", -2), "1.23E+4");
        assert_eq!(text("0", 2), "0.00");
        assert_eq!(text("5", -1), "5E+1");
        assert_eq!(decimal_text(true, "1", 1), "-0.1");
    }

    #[test]
    fn uuids_are_written_in_groups() {
        let text = uuid(0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF_u128.to_be_bytes());
        assert_eq!(text, *b"00112233-4455-6677-8899-aabbccddeeff");
        let bytes = 0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF_u128.to_be_bytes();
        assert_eq!(uuid_of_text(&text), Some(bytes));
        assert_eq!(uuid_of_text(&text.to_ascii_uppercase()), Some(bytes));
        for at in 0..text.len() {
            let mut wrong = text;
            wrong[at] = if text[at] == b'-' { b'0' } else { b'-' };
            assert_eq!(uuid_of_text(&wrong), None, "{at}");
        }
        assert_eq!(uuid_of_text(&text[1..]), None);
        assert_eq!(uuid_of_text(b"00112233445566778899aabbccddeeff"), None);
    }
}
