//! Owns one staged file of an object store on its way to its key: kept in memory or scratch space, uploaded in parts where
//! large, made visible by one conditional request. Does not own the requests' transport ([`super::transport`]).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, PutMode, PutOptions, PutPayload};

use super::ObjectBackend;
use super::refusal::Refusal;
use crate::failpoint::failpoint;
use crate::storage::Published;
use crate::storage::chunk_file::ChunkFile;
use crate::storage::error::{ExistingFile, StorageError};
use crate::storage::identity::FileIdentity;
use crate::storage::local::staging::random_u64;
use crate::storage::name::ObjectName;

/// Parts of one file that are uploaded side by side.
const PARTS_SIDE_BY_SIDE: usize = 2;
/// S3's limit is 10,000; the rest is reserve.
const MAX_PARTS: u64 = 9_500;

#[derive(Debug)]
pub(in crate::storage) struct ObjectStaged {
    backend: Arc<ObjectBackend>,
    chunks: ChunkFile,
    target: Option<Target>,
    upload: Option<Upload>,
    published: Option<Published>,
}

#[derive(Clone, Debug)]
struct Target {
    name: ObjectName,
    key: Path,
}

/// A multipart upload that is not completed.
#[derive(Debug)]
struct Upload {
    id: MultipartId,
    part_bytes: u64,
    parts: Vec<Option<PartId>>,
    /// A completion was sent, and nothing since has told that it did not work: leave the upload alone.
    in_doubt: bool,
}

impl ObjectStaged {
    pub(super) fn new(backend: Arc<ObjectBackend>) -> Self {
        let shown_path = backend.scratch_dir.join("(unnamed scratch file)");
        let chunks = ChunkFile::new(shown_path, backend.sizes.memory);
        Self { backend, chunks, target: None, upload: None, published: None }
    }

    pub(in crate::storage) fn staged_bytes(&self) -> u64 {
        self.chunks.len()
    }

    pub(in crate::storage) fn memory_bytes(&self) -> usize {
        self.chunks.pending_bytes()
    }

    pub(in crate::storage) async fn append(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        assert!(self.target.is_none(), "append after seal");
        self.chunks.push(chunk);
        let written = self.chunks.relieve(self.open_scratch()).await;
        self.note_scratch(written)
    }

    pub(in crate::storage) async fn seal(&mut self, name: &ObjectName) -> Result<(), StorageError> {
        if self.target.is_none() {
            let key = self.backend.key_of(name.as_str())?;
            self.target = Some(Target { name: name.clone(), key });
        }
        let target = self.target.clone().expect("set above");
        assert!(target.name == *name, "sealed under another name");
        if self.published.is_some() {
            return Ok(());
        }
        self.write_rest().await?;
        if self.chunks.len() <= self.backend.sizes.single_put {
            return Ok(());
        }
        self.upload_parts(&target).await
    }

    pub(in crate::storage) async fn publish(
        &mut self,
        identity: &FileIdentity,
    ) -> Result<Published, StorageError> {
        let target = self.target.clone().expect("publish needs seal");
        if let Some(published) = self.published {
            return Ok(published);
        }
        // Uploads what is missing where seal did not come to its end or the store has dropped the upload.
        self.seal(&target.name).await?;
        let published = match &self.upload {
            None => self.put_whole(&target, identity).await?,
            Some(_) => self.complete(&target, identity).await?,
        };
        self.published = Some(published);
        self.chunks.release();
        if published == Published::Created {
            self.upload = None;
        } else {
            self.abort_upload().await;
        }
        Ok(published)
    }

    pub(in crate::storage) async fn discard(mut self) {
        self.abort_upload().await;
    }

    /// Frees memory. What the scratch space does not take goes up from memory: flushes that are open fill that space, and only
    /// flushes that are uploaded make room in it.
    async fn write_rest(&mut self) -> Result<(), StorageError> {
        let written = if self.chunks.len() <= self.backend.sizes.single_put {
            self.chunks.finish().await
        } else {
            self.chunks.write_out(self.open_scratch()).await
        };
        match self.note_scratch(written) {
            Err(StorageError::Retriable { .. }) => Ok(()),
            written => written,
        }
    }

    /// Nobody waits for scratch space, so what is wrong with it is told here.
    fn note_scratch(&self, written: Result<(), StorageError>) -> Result<(), StorageError> {
        if let Err(error @ StorageError::Retriable { .. }) = &written {
            self.backend.tell_of_scratch(error);
        }
        written
    }

