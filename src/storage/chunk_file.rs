//! Owns the staged bytes of one file: chunks in order, the last few in memory and the rest in a file, written by position
//! so that a failed write can be tried again. Does not own where that file lies or what becomes of it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::disk::{blocking, disk_error, write_error};
use super::error::StorageError;
use crate::failpoint::failpoint;

/// How many bytes may gather in memory before a write once the file is open.
pub(super) const WRITE_BYTES: usize = 64 << 10;

/// Chunks of a file that is being made.
#[derive(Debug)]
pub(super) struct ChunkFile {
    /// For messages; the file may have no name.
    shown_path: PathBuf,
    file: Option<Arc<File>>,
    /// Bytes at the start that are in `file`.
    written_bytes: u64,
    /// What follows them.
    pending: Vec<Bytes>,
    pending_bytes: usize,
    /// Bytes that may stay in memory while there is no file.
    memory_bytes: usize,
    durability: Durability,
}

#[derive(Debug)]
enum Durability {
    Unknown,
    /// An fsync was begun and its answer is not here. The kernel tells a failure once only, so asking again proves nothing.
    Asked,
    Durable,
    Lost(String),
}

impl ChunkFile {
    /// Nothing yet. A file is opened when more than `memory_bytes` have come.
    pub(super) fn new(shown_path: PathBuf, memory_bytes: usize) -> Self {
        Self {
            shown_path,
            file: None,
            written_bytes: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            memory_bytes,
            durability: Durability::Unknown,
        }
    }

    /// Bytes taken so far.
    pub(super) fn len(&self) -> u64 {
        self.written_bytes + self.pending_bytes as u64
    }

