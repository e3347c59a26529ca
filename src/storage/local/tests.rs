//! The local writer against disks that misbehave, and against itself.

use std::cell::RefCell;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use super::*;
use crate::config::settings::StorageSettings;
use crate::storage::identity::FileIdentity;
use crate::storage::identity::tests::file_of;
use crate::storage::name::ObjectName;
use crate::storage::{Backend, Published, StagedFile, Store, UploadRoom};

const OURS: FileIdentity = FileIdentity { rows: 10, checksum: 0xa11 };
const THEIRS: FileIdentity = FileIdentity { rows: 11, checksum: 0xb22 };
const NAME: &str = "t/a=1/t+0+000000000000+000000000010.parquet";

struct Lab {
    root: PathBuf,
    store: Store,
    backend: Arc<LocalBackend>,
    _directory: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self::with(place::sync_directory)
    }

    fn with(sync_directory: SyncDirectory) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("lake");
        make_root(&root, place::sync_directory).unwrap();
        let backend = Arc::new(LocalBackend { sync_directory, ..LocalBackend::at(root.clone(), "orders") });
        Self { root, store: Store(Backend::Local(Arc::clone(&backend))), backend, _directory: directory }
    }

    async fn sealed(&self, identity: FileIdentity) -> StagedFile {
        sealed(&self.store, identity, 200_000).await
    }

    fn published_file(&self) -> Vec<u8> {
        fs::read(self.root.join(NAME)).unwrap()
    }

    fn staged_files(&self) -> usize {
        count_files(&self.root.join(".sluice"))
    }
}

async fn sealed(store: &Store, identity: FileIdentity, padding_bytes: usize) -> StagedFile {
    let mut staged = store.stage(1);
    let file = file_of(identity, padding_bytes);
    for start in (0..file.len()).step_by(30_000) {
        staged.append(file.slice(start..(start + 30_000).min(file.len()))).await.unwrap();
    }
    staged.seal(&name()).await.unwrap();
    staged
}

fn name() -> ObjectName {
    ObjectName::new(NAME).unwrap()
}

/// Staged files below a directory; locks do not count.
fn count_files(path: &Path) -> usize {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .map(Result::unwrap)
        .map(|entry| {
            let is_directory = entry.file_type().unwrap().is_dir();
            if is_directory { count_files(&entry.path()) } else { usize::from(entry.file_name() != "lock") }
        })
        .sum()
}

#[tokio::test]
async fn a_file_is_seen_only_when_published() {
    let lab = Lab::new();
    let mut staged = lab.sealed(OURS).await;
    assert_eq!(lab.store.list("").await, Ok(Vec::new()));
    assert_eq!(staged.publish(&OURS).await, Ok(Published::Created));
    assert_eq!(staged.publish(&OURS).await, Ok(Published::Created));
    assert_eq!(lab.published_file(), file_of(OURS, 200_000));
    let size_bytes = file_of(OURS, 200_000).len() as u64;
    assert_eq!(lab.store.list("t").await, Ok(vec![ListedFile { path: NAME.into(), size_bytes }]));
    assert_eq!(lab.store.list("nothing").await, Ok(Vec::new()));
    assert_eq!(lab.staged_files(), 0);
    assert!(lab.store.read_metadata(NAME).await.is_ok());
    assert_eq!(lab.store.read(NAME, 1..3).await.unwrap().len(), 2);
    assert_eq!(lab.store.read_tail(NAME, 4).await.unwrap().bytes, "PAR1");
    assert!(matches!(lab.store.read("t/none", 0..1).await, Err(StorageError::Missing { .. })));
}

