//! Owns the bytes between the Parquet writer and whoever carries them away: pieces of one size, so that none is ever
//! copied to grow.

use std::io::{self, Write};
use std::mem;

use bytes::Bytes;

/// Size of a piece.
const PIECE_BYTES: usize = 1 << 20;

/// Where the Parquet writer writes.
#[derive(Debug, Default)]
pub(super) struct PieceSink {
    full: Vec<Bytes>,
    open: Vec<u8>,
}

impl PieceSink {
    /// Bytes not taken yet.
    pub(super) fn len(&self) -> usize {
        self.full.len() * PIECE_BYTES + self.open.len()
    }

    /// Everything written since the last call.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        let mut pieces = mem::take(&mut self.full);
        if !self.open.is_empty() {
            let mut last = mem::take(&mut self.open);
            last.shrink_to_fit();
            pieces.push(last.into());
        }
        pieces
    }
}

impl Write for PieceSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (now, _) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.open.len()));
        if self.open.capacity() == 0 && bytes.len() > 64 {
            self.open.reserve_exact(PIECE_BYTES);
        }
        self.open.extend_from_slice(now);
        if self.open.len() == PIECE_BYTES {
            self.full.push(mem::take(&mut self.open).into());
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_was_written_in_order() {
        let mut sink = PieceSink::default();
        let text: Vec<u8> = (0..3 * PIECE_BYTES / 2 + 7).map(|at| (at % 251) as u8).collect();
        for part in text.chunks(1000) {
            sink.write_all(part).unwrap();
        }
        assert_eq!(sink.len(), text.len());
        let pieces = sink.take();
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces.concat(), text);
        assert!(sink.take().is_empty() && sink.len() == 0);
    }
}
