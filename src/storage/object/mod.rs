//! Owns writing to and reading from object stores. Does not own the choice of client ([`options`]), how the two backends look
//! alike ([`super::Store`]), nor any lock: a conditional write is the only arbiter of names.

mod faults;
mod options;
mod refusal;
mod room;
mod sanity;
mod staged;
mod transport;
mod uploads;

#[cfg(test)]
mod s3_server;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig};
use tokio::sync::{Semaphore, SemaphorePermit};

use self::options::Clients;
use self::refusal::{Refusal, no_conditional_put, read_refusal};
pub use self::room::UploadRoom;
use self::room::{Admission, PART_BYTES, UploadShare};
pub(super) use self::staged::ObjectStaged;
use self::transport::ServiceSignals;
use self::uploads::UploadLister;
use super::error::{ExistingFile, StorageError};
use super::identity::{Tail, read_footer};
use super::local::staging::random_u64;
use super::name::{MAX_KEY_BYTES, is_hidden};
use super::{ListedFile, RequestCount};
use crate::config::settings::StorageSettings;
use crate::storage::OptionFault;

/// Uploads of parts and whole files at one time, over all files of a store. Each holds its bytes in memory, as many as
/// there is room for.
const UPLOADS_AT_ONCE: usize = 4;

pub(super) struct ObjectBackend {
    store: Arc<dyn ObjectStore>,
    multipart: Arc<dyn MultipartStore>,
    prefix: Path,
    /// Without credentials and without a slash at its end.
    url: String,
    scratch_dir: PathBuf,
    sizes: UploadSizes,
    signals: Arc<ServiceSignals>,
    uploads: Semaphore,
    room: UploadShare,
    upload_lister: Option<UploadLister>,
    told_of_scratch: Mutex<Option<Instant>>,
}

/// Trouble with the scratch space is told of at most this often.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// As much is read of a small file of our own.
const SMALL_FILE_BYTES: u64 = 64 << 10;

/// From which size on a file is treated in which way, in bytes.
#[derive(Clone, Copy, Debug)]
struct UploadSizes {
    /// A file beyond this leaves memory while it is made.
    memory: usize,
    /// A file beyond this goes up in parts.
    single_put: u64,
    /// Least size of a part, except the last. S3 wants at least 5 MiB.
    part: u64,
}

impl Default for UploadSizes {
    fn default() -> Self {
        Self { memory: 1 << 20, single_put: 2 * PART_BYTES, part: PART_BYTES }
    }
}

impl UploadSizes {
    /// For a store that may hold so many bytes of uploads: the largest file that goes up whole fits.
    fn within(self, room_bytes: u64) -> Self {
        Self { single_put: self.single_put.min(room_bytes).max(self.part), ..self }
    }
}

/// What is wrong with single options.
pub(super) fn option_faults(settings: &StorageSettings) -> Vec<OptionFault> {
    faults::of_options(settings)
}

/// Refuses options that cannot be used, without a request.
pub(super) fn check_options(settings: &StorageSettings) -> Result<(), StorageError> {
    options::check(settings)
}

impl ObjectBackend {
    pub(super) fn open(
        settings: &StorageSettings,
        scratch_dir: &FilePath,
        room: &UploadRoom,
    ) -> Result<Self, StorageError> {
        let room = room.share();
        let sizes = UploadSizes::default().within(room.bytes());
        Self::with(settings, scratch_dir, sizes, room, options::short_retry())
    }

    fn with(
        settings: &StorageSettings,
        scratch_dir: &FilePath,
        sizes: UploadSizes,
        room: UploadShare,
        retry: RetryConfig,
    ) -> Result<Self, StorageError> {
        let Clients { store, multipart, prefix, signals, upload_lister } = options::connect(settings, retry)?;
        let host = settings.url.host_str().unwrap_or_default();
        let slash = if prefix.as_ref().is_empty() { "" } else { "/" };
        Ok(Self {
            store,
            multipart,
            url: format!("{}://{host}{slash}{prefix}", settings.url.scheme()),
            prefix,
            scratch_dir: scratch_dir.to_owned(),
            sizes,
            signals,
            uploads: Semaphore::new(UPLOADS_AT_ONCE),
            room,
            upload_lister,
            told_of_scratch: Mutex::new(None),
        })
    }