#[tokio::test]
async fn what_is_dropped_or_discarded_leaves_nothing() {
    let lab = Lab::new();
    let (dropped, discarded) = (lab.sealed(OURS).await, lab.sealed(OURS).await);
    assert_eq!(lab.staged_files(), 2);
    drop(dropped);
    discarded.discard().await;
    assert_eq!(lab.staged_files(), 0);
    let Lab { root, store, backend, _directory } = lab;
    drop((store, backend));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "an ended process leaves no staging directory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_publishers_of_one_file_one_creates_and_no_reader_sees_a_part() {
    let lab = Lab::new();
    let mut publishers = Vec::new();
    for _ in 0..8 {
        let mut staged = lab.sealed(OURS).await;
        publishers.push(tokio::spawn(async move { staged.publish(&OURS).await }));
    }
    let expected = file_of(OURS, 200_000);
    let mut created = 0;
    for publisher in publishers {
        for listed in lab.store.list("").await.unwrap() {
            assert_eq!(lab.store.read(&listed.path, 0..u64::MAX).await.unwrap(), expected);
        }
        created += usize::from(publisher.await.unwrap().unwrap() == Published::Created);
    }
    assert_eq!(created, 1);
    assert_eq!(lab.published_file(), expected);
    assert_eq!(lab.staged_files(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fault_79_of_two_different_files_one_conflicts_and_the_other_stays() {
    for _ in 0..20 {
        let lab = Lab::new();
        let (mut first, mut second) = (lab.sealed(OURS).await, lab.sealed(THEIRS).await);
        let first = tokio::spawn(async move { first.publish(&OURS).await });
        let second = tokio::spawn(async move { second.publish(&THEIRS).await });
        let outcomes = [first.await.unwrap(), second.await.unwrap()];
        let winner = outcomes.iter().position(Result::is_ok).expect("one is published");
        assert_eq!(outcomes[winner], Ok(Published::Created));
        let identities = [OURS, THEIRS];
        let conflict = StorageError::Conflict {
            path: lab.store.display_url(NAME),
            ours: identities[1 - winner],
            existing: ExistingFile::Identified(identities[winner]),
        };
        assert_eq!(outcomes[1 - winner], Err(conflict));
        assert_eq!(lab.published_file(), file_of(identities[winner], 200_000));
    }
}

#[tokio::test]
async fn fault_79_a_file_that_is_not_ours_is_never_overwritten() {
    let lab = Lab::new();
    fs::create_dir_all(lab.root.join("t/a=1")).unwrap();
    fs::write(lab.root.join(NAME), b"something else").unwrap();
    let mut staged = lab.sealed(OURS).await;
    for _ in 0..2 {
        let outcome = staged.publish(&OURS).await;
        assert!(
            matches!(&outcome, Err(StorageError::Conflict { existing: ExistingFile::Unreadable(_), .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(lab.published_file(), b"something else");
    staged.discard().await;
    assert_eq!(lab.staged_files(), 0);
}

#[tokio::test]
async fn fault_77_a_publish_that_broke_off_after_the_rename_is_finished_by_the_next() {
    fn broken(path: &Path) -> io::Result<()> {
        let failed = path.parent().unwrap().join("failed-once");
        if path.join("t+0+000000000000+000000000010.parquet").exists() && !failed.exists() {
            fs::write(failed, b"")?;
            return Err(rustix::io::Errno::IO.into());
        }
        place::sync_directory(path)
    }
    let lab = Lab::with(broken);
    let mut staged = lab.sealed(OURS).await;
    let first = staged.publish(&OURS).await;
    assert!(matches!(first, Err(StorageError::Retriable { .. })), "{first:?}");
    assert_eq!(staged.publish(&OURS).await, Ok(Published::Adopted));
    assert_eq!(lab.published_file(), file_of(OURS, 200_000));
}

#[test]
fn fault_77_the_name_of_the_root_is_made_durable_also_by_a_process_that_finds_it() {
    thread_local! {
        static SYNCED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
    }
    let note = |path: &Path| {
        SYNCED.with_borrow_mut(|synced| synced.push(path.to_owned()));
        Ok(())
    };
    let above = tempfile::tempdir().unwrap();
    let above = above.path().canonicalize().unwrap();
    for found in ["that makes it", "that finds it"] {
        make_root(&above.join("a/lake"), note).unwrap();
        let synced = SYNCED.take();
        assert_eq!(synced[..2], [above.join("a"), above.clone()], "a process {found}");
    }
    make_root(&above, |_| Err(io::ErrorKind::PermissionDenied.into())).unwrap();
    assert!(make_root(&above, |_| Err(io::Error::other("no power"))).is_err());
}

#[tokio::test]
async fn fault_78_after_a_crash_the_same_file_is_adopted_and_leftovers_go() {
    let lab = Lab::new();
    lab.sealed(OURS).await.publish(&OURS).await.unwrap();
    let dead = lab.root.join(".sluice/orders-1-0");
    fs::create_dir_all(&dead).unwrap();
    fs::write(dead.join("lock"), b"").unwrap();
    fs::write(dead.join("1-0.tmp"), b"half a file").unwrap();

    let again =
        Store(Backend::Local(Arc::new(LocalBackend::open(lab.root.clone(), "orders").await.unwrap())));
    assert_eq!(again.sweep().await.unwrap().files, 1);
    let mut replayed = sealed(&again, OURS, 5).await;
    assert_eq!(replayed.publish(&OURS).await, Ok(Published::Adopted));
    assert_eq!(again.list("").await.unwrap().len(), 1);
    assert_eq!(lab.published_file(), file_of(OURS, 200_000));
}

#[tokio::test]
async fn fault_75_a_root_that_vanishes_holds_everything_until_it_is_back() {
    let lab = Lab::new();
    let mut sealed_before = lab.sealed(OURS).await;
    let away = lab.root.with_extension("away");
    fs::rename(&lab.root, &away).unwrap();

    let mut new = lab.store.stage(2);
    let outcome = new.append(Bytes::from(vec![0; 2 << 20])).await;
    assert!(matches!(outcome, Err(StorageError::Retriable { .. })), "{outcome:?}");
    let outcome = sealed_before.publish(&OURS).await;
    assert!(matches!(outcome, Err(StorageError::Spoiled { .. })), "{outcome:?}");
    assert!(!lab.root.exists(), "a volume that is not mounted must not be written beside");

    fs::rename(&away, &lab.root).unwrap();
    new.append(Bytes::new()).await.unwrap();
    assert_eq!(sealed_before.publish(&OURS).await, Ok(Published::Created));
}

#[tokio::test]
async fn fault_75_a_staging_directory_that_was_taken_away_is_made_anew() {
    let lab = Lab::new();
    lab.sealed(OURS).await.discard().await;
    fs::remove_dir_all(lab.root.join(".sluice")).unwrap();
    let mut staged = lab.store.stage(2);
    let first = staged.seal(&name()).await;
    assert!(matches!(first, Err(StorageError::Retriable { .. })), "{first:?}");
    staged.seal(&name()).await.unwrap();
    assert_eq!(staged.publish(&OURS).await, Ok(Published::Created));
}

#[tokio::test]
async fn fault_75_a_claim_is_made_after_the_staging_directory_was_taken_away() {
    let lab = Lab::new();
    lab.sealed(OURS).await.discard().await;
    fs::remove_dir_all(lab.root.join(".sluice")).unwrap();
    let claim = || async { lab.store.claim(".sluice/claims/t.json", Bytes::from_static(b"ours")).await };
    let first = claim().await;
    assert!(matches!(first, Err(StorageError::Retriable { .. })), "{first:?}");
    assert_eq!(claim().await, Ok(Bytes::from_static(b"ours")));
}

#[tokio::test]
async fn fault_115_an_output_that_cannot_be_written_is_refused_at_the_start() {
    let lab = Lab::new();
    let file = lab.root.join("file");
    fs::write(&file, b"").unwrap();
    let beside = LocalBackend::open(file.join("lake"), "c").await.unwrap_err();
    assert!(matches!(beside, StorageError::Invalid { .. }), "{beside:?}");
    let on = LocalBackend::open(file, "c").await.unwrap_err();
    assert!(matches!(on, StorageError::Invalid { .. }), "{on:?}");
    assert_eq!(lab.store.probe().await, Ok(()));

    let denied = refused_at_start(
        disk_error(&rustix::io::Errno::ACCESS.into(), "make", &lab.root),
        &rustix::io::Errno::ACCESS.into(),
    );
    assert!(matches!(denied, StorageError::Denied { .. }), "{denied:?}");
    // The superuser may write anywhere, so only others can show it on a real directory.
    if fs::metadata(&lab.root).unwrap().uid() != 0 {
        fs::set_permissions(&lab.root, fs::Permissions::from_mode(0o500)).unwrap();
        let fresh = Arc::new(LocalBackend::at(lab.root.clone(), "c"));
        assert!(matches!(fresh.probe().await, Err(StorageError::Denied { .. })));
        fs::set_permissions(&lab.root, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[tokio::test]
async fn fault_80_a_directory_on_another_device_is_a_configuration_error() {
    let lab = Lab::new();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { panic!("this test needs /dev/shm") };
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    std::os::unix::fs::symlink(other.path(), lab.root.join("t")).unwrap();
    let mut staged = lab.sealed(OURS).await;
    let outcome = staged.publish(&OURS).await;
    if device(other.path()) == device(&lab.root) {
        assert_eq!(outcome, Ok(Published::Created), "temporary files lie on the same device here");
        return;
    }
    let Err(StorageError::Invalid { reason }) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("one file system"), "{reason}");
    assert_eq!(fs::read_dir(other.path().join("a=1")).unwrap().count(), 0);
}

/// A file system of four mebibytes, unmounted at the end; `None` where this process may not mount.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(directory.path())
            .output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(directory))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn fault_74_a_full_disk_publishes_nothing_and_goes_on_when_there_is_room() {
    let Some(disk) = TinyDisk::mount() else {
        eprintln!("no right to mount: the full device of chunk_file's tests stands for the full disk");
        return full_device_publishes_nothing().await;
    };
    let store = Store(Backend::Local(Arc::new(LocalBackend::open(disk.0.path().into(), "c").await.unwrap())));
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; (3 << 20) + (900 << 10)]).unwrap();

    let mut staged = store.stage(1);
    let file = file_of(OURS, 1500 << 10);
    let outcome = staged.append(file.clone()).await;
    assert!(matches!(outcome, Err(StorageError::Retriable { .. })), "{outcome:?}");
    assert!(matches!(staged.seal(&name()).await, Err(StorageError::Retriable { .. })));
    assert!(matches!(staged.publish(&OURS).await, Err(StorageError::Retriable { .. })));
    assert_eq!(store.list("t").await, Ok(Vec::new()));

    fs::remove_file(&ballast).unwrap();
    staged.seal(&name()).await.unwrap();
    assert_eq!(staged.publish(&OURS).await, Ok(Published::Created));
    assert_eq!(store.read(NAME, 0..u64::MAX).await.unwrap(), file);
    drop((staged, store));
}

async fn full_device_publishes_nothing() {
    let lab = Lab::new();
    let directory = lab.backend.staging_directory().unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.staged_path("full")).unwrap();
    let file = File::options().write(true).open(directory.staged_path("full")).unwrap();
    let mut chunks = crate::storage::chunk_file::ChunkFile::new("full".into(), 0);
    chunks.push(Bytes::from_static(b"x"));
    assert!(matches!(chunks.write_out(|| Ok(file)).await, Err(StorageError::Retriable { .. })));
    assert_eq!(lab.store.list("").await, Ok(Vec::new()));
}

#[tokio::test]
async fn hidden_and_linked_files_are_not_listed() {
    let lab = Lab::new();
    fs::create_dir_all(lab.root.join(".sluice/x")).unwrap();
    for path in [".sluice/x/1.tmp", ".f.crc", "f"] {
        fs::write(lab.root.join(path), b"x").unwrap();
    }
    std::os::unix::fs::symlink(&lab.root, lab.root.join("round")).unwrap();
    assert_eq!(lab.store.list("").await, Ok(vec![ListedFile { path: "f".into(), size_bytes: 1 }]));
}

#[tokio::test]
async fn urls_of_local_outputs_are_checked() {
    let lab = Lab::new();
    let at =
        |url: &str| StorageSettings { url: url.parse().unwrap(), options: std::collections::BTreeMap::new() };
    let url = format!("file://{}/new%20lake", lab.root.display());
    let store = Store::open(&at(&url), "c", Path::new("/nowhere"), &UploadRoom::default()).await.unwrap();
    assert!(lab.root.join("new lake").is_dir());
    assert!(store.display_url("t/f").ends_with("/new lake/t/f"));
    let remote =
        Store::open(&at("file://host/lake"), "c", Path::new("/nowhere"), &UploadRoom::default()).await;
    assert!(matches!(remote, Err(StorageError::Invalid { .. })));
    let mut optioned = at(&url);
    optioned.options.insert("region".into(), crate::config::settings::Secret::new("x"));
    assert!(matches!(Store::open_for_reading(&optioned), Err(StorageError::Invalid { .. })));
    let nowhere = Store::open_for_reading(&at(&format!("file://{}/none", lab.root.display()))).unwrap();
    assert!(matches!(nowhere.list("").await, Err(StorageError::Missing { .. })));
    assert!(!lab.root.join("none").exists());
}

#[test]
fn a_file_system_without_case_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("probe.parquet");
    fs::write(&path, b"x").unwrap();
    assert!(!is_there_in_other_case(&path));
    fs::write(folder.path().join("PROBE.PARQUET"), b"x").unwrap();
    assert!(is_there_in_other_case(&path), "as a file system without case would answer");
}

#[tokio::test]
async fn fault_74_what_is_wrong_with_the_place_is_seen_without_writing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lake");
    let backend = LocalBackend::open(root.clone(), "orders").await.unwrap();
    assert_eq!(backend.look(1).await, Ok(()));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "a look leaves no trace");
    let reason = |outcome: Result<(), StorageError>| match outcome {
        Err(StorageError::Retriable { reason, .. }) => reason,
        outcome => panic!("{outcome:?}"),
    };
    let full = reason(backend.look(u64::MAX).await);
    assert!(full.contains("goes on when there is room again"), "{full}");
    fs::rename(&root, folder.path().join("away")).unwrap();
    let gone = reason(backend.look(1).await);
    assert!(gone.contains(&root.display().to_string()) && gone.contains("volume mounted"), "{gone}");
    fs::write(&root, b"a file").unwrap();
    assert!(backend.look(1).await.is_err(), "a file where the directory was");
}
