//! From Arrow record batches to the bytes of a Parquet file. Computes; no I/O: whoever owns the encoder takes the
//! bytes as row groups close.

mod file;
mod footer;
mod properties;
mod sort;

pub use file::{EncodedFile, FileEncoder};
pub use footer::{FileFacts, FooterKey};
pub use properties::writer_properties;