    async fn upload_parts(&mut self, target: &Target) -> Result<(), StorageError> {
        if self.upload.is_none() {
            self.upload = Some(self.begin_upload(target).await?);
        }
        let upload = self.upload.as_mut().expect("begun above");
        let (backend, chunks) = (&self.backend, &self.chunks);
        let (id, part_bytes) = (&upload.id, upload.part_bytes);
        let mut uploads = stream::iter(upload.missing_parts())
            .map(|index| async move {
                let range = part_range(index, part_bytes, chunks.len());
                (index, upload_part(backend, chunks, target, id, index, range).await)
            })
            .buffer_unordered(PARTS_SIDE_BY_SIDE);
        let mut failed = None;
        let mut done = Vec::new();
        while let Some((index, outcome)) = uploads.next().await {
            match outcome {
                Ok(part) => done.push((index, part)),
                Err(refusal) => {
                    failed = Some(refusal);
                    break;
                }
            }
        }
        drop(uploads);
        for (index, part) in done {
            upload.parts[index] = Some(part);
        }
        let Some(refusal) = failed else { return Ok(()) };
        let doing = format!("upload a part of {}", self.backend.url_of(target.name.as_str()));
        if matches!(refusal, Refusal::Absent) {
            self.upload = None;
            return Err(StorageError::retriable(format!(
                "cannot {doing}: the store dropped the upload; starting it anew"
            )));
        }
        Err(refusal.into_error(&doing))
    }

    async fn begin_upload(&self, target: &Target) -> Result<Upload, StorageError> {
        failpoint!("upload.create.before", return Err(StorageError::retriable("a failpoint")));
        let id = self.backend.multipart.create_multipart(&target.key).await.map_err(|error| {
            let doing = format!("begin an upload to {}", self.backend.url_of(target.name.as_str()));
            self.backend.refusal(&error, &doing).into_error(&doing)
        })?;
        failpoint!("upload.create.after", return Err(StorageError::retriable("a failpoint")));
        Ok(Upload::new(id, self.chunks.len(), self.backend.sizes.part))
    }

    async fn put_whole(&self, target: &Target, identity: &FileIdentity) -> Result<Published, StorageError> {
        let _permit = self.backend.upload_permit(self.chunks.len()).await;
        let bytes = self.chunks.read(0..self.chunks.len()).await?;
        let create = PutOptions::from(PutMode::Create);
        failpoint!("put.before", return Err(StorageError::retriable("a failpoint")));
        let outcome = self.backend.store.put_opts(&target.key, PutPayload::from(bytes), create).await;
        failpoint!("put.after", return Err(StorageError::retriable("a failpoint")));
        match outcome {
            Ok(_) => Ok(Published::Created),
            Err(error) => {
                let doing = format!("write {}", self.backend.url_of(target.name.as_str()));
                match self.backend.refusal(&error, &doing) {
                    Refusal::Certain(error) => Err(error),
                    refusal => self.look_after(target, identity, refusal.into_error(&doing)).await,
                }
            }
        }
    }

    async fn complete(
        &mut self,
        target: &Target,
        identity: &FileIdentity,
    ) -> Result<Published, StorageError> {
        // Not every store completes conditionally, and a file that is there already needs no completion.
        if let Some(published) = self.look(target, identity).await? {
            return Ok(published);
        }
        let doing = format!("complete the upload to {}", self.backend.url_of(target.name.as_str()));
        let upload = self.upload.as_mut().expect("completed only where parts were uploaded");
        let parts = upload.parts.iter().map(|part| part.clone().expect("seal uploads every part")).collect();
        upload.in_doubt = true;
        failpoint!("complete.before", return Err(StorageError::retriable("a failpoint")));
        let outcome = self.backend.multipart.complete_multipart(&target.key, &upload.id, parts).await;
        failpoint!("complete.after", return Err(StorageError::retriable("a failpoint")));
        let Err(error) = outcome else { return Ok(Published::Created) };
        let refusal = self.backend.refusal(&error, &doing);
        match refusal {
            Refusal::Certain(error) => {
                upload.in_doubt = false;
                Err(error)
            }
            Refusal::NameTaken => {
                upload.in_doubt = false;
                self.look_after(target, identity, refusal.into_error(&doing)).await
            }
            Refusal::Absent => {
                // Completed by an earlier try, or taken away by a lifecycle rule: then the parts go up again.
                self.upload = None;
                let gone = StorageError::retriable(format!(
                    "cannot {doing}: the store dropped it; starting it anew"
                ));
                self.look_after(target, identity, gone).await
            }
            Refusal::PartsRefused(told) => {
                upload.in_doubt = false;
                let anew =
                    StorageError::retriable(format!("cannot {doing}: {told}; the parts go up once more"));
                self.abort_upload().await;
                self.look_after(target, identity, anew).await
            }
            Refusal::Unknown(error) => self.look_after(target, identity, error).await,
        }
    }

