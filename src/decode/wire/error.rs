//! Owns what can be wrong with the bytes before a datum. Does not own what is done about it.

use crate::error::{Failure, Stage};

/// Why a value or key does not start as its format says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No byte at all. Not a tombstone: that is a null value.
    #[error("it is empty (0 bytes), not even a schema id; a tombstone would be null")]
    Empty,
    /// Cut off inside what names the schema.
    #[error("it has {bytes} bytes; what names the schema alone takes {needed}")]
    TooShort {
        /// Bytes there are.
        bytes: usize,
        /// Bytes before the datum.
        needed: usize,
    },
    /// Another first byte than the format's.
    #[error("it starts with byte 0x{byte:02x} instead of 0x{expected:02x} and what names the schema{hint}")]
    Magic {
        /// The first byte.
        byte: u8,
        /// What it should be.
        expected: u8,
        /// What it looks like, as a clause to append; may be empty.
        hint: &'static str,
    },
    /// The format's first byte, but not its second.
    #[error("its second byte is 0x{byte:02x}: {reason}")]
    Marker {
        /// The second byte.
        byte: u8,
        /// What it should be.
        reason: &'static str,
    },
    /// A compressed datum that is none.
    #[error("its datum is not zlib data: {0}")]
    Compression(&'static str),
    /// A compressed datum beyond the limit.
    #[error("its datum takes more than {limit_bytes} bytes when it is inflated")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// A header that should name the schema and does not.
    #[error("its header {name} has {bytes} bytes, the first 0x{first:02x}: {reason}")]
    Header {
        /// Key of the header.
        name: &'static str,
        /// Bytes of the header's value.
        bytes: usize,
        /// First of them; 0 where there is none.
        first: u8,
        /// What it should be.
        reason: &'static str,
    },
}

impl WireError {
    /// Short constant word for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooShort { .. } => "too_short",
            Self::Magic { .. } | Self::Marker { .. } => "bad_magic",
            Self::Compression(_) => "bad_compression",
            Self::TooLarge { .. } => "inflates_too_far",
            Self::Header { .. } => "bad_header",
        }
    }

    /// The failure of a record whose value (or key) this is.
    #[must_use]
    pub fn into_failure(self, subject: &str) -> Failure {
        Failure::poison(Stage::Wire, self.kind(), format!("the {subject} is not in the wire format: {self}"))
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        error.into_failure("value")
    }
}
