//! Owns how disk work is run off the async threads and what its errors mean. Does not own what is read or written.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use tokio::task::{self, JoinError};

use super::error::StorageError;

/// Runs blocking work on the threads for it.
///
/// # Panics
/// When `work` panics.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, StorageError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, StorageError> + Send + 'static,
{
    task::spawn_blocking(work).await.unwrap_or_else(|error| Err(unfinished(error)))
}

/// What an error of a file or directory means. `doing` says what was tried: "write", "create", …
pub(super) fn disk_error(error: &io::Error, doing: &str, path: &Path) -> StorageError {
    let reason = |hint: &str| format!("cannot {doing} {}: {error}{hint}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StorageError::retriable(reason("; goes on when there is room again"))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StorageError::retriable(reason("; the process needs to write there"))
        }
        io::ErrorKind::NotFound => {
            StorageError::retriable(reason("; is the output directory there and its volume mounted?"))
        }
        io::ErrorKind::StaleNetworkFileHandle => {
            StorageError::retriable(reason("; network file systems are not supported"))
        }
        io::ErrorKind::CrossesDevices => StorageError::invalid(reason(
            "; the whole output directory must lie on one file system, without mounts inside",
        )),
        io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename | io::ErrorKind::FileTooLarge => {
            StorageError::invalid(reason(""))
        }
        _ if is_out_of_handles(error) => StorageError::retriable(reason("; raise the open file limit")),
        _ => StorageError::retriable(reason("")),
    }
}

/// What a failed write of staged bytes means. After an I/O error pages may be lost; a full disk loses nothing.
pub(super) fn write_error(error: &io::Error, path: &Path) -> StorageError {
    if error.raw_os_error() == Some(Errno::IO.raw_os_error()) {
        return StorageError::spoiled(format!("cannot write {}: {error}", path.display()));
    }
    disk_error(error, "write", path)
}

fn is_out_of_handles(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn unfinished(error: JoinError) -> StorageError {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => StorageError::retriable("the process is shutting down"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn fault_74_a_full_disk_is_retriable() {
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert!(matches!(write_error(&of(errno), Path::new("/d/f")), StorageError::Retriable { .. }));
        }
    }

    #[test]
    fn fault_76_an_io_error_spoils_what_was_written() {
        assert!(matches!(write_error(&of(Errno::IO), Path::new("/d/f")), StorageError::Spoiled { .. }));
    }

    #[test]
    fn fault_80_a_mount_inside_the_root_is_a_configuration_error() {
        let error = disk_error(&of(Errno::XDEV), "publish", Path::new("/d/f"));
        assert!(matches!(error, StorageError::Invalid { .. }), "{error:?}");
    }

    #[test]
    fn fault_81_a_stale_handle_names_the_cause() {
        let error = disk_error(&of(Errno::STALE), "write", Path::new("/d/f"));
        assert!(error.to_string().contains("network file systems"), "{error}");
    }

    #[test]
    fn fault_100_too_many_open_files_is_retriable() {
        let error = disk_error(&of(Errno::MFILE), "create", Path::new("/d/f"));
        assert!(
            matches!(&error, StorageError::Retriable { .. }) && error.to_string().contains("limit"),
            "{error}"
        );
    }
}
