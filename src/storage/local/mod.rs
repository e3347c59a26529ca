//! Owns the durable writer to a local directory and reading from it. Does not own how the two backends look alike
//! ([`super::Store`]).

mod place;
mod staged;
pub(super) mod staging;
#[cfg(test)]
mod tests;

use std::fs::{self, DirEntry, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use rustix::fs::{Access, access, statvfs};

use self::place::{Placed, SyncDirectory};
pub(super) use self::staged::LocalStaged;
use self::staging::{StagingDirectory, Swept};
use super::ListedFile;
use super::disk::{blocking, disk_error};
use super::error::{ExistingFile, StorageError};
use super::identity::{Tail, read_footer};

#[derive(Debug)]
pub(super) struct LocalBackend {
    root: PathBuf,
    connector: String,
    staging: Mutex<Option<Arc<StagingDirectory>>>,
    staged_files: AtomicU64,
    sync_directory: SyncDirectory,
}

impl LocalBackend {
    /// A backend that writes and reads under `root`, which is made where missing.
    pub(super) async fn open(root: PathBuf, connector: &str) -> Result<Self, StorageError> {
        let made = root.clone();
        blocking(move || make_root(&made, place::sync_directory)).await?;
        Ok(Self::at(root, connector))
    }

    /// A backend for reading only. Makes nothing.
    pub(super) fn at(root: PathBuf, connector: &str) -> Self {
        Self {
            root,
            connector: connector.to_owned(),
            staging: Mutex::new(None),
            staged_files: AtomicU64::new(0),
            sync_directory: place::sync_directory,
        }
    }

    pub(super) fn stage(self: &Arc<Self>, staging_id: u64) -> LocalStaged {
        LocalStaged::new(Arc::clone(self), staging_id)
    }

    /// Tries everything that publishing needs, out of sight of readers.
    pub(super) async fn probe(self: &Arc<Self>) -> Result<(), StorageError> {
        let backend = Arc::clone(self);
        blocking(move || {
            let directory = backend.staging_directory()?;
            let [first, second, target] =
                ["probe-1", "probe-2", "probe"].map(|stem| directory.staged_path(stem));
            let outcome = probe_rename(&first, &second, &target)
                .and_then(|placed| place::sync_directory(&backend.root).map(|()| placed));
            if outcome.is_ok() && is_there_in_other_case(&target) {
                tracing::warn!(
                    root = %backend.root.display(),
                    "the file system takes names that differ in case alone for one: values of partition_by that do so share a \
                     directory, and the second file of a name is refused; use another file system, or partition by other fields"
                );
            }
            for path in [&first, &second, &target] {
                let _ = fs::remove_file(path);
            }
            match outcome {
                Ok(Placed::NameTaken) => Ok(()),
                Ok(Placed::Done) => Err(StorageError::invalid(format!(
                    "the file system at {} replaces an existing file where it must not; use another one",
                    backend.root.display()
                ))),
                Err(error) => Err(refused_at_start(disk_error(&error, "write below", &backend.root), &error)),
            }
        })
        .await
    }

    /// Whether files can be made: the root is there, may be written, and its file system has room for `least_room_bytes`.
    pub(super) async fn look(&self, least_room_bytes: u64) -> Result<(), StorageError> {
        let root = self.root.clone();
        blocking(move || {
            let outcome = fs::read_dir(&root)
                .and_then(|_| Ok(access(&root, Access::WRITE_OK | Access::EXEC_OK)?))
                .and_then(|()| Ok(statvfs(&root)?))
                .and_then(|found| {
                    // Without blocks it tells nothing: some file systems in user space count none.
                    let is_full = found.f_blocks > 0
                        && (found.f_bavail.saturating_mul(found.f_frsize) < least_room_bytes
                            || (found.f_files > 0 && found.f_favail == 0));
                    if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
                });
            outcome.map_err(|error| disk_error(&error, "write below", &root))
        })
        .await
    }

    /// Makes a small durable file unless there is one, and reads what stands.
    pub(super) async fn claim(self: &Arc<Self>, path: &str, content: Bytes) -> Result<Bytes, StorageError> {
        let backend = Arc::clone(self);
        let target = self.root.join(path);
        blocking(move || {
            if target.exists() {
                // Whoever made it, an attempt of ours among them, may not have come to that.
                place::make_small_file_durable(&target, &backend.root)
                    .map_err(|error| disk_error(&error, "sync", &target))?;
            } else {
                backend.make_claim(&target, &content)?;
            }
            let standing = fs::read(&target).map_err(|error| disk_error(&error, "read", &target))?;
            Ok(Bytes::from(standing))
        })
        .await
    }

    fn make_claim(&self, target: &Path, content: &[u8]) -> Result<(), StorageError> {
        let staged = self.staging_directory()?.staged_path(&self.new_stem(0));
        let made = place::make_small_file(&staged, target, &self.root, content);
        let _ = fs::remove_file(&staged);
        if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            self.forget_staging_directory();
        }
        made.map(drop).map_err(|error| disk_error(&error, "write", target))
    }

    pub(super) async fn sweep(&self) -> Result<Swept, StorageError> {
        let root = self.root.clone();
        blocking(move || staging::sweep(&root).map_err(|error| disk_error(&error, "sweep", &root))).await
    }

    /// Folds the visible files below a directory, in no order. A prefix that does not exist holds none; a root that does not is an error.
    pub(super) async fn fold<A: Send + 'static>(
        &self,
        prefix: &str,
        mut folded: A,
        fold: fn(&mut A, ListedFile),
    ) -> Result<A, StorageError> {
        let (root, prefix) = (self.root.clone(), prefix.to_owned());
        blocking(move || {
            if !root.is_dir() {
                return Err(StorageError::Missing { path: root.display().to_string() });
            }
            let mut files = Vec::new();
            let mut directories = vec![prefix];
            while let Some(directory) = directories.pop() {
                list_directory(&root, &directory, &mut directories, &mut files)?;
                files.drain(..).for_each(|file| fold(&mut folded, file));
            }
            Ok(folded)
        })
        .await
    }

    /// The last `wanted_bytes` of a file; `None` when there is none.
    pub(super) async fn read_tail(
        &self,
        path: &str,
        wanted_bytes: u64,
    ) -> Result<Option<Tail>, StorageError> {
        let path = self.root.join(path);
        blocking(move || {
            let Some(file) = open_if_there(&path)? else {
                return Ok(None);
            };
            let read = || {
                let file_bytes = file.metadata()?.len();
                let bytes = read_exact(&file, file_bytes.saturating_sub(wanted_bytes)..file_bytes)?;
                Ok(Tail { bytes, file_bytes })
            };
            read().map(Some).map_err(|error| disk_error(&error, "read", &path))
        })
        .await
    }

    /// A range of a file, cut at its end; `None` when there is no such file.
    pub(super) async fn read_range(
        &self,
        path: &str,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, StorageError> {
        let path = self.root.join(path);
        blocking(move || {
            let Some(file) = open_if_there(&path)? else {
                return Ok(None);
            };
            let read = || {
                let end = range.end.min(file.metadata()?.len());
                read_exact(&file, range.start.min(end)..end)
            };
            read().map(Some).map_err(|error| disk_error(&error, "read", &path))
        })
        .await
    }

    /// URL of a path below the root.
    pub(super) fn url_of(&self, path: &str) -> String {
        format!("file://{}", self.root.join(path).display())
    }

    async fn existing_file(&self, path: &str) -> Result<Option<ExistingFile>, StorageError> {
        Ok(read_footer(|wanted_bytes| self.read_tail(path, wanted_bytes))
            .await?
            .map(|footer| footer.identity()))
    }

    fn root(&self) -> &Path {
        &self.root
    }

    /// File name without extension, never the same twice: an attempt that was given up may still be under way.
    fn new_stem(&self, staging_id: u64) -> String {
        format!("{staging_id}-{}", self.staged_files.fetch_add(1, Ordering::Relaxed))
    }

    fn staging_directory(&self) -> Result<Arc<StagingDirectory>, StorageError> {
        let mut staging = self.lock_staging();
        if let Some(directory) = &*staging {
            return Ok(Arc::clone(directory));
        }
        let directory = StagingDirectory::create(&self.root, &self.connector)
            .map_err(|error| disk_error(&error, "make a staging directory in", &self.root))?;
        Ok(Arc::clone(staging.insert(Arc::new(directory))))
    }

    /// Has the next staged file start in a new directory: this one may be gone.
    fn forget_staging_directory(&self) {
        *self.lock_staging() = None;
    }

    fn lock_staging(&self) -> MutexGuard<'_, Option<Arc<StagingDirectory>>> {
        self.staging.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the root and its name durable, also where it was there: who made it may not have come to that.
fn make_root(root: &Path, sync_directory: SyncDirectory) -> Result<(), StorageError> {
    let make = || {
        fs::create_dir_all(root)?;
        let root = fs::canonicalize(root)?;
        let device = fs::metadata(&root)?.dev();
        // What lies beyond a mount point has no part in the names below it.
        let above = root.ancestors().skip(1);
        let above = above.take_while(|path| fs::metadata(path).is_ok_and(|found| found.dev() == device));
        above.map(sync_directory).try_for_each(|outcome| match outcome {
            // We may pass through it and not look into it, so we made nothing there.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            outcome => outcome,
        })
    };
    make().map_err(|error| refused_at_start(disk_error(&error, "make the output directory", root), &error))
}

/// Missing rights may come back in the middle of a run; at its start they are a mistake to be told at once.
fn refused_at_start(meaning: StorageError, error: &io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StorageError::denied(meaning.to_string())
        }
        io::ErrorKind::AlreadyExists => StorageError::invalid(format!("{meaning}; it is not a directory")),
        _ => meaning,
    }
}

