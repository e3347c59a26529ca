//! Object stores and the durable local writer. Does I/O, decides nothing.
//!
//! Owns every byte that goes to an output prefix and how it becomes visible: a file is staged where no reader sees it,
//! sealed (from then on only the name is missing) and published without replacing anything. Does not own names, nor what
//! belongs into a file, nor how often something is tried.

mod chunk_file;
mod disk;
mod error;
mod identity;
mod local;
mod name;
mod object;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaData;
use url::Url;

pub use self::error::{ExistingFile, StorageError};
use self::identity::Footer;
pub use self::identity::{CHECKSUM_KEY, FileIdentity, ROWS_KEY, Tail};
pub use self::local::staging::Swept;
use self::local::{LocalBackend, LocalStaged};
pub use self::name::{InvalidName, MAX_KEY_BYTES, MAX_SEGMENT_BYTES, ObjectName};
pub use self::object::UploadRoom;
use self::object::{ObjectBackend, ObjectStaged};
use crate::config::settings::StorageSettings;

/// A file system with less room than this is full: what is open may not get in.
const LEAST_ROOM_BYTES: u64 = 1 << 20;

/// An output prefix. Cheap to clone; clones share connections and limits.
#[derive(Clone, Debug)]
pub struct Store(Backend);

#[derive(Clone, Debug)]
enum Backend {
    Local(Arc<LocalBackend>),
    Object(Arc<ObjectBackend>),
}

/// A file below the prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedFile {
    /// Path relative to the prefix, segments separated by `/`.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// Requests of one kind to an object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestCount {
    /// `put`, `create_upload`, `put_part`, `complete_upload`, `abort_upload`, `list_uploads`, `get`, `head`, `list`, `delete` or
    /// `other`.
    pub operation: &'static str,
    /// `ok`, `absent`, `exists`, `denied`, `busy`, `refused`, `server_error` or `no_answer`.
    pub outcome: &'static str,
    /// How many.
    pub count: u64,
}

/// How a file came to be there under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Published {
    /// By this call.
    Created,
    /// It was there already, with the same identity: by another process, an earlier life of this one, or an earlier
    /// call whose answer was lost. The staged bytes are discarded.
    Adopted,
}

/// What is wrong with one option of `storage:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionFault {
    /// The option as written.
    pub option: String,
    /// The rest of a sentence that begins with the option. Holds no value.
    pub reason: String,
}

/// Everything that is wrong with the options of `storage:`, each by itself: names that the store does not know, values of the
/// wrong form. Looks neither at the environment nor at the disk.
#[must_use]
pub fn option_faults(settings: &StorageSettings) -> Vec<OptionFault> {
    match settings.url.scheme() {
        "file" => Vec::new(),
        _ => object::option_faults(settings),
    }
}

/// Refuses options and variables of the environment that cannot be used together, without a request or a look at the disk.
///
/// # Errors
/// Invalid, with the option or variable and what is wrong with it; secrets are not shown.
pub fn check_options(settings: &StorageSettings) -> Result<(), StorageError> {
    match settings.url.scheme() {
        "file" => Ok(()),
        _ => object::check_options(settings),
    }
}

impl Store {
    /// Opens a prefix for writing. A local directory is made where missing; an object store is not contacted
    /// ([`Self::probe`] does). Large files wait for their upload in `scratch_dir`, and all for room.
    ///
    /// # Errors
    /// `Invalid` for a URL or options that make no sense, `Denied` where the directory cannot be written, `Retriable`
    /// for other trouble with the disk.
    pub async fn open(
        settings: &StorageSettings,
        connector: &str,
        scratch_dir: &Path,
        room: &UploadRoom,
    ) -> Result<Self, StorageError> {
        if settings.url.scheme() == "file" {
            let root = local_root(settings)?;
            return Ok(Self(Backend::Local(Arc::new(LocalBackend::open(root, connector).await?))));
        }
        if !scratch_dir.is_dir() {
            let shown = scratch_dir.display();
            return Err(StorageError::invalid(format!(
                "daemon.scratch_dir {shown} is not a directory; make it"
            )));
        }
        Ok(Self(Backend::Object(Arc::new(ObjectBackend::open(settings, scratch_dir, room)?))))
    }

    /// Opens a prefix for reading. Makes nothing and contacts nobody.
    ///
    /// # Errors
    /// `Invalid` for a URL or options that make no sense.
    pub fn open_for_reading(settings: &StorageSettings) -> Result<Self, StorageError> {
        if settings.url.scheme() == "file" {
            return Ok(Self(Backend::Local(Arc::new(LocalBackend::at(local_root(settings)?, "reader")))));
        }
        let room = UploadRoom::default();
        Ok(Self(Backend::Object(Arc::new(ObjectBackend::open(settings, &std::env::temp_dir(), &room)?))))
    }

    /// Begins a file. No I/O yet. `staging_id` is for people who look at staging directories; it need not be unique.
    #[must_use]
    pub fn stage(&self, staging_id: u64) -> StagedFile {
        StagedFile(match &self.0 {
            Backend::Local(backend) => Staged::Local(backend.stage(staging_id)),
            Backend::Object(backend) => Staged::Object(Box::new(backend.stage())),
        })
    }

