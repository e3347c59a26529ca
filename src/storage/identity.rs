//! Owns how a published file is recognised: row count and content checksum in the footer's key-values. Does not own where
//! the bytes come from, nor how the checksum is computed.

use std::fmt;
use std::future::Future;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::error::{ExistingFile, StorageError};

/// Footer key of the number of rows, decimal.
pub const ROWS_KEY: &str = "sluice.rows";
/// Footer key of the content checksum, 16 lower-case hex digits.
pub const CHECKSUM_KEY: &str = "sluice.checksum";

/// How much of a file's end is read at first, in bytes. Most footers fit.
const FIRST_TAIL_BYTES: u64 = 64 << 10;
/// A footer beyond this is not one of ours.
const MAX_FOOTER_BYTES: u64 = 256 << 20;

/// What a file holds, as far as telling two files apart needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// Rows in the file.
    pub rows: u64,
    /// Checksum of the records in the file, independent of how they were encoded.
    pub checksum: u64,
}

impl fmt::Display for FileIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows with checksum {:016x}", self.rows, self.checksum)
    }
}

/// The last bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// As many as were asked for, or the whole file.
    pub bytes: Bytes,
    /// Size of the whole file, in bytes.
    pub file_bytes: u64,
}

/// A file's footer, or why it has none.
#[derive(Debug)]
pub(super) enum Footer {
    Parsed(Box<ParquetMetaData>),
    Unreadable(String),
}

impl Footer {
    /// What the footer says of the file's content.
    pub(super) fn identity(&self) -> ExistingFile {
        let metadata = match self {
            Self::Parsed(metadata) => metadata,
            Self::Unreadable(why) => return ExistingFile::Unreadable(why.clone()),
        };
        let rows = value_of(metadata, ROWS_KEY).and_then(|text| text.parse().ok());
        let checksum = value_of(metadata, CHECKSUM_KEY)
            .filter(|text| text.len() == 16)
            .and_then(|text| u64::from_str_radix(text, 16).ok());
        match (rows, checksum) {
            (Some(rows), Some(checksum)) => ExistingFile::Identified(FileIdentity { rows, checksum }),
            _ => ExistingFile::Unreadable(format!("its footer has no valid {ROWS_KEY} and {CHECKSUM_KEY}")),
        }
    }
}

/// Reads a footer through `fetch_tail`, which returns the last `n` bytes or `None` when there is no such file.
pub(super) async fn read_footer<F, Fut>(fetch_tail: F) -> Result<Option<Footer>, StorageError>
where
    F: Fn(u64) -> Fut,
    Fut: Future<Output = Result<Option<Tail>, StorageError>>,
{
    let mut wanted_bytes = FIRST_TAIL_BYTES;
    loop {
        let Some(tail) = fetch_tail(wanted_bytes).await? else {
            return Ok(None);
        };
        let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
        let parsed = reader.try_parse_sized(&tail.bytes, tail.file_bytes).and_then(|()| reader.finish());
        match parsed {
            Ok(metadata) => return Ok(Some(Footer::Parsed(Box::new(metadata)))),
            Err(ParquetError::NeedMoreData(needed))
                if needed as u64 > wanted_bytes && needed as u64 <= MAX_FOOTER_BYTES =>
            {
                wanted_bytes = needed as u64;
            }
            Err(error) => return Ok(Some(Footer::Unreadable(format!("not a Parquet file: {error}")))),
        }
    }
}

fn value_of<'a>(metadata: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    metadata.file_metadata().key_value_metadata()?.iter().find(|pair| pair.key == key)?.value.as_deref()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    /// A Parquet file without rows whose footer has the given key-values.
    pub(in crate::storage) fn parquet_with(pairs: &[(&str, String)]) -> Vec<u8> {
        let schema = Arc::new(parse_message_type("message m { optional int64 a; }").unwrap());
        let pairs =
            pairs.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
        let properties = Arc::new(WriterProperties::builder().set_key_value_metadata(Some(pairs)).build());
        let mut file = Vec::new();
        SerializedFileWriter::new(&mut file, schema, properties).unwrap().close().unwrap();
        file
    }

    /// A file of ours: `padding_bytes` of anything, then what identifies it.
    pub(in crate::storage) fn file_of(identity: FileIdentity, padding_bytes: usize) -> Bytes {
        let mut file = vec![0xA5; padding_bytes];
        file.extend(parquet_with(&[
            (ROWS_KEY, identity.rows.to_string()),
            (CHECKSUM_KEY, format!("{:016x}", identity.checksum)),
        ]));
        file.into()
    }

    async fn identity_of(file: Bytes) -> ExistingFile {
        let fetch = |wanted_bytes: u64| {
            let file_bytes = file.len() as u64;
            let bytes = file.slice(file.len().saturating_sub(wanted_bytes as usize)..);
            async move { Ok(Some(Tail { bytes, file_bytes })) }
        };
        read_footer(fetch).await.unwrap().unwrap().identity()
    }

    #[tokio::test]
    async fn an_identity_is_read_back() {
        let identity = FileIdentity { rows: 7, checksum: 0xfeed };
        assert_eq!(identity_of(file_of(identity, 1 << 20)).await, ExistingFile::Identified(identity));
    }

    #[tokio::test]
    async fn a_footer_larger_than_the_first_read_is_found() {
        let pairs = [
            ("big", "x".repeat(300 << 10)),
            (ROWS_KEY, "1".to_owned()),
            (CHECKSUM_KEY, "00000000000000ff".to_owned()),
        ];
        let expected = ExistingFile::Identified(FileIdentity { rows: 1, checksum: 0xff });
        assert_eq!(identity_of(parquet_with(&pairs).into()).await, expected);
    }

    #[tokio::test]
    async fn what_is_not_ours_is_unreadable() {
        let mut cut = file_of(FileIdentity { rows: 1, checksum: 2 }, 0).to_vec();
        cut.truncate(cut.len() - 1);
        let strange: [Bytes; 5] = [
            Bytes::new(),
            Bytes::from_static(b"PAR1"),
            Bytes::from(vec![0xff; 100_000]),
            cut.into(),
            parquet_with(&[(ROWS_KEY, "1".into()), (CHECKSUM_KEY, "ff".into())]).into(),
        ];
        for file in strange {
            assert!(matches!(identity_of(file).await, ExistingFile::Unreadable(_)));
        }
    }
}