    /// Bytes that are still in memory.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Takes a chunk. No I/O.
    pub(super) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.pending_bytes += chunk.len();
            self.pending.push(chunk);
        }
    }

    /// Writes out what has gathered, if it is enough to be worth it. `open` makes the file where there is none yet.
    pub(super) async fn relieve<F>(&mut self, open: F) -> Result<(), StorageError>
    where
        F: FnOnce() -> io::Result<File> + Send + 'static,
    {
        let limit_bytes = if self.file.is_some() { WRITE_BYTES } else { self.memory_bytes };
        if self.pending_bytes <= limit_bytes { Ok(()) } else { self.write_out(open).await }
    }

    /// Writes out everything. When it fails, nothing is lost and it may be called again, unless it says `Spoiled`.
    pub(super) async fn write_out<F>(&mut self, open: F) -> Result<(), StorageError>
    where
        F: FnOnce() -> io::Result<File> + Send + 'static,
    {
        self.check_not_lost()?;
        if matches!(self.durability, Durability::Durable) {
            return Ok(());
        }
        let file = self.file_or_open(open).await?;
        if self.pending.is_empty() {
            return Ok(());
        }
        // Clones share the bytes. If this future is dropped half-way, the same bytes are written again at the same place.
        let (chunks, path, start) = (self.pending.clone(), self.shown_path.clone(), self.written_bytes);
        let outcome = blocking(move || write_chunks(&file, start, &chunks, &path)).await;
        failpoint!("write.after");
        match outcome {
            Ok(()) => {
                self.written_bytes += self.pending_bytes as u64;
                self.pending.clear();
                self.pending_bytes = 0;
                Ok(())
            }
            Err(error) => Err(self.note_loss(error)),
        }
    }

    /// Writes out the rest of a file that has left memory; a file still small enough stays there.
    pub(super) async fn finish(&mut self) -> Result<(), StorageError> {
        match self.file {
            None => Ok(()),
            Some(_) => self.write_out(|| Err(io::Error::other("the scratch file was closed"))).await,
        }
    }

    /// Makes everything durable: bytes and size. Asks the disk once in the life of the file.
    ///
    /// # Panics
    /// When bytes have not been written out.
    pub(super) async fn sync(&mut self) -> Result<(), StorageError> {
        self.check_not_lost()?;
        if matches!(self.durability, Durability::Durable) {
            return Ok(());
        }
        assert!(self.pending.is_empty(), "fsync of {} before all is written", self.shown_path.display());
        let file = Arc::clone(self.file.as_ref().expect("write_out opens the file"));
        let path = self.shown_path.clone();
        self.durability = Durability::Asked;
        let outcome = blocking(move || {
            file.sync_all().map_err(|error| {
                StorageError::spoiled(format!("fsync of {} failed: {error}", path.display()))
            })
        })
        .await;
        failpoint!("sync.after");
        match outcome {
            Ok(()) => {
                self.durability = Durability::Durable;
                Ok(())
            }
            Err(error) => Err(self.note_loss(error)),
        }
    }

    /// Reads a range back, from memory or from the file.
    ///
    /// # Panics
    /// When the range goes past the end.
    pub(super) async fn read(&self, range: Range<u64>) -> Result<Bytes, StorageError> {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "range {range:?} of {} bytes",
            self.len()
        );
        let written_bytes = self.written_bytes;
        if range.start >= written_bytes {
            return Ok(cut(&self.pending, range.start - written_bytes..range.end - written_bytes));
        }
        let file = Arc::clone(self.file.as_ref().expect("written bytes are in a file"));
        let (path, end) = (self.shown_path.clone(), range.end.min(written_bytes));
        let whole_bytes = (range.end - range.start) as usize;
        let mut read = blocking(move || {
            let mut bytes = BytesMut::with_capacity(whole_bytes);
            bytes.resize((end - range.start) as usize, 0);
            file.read_exact_at(&mut bytes, range.start).map_err(|error| {
                StorageError::spoiled(format!("cannot read {} back: {error}", path.display()))
            })?;
            Ok(bytes)
        })
        .await?;
        read.extend_from_slice(&cut(&self.pending, 0..range.end.saturating_sub(written_bytes)));
        Ok(read.freeze())
    }

    /// Closes a file that is durable: from here on only its name matters, and open files are few.
    ///
    /// # Panics
    /// Before [`Self::sync`] has succeeded.
    pub(super) fn close(&mut self) {
        assert!(matches!(self.durability, Durability::Durable), "closed before it was durable");
        self.file = None;
    }

    /// Lets go of memory and file. What was staged is gone.
    pub(super) fn release(&mut self) {
        self.file = None;
        self.pending.clear();
        self.pending_bytes = 0;
    }

    async fn file_or_open<F>(&mut self, open: F) -> Result<Arc<File>, StorageError>
    where
        F: FnOnce() -> io::Result<File> + Send + 'static,
    {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let path = self.shown_path.clone();
        let file = blocking(move || open().map_err(|error| disk_error(&error, "create", &path))).await?;
        Ok(Arc::clone(self.file.insert(Arc::new(file))))
    }

    fn check_not_lost(&self) -> Result<(), StorageError> {
        match &self.durability {
            Durability::Unknown | Durability::Durable => Ok(()),
            Durability::Asked => {
                Err(StorageError::spoiled(format!("fsync of {} was interrupted", self.shown_path.display())))
            }
            Durability::Lost(reason) => Err(StorageError::spoiled(reason.clone())),
        }
    }

    fn note_loss(&mut self, error: StorageError) -> StorageError {
        if let StorageError::Spoiled { reason } = &error {
            self.durability = Durability::Lost(reason.clone());
        }
        error
    }
}

fn write_chunks(file: &File, start: u64, chunks: &[Bytes], path: &Path) -> Result<(), StorageError> {
    let mut position = start;
    for chunk in chunks {
        file.write_all_at(chunk, position).map_err(|error| write_error(&error, path))?;
        position += chunk.len() as u64;
    }
    Ok(())
}