    /// After a request that failed or may have failed: what is there decides. `otherwise` holds when nothing is.
    async fn look_after(
        &self,
        target: &Target,
        identity: &FileIdentity,
        otherwise: StorageError,
    ) -> Result<Published, StorageError> {
        self.look(target, identity).await?.ok_or(otherwise)
    }

    async fn look(
        &self,
        target: &Target,
        identity: &FileIdentity,
    ) -> Result<Option<Published>, StorageError> {
        match self.backend.existing_file(target.name.as_str()).await? {
            None => Ok(None),
            Some(ExistingFile::Identified(existing)) if existing == *identity => Ok(Some(Published::Adopted)),
            Some(existing) => {
                let path = self.backend.url_of(target.name.as_str());
                Err(StorageError::Conflict { path, ours: *identity, existing })
            }
        }
    }

    /// Best effort: what stays is invisible, and a lifecycle rule for incomplete uploads takes it away.
    async fn abort_upload(&mut self) {
        if let Some(abort) = self.abort() {
            abort.await;
        }
    }

    fn abort(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let upload = self.upload.take().filter(|upload| !upload.in_doubt)?;
        let key = self.target.as_ref()?.key.clone();
        let backend = Arc::clone(&self.backend);
        Some(async move {
            if let Err(error) = backend.multipart.abort_multipart(&key, &upload.id).await {
                let error = backend.refusal(&error, "abort an upload").into_error("abort an upload");
                tracing::debug!(%key, %error, "an unfinished upload stays behind");
            }
        })
    }

    fn open_scratch(&self) -> impl FnOnce() -> io::Result<File> + Send + 'static {
        let directory = self.backend.scratch_dir.clone();
        move || open_nameless(&directory)
    }
}

impl Drop for ObjectStaged {
    fn drop(&mut self) {
        if let (Some(abort), Ok(runtime)) = (self.abort(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(abort);
        }
    }
}

impl Upload {
    fn new(id: MultipartId, file_bytes: u64, least_part_bytes: u64) -> Self {
        let part_bytes = least_part_bytes.max(file_bytes.div_ceil(MAX_PARTS));
        let parts = vec![None; file_bytes.div_ceil(part_bytes) as usize];
        Self { id, part_bytes, parts, in_doubt: false }
    }

    fn missing_parts(&self) -> Vec<usize> {
        (0..self.parts.len()).filter(|index| self.parts[*index].is_none()).collect()
    }
}

async fn upload_part(
    backend: &ObjectBackend,
    chunks: &ChunkFile,
    target: &Target,
    id: &MultipartId,
    index: usize,
    range: Range<u64>,
) -> Result<PartId, Refusal> {
    let _permit = backend.upload_permit(range.end - range.start).await;
    let bytes = chunks.read(range).await.map_err(Refusal::Certain)?;
    failpoint!("upload.part.before", return Err(Refusal::Certain(StorageError::retriable("a failpoint"))));
    let outcome = backend.multipart.put_part(&target.key, id, index, PutPayload::from(bytes)).await;
    failpoint!("upload.part.after", return Err(Refusal::Certain(StorageError::retriable("a failpoint"))));
    outcome.map_err(|error| {
        backend.refusal(&error, &format!("upload to {}", backend.url_of(target.name.as_str())))
    })
}

fn part_range(index: usize, part_bytes: u64, file_bytes: u64) -> Range<u64> {
    let start = index as u64 * part_bytes;
    start..(start + part_bytes).min(file_bytes)
}

/// A file without a name: its space is free again when the process ends, however it ends.
fn open_nameless(directory: &FilePath) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, OFlags};

        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
            return Ok(file.into());
        }
    }
    let path: PathBuf =
        directory.join(format!("sluice-{}-{:016x}.scratch", std::process::id(), random_u64()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_file_and_stay_below_the_limit() {
        let mib = 1u64 << 20;
        for file_bytes in [16 * mib + 1, 100 * mib, 500 * 1024 * mib] {
            let upload = Upload::new("id".into(), file_bytes, 8 * mib);
            assert!(upload.parts.len() <= 10_000 && upload.part_bytes >= 8 * mib);
            let mut position = 0;
            for index in upload.missing_parts() {
                let range = part_range(index, upload.part_bytes, file_bytes);
                assert!(range.start == position && !range.is_empty());
                position = range.end;
            }
            assert_eq!(position, file_bytes);
        }
    }

    #[test]
    fn scratch_files_have_no_name() {
        let directory = tempfile::tempdir().unwrap();
        let _file = open_nameless(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