    /// Requests to the object store since it was opened, each try counted; none for a local prefix.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestCount> {
        match &self.0 {
            Backend::Local(_) => Vec::new(),
            Backend::Object(backend) => backend.requests(),
        }
    }

    /// Writes and removes a hidden probe, and makes sure that creating never replaces.
    ///
    /// # Errors
    /// `Invalid` for a store without conditional writes, `Denied` for missing rights, `Retriable` for the rest.
    pub async fn probe(&self) -> Result<(), StorageError> {
        match &self.0 {
            Backend::Local(backend) => backend.probe().await,
            Backend::Object(backend) => backend.probe().await,
        }
    }

    /// Whether a large file, too, is made visible only where none is: by one request that the store refuses otherwise. Where
    /// it is not, the name is looked at just before. Tried with a hidden probe.
    ///
    /// # Errors
    /// As [`Self::probe`].
    pub async fn probe_completion(&self) -> Result<bool, StorageError> {
        match &self.0 {
            Backend::Local(_) => Ok(true),
            Backend::Object(backend) => backend.probe_completion().await,
        }
    }

    /// Makes a small hidden file unless there is one, and gives what stands there now: of several that try at once, one
    /// wins and all see its content. `path` lies below a directory whose name starts with a dot.
    ///
    /// # Errors
    /// `Denied` for missing rights, `Retriable` for the rest.
    ///
    /// # Panics
    /// When `path` is visible to readers.
    pub async fn claim(&self, path: &str, content: Bytes) -> Result<Bytes, StorageError> {
        assert!(path.starts_with('.'), "a claim is hidden from readers: {path}");
        match &self.0 {
            Backend::Local(backend) => backend.claim(path, content).await,
            Backend::Object(backend) => backend.claim(path, content).await,
        }
    }

    /// Looks, without a trace, whether files can be made: that the directory is there, may be written, and has room. Says
    /// nothing of an object store: only a request would tell.
    ///
    /// # Errors
    /// `Retriable`, with what is wrong and what to do.
    pub async fn look(&self) -> Result<(), StorageError> {
        match &self.0 {
            Backend::Local(backend) => backend.look(LEAST_ROOM_BYTES).await,
            Backend::Object(_) => Ok(()),
        }
    }

    /// Removes what processes left behind that live no more. Finds nothing on object stores, see
    /// [`Self::sweep_uploads`].
    ///
    /// # Errors
    /// When the staging directories cannot be listed.
    pub async fn sweep(&self) -> Result<Swept, StorageError> {
        match &self.0 {
            Backend::Local(backend) => backend.sweep().await,
            Backend::Object(_) => Ok(Swept::default()),
        }
    }

    /// Aborts uploads below the prefix that were begun longer ago than `least_age` and whose path (relative to the prefix)
    /// `is_ours` affirms; how many. Only S3 lists them, elsewhere there are none to be found. Aborting an upload whose
    /// owner lives costs its owner another one, and nothing else.
    ///
    /// # Errors
    /// `Denied` where uploads may not be listed or aborted or the store cannot list them, `Retriable` for the rest.
    pub async fn sweep_uploads(
        &self,
        least_age: Duration,
        is_ours: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Result<u64, StorageError> {
        match &self.0 {
            Backend::Local(_) => Ok(0),
            Backend::Object(backend) => backend.sweep_uploads(least_age, is_ours).await,
        }
    }

    /// Every visible file below `prefix` (whole segments; empty = all), ordered by path. Files published meanwhile may
    /// or may not be among them; unfinished ones never are.
    ///
    /// # Errors
    /// `Invalid` for a prefix that is not a path, `Missing` where the local root is not there, and what the store says.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ListedFile>, StorageError> {
        let mut files = self.fold(prefix, Vec::new(), Vec::push).await?;
        files.sort_unstable();
        Ok(files)
    }

    /// Hands every visible file below `prefix` to `fold`, in no order: for lists that need not be kept whole.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn fold<A: Send + 'static>(
        &self,
        prefix: &str,
        begin: A,
        fold: fn(&mut A, ListedFile),
    ) -> Result<A, StorageError> {
        let prefix = prefix.trim_matches('/');
        if !prefix.is_empty() {
            ObjectName::new(prefix)?;
        }
        match &self.0 {
            Backend::Local(backend) => backend.fold(prefix, begin, fold).await,
            Backend::Object(backend) => backend.fold(prefix, begin, fold).await,
        }
    }

    /// The last `wanted_bytes` of a file, or the whole where it is shorter.
    ///
    /// # Errors
    /// `Missing` when there is no such file, `Invalid` for a path that is none, and what the store says.
    pub async fn read_tail(&self, path: &str, wanted_bytes: u64) -> Result<Tail, StorageError> {
        self.try_read_tail(path, wanted_bytes).await?.ok_or_else(|| self.missing(path))
    }

    /// A range of a file in bytes, cut at the file's end.
    ///
    /// # Errors
    /// As [`Self::read_tail`].
    pub async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        ObjectName::new(path)?;
        let bytes = match &self.0 {
            Backend::Local(backend) => backend.read_range(path, range).await?,
            Backend::Object(backend) => backend.read_range(path, range).await?,
        };
        bytes.ok_or_else(|| self.missing(path))
    }

    /// A Parquet file's footer, without page indexes.
    ///
    /// # Errors
    /// As [`Self::read_tail`]; `Invalid` when the file is not Parquet.
    pub async fn read_metadata(&self, path: &str) -> Result<ParquetMetaData, StorageError> {
        match identity::read_footer(|wanted_bytes| self.try_read_tail(path, wanted_bytes)).await? {
            Some(Footer::Parsed(metadata)) => Ok(*metadata),
            Some(Footer::Unreadable(why)) => {
                Err(StorageError::invalid(format!("cannot read {}: {why}", self.display_url(path))))
            }
            None => Err(self.missing(path)),
        }
    }

    /// Where a path is, for people: never holds credentials. An empty path is the prefix itself.
    #[must_use]
    pub fn display_url(&self, path: &str) -> String {
        match &self.0 {
            Backend::Local(backend) => backend.url_of(path),
            Backend::Object(backend) => backend.url_of(path),
        }
    }

    async fn try_read_tail(&self, path: &str, wanted_bytes: u64) -> Result<Option<Tail>, StorageError> {
        ObjectName::new(path)?;
        match &self.0 {
            Backend::Local(backend) => backend.read_tail(path, wanted_bytes).await,
            Backend::Object(backend) => backend.read_tail(path, wanted_bytes).await,
        }
    }

    fn missing(&self, path: &str) -> StorageError {
        StorageError::Missing { path: self.display_url(path) }
    }
}