fn probe_rename(first: &Path, second: &Path, target: &Path) -> io::Result<Placed> {
    for path in [first, second] {
        fs::write(path, b"sluice probe")?;
        File::open(path)?.sync_all()?;
    }
    place::rename_without_replace(first, target)?;
    place::rename_without_replace(second, target)
}

/// Whether a file is found, too, under its name in capitals.
fn is_there_in_other_case(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.with_file_name(name.to_ascii_uppercase()).exists()
}

fn list_directory(
    root: &Path,
    directory: &str,
    directories: &mut Vec<String>,
    files: &mut Vec<ListedFile>,
) -> Result<(), StorageError> {
    let path = root.join(directory);
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(disk_error(&error, "list", &path)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| disk_error(&error, "list", &path))?;
        let Some(relative) = visible_path(directory, &entry) else {
            continue;
        };
        // Links are not followed: nothing that we publish lies behind one, and they can go round in circles.
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            directories.push(relative);
        } else if kind.is_file()
            && let Ok(metadata) = entry.metadata()
        {
            files.push(ListedFile { path: relative, size_bytes: metadata.len() });
        }
    }
    Ok(())
}

/// Path relative to the root; `None` for hidden names and for those that are not UTF-8, which are not ours.
fn visible_path(directory: &str, entry: &DirEntry) -> Option<String> {
    let name = entry.file_name().into_string().ok().filter(|name| !name.starts_with('.'))?;
    Some(if directory.is_empty() { name } else { format!("{directory}/{name}") })
}

fn open_if_there(path: &Path) -> Result<Option<File>, StorageError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk_error(&error, "open", path)),
    }
}

fn read_exact(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed((range.end - range.start) as usize);
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.freeze())
}
