//! What stands in front of a datum, or in a record's headers, and says which schema wrote it. Each format is one
//! function from a record's bytes to (what names the schema, datum). Does not own the datum.

mod error;
mod framing;
mod glue;
mod headers;

pub use error::WireError;
pub use headers::Side;

use crate::config::settings::WireFormat;
use crate::record::Header;
use crate::schema_id::SchemaId;

/// Takes the bytes of record values, or of keys, apart. Holds the buffer of compressed formats, so use one for many.
#[derive(Debug)]
pub struct WireReader {
    format: WireFormat,
    side: Side,
    inflated: Vec<u8>,
}

impl WireReader {
    /// A reader of this format for keys or for values.
    #[must_use]
    pub fn new(format: WireFormat, side: Side) -> Self {
        Self { format, side, inflated: Vec::new() }
    }

    /// The schema's name and the datum, which may be empty. `headers` are the record's; only
    /// [`WireFormat::Header`] looks at them.
    ///
    /// # Errors
    /// [`WireError`] when the bytes do not start as the format says.
    pub fn split<'v>(
        &'v mut self,
        bytes: &'v [u8],
        headers: &[Header],
    ) -> Result<(SchemaId, &'v [u8]), WireError> {
        match self.format {
            WireFormat::Confluent => framing::confluent(bytes),
            WireFormat::Apicurio => framing::apicurio(bytes),
            WireFormat::SingleObject => framing::single_object(bytes),
            WireFormat::Glue => glue::split(bytes, &mut self.inflated),
            WireFormat::Header => match headers::schema_of(headers, self.side)? {
                Some(id) => Ok((id, bytes)),
                // As Confluent's own consumers do, so that a topic may change over.
                None => framing::confluent(bytes),
            },
            WireFormat::None => Ok((SchemaId::ValueFile, bytes)),
        }
    }
}
