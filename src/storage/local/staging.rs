//! Owns the hidden directory where a process keeps files that nobody may see yet: `<root>/.sluice/<connector>-<pid>-<random>`.
//! A lock on a file inside says that the process lives; what has no such lock is swept. Does not own the staged files.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Name of the directory of all staging directories, under the root. Hidden from readers.
pub(super) const STAGING_ROOT: &str = ".sluice";

const LOCK_NAME: &str = "lock";
const STAGED_SUFFIX: &str = "tmp";
/// A sweeper may take away a directory that is not locked yet; each try uses another name.
const CREATE_ATTEMPTS: usize = 16;

/// What a sweep took away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Swept {
    /// Staging directories of processes that are gone.
    pub directories: u64,
    /// Staged files in them.
    pub files: u64,
    /// Size of those files, in bytes.
    pub bytes: u64,
}

/// A staging directory of this process, locked while the value lives and removed after it.
#[derive(Debug)]
pub(super) struct StagingDirectory {
    path: PathBuf,
    _lock: File,
}

impl StagingDirectory {
    /// Makes a new one. The root must exist: a missing one may be a volume that is not mounted.
    pub(super) fn create(root: &Path, connector: &str) -> io::Result<Self> {
        if !root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the output directory is gone"));
        }
        let mut last = io::Error::other("no attempt was made");
        for _ in 0..CREATE_ATTEMPTS {
            let name = format!("{connector}-{}-{:016x}", std::process::id(), random_u64());
            match Self::create_named(&root.join(STAGING_ROOT), &name) {
                Ok(Some(directory)) => return Ok(directory),
                Ok(None) => last = io::Error::other("a sweep keeps taking the new directory away"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Path of a staged file in it.
    pub(super) fn staged_path(&self, stem: &str) -> PathBuf {
        self.path.join(stem).with_extension(STAGED_SUFFIX)
    }

    fn create_named(staging_root: &Path, name: &str) -> io::Result<Option<Self>> {
        create_if_missing(staging_root)?;
        let path = staging_root.join(name);
        fs::create_dir(&path)?;
        let lock_path = path.join(LOCK_NAME);
        let lock = File::options().write(true).create_new(true).open(&lock_path)?;
        match lock.try_lock() {
            Ok(()) if is_still_at(&lock, &lock_path) => Ok(Some(Self { path, _lock: lock })),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for StagingDirectory {
    fn drop(&mut self) {
        let _ = remove_contents(&self.path);
        let _ = self.path.parent().map(fs::remove_dir);
    }
}

/// Removes the staging directories under `root` whose processes are gone. One that cannot be removed is left and logged.
pub(super) fn sweep(root: &Path) -> io::Result<Swept> {
    let mut swept = Swept::default();
    let entries = match fs::read_dir(root.join(STAGING_ROOT)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(swept),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        match sweep_directory(&entry.path()) {
            Ok(Some((files, bytes))) => {
                swept.directories += 1;
                swept.files += files;
                swept.bytes += bytes;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(path = %entry.path().display(), %error, "cannot sweep a leftover staging directory");
            }
        }
    }
    Ok(swept)
}

/// Unguessable enough to keep names of processes apart; not for secrets.
pub(in crate::storage) fn random_u64() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn sweep_directory(path: &Path) -> io::Result<Option<(u64, u64)>> {
    let _lock = match File::options().write(true).open(path.join(LOCK_NAME)) {
        Ok(lock) => match lock.try_lock() {
            Ok(()) => lock,
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        },
        // Just being made, or left by a process that died then: empty. If its maker is faster, this fails and that is right.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(fs::remove_dir(path).is_ok().then_some((0, 0)));
        }
        Err(error) => return Err(error),
    };
    match remove_contents(path) {
        // Its process ended in order while we looked.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Removes what we put into a staging directory, then the directory. Anything else in it stays, and so does it.
fn remove_contents(path: &Path) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if Path::new(&entry.file_name()).extension() == Some(OsStr::new(STAGED_SUFFIX)) {
            bytes += entry.metadata().map_or(0, |metadata| metadata.len());
            fs::remove_file(entry.path())?;
            files += 1;
        }
    }
    match fs::remove_file(path.join(LOCK_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::remove_dir(path)?;
    Ok((files, bytes))
}

fn create_if_missing(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}

fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.ino() == named.ino() && held.dev() == named.dev(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(path: &Path) -> usize {
        fs::read_dir(path).map_or(0, Iterator::count)
    }

    #[test]
    fn fault_78_leftovers_of_dead_processes_are_swept_and_those_of_live_ones_kept() {
        let root = tempfile::tempdir().unwrap();
        let alive = StagingDirectory::create(root.path(), "orders").unwrap();
        fs::write(alive.staged_path("1"), b"alive").unwrap();
        let dead = root.path().join(".sluice/orders-1-00");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("lock"), b"").unwrap();
        fs::write(dead.join("7.tmp"), b"12345").unwrap();

        assert_eq!(sweep(root.path()).unwrap(), Swept { directories: 1, files: 1, bytes: 5 });
        assert!(!dead.exists());
        assert_eq!(fs::read(alive.staged_path("1")).unwrap(), b"alive");
        assert_eq!(sweep(root.path()).unwrap(), Swept::default());
    }

    #[test]
    fn a_sweep_leaves_what_is_not_ours() {
        let root = tempfile::tempdir().unwrap();
        let foreign = root.path().join(".sluice/somebody");
        fs::create_dir_all(&foreign).unwrap();
        fs::write(foreign.join("notes.txt"), b"mine").unwrap();
        assert_eq!(sweep(root.path()).unwrap(), Swept::default());
        assert_eq!(fs::read(foreign.join("notes.txt")).unwrap(), b"mine");
    }

    #[test]
    fn fault_102_sweepers_and_starters_do_not_hurt_each_other() {
        let root = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let directory = StagingDirectory::create(root.path(), "c").unwrap();
                        let path = directory.staged_path("1");
                        fs::write(&path, b"x").unwrap();
                        let _ = sweep(root.path());
                        assert_eq!(fs::read(&path).unwrap(), b"x");
                    }
                });
            }
        });
        assert_eq!(entries(&root.path().join(".sluice")), 0);
    }

    #[test]
    fn fault_75_a_root_that_is_gone_is_not_made_again() {
        let root = tempfile::tempdir().unwrap();
        let gone = root.path().join("volume");
        let error = StagingDirectory::create(&gone, "c").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!gone.exists());
    }
}
