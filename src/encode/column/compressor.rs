//! Owns making pages smaller, and the memory that takes, which all columns of a file share.

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use snap::raw::{Encoder, max_compress_len};

/// Compresses pages one after the other.
pub(crate) struct Compressor {
    kind: Kind,
    room: Vec<u8>,
    /// Where a page is put together before it is compressed.
    pub(super) body: Vec<u8>,
}

enum Kind {
    None,
    Snappy(Box<Encoder>),
}

impl Default for Compressor {
    /// Leaves pages as they are.
    fn default() -> Self {
        Self { kind: Kind::None, room: Vec::new(), body: Vec::new() }
    }
}

impl Compressor {
    /// The compressor of a codec; `None` for codecs that are not handled here.
    pub(crate) fn of(codec: Compression) -> Option<Self> {
        let kind = match codec {
            Compression::UNCOMPRESSED => Kind::None,
            Compression::SNAPPY => Kind::Snappy(Box::new(Encoder::new())),
            _ => return None,
        };
        Some(Self { kind, ..Self::default() })
    }

    /// Memory held, bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.room.capacity() + self.body.capacity()
    }

    /// Gives the memory of the largest page so far back.
    pub(crate) fn give_back(&mut self) {
        (self.room, self.body) = (Vec::new(), Vec::new());
    }

    /// `bytes`, compressed.
    ///
    /// # Errors
    /// When there are more than the codec takes at a time, 4 GiB.
    pub(super) fn compress(&mut self, bytes: &[u8]) -> Result<Vec<u8>, ParquetError> {
        match &mut self.kind {
            Kind::None => Ok(bytes.to_vec()),
            Kind::Snappy(encoder) => {
                let needed = max_compress_len(bytes.len());
                if self.room.len() < needed {
                    self.room.resize(needed, 0);
                }
                let len = encoder
                    .compress(bytes, &mut self.room)
                    .map_err(|error| ParquetError::External(error.into()))?;
                Ok(self.room[..len].to_vec())
            }
        }
    }
}
