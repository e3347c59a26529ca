//! Owns how a finished file gets its name: directories made and durable, then one rename that replaces nothing, then that
//! durable too. Does not own the file's content, nor what to do when the name is taken.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::failpoint::failpoint;
use crate::storage::name::ObjectName;

/// Whether the name was free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    Done,
    NameTaken,
}

/// Makes what is in a directory durable; an argument so that tests see the order and make it fail.
pub(super) type SyncDirectory = fn(&Path) -> io::Result<()>;

/// Gives `staged` its name under `root`. The content must be durable before. When it fails after the rename, the staged
/// file is gone from its old place; [`make_name_durable`] finishes the work.
pub(super) fn place(
    staged: &Path,
    root: &Path,
    name: &ObjectName,
    sync_directory: SyncDirectory,
) -> io::Result<Placed> {
    let directories = make_directories(root, name)?;
    let (home, above) = directories.split_last().expect("the root is always among them");
    // Also those that we did not make: who made them may not have come to it yet.
    above.iter().try_for_each(|directory| sync_directory(directory))?;
    failpoint!("rename.before", return Err(io::Error::other("a failpoint")));
    let placed = rename_without_replace(staged, &root.join(name.as_str()))?;
    failpoint!("rename.after", return Err(io::Error::other("a failpoint")));
    sync_directory(home)?;
    Ok(placed)
}

/// Makes a small file durable under `target`, below `root`, unless one is there. `staged` is where it is written first.
pub(super) fn make_small_file(
    staged: &Path,
    target: &Path,
    root: &Path,
    content: &[u8],
) -> io::Result<Placed> {
    fs::write(staged, content)?;
    File::open(staged)?.sync_all()?;
    let home = target.parent().unwrap_or(root);
    fs::create_dir_all(home)?;
    let placed = rename_without_replace(staged, target)?;
    make_small_file_durable(target, root)?;
    Ok(placed)
}

/// Makes a file below `root` durable, and that it has its name.
pub(super) fn make_small_file_durable(target: &Path, root: &Path) -> io::Result<()> {
    File::open(target)?.sync_all()?;
    let above = target.ancestors().skip(1);
    above.take_while(|directory| directory.starts_with(root)).try_for_each(sync_directory)
}

/// Makes durable that a file has its name, from the root down.
pub(super) fn make_name_durable(
    root: &Path,
    name: &ObjectName,
    sync_directory: SyncDirectory,
) -> io::Result<()> {
    File::open(root.join(name.as_str()))?.sync_all()?;
    directories_of(root, name).iter().try_for_each(|directory| sync_directory(directory))
}

/// Renames within a file system unless the new name exists. Where the file system knows no such rename, a hard link
/// does the same.
pub(super) fn rename_without_replace(from: &Path, to: &Path) -> io::Result<Placed> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(Placed::Done),
        Err(Errno::EXIST) => Ok(Placed::NameTaken),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => link_without_replace(from, to),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some file systems have no fsync of directories; there is nothing more that could be done on them.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        outcome => outcome,
    }
}

fn link_without_replace(from: &Path, to: &Path) -> io::Result<Placed> {
    match fs::hard_link(from, to) {
        Ok(()) => {
            // A second, hidden name does no harm; the sweep finds it.
            let _ = fs::remove_file(from);
            Ok(Placed::Done)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Placed::NameTaken),
        Err(error) => Err(error),
    }
}

/// Makes the directories above a name, except the root, and returns all of them, the root first.
fn make_directories(root: &Path, name: &ObjectName) -> io::Result<Vec<PathBuf>> {
    let directories = directories_of(root, name);
    for directory in &directories[1..] {
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(directories)
}

fn directories_of(root: &Path, name: &ObjectName) -> Vec<PathBuf> {
    let mut directories = vec![root.to_owned()];
    let mut segments: Vec<&str> = name.segments().collect();
    segments.pop();
    for segment in segments {
        let next = directories[directories.len() - 1].join(segment);
        directories.push(next);
    }
    directories
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        static SYNCED: RefCell<Vec<(PathBuf, bool)>> = const { RefCell::new(Vec::new()) };
    }

    const FILE: &str = "f.parquet";

    #[allow(clippy::unnecessary_wraps)] // It stands where a function that can fail stands.
    fn note(path: &Path) -> io::Result<()> {
        SYNCED.with_borrow_mut(|synced| synced.push((path.to_owned(), path.join(FILE).exists())));
        Ok(())
    }

    #[test]
    fn fault_77_every_directory_is_made_durable_around_the_rename() {
        let root = tempfile::tempdir().unwrap();
        let staged = root.path().join(".staged");
        fs::write(&staged, b"new").unwrap();
        fs::create_dir(root.path().join("t")).unwrap();
        let name = ObjectName::new(format!("t/a=1/b=2/{FILE}")).unwrap();

        assert_eq!(place(&staged, root.path(), &name, note).unwrap(), Placed::Done);
        let home = root.path().join("t/a=1/b=2");
        let expected = [
            (root.path().to_owned(), false),
            (root.path().join("t"), false),
            (root.path().join("t/a=1"), false),
            (home, true),
        ];
        assert_eq!(SYNCED.take(), expected, "directories with whether the file was in them");
    }

    #[test]
    fn fault_79_both_ways_of_renaming_replace_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        for rename in [rename_without_replace, link_without_replace] {
            fs::write(&from, b"new").unwrap();
            fs::write(&to, b"old").unwrap();
            assert_eq!(rename(&from, &to).unwrap(), Placed::NameTaken);
            assert_eq!(fs::read(&to).unwrap(), b"old");
            assert_eq!(fs::read(&from).unwrap(), b"new");
            fs::remove_file(&to).unwrap();
            assert_eq!(rename(&from, &to).unwrap(), Placed::Done);
            assert_eq!(fs::read(&to).unwrap(), b"new");
            assert!(!from.exists());
        }
    }

    #[test]
    fn fault_77_a_directory_that_cannot_be_made_durable_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let staged = root.path().join(".staged");
        fs::write(&staged, b"new").unwrap();
        let name = ObjectName::new(FILE).unwrap();
        let outcome = place(&staged, root.path(), &name, |_| Err(Errno::IO.into()));
        assert!(outcome.is_err());
    }
}
