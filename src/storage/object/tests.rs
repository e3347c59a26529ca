//! Object stores that misbehave, one fault after the other, against a scripted S3.

use std::sync::atomic::Ordering;
use std::time::Duration;

use object_store::BackoffConfig;

use super::s3_server::{Act, Op, S3Server};
use super::*;
use crate::config::settings::Secret;
use crate::storage::identity::FileIdentity;
use crate::storage::identity::tests::file_of;
use crate::storage::name::ObjectName;
use crate::storage::{Backend, Published, StagedFile, Store};
use crate::task::budget::MemoryBudget;

const SMALL: usize = 100;
const LARGE: usize = 100_000;
const OURS: FileIdentity = FileIdentity { rows: 10, checksum: 0xa11 };
const THEIRS: FileIdentity = FileIdentity { rows: 11, checksum: 0xb22 };
const NAME: &str = "t/dt=2026%2F01/t+0+000000000000+000000000010.parquet";
const KEY: &str = "raw/t/dt=2026%2F01/t+0+000000000000+000000000010.parquet";

struct Lab {
    server: S3Server,
    store: Store,
    backend: Arc<ObjectBackend>,
    scratch: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        Self::with_timeout("30s").await
    }

    async fn with_timeout(timeout: &str) -> Self {
        let room = UploadRoom::sized(1 << 20, 1 << 20, MemoryBudget::new(0));
        Self::of(S3Server::start().await, timeout, &room)
    }

    /// One of several stores at a server.
    fn of(server: S3Server, timeout: &str, room: &UploadRoom) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let options = [
            ("endpoint", server.endpoint.as_str()),
            ("allow_http", "true"),
            ("region", "us-east-1"),
            ("access_key_id", "ACCESS-KEY"),
            ("secret_access_key", "SECRET-KEY"),
            ("timeout", timeout),
        ];
        let settings = StorageSettings {
            url: "s3://lake/raw".parse().unwrap(),
            options: options.map(|(key, value)| (key.to_owned(), Secret::new(value))).into(),
        };
        let sizes = UploadSizes { memory: 1 << 10, single_put: 64 << 10, part: 16 << 10 };
        let wait = Duration::from_millis(1);
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: wait, max_backoff: wait, base: 2.0 },
            max_retries: 1,
            retry_timeout: Duration::from_secs(60),
        };
        let backend =
            Arc::new(ObjectBackend::with(&settings, scratch.path(), sizes, room.share(), retry).unwrap());
        let store = Store(Backend::Object(Arc::clone(&backend)));
        Self { server, store, backend, scratch }
    }

    async fn staged(&self, identity: FileIdentity, padding_bytes: usize) -> StagedFile {
        let mut staged = self.store.stage(1);
        let file = file_of(identity, padding_bytes);
        for start in (0..file.len()).step_by(7_000) {
            staged.append(file.slice(start..(start + 7_000).min(file.len()))).await.unwrap();
        }
        staged
    }

    async fn sealed(&self, identity: FileIdentity, padding_bytes: usize) -> StagedFile {
        let mut staged = self.staged(identity, padding_bytes).await;
        staged.seal(&name()).await.unwrap();
        staged
    }

    /// Calls publish until it succeeds, as the task above does; fails on anything but `Retriable`.
    async fn publish(&self, staged: &mut StagedFile) -> Published {
        for _ in 0..5 {
            match staged.publish(&OURS).await {
                Ok(published) => return published,
                Err(StorageError::Retriable { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("five tries were not enough");
    }

    fn assert_only_ours(&self, padding_bytes: usize) {
        assert!(self.server.script_is_done());
        assert_eq!(self.server.keys(), [KEY]);
        assert_eq!(self.server.object(KEY).unwrap(), file_of(OURS, padding_bytes));
    }
}

fn name() -> ObjectName {
    ObjectName::new(NAME).unwrap()
}

#[tokio::test]
async fn files_of_any_size_are_seen_only_when_published() {
    for (padding_bytes, parts) in [(SMALL, 0), (40_000, 0), (LARGE, 7)] {
        let lab = Lab::new().await;
        let mut staged = lab.sealed(OURS, padding_bytes).await;
        assert_eq!(lab.server.count(Op::Part), parts);
        assert_eq!(lab.store.list("").await.unwrap(), []);
        assert_eq!(staged.publish(&OURS).await, Ok(Published::Created));
        assert_eq!(staged.publish(&OURS).await, Ok(Published::Created));
        lab.assert_only_ours(padding_bytes);

        let listed = lab.store.list("t").await.unwrap();
        assert_eq!(
            listed,
            [ListedFile { path: NAME.into(), size_bytes: file_of(OURS, padding_bytes).len() as u64 }]
        );
        assert_eq!(lab.store.list("t/dt=2026").await.unwrap(), [], "a prefix is made of whole segments");
        assert_eq!(lab.store.read(NAME, 3..5).await.unwrap(), &file_of(OURS, padding_bytes)[3..5]);
        assert!(lab.store.read_metadata(NAME).await.is_ok());
        assert_eq!(lab.server.open_uploads(), 0);
    }
}

#[tokio::test]
async fn fault_98_uploads_of_all_stores_share_one_room() {
    // Two of the parts, or less than one of the files that go up whole.
    const ROOM_BYTES: usize = 32 << 10;
    let (server, budget) = (S3Server::start().await, MemoryBudget::new(1 << 20));
    server.lake.is_slow.store(true, Ordering::Relaxed);
    let room = UploadRoom::sized(ROOM_BYTES as u64, ROOM_BYTES as u64, budget.clone());
    let labs: Vec<Lab> = (0..3).map(|_| Lab::of(server.clone(), "30s", &room)).collect();
    let mut work = Vec::new();
    for (number, lab) in labs.iter().enumerate() {
        for padding_bytes in [SMALL, 10_000, 40_000, LARGE] {
            let mut staged = lab.staged(OURS, padding_bytes).await;
            work.push(async move {
                let name = ObjectName::new(format!("t/n={number}/{padding_bytes}.parquet")).unwrap();
                staged.seal(&name).await.unwrap();
                staged.publish(&OURS).await.unwrap();
            });
        }
    }
    futures_util::future::join_all(work).await;
    assert_eq!(server.keys().len(), 12);
    let most = server.lake.most_upload_bytes.load(Ordering::Relaxed);
    let whole = file_of(OURS, 40_000).len();
    assert!(whole > ROOM_BYTES && (ROOM_BYTES / 2..=whole).contains(&most), "{most} bytes at a time");
    assert_eq!(budget.used_bytes(), 0);
}

#[tokio::test]
async fn memory_is_left_as_a_file_grows() {
    let lab = Lab::new().await;
    let mut staged = lab.store.stage(1);
    for _ in 0..100 {
        staged.append(Bytes::from(vec![1; 10_000])).await.unwrap();
        assert!(staged.memory_bytes() <= 80_000, "{} bytes in memory", staged.memory_bytes());
    }
    assert_eq!(staged.staged_bytes(), 1_000_000);
}

#[tokio::test]
async fn two_publishers_with_the_same_content_agree() {
    for padding_bytes in [SMALL, LARGE] {
        let lab = Lab::new().await;
        let mut first = lab.sealed(OURS, padding_bytes).await;
        let mut second = lab.sealed(OURS, padding_bytes).await;
        let first = tokio::spawn(async move { first.publish(&OURS).await });
        let second = tokio::spawn(async move { second.publish(&OURS).await });
        let mut outcomes = [first.await.unwrap().unwrap(), second.await.unwrap().unwrap()];
        outcomes.sort_by_key(|outcome| *outcome == Published::Adopted);
        assert_eq!(outcomes, [Published::Created, Published::Adopted]);
        lab.assert_only_ours(padding_bytes);
    }
}

#[tokio::test]
async fn two_publishers_with_different_content_conflict_and_the_first_file_stays() {
    for padding_bytes in [SMALL, LARGE] {
        let lab = Lab::new().await;
        let mut late = lab.sealed(THEIRS, padding_bytes).await;
        let mut first = lab.sealed(OURS, padding_bytes).await;
        assert_eq!(first.publish(&OURS).await, Ok(Published::Created));
        let error = late.publish(&THEIRS).await.unwrap_err();
        let expected = StorageError::Conflict {
            path: format!("s3://lake/raw/{NAME}"),
            ours: THEIRS,
            existing: ExistingFile::Identified(OURS),
        };
        assert_eq!(error, expected);
        late.discard().await;
        lab.assert_only_ours(padding_bytes);
        assert_eq!(lab.server.open_uploads(), 0);
    }
}

#[tokio::test]
async fn fault_82_trouble_at_every_step_is_retried_until_it_ends() {
    let troubles = [
        Act::Refuse(500, "InternalError"),
        Act::Refuse(503, "SlowDown"),
        Act::Refuse(429, "TooManyRequests"),
        Act::Refuse(400, "RequestTimeout"),
        Act::DoThenRefuse(500, "InternalError"),
    ];
    for trouble in troubles {
        for op in [Op::Begin, Op::Part, Op::Complete, Op::Head, Op::Put] {
            let padding_bytes = if op == Op::Put { SMALL } else { LARGE };
            let lab = Lab::new().await;
            let mut staged = lab.staged(OURS, padding_bytes).await;
            // One try and one retry inside fail; what follows is up to the caller.
            lab.server.script(op, trouble.clone());
            lab.server.script(op, trouble.clone());
            for _ in 0..3 {
                match staged.seal(&name()).await {
                    Ok(()) => break,
                    Err(StorageError::Retriable { .. }) => {}
                    Err(error) => panic!("{op:?} {trouble:?}: {error:?}"),
                }
            }
            lab.publish(&mut staged).await;
            lab.assert_only_ours(padding_bytes);
        }
    }
}

#[tokio::test]
async fn fault_82_a_busy_store_says_how_long_to_wait() {
    let lab = Lab::new().await;
    let mut staged = lab.sealed(OURS, SMALL).await;
    lab.server.script(Op::Put, Act::Busy(7));
    lab.server.script(Op::Put, Act::Busy(7));
    let error = staged.publish(&OURS).await.unwrap_err();
    assert!(
        matches!(error, StorageError::Retriable { after: Some(wait), .. } if wait.as_secs() == 7),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("SlowDown") && !text.contains("SECRET") && !text.contains("http://"), "{text}");
}

#[tokio::test]
async fn fault_83_an_error_within_200_is_a_failure() {
    for code in ["InternalError", "SlowDown", "SomethingNew"] {
        let lab = Lab::new().await;
        let mut staged = lab.sealed(OURS, LARGE).await;
        lab.server.script(Op::Complete, Act::RefuseWithin200(code));
        lab.server.script(Op::Complete, Act::RefuseWithin200(code));
        let first = staged.publish(&OURS).await;
        assert!(matches!(first, Err(StorageError::Retriable { .. })), "{code}: {first:?}");
        assert_eq!(lab.server.object(KEY), None);
        lab.publish(&mut staged).await;
        lab.assert_only_ours(LARGE);
    }
}

#[tokio::test]
async fn fault_84_a_lost_answer_is_looked_for_before_anything_is_said() {
    for act in [Act::DoThenHang, Act::DoThenBreak, Act::DoThenRefuse(503, "SlowDown")] {
        for (op, padding_bytes) in [(Op::Complete, LARGE), (Op::Put, SMALL)] {
            let lab = Lab::with_timeout(if matches!(act, Act::DoThenHang) { "2s" } else { "30s" }).await;
            let mut staged = lab.sealed(OURS, padding_bytes).await;
            lab.server.script(op, act.clone());
            let outcome = staged.publish(&OURS).await;
            assert!(outcome.is_ok(), "{op:?} {act:?}: {outcome:?}");
            lab.assert_only_ours(padding_bytes);
            assert_eq!(lab.server.count(Op::Abort), 0);
        }
    }
}

#[tokio::test]
async fn fault_84_nothing_is_deleted_while_the_outcome_is_unknown() {
    let lab = Lab::new().await;
    let mut staged = lab.sealed(OURS, LARGE).await;
    for op in [Op::Complete, Op::Complete] {
        lab.server.script(op, Act::Refuse(500, "InternalError"));
    }
    assert!(matches!(staged.publish(&OURS).await, Err(StorageError::Retriable { .. })));
    staged.discard().await;
    assert_eq!(lab.server.count(Op::Abort), 0);
    assert_eq!(lab.server.open_uploads(), 1);
}

#[tokio::test]
async fn fault_85_what_is_given_up_leaves_no_upload() {
    let lab = Lab::new().await;
    lab.sealed(OURS, LARGE).await.discard().await;
    assert_eq!(lab.server.count(Op::Abort), 1);
    assert_eq!((lab.server.open_uploads(), lab.server.keys().len()), (0, 0));
}

#[tokio::test]
async fn fault_85_old_uploads_of_ours_are_aborted_and_no_others() {
    let lab = Lab::new().await;
    let yesterday = (chrono::Utc::now() - Duration::from_secs(25 * 60 * 60)).to_rfc3339();
    let today = (chrono::Utc::now() - Duration::from_secs(23 * 60 * 60)).to_rfc3339();
    let escaped = "raw/t/a=1%2F&lt;2/t+0+000000000000+000000000010.parquet";
    let uploads = [
        (KEY, "old", &yesterday),
        (KEY, "old, too", &yesterday),
        (escaped, "escaped", &yesterday),
        (KEY, "young", &today),
        (KEY, "dateless", &String::new()),
        ("raw/t/foreign", "foreign", &yesterday),
        ("rawer/t/ours", "elsewhere", &yesterday),
        ("raw/t/z", "old, at last", &yesterday),
    ];
    for (key, id, initiated) in uploads {
        lab.server.leave_upload(key, id, initiated);
    }
    let is_ours = |path: &str| path != "t/foreign" && !path.starts_with("er/");
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(lab.store.sweep_uploads(day, &is_ours).await, Ok(4));
    assert_eq!(lab.server.left_uploads(), ["young", "dateless", "foreign", "elsewhere"]);
    assert_eq!(lab.server.count(Op::ListUploads), 4, "every page was asked for");
    assert_eq!(lab.store.sweep_uploads(day, &is_ours).await, Ok(0));
}

#[tokio::test]
async fn fault_85_uploads_that_may_not_be_listed_are_left_with_a_reason() {
    let lab = Lab::new().await;
    for (status, code) in [(403, "AccessDenied"), (501, "NotImplemented"), (503, "SlowDown")] {
        lab.server.leave_upload(KEY, code, "2020-01-01T00:00:00Z");
        lab.server.script(Op::ListUploads, Act::Refuse(status, code));
        let error = lab.store.sweep_uploads(Duration::ZERO, &|_| true).await.unwrap_err();
        assert_eq!(matches!(error, StorageError::Denied { .. }), status != 503, "{error:?}");
        assert!(error.to_string().contains(code) && !error.to_string().contains("Signature"), "{error}");
    }
    lab.server.script(Op::Abort, Act::Refuse(403, "AccessDenied"));
    let error = lab.store.sweep_uploads(Duration::ZERO, &|_| true).await.unwrap_err();
    assert!(matches!(error, StorageError::Denied { .. }), "{error:?}");
    assert_eq!(lab.server.left_uploads().len(), 3);
}

#[tokio::test]
async fn fault_86_an_upload_that_the_store_dropped_is_made_again() {
    let lab = Lab::new().await;
    let mut staged = lab.sealed(OURS, LARGE).await;
    lab.server.drop_uploads();
    let first = staged.publish(&OURS).await;
    assert!(matches!(first, Err(StorageError::Retriable { .. })), "{first:?}");
    assert_eq!(staged.publish(&OURS).await, Ok(Published::Created));
    lab.assert_only_ours(LARGE);
}

#[tokio::test]
async fn fault_86_an_upload_completed_by_somebody_is_adopted() {
    let lab = Lab::new().await;
    let mut staged = lab.sealed(OURS, LARGE).await;
    lab.server.drop_uploads();
    let leaked: &'static str = KEY;
    lab.server.script(Op::Complete, Act::After(leaked, file_of(OURS, LARGE)));
    assert_eq!(staged.publish(&OURS).await, Ok(Published::Adopted));
    lab.assert_only_ours(LARGE);
}

#[tokio::test]
async fn fault_86_parts_that_the_store_will_not_take_go_up_again() {
    let acts = ["InvalidPart", "InvalidPartOrder", "EntityTooSmall"].map(|code| Act::Refuse(400, code));
    for act in acts.into_iter().chain([Act::RefuseWithin200("InvalidPart")]) {
        let lab = Lab::new().await;
        let mut staged = lab.sealed(OURS, LARGE).await;
        lab.server.script(Op::Complete, act.clone());
        let first = staged.publish(&OURS).await;
        assert!(matches!(first, Err(StorageError::Retriable { .. })), "{act:?}: {first:?}");
        assert_eq!(lab.server.open_uploads(), 0, "{act:?}: what cannot be completed is aborted");
        assert_eq!(staged.publish(&OURS).await, Ok(Published::Created), "{act:?}");
        assert_eq!(lab.server.count(Op::Begin), 2, "{act:?}");
        lab.assert_only_ours(LARGE);
    }
}

#[tokio::test]
async fn fault_74_full_scratch_space_keeps_nothing_from_being_published() {
    for padding_bytes in [SMALL, 40_000, LARGE] {
        for full_from_the_start in [true, false] {
            let lab = Lab::new().await;
            let mut staged = lab.store.stage(1);
            let file = file_of(OURS, padding_bytes);
            let fill = || std::fs::remove_dir(lab.scratch.path()).unwrap();
            if full_from_the_start {
                fill();
            }
            let _ = staged.append(file.slice(..file.len() / 2)).await;
            if !full_from_the_start {
                fill();
            }
            let _ = staged.append(file.slice(file.len() / 2..)).await;
            assert_eq!(staged.seal(&name()).await, Ok(()));
            assert_eq!(staged.publish(&OURS).await, Ok(Published::Created));
            lab.assert_only_ours(padding_bytes);
            assert_eq!(staged.memory_bytes(), 0);
            std::fs::create_dir(lab.scratch.path()).unwrap();
        }
    }
}

#[tokio::test]
async fn fault_87_a_writer_that_comes_between_look_and_write_is_not_overwritten() {
    for (op, padding_bytes) in [(Op::Complete, LARGE), (Op::Put, SMALL)] {
        let lab = Lab::new().await;
        let mut staged = lab.sealed(OURS, padding_bytes).await;
        lab.server.script(op, Act::After(KEY, file_of(THEIRS, 5)));
        let outcome = staged.publish(&OURS).await;
        assert!(matches!(outcome, Err(StorageError::Conflict { .. })), "{op:?}: {outcome:?}");
        assert_eq!(lab.server.object(KEY).unwrap(), file_of(THEIRS, 5));
    }
}

#[tokio::test]
async fn fault_87_a_conflict_of_requests_is_retried() {
    for (op, padding_bytes) in [(Op::Complete, LARGE), (Op::Put, SMALL)] {
        let lab = Lab::new().await;
        let mut staged = lab.sealed(OURS, padding_bytes).await;
        lab.server.script(op, Act::Refuse(409, "ConditionalRequestConflict"));
        let first = staged.publish(&OURS).await;
        assert!(matches!(first, Err(StorageError::Retriable { .. })), "{op:?}: {first:?}");
        assert_eq!(staged.publish(&OURS).await, Ok(Published::Created));
        lab.assert_only_ours(padding_bytes);
    }
}

#[tokio::test]
async fn fault_87_a_file_that_cannot_be_read_is_a_conflict() {
    let lab = Lab::new().await;
    let mut staged = lab.sealed(OURS, SMALL).await;
    for strange in [Bytes::new(), Bytes::from_static(b"hello"), Bytes::from(vec![0; 200_000])] {
        lab.server.put(KEY, strange.clone());
        let error = staged.publish(&OURS).await.unwrap_err();
        let StorageError::Conflict { existing: ExistingFile::Unreadable(_), .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(lab.server.object(KEY).unwrap(), strange);
    }
}

#[tokio::test]
async fn fault_88_a_store_that_ignores_conditions_is_refused_at_the_start() {
    let lab = Lab::new().await;
    assert_eq!(lab.store.probe().await, Ok(()));
    lab.server.lake.ignores_conditions.store(true, Ordering::Relaxed);
    let error = lab.store.probe().await.unwrap_err();
    assert!(matches!(&error, StorageError::Invalid { .. }), "{error:?}");
    assert!(error.to_string().contains("If-None-Match"), "{error}");
    lab.server.lake.ignores_conditions.store(false, Ordering::Relaxed);
    lab.server.script(Op::Put, Act::Refuse(501, "NotImplemented"));
    lab.server.script(Op::Put, Act::Refuse(501, "NotImplemented"));
    assert!(matches!(lab.store.probe().await, Err(StorageError::Invalid { .. })));
    assert_eq!(lab.server.keys(), [""; 0], "a probe leaves nothing");
}

#[tokio::test]
async fn fault_88_where_uploads_complete_only_plainly_looking_first_has_to_do() {
    let lab = Lab::new().await;
    lab.server.lake.completes_only_plainly.store(true, Ordering::Relaxed);
    let mut first = lab.sealed(OURS, LARGE).await;
    let mut late = lab.sealed(THEIRS, LARGE).await;
    assert_eq!(first.publish(&OURS).await, Ok(Published::Created));
    assert!(lab.backend.signals.completes_plainly());
    assert!(matches!(late.publish(&THEIRS).await, Err(StorageError::Conflict { .. })));
    lab.assert_only_ours(LARGE);
}

#[tokio::test]
async fn fault_88_whether_uploads_complete_conditionally_is_found_out() {
    let lab = Lab::new().await;
    assert_eq!(lab.store.probe_completion().await, Ok(true));
    lab.server.lake.ignores_conditions.store(true, Ordering::Relaxed);
    assert_eq!(lab.store.probe_completion().await, Ok(false));
    lab.server.lake.ignores_conditions.store(false, Ordering::Relaxed);
    lab.server.lake.completes_only_plainly.store(true, Ordering::Relaxed);
    assert_eq!(lab.store.probe_completion().await, Ok(false));
    for op in [Op::Begin, Op::Part, Op::Complete] {
        let lab = Lab::new().await;
        lab.server.script(op, Act::Refuse(403, "AccessDenied"));
        let denied = lab.store.probe_completion().await;
        assert!(matches!(denied, Err(StorageError::Denied { .. })), "{op:?}: {denied:?}");
        assert_eq!((lab.server.keys().len(), lab.server.open_uploads()), (0, 0), "{op:?} leaves something");
    }
    assert_eq!(lab.server.keys(), [""; 0], "a probe leaves nothing");
}

#[tokio::test]
async fn fault_90_clock_skew_met_while_looking_is_retried() {
    let lab = Lab::new().await;
    let mut staged = lab.sealed(OURS, LARGE).await;
    lab.server.script(Op::Head, Act::Refuse(403, "RequestTimeTooSkewed"));
    lab.server.script(Op::Get, Act::Refuse(403, "RequestTimeTooSkewed"));
    let error = staged.publish(&OURS).await.unwrap_err();
    assert!(
        matches!(&error, StorageError::Retriable { reason, .. } if reason.contains("clock")),
        "{error:?}"
    );
    assert_eq!(staged.publish(&OURS).await, Ok(Published::Created));
}

#[tokio::test]
async fn fault_93_the_store_can_verify_what_it_gets() {
    let lab = Lab::new().await;
    lab.sealed(OURS, SMALL).await.publish(&OURS).await.unwrap();
    lab.sealed(OURS, LARGE).await.discard().await;
    assert!(lab.server.count(Op::Put) > 0 && lab.server.count(Op::Part) > 0);
    assert_eq!(lab.server.lake.unhashed_bodies.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn fault_91_a_stale_listing_hides_no_file_from_publishing() {
    let lab = Lab::new().await;
    lab.server.put(KEY, file_of(OURS, SMALL));
    lab.server.lake.lists_nothing.store(true, Ordering::Relaxed);
    assert_eq!(lab.store.list("").await, Ok(Vec::new()));
    for padding_bytes in [SMALL, LARGE] {
        let mut staged = lab.sealed(OURS, padding_bytes).await;
        assert_eq!(staged.publish(&OURS).await, Ok(Published::Adopted));
    }
    lab.assert_only_ours(SMALL);
    assert_eq!(lab.server.open_uploads(), 0);
}

#[tokio::test]
async fn fault_92_missing_rights_and_buckets_stop_with_what_to_do() {
    for (status, code) in [(403, "AccessDenied"), (401, "Unauthorized"), (404, "NoSuchBucket")] {
        let lab = Lab::new().await;
        let mut staged = lab.sealed(OURS, SMALL).await;
        lab.server.script(Op::Put, Act::Refuse(status, code));
        let error = staged.publish(&OURS).await.unwrap_err();
        let StorageError::Denied { reason } = &error else { panic!("{code}: {error:?}") };
        assert!(reason.contains(code) && reason.contains(KEY.trim_start_matches("raw/")), "{reason}");
        assert!(!reason.contains("SECRET-KEY") && !reason.contains("ACCESS-KEY"), "{reason}");
        assert_eq!(lab.server.keys(), [""; 0]);
    }
}

#[tokio::test]
async fn fault_112_nothing_shows_a_secret() {
    let lab = Lab::new().await;
    let url = lab.store.display_url("a/b");
    lab.server.script(Op::Head, Act::Refuse(403, "AccessDenied"));
    lab.server.script(Op::Get, Act::Refuse(403, "AccessDenied"));
    let denied = lab.store.read_tail("a/b", 5).await;
    assert!(matches!(denied, Err(StorageError::Denied { .. })), "{denied:?}");
    let shown = format!("{:?} {:?} {url} {denied:?}", lab.store, lab.store.stage(1));
    assert!(!shown.contains("SECRET-KEY") && !shown.contains("ACCESS-KEY"), "{shown}");
    assert!(shown.contains("s3://lake/raw/a/b"), "{shown}");
}

#[tokio::test]
async fn hidden_objects_are_not_listed_and_missing_ones_are_named() {
    let lab = Lab::new().await;
    for key in ["raw/.sluice/probe-1", "raw/t/.f.crc", "rawer/t/f", "raw/t/f"] {
        lab.server.put(key, Bytes::from_static(b"x"));
    }
    assert_eq!(lab.store.list("").await.unwrap(), [ListedFile { path: "t/f".into(), size_bytes: 1 }]);
    lab.server.put("raw/orders/a//b", Bytes::new());
    let foreign = lab.store.list("orders").await.unwrap_err();
    let StorageError::Invalid { reason } = &foreign else { panic!("{foreign:?}") };
    assert!(reason.contains("raw/orders/a//b") && reason.contains("remove"), "{reason}");
    let missing = lab.store.read("t/g", 0..1).await;
    assert_eq!(missing, Err(StorageError::Missing { path: "s3://lake/raw/t/g".into() }));
    assert_eq!(lab.store.read("t/f", 0..100).await.unwrap(), "x");
    assert_eq!(lab.store.read("t/f", 5..100).await.unwrap(), "");
}

#[tokio::test]
async fn a_key_too_long_with_its_prefix_is_refused() {
    let lab = Lab::new().await;
    let mut staged = lab.store.stage(1);
    let long = ObjectName::new(vec!["x".repeat(255); 4].join("/")).unwrap();
    assert!(matches!(staged.seal(&long).await, Err(StorageError::Invalid { .. })));
}
