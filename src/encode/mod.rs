//! From Arrow record batches to the bytes of a Parquet file. Computes; no I/O: whoever owns the encoder takes the
//! bytes as row groups close.

mod column;
mod dictionary;
mod encoding;
mod file;
mod file_checksum;
mod footer;
mod parquet_schema;
mod properties;
mod row_group;
mod sample;
mod shred;
mod sink;
mod sort;
#[cfg(test)]
mod tests;
mod type_order;

pub use encoding::Encoding;
pub use file::{EncodedFile, FileEncoder};
pub use file_checksum::FileChecksum;
pub use footer::{FileFacts, FooterKey};
pub(crate) use parquet_schema::parquet_schema;
