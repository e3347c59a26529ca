//! Owns one staged file of the local writer on its way to its name: written, fsynced, renamed without replacing anything,
//! its directories fsynced. Does not own the steps of the rename ([`super::place`]).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::LocalBackend;
use super::place::{self, Placed};
use super::staging::StagingDirectory;
use crate::storage::Published;
use crate::storage::chunk_file::{ChunkFile, WRITE_BYTES};
use crate::storage::disk::{blocking, disk_error};
use crate::storage::error::{ExistingFile, StorageError};
use crate::storage::identity::FileIdentity;
use crate::storage::name::ObjectName;

/// A file up to this size is opened, written and closed in one go when it is sealed: a flush may have thousands of them,
/// and the process only so many open files.
const SMALL_FILE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(in crate::storage) struct LocalStaged {
    backend: Arc<LocalBackend>,
    staging_id: u64,
    /// Where the bytes are; known once the first of them were written.
    place: Option<StagedPlace>,
    chunks: ChunkFile,
    name: Option<ObjectName>,
    published: Option<Published>,
}

#[derive(Clone, Debug)]
struct StagedPlace {
    path: PathBuf,
    /// Keeps the lock that protects the file from sweepers.
    _directory: Arc<StagingDirectory>,
}

impl LocalStaged {
    pub(super) fn new(backend: Arc<LocalBackend>, staging_id: u64) -> Self {
        let shown_path = backend.root().join(super::staging::STAGING_ROOT).join(staging_id.to_string());
        Self {
            backend,
            staging_id,
            place: None,
            chunks: ChunkFile::new(shown_path, SMALL_FILE_BYTES),
            name: None,
            published: None,
        }
    }

    pub(in crate::storage) fn staged_bytes(&self) -> u64 {
        self.chunks.len()
    }

    pub(in crate::storage) fn memory_bytes(&self) -> usize {
        self.chunks.pending_bytes()
    }

    pub(in crate::storage) async fn append(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        assert!(self.name.is_none(), "append after seal");
        self.chunks.push(chunk);
        let limit_bytes = if self.place.is_some() { WRITE_BYTES } else { SMALL_FILE_BYTES };
        if self.chunks.pending_bytes() <= limit_bytes { Ok(()) } else { self.write_out().await }
    }

    pub(in crate::storage) async fn seal(&mut self, name: &ObjectName) -> Result<(), StorageError> {
        assert!(self.name.as_ref().is_none_or(|sealed| sealed == name), "sealed under another name");
        self.name = Some(name.clone());
        self.write_out().await?;
        self.chunks.sync().await?;
        self.chunks.close();
        Ok(())
    }

    pub(in crate::storage) async fn publish(
        &mut self,
        identity: &FileIdentity,
    ) -> Result<Published, StorageError> {
        let name = self.name.clone().expect("publish needs seal");
        if let Some(published) = self.published {
            return Ok(published);
        }
        // Proves that seal came to its end.
        self.write_out().await?;
        self.chunks.sync().await?;
        let staged = self.place.clone().expect("write_out makes the file").path;
        let published = match self.place_file(staged.clone(), name.clone()).await? {
            Attempt::Placed => Published::Created,
            Attempt::NameTaken | Attempt::StagedFileGone => self.adopt(&name, identity, &staged).await?,
        };
        self.published = Some(published);
        self.chunks.release();
        Ok(published)
    }

    pub(in crate::storage) async fn discard(mut self) {
        if let Some(place) = self.place.take() {
            // Best effort: what stays is hidden and swept at the next start.
            let _ = blocking(move || remove_if_there(&place.path)).await;
        }
    }

    async fn write_out(&mut self) -> Result<(), StorageError> {
        if self.place.is_none() {
            let (backend, staging_id) = (Arc::clone(&self.backend), self.staging_id);
            let (place, file) = blocking(move || StagedPlace::open(&backend, staging_id)).await?;
            self.place = Some(place);
            return self.chunks.write_out(move || Ok(file)).await;
        }
        self.chunks.write_out(|| Err(io::Error::other("the staged file was closed"))).await
    }

    async fn place_file(&self, staged: PathBuf, name: ObjectName) -> Result<Attempt, StorageError> {
        let backend = Arc::clone(&self.backend);
        blocking(move || match place::place(&staged, backend.root(), &name, backend.sync_directory) {
            Ok(Placed::Done) => Ok(Attempt::Placed),
            Ok(Placed::NameTaken) => Ok(Attempt::NameTaken),
            // Renamed by an earlier try whose end we did not see, or taken away.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !staged.exists() => {
                Ok(Attempt::StagedFileGone)
            }
            Err(error) => Err(disk_error(&error, "publish", &backend.root().join(name.as_str()))),
        })
        .await
    }

    async fn adopt(
        &self,
        name: &ObjectName,
        identity: &FileIdentity,
        staged: &Path,
    ) -> Result<Published, StorageError> {
        match self.backend.existing_file(name.as_str()).await? {
            Some(ExistingFile::Identified(existing)) if existing == *identity => {}
            Some(existing) => {
                let path = self.backend.url_of(name.as_str());
                return Err(StorageError::Conflict { path, ours: *identity, existing });
            }
            None if staged.exists() => {
                return Err(StorageError::retriable(format!("{name} vanished while it was looked at")));
            }
            None => return Err(StorageError::spoiled(format!("{} was taken away", staged.display()))),
        }
        let (backend, name, staged) = (Arc::clone(&self.backend), name.clone(), staged.to_owned());
        blocking(move || {
            // Whoever gave the file its name may have died before that was durable.
            place::make_name_durable(backend.root(), &name, backend.sync_directory)
                .map_err(|error| disk_error(&error, "fsync", &backend.root().join(name.as_str())))?;
            remove_if_there(&staged)
        })
        .await?;
        Ok(Published::Adopted)
    }
}

impl Drop for LocalStaged {
    fn drop(&mut self) {
        if let Some(place) = self.place.take()
            && self.published.is_none()
        {
            let _ = fs::remove_file(&place.path);
        }
    }
}

impl StagedPlace {
    fn open(backend: &LocalBackend, staging_id: u64) -> Result<(Self, File), StorageError> {
        let directory = backend.staging_directory()?;
        let path = directory.staged_path(&backend.new_stem(staging_id));
        let file = File::options().read(true).write(true).create_new(true).open(&path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                backend.forget_staging_directory();
            }
            disk_error(&error, "create", &path)
        })?;
        Ok((Self { path, _directory: directory }, file))
    }
}

enum Attempt {
    Placed,
    NameTaken,
    StagedFileGone,
}

fn remove_if_there(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk_error(&error, "remove", path)),
        _ => Ok(()),
    }
}