/// A range of the chunks in a row; of a single chunk it shares the bytes.
fn cut(chunks: &[Bytes], range: Range<u64>) -> Bytes {
    let (mut position, mut whole) = (0, BytesMut::new());
    for chunk in chunks {
        let end = position + chunk.len() as u64;
        let (from, to) = (range.start.max(position), range.end.min(end));
        if from < to {
            let part = (from - position) as usize..(to - position) as usize;
            if (from, to) == (range.start, range.end) {
                return chunk.slice(part);
            }
            whole.reserve((range.end - from) as usize);
            whole.extend_from_slice(&chunk[part]);
        }
        position = end;
    }
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn open_full() -> io::Result<File> {
        File::options().read(true).write(true).open("/dev/full")
    }

    #[tokio::test]
    async fn chunks_come_back_in_order_from_memory_and_from_disk() {
        for memory_bytes in [0, 1 << 20] {
            let mut chunks = ChunkFile::new("scratch".into(), memory_bytes);
            for text in ["abc", "", "de", "fghi"] {
                chunks.push(Bytes::from_static(text.as_bytes()));
                chunks.relieve(tempfile::tempfile).await.unwrap();
            }
            if memory_bytes == 0 {
                chunks.write_out(tempfile::tempfile).await.unwrap();
                assert_eq!(chunks.pending_bytes(), 0);
            }
            assert_eq!(chunks.len(), 9);
            assert_eq!(chunks.read(0..9).await.unwrap(), "abcdefghi");
            assert_eq!(chunks.read(2..5).await.unwrap(), "cde");
        }
    }

    #[tokio::test]
    async fn fault_74_a_full_disk_keeps_the_bytes_for_another_try() {
        let mut chunks = ChunkFile::new("full".into(), 0);
        chunks.push(Bytes::from_static(b"abc"));
        let error = chunks.write_out(open_full).await.unwrap_err();
        assert!(matches!(error, StorageError::Retriable { .. }), "{error:?}");
        assert_eq!(chunks.pending_bytes(), 3);
        chunks.file = Some(Arc::new(tempfile::tempfile().unwrap()));
        chunks.write_out(open_full).await.unwrap();
        assert_eq!(chunks.read(0..3).await.unwrap(), "abc");
    }

    #[tokio::test]
    async fn fault_74_what_a_full_disk_did_not_take_is_read_from_memory() {
        let mut chunks = ChunkFile::new("full".into(), 0);
        chunks.push(Bytes::from_static(b"abc"));
        chunks.write_out(tempfile::tempfile).await.unwrap();
        let written = chunks.file.replace(Arc::new(open_full().unwrap()));
        for text in ["de", "f", "ghi"] {
            chunks.push(Bytes::from_static(text.as_bytes()));
            assert!(matches!(chunks.write_out(open_full).await, Err(StorageError::Retriable { .. })));
        }
        chunks.file = written;
        for start in 0..9 {
            for end in start..=9 {
                let expected = &b"abcdefghi"[start..end];
                assert_eq!(chunks.read(start as u64..end as u64).await.unwrap(), expected);
            }
        }
    }

    #[tokio::test]
    async fn fault_76_a_failed_fsync_is_never_asked_again() {
        let mut chunks = ChunkFile::new("full".into(), 0);
        chunks.file = Some(Arc::new(open_full().unwrap()));
        assert!(
            matches!(chunks.sync().await, Err(StorageError::Spoiled { .. })),
            "fsync of a device must fail"
        );
        chunks.file = Some(Arc::new(tempfile::tempfile().unwrap()));
        assert!(matches!(chunks.sync().await, Err(StorageError::Spoiled { .. })));
        chunks.push(Bytes::from_static(b"more"));
        assert!(matches!(chunks.write_out(open_full).await, Err(StorageError::Spoiled { .. })));
    }

    #[test]
    fn fault_76_an_fsync_without_an_answer_is_in_doubt() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let mut chunks = ChunkFile::new("scratch".into(), 0);
            chunks.write_out(tempfile::tempfile).await.unwrap();
            let (go_on, wait) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || wait.recv());
            assert!(chunks.sync().now_or_never().is_none(), "the only thread for disk work is busy");
            go_on.send(()).unwrap();
            busy.await.unwrap().unwrap();
            assert!(matches!(chunks.sync().await, Err(StorageError::Spoiled { .. })));
        });
    }
}