/// A file that no reader sees yet. Dropping it discards it. The order is: append any number of times, seal, publish.
///
/// After `Retriable` a method may be called again; nothing is lost. After `Spoiled` only [`Self::discard`] is left. Dropping a
/// future of these methods half-way is as safe as an error.
#[derive(Debug)]
pub struct StagedFile(Staged);

#[derive(Debug)]
enum Staged {
    Local(LocalStaged),
    Object(Box<ObjectStaged>),
}

impl StagedFile {
    /// Takes the next bytes. They are taken in any case: after `Retriable` they wait in memory, and the next call of any
    /// method writes them. Appending an empty chunk does nothing but that.
    ///
    /// # Errors
    /// `Retriable` when the disk is full and the like, `Spoiled` when bytes written before are in doubt. On the way to an
    /// object store a full disk keeps nothing from being sealed: the rest goes up from memory.
    ///
    /// # Panics
    /// After [`Self::seal`].
    pub async fn append(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        match &mut self.0 {
            Staged::Local(staged) => staged.append(chunk).await,
            Staged::Object(staged) => staged.append(chunk).await,
        }
    }

    /// Ends the file and does everything that can be done before it may be seen: local bytes are durable, large objects
    /// are uploaded.
    ///
    /// # Errors
    /// As [`Self::append`], and what the object store says.
    ///
    /// # Panics
    /// When it was sealed under another name.
    pub async fn seal(&mut self, name: &ObjectName) -> Result<(), StorageError> {
        match &mut self.0 {
            Staged::Local(staged) => staged.seal(name).await,
            Staged::Object(staged) => staged.seal(name).await,
        }
    }

    /// Makes the file visible under its name, durably. Never replaces; may be called again after any outcome.
    ///
    /// # Errors
    /// `Conflict` when another file has the name; as [`Self::seal`] otherwise. After `Retriable` the file may be visible
    /// already: the next call finds it.
    ///
    /// # Panics
    /// Before [`Self::seal`].
    pub async fn publish(&mut self, identity: &FileIdentity) -> Result<Published, StorageError> {
        match &mut self.0 {
            Staged::Local(staged) => staged.publish(identity).await,
            Staged::Object(staged) => staged.publish(identity).await,
        }
    }

    /// Gives up what is not published. Best effort; leftovers are invisible.
    pub async fn discard(self) {
        match self.0 {
            Staged::Local(staged) => staged.discard().await,
            Staged::Object(staged) => staged.discard().await,
        }
    }

    /// Bytes appended so far.
    #[must_use]
    pub fn staged_bytes(&self) -> u64 {
        match &self.0 {
            Staged::Local(staged) => staged.staged_bytes(),
            Staged::Object(staged) => staged.staged_bytes(),
        }
    }

    /// Bytes of them that are still in memory: small files and the last few of large ones.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.0 {
            Staged::Local(staged) => staged.memory_bytes(),
            Staged::Object(staged) => staged.memory_bytes(),
        }
    }
}

fn local_root(settings: &StorageSettings) -> Result<PathBuf, StorageError> {
    if let Some(option) = settings.options.keys().next() {
        return Err(StorageError::invalid(format!("storage.options: file:// takes none, remove `{option}`")));
    }
    settings.url.to_file_path().map_err(|()| not_a_local_path(&settings.url))
}

fn not_a_local_path(url: &Url) -> StorageError {
    StorageError::invalid(format!("storage.url {url} is not a local path; write file:///absolute/path"))
}