    pub(super) fn stage(self: &Arc<Self>) -> ObjectStaged {
        ObjectStaged::new(Arc::clone(self))
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> Vec<RequestCount> {
        self.signals.requests()
    }

    /// Tries rights and conditional writes with an object that readers skip.
    pub(super) async fn probe(&self) -> Result<(), StorageError> {
        let path = format!(".sluice/probe-{:016x}", random_u64());
        let key = self.key_of(&path)?;
        let fail = |error: &Error, doing: &str| {
            let doing = format!("{doing} {}", self.url_of(&path));
            self.refusal(error, &doing).into_error(&doing)
        };
        self.size_of(&path).await?;
        let create = || {
            let payload = PutPayload::from_static(b"sluice probe");
            self.store.put_opts(&key, payload, PutOptions::from(PutMode::Create))
        };
        create().await.map_err(|error| fail(&error, "write"))?;
        let second = create().await;
        let read = self.store.get_range(&key, 0..6).await;
        if let Err(error) = self.store.delete(&key).await {
            let error = fail(&error, "delete");
            tracing::warn!(%error, %key, "the probe object stays behind");
        }
        read.map_err(|error| fail(&error, "read"))?;
        match second {
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(()),
            Err(error) => Err(fail(&error, "write")),
            Ok(_) => Err(no_conditional_put("it overwrote one")),
        }
    }

    /// Whether an upload is completed only where no object exists; tried on a probe object. A store that cannot do so, or
    /// ignores the condition, is one to look at before completing.
    pub(super) async fn probe_completion(&self) -> Result<bool, StorageError> {
        let path = format!(".sluice/probe-{:016x}", random_u64());
        let key = self.key_of(&path)?;
        let doing = format!("upload to {}", self.url_of(&path));
        let fail = |error: &Error| self.refusal(error, &doing).into_error(&doing);
        let create = PutOptions::from(PutMode::Create);
        let payload = || PutPayload::from_static(b"sluice probe");
        self.store.put_opts(&key, payload(), create).await.map_err(|error| fail(&error))?;
        let upload = async {
            let id = self.multipart.create_multipart(&key).await?;
            let completed = match self.multipart.put_part(&key, &id, 0, payload()).await {
                Ok(part) => self.multipart.complete_multipart(&key, &id, vec![part]).await.map(drop),
                Err(error) => Err(error),
            };
            if completed.is_err() {
                let _ = self.multipart.abort_multipart(&key, &id).await;
            }
            completed
        };
        let outcome = upload.await;
        if let Err(error) = self.store.delete(&key).await {
            tracing::warn!(error = %fail(&error), %key, "the probe object stays behind");
        }
        match outcome {
            Ok(()) => Ok(false),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(true),
            Err(error) => Err(fail(&error)),
        }
    }

    /// Puts a small object unless there is one; what stands is read again, since an answer can be lost.
    pub(super) async fn claim(&self, path: &str, content: Bytes) -> Result<Bytes, StorageError> {
        if let Some(standing) = self.read_small(path).await? {
            return Ok(standing);
        }
        let key = self.key_of(path)?;
        let outcome = self.store.put_opts(&key, content.into(), PutOptions::from(PutMode::Create)).await;
        if let Err(error) = outcome {
            let doing = format!("write {}", self.url_of(path));
            match self.refusal(&error, &doing) {
                Refusal::NameTaken => {}
                refusal => return Err(refusal.into_error(&doing)),
            }
        }
        let gone = || StorageError::retriable(format!("{} vanished after it was written", self.url_of(path)));
        self.read_small(path).await?.ok_or_else(gone)
    }

    /// Folds the visible objects below a prefix of whole segments, in no order.
    pub(super) async fn fold<A>(
        &self,
        prefix: &str,
        mut folded: A,
        fold: fn(&mut A, ListedFile),
    ) -> Result<A, StorageError> {
        let below = self.key_of(prefix)?;
        let mut objects = self.store.list(Some(&below));
        loop {
            match objects.try_next().await {
                Ok(None) => return Ok(folded),
                Ok(Some(object)) => {
                    if let Some(path) =
                        relative_to(&self.prefix, object.location.as_ref()).filter(|path| !is_hidden(path))
                    {
                        fold(&mut folded, ListedFile { path: path.to_owned(), size_bytes: object.size });
                    }
                }
                Err(error) => {
                    let doing = format!("list {}", self.url_of(prefix));
                    return Err(self.refusal(&error, &doing).into_error(&doing));
                }
            }
        }
    }

    /// The last `wanted_bytes` of an object; `None` when there is none.
    pub(super) async fn read_tail(
        &self,
        path: &str,
        wanted_bytes: u64,
    ) -> Result<Option<Tail>, StorageError> {
        let Some(file_bytes) = self.size_of(path).await? else {
            return Ok(None);
        };
        let start = file_bytes.saturating_sub(wanted_bytes);
        let bytes = self.read_existing(path, start..file_bytes).await?;
        Ok(bytes.map(|bytes| Tail { bytes, file_bytes }))
    }

    /// A range of an object, cut at its end; `None` when there is no such object.
    pub(super) async fn read_range(
        &self,
        path: &str,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, StorageError> {
        let Some(file_bytes) = self.size_of(path).await? else {
            return Ok(None);
        };
        let end = range.end.min(file_bytes);
        self.read_existing(path, range.start.min(end)..end).await
    }

    async fn read_small(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        self.read_range(path, 0..SMALL_FILE_BYTES).await
    }

    /// URL of a path below the prefix, without credentials.
    pub(super) fn url_of(&self, path: &str) -> String {
        if path.is_empty() { self.url.clone() } else { format!("{}/{path}", self.url) }
    }

    async fn existing_file(&self, path: &str) -> Result<Option<ExistingFile>, StorageError> {
        Ok(read_footer(|wanted_bytes| self.read_tail(path, wanted_bytes))
            .await?
            .map(|footer| footer.identity()))
    }

    async fn size_of(&self, path: &str) -> Result<Option<u64>, StorageError> {
        let key = self.key_of(path)?;
        let outcome = match self.store.head(&key).await {
            // An answer to HEAD has no body, so it does not say why. A reading request does.
            Err(denied @ (Error::PermissionDenied { .. } | Error::Unauthenticated { .. })) => {
                Err(self.store.get_range(&key, 0..1).await.err().unwrap_or(denied))
            }
            outcome => outcome,
        };
        Ok(self.found(outcome, path)?.map(|object| object.size))
    }

    async fn read_existing(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>, StorageError> {
        if range.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        let outcome = self.store.get_range(&self.key_of(path)?, range).await;
        self.found(outcome, path)
    }

    fn found<T>(&self, outcome: object_store::Result<T>, path: &str) -> Result<Option<T>, StorageError> {
        let doing = || format!("read {}", self.url_of(path));
        match outcome.map_err(|error| self.refusal(&error, &doing())) {
            Ok(found) => Ok(Some(found)),
            Err(Refusal::Absent) => Ok(None),
            Err(refusal) => Err(refusal.into_error(&doing())),
        }
    }

    /// Keys are taken as they are: escaping them once more would give a file another name here than on disk.
    fn key_of(&self, path: &str) -> Result<Path, StorageError> {
        let whole = match (self.prefix.as_ref(), path) {
            (prefix, "") => prefix.to_owned(),
            ("", path) => path.to_owned(),
            (prefix, path) => format!("{prefix}/{path}"),
        };
        if whole.len() > MAX_KEY_BYTES {
            return Err(StorageError::invalid(format!(
                "the key `{whole}` is {} bytes long, object stores take {MAX_KEY_BYTES}; shorten the prefix, or \
                 partition by shorter values",
                whole.len()
            )));
        }
        Path::parse(&whole).map_err(|error| StorageError::invalid(format!("`{whole}` is not a key: {error}")))
    }

    fn refusal(&self, error: &Error, doing: &str) -> Refusal {
        read_refusal(error, doing, &self.signals)
    }

    fn tell_of_scratch(&self, error: &StorageError) {
        let mut told = self.told_of_scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(
                prefix = self.url,
                "scratch space: {error}; encoded bytes stay in memory until they are uploaded, and flushes end earlier"
            );
        }
    }

    /// Waits until a body of so many bytes may be in memory and on its way.
    async fn upload_permit(&self, bytes: u64) -> (SemaphorePermit<'_>, Admission<'_>) {
        let one = self.uploads.acquire().await.expect("never closed");
        (one, self.room.admit(bytes).await)
    }
}

impl std::fmt::Debug for ObjectBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectBackend")
            .field("url", &self.url)
            .field("sizes", &self.sizes)
            .finish_non_exhaustive()
    }
}

fn relative_to<'a>(prefix: &Path, key: &'a str) -> Option<&'a str> {
    match prefix.as_ref() {
        "" => Some(key),
        prefix => key.strip_prefix(prefix)?.strip_prefix('/'),
    }
}
