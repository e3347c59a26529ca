//! Owns the format of AWS Glue's serializers: byte 3, a compression byte (0 none, 5 zlib), the UUID of the schema
//! version (16 bytes), datum. Does not own who knows the UUID.

use flate2::{Decompress, FlushDecompress, Status};

use super::WireError;
use super::framing::refusal;
use crate::schema_id::SchemaId;

const HEADER_VERSION: u8 = 3;
const NOT_COMPRESSED: u8 = 0;
const ZLIB: u8 = 5;
/// What a datum may inflate to: far beyond any record a broker takes, far below what harms.
const MAX_INFLATED_BYTES: usize = 64 << 20;
/// The buffer grows by at least so much.
const STEP_BYTES: usize = 16 << 10;
/// A buffer that once held a large datum is given back.
const KEPT_BYTES: usize = 4 << 20;

/// Takes the header off, and inflates the datum into `inflated` where it is compressed.
pub(super) fn split<'v>(
    bytes: &'v [u8],
    inflated: &'v mut Vec<u8>,
) -> Result<(SchemaId, &'v [u8]), WireError> {
    let Some(([HEADER_VERSION, compression, uuid @ ..], rest)) = bytes.split_first_chunk::<18>() else {
        return Err(refusal(bytes, HEADER_VERSION, 18));
    };
    let datum = match *compression {
        NOT_COMPRESSED => rest,
        ZLIB => {
            inflate(rest, inflated, MAX_INFLATED_BYTES)?;
            inflated
        }
        byte => {
            return Err(WireError::Marker { byte, reason: "the compression is 0 (none) or 5 (zlib)" });
        }
    };
    Ok((SchemaId::Uuid(*uuid), datum))
}

/// Exactly one zlib stream. Memory grows with what comes out, never with what the stream says.
fn inflate(input: &[u8], output: &mut Vec<u8>, limit_bytes: usize) -> Result<(), WireError> {
    output.clear();
    if output.capacity() > KEPT_BYTES {
        *output = Vec::new();
    }
    let mut stream = Decompress::new(true);
    loop {
        if output.len() > limit_bytes {
            return Err(WireError::TooLarge { limit_bytes });
        }
        let room = STEP_BYTES.max(output.len()).min(limit_bytes + 1 - output.len());
        output.reserve(room);
        let (read, written) = (stream.total_in() as usize, output.len());
        let status = stream
            .decompress_vec(&input[read..], output, FlushDecompress::None)
            .map_err(|_| WireError::Compression("it is damaged"))?;
        if status == Status::StreamEnd {
            return match stream.total_in() as usize == input.len() {
                _ if output.len() > limit_bytes => Err(WireError::TooLarge { limit_bytes }),
                true => Ok(()),
                false => Err(WireError::Compression("bytes are left after its end")),
            };
        }
        if stream.total_in() as usize == read && output.len() == written {
            return Err(WireError::Compression("it ends too early"));
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn deflated(datum: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(datum.len() + 1024);
        Compress::new(Compression::best(), true)
            .compress_vec(datum, &mut out, FlushCompress::Finish)
            .unwrap();
        out
    }

    fn framed(compression: u8, rest: &[u8]) -> Vec<u8> {
        [&[3, compression], b"0123456789abcdef".as_slice(), rest].concat()
    }

    #[test]
    fn plain_and_compressed_datums_come_out() {
        let mut buffer = Vec::new();
        let id = SchemaId::Uuid(*b"0123456789abcdef");
        assert_eq!(split(&framed(0, &[7, 8]), &mut buffer), Ok((id, &[7, 8][..])));
        assert_eq!(split(&framed(0, &[]), &mut buffer), Ok((id, &[][..])));
        for length in [0, 1, 1000, 100_000, 3_000_000] {
            let datum: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
            assert_eq!(split(&framed(5, &deflated(&datum)), &mut buffer), Ok((id, &datum[..])), "{length}");
        }
    }

    #[test]
    fn fault_66_the_buffer_of_a_large_datum_is_given_back() {
        let mut buffer = Vec::new();
        split(&framed(5, &deflated(&vec![7; 2 * KEPT_BYTES])), &mut buffer).unwrap();
        assert!(buffer.capacity() > KEPT_BYTES);
        split(&framed(5, &deflated(&[7])), &mut buffer).unwrap();
        assert!(buffer.capacity() <= KEPT_BYTES, "{}", buffer.capacity());
    }

    #[test]
    fn fault_45_other_bytes_are_named() {
        let reason = |bytes: &[u8]| split(bytes, &mut Vec::new()).unwrap_err().to_string();
        assert!(reason(&framed(4, &[])).contains("0x04"));
        assert!(reason(&[0; 30]).contains("0x00 instead of 0x03"));
        assert_eq!(split(&[], &mut Vec::new()), Err(WireError::Empty));
        for bytes in 1..18 {
            let value = framed(0, &[]);
            let error = split(&value[..bytes], &mut Vec::new()).unwrap_err();
            assert_eq!(error, WireError::TooShort { bytes, needed: 18 });
        }
    }

    #[test]
    fn fault_48_what_inflates_beyond_the_limit_is_refused_before_it_is_all_there() {
        let mut buffer = Vec::new();
        let bomb = deflated(&vec![0; 1 << 20]);
        assert!(bomb.len() < 2_000);
        let limit_bytes = 100_000;
        assert_eq!(inflate(&bomb, &mut buffer, limit_bytes), Err(WireError::TooLarge { limit_bytes }));
        assert!(buffer.capacity() < 4 * limit_bytes, "{}", buffer.capacity());
        assert_eq!(inflate(&deflated(&vec![1; 100_000]), &mut buffer, limit_bytes), Ok(()));
        assert_eq!(
            inflate(&deflated(&vec![1; 100_001]), &mut buffer, limit_bytes),
            Err(WireError::TooLarge { limit_bytes })
        );
    }

    #[test]
    fn fault_46_a_damaged_stream_is_poison_however_it_is_cut() {
        let mut buffer = Vec::new();
        let datum: Vec<u8> = (0..5000_u32).map(|at| (at * at % 253) as u8).collect();
        let whole = deflated(&datum);
        for length in 0..whole.len() {
            let error = split(&framed(5, &whole[..length]), &mut buffer).unwrap_err();
            assert_eq!(error.kind(), "bad_compression", "cut at {length}");
        }
        let mut trailing = whole.clone();
        trailing.push(0);
        assert_eq!(split(&framed(5, &trailing), &mut buffer).unwrap_err().kind(), "bad_compression");
        let mut flipped = whole;
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        assert_eq!(split(&framed(5, &flipped), &mut buffer).unwrap_err().kind(), "bad_compression");
    }
}
