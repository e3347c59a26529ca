//! The client against registries that misbehave.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use url::Url;

use super::client::Tuning;
use super::local::LocalRegistry;
use super::scripted::{Reply, Scripted};
use super::{Reference, ReferencedSchema, Registry, RegistryError};
use crate::config::settings::{RegistryApi, RegistryAuth, RegistrySettings, Secret};
use crate::error::Failure;
use crate::position::SchemaId;

const ID: SchemaId = SchemaId::Number(7);
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn settings(urls: &[Url]) -> RegistrySettings {
    RegistrySettings {
        urls: urls.to_vec(),
        auth: RegistryAuth::None,
        ca_file: None,
        timeout: PATIENCE,
        api: RegistryApi::Confluent { context: None },
    }
}

fn with_password(urls: &[Url]) -> RegistrySettings {
    let auth = RegistryAuth::Basic { username: "ann".into(), password: Secret::new("hunter2") };
    RegistrySettings { auth, ..settings(urls) }
}

/// A client that never waits on purpose.
pub(super) fn client(settings: &RegistrySettings) -> Registry {
    let tuning =
        Tuning { between_rounds: Duration::ZERO, for_lag: vec![Duration::ZERO; 3], ..Tuning::default() };
    Registry::with_tuning(settings, tuning).unwrap()
}

pub(super) fn is_retriable(error: &RegistryError) -> bool {
    matches!(Failure::from(error.clone()), Failure::Retriable { .. })
}

pub(super) fn poison_kind(error: RegistryError) -> &'static str {
    match Failure::from(error) {
        Failure::Poison { kind, .. } => kind,
        other => panic!("not poison: {other}"),
    }
}

fn an_address_nobody_listens_on() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn url(address: SocketAddr) -> Url {
    Url::parse(&format!("http://{address}")).unwrap()
}

#[tokio::test]
async fn a_schema_is_asked_for_once_then_cached() {
    let server = Scripted::start(|_, _| Reply::schema("\"int\""));
    let base = server.url().join("apis/ccompat/v6").unwrap();
    let registry = client(&settings(&[base]));
    for _ in 0..3 {
        let schema = registry.schema(ID).await.unwrap();
        assert_eq!((schema.id, schema.json.as_str()), (ID, "\"int\""));
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].path, "/apis/ccompat/v6/schemas/ids/7");
    assert_eq!(seen[0].header("user-agent"), Some(concat!("sluice/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(seen[0].header("authorization"), None);
    let counts = registry.counts();
    assert_eq!((counts.requests, counts.fetches, counts.hits, counts.failures), (1, 1, 2, 0));
}

#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    let server = Scripted::start(|_, _| Reply::ok("[]"));
    client(&with_password(&[server.url()])).probe().await.unwrap();
    assert_eq!(server.seen()[0].header("authorization"), Some("Basic YW5uOmh1bnRlcjI="));

    let auth = RegistryAuth::Bearer(Secret::new("t0ken"));
    client(&RegistrySettings { auth, ..settings(&[server.url()]) }).probe().await.unwrap();
    assert_eq!(server.seen()[1].header("authorization"), Some("Bearer t0ken"));
}

#[tokio::test]
async fn fault_31_a_registry_that_is_down_at_start_is_retriable() {
    let address = an_address_nobody_listens_on();
    let registry = client(&settings(&[url(address)]));
    let error = registry.schema(ID).await.unwrap_err();
    assert!(is_retriable(&error), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(is_retriable(&registry.probe().await.unwrap_err()));

    let _server = Scripted::start_at(address, |_, _| Reply::schema("\"int\""));
    assert_eq!(registry.schema(ID).await.unwrap().json, "\"int\"");
}

#[tokio::test]
async fn fault_32_known_ids_outlive_the_registry() {
    let down = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&down);
    let server =
        Scripted::start(
            move |_, _| {
                if switch.load(Ordering::SeqCst) { Reply::Reset } else { Reply::schema("\"int\"") }
            },
        );
    let registry = client(&settings(&[server.url()]));
    registry.schema(ID).await.unwrap();
    down.store(true, Ordering::SeqCst);
    assert_eq!(registry.schema(ID).await.unwrap().json, "\"int\"");
    assert!(is_retriable(&registry.schema(SchemaId::Number(8)).await.unwrap_err()));
    down.store(false, Ordering::SeqCst);
    assert!(registry.schema(SchemaId::Number(8)).await.is_ok(), "trouble must not be remembered");
}

#[tokio::test]
async fn fault_33_an_unknown_id_is_asked_for_again_then_remembered() {
    let server = Scripted::start(|_, _| Reply::error(404, 40403));
    let registry = client(&settings(&[server.url()]));
    for _ in 0..100 {
        assert_eq!(poison_kind(registry.schema(ID).await.unwrap_err()), "unknown_schema");
    }
    assert_eq!(server.seen().len(), 4);
    assert_eq!(registry.counts().negative_hits, 99);
}

#[tokio::test]
async fn fault_33_an_id_that_arrives_late_is_found() {
    let server = Scripted::start(|_, number| match number {
        0..=2 => Reply::error(404, 40403),
        _ => Reply::schema("\"int\""),
    });
    let registry = client(&settings(&[server.url()]));
    assert_eq!(registry.schema(ID).await.unwrap().json, "\"int\"");
}

#[tokio::test]
async fn fault_33_a_verdict_stands_only_for_a_while() {
    let server = Scripted::start(|_, number| match number {
        0 => Reply::error(404, 40403),
        _ => Reply::schema("\"int\""),
    });
    let tuning = Tuning { for_lag: Vec::new(), verdicts_stand: Duration::ZERO, ..Tuning::default() };
    let registry = Registry::with_tuning(&settings(&[server.url()]), tuning).unwrap();
    assert_eq!(registry.schema(ID).await.unwrap_err(), RegistryError::UnknownSchema(ID));
    assert!(registry.schema(ID).await.is_ok());
}

#[tokio::test]
async fn fault_33_an_id_is_unknown_only_when_every_url_says_so() {
    let lagging = Scripted::start(|_, _| Reply::error(404, 40403));
    let broken = Scripted::start(|_, _| Reply::error(500, 50001));
    let error = client(&settings(&[lagging.url(), broken.url()])).schema(ID).await.unwrap_err();
    assert!(is_retriable(&error), "{error}");

    let knowing = Scripted::start(|_, _| Reply::schema("\"int\""));
    assert!(client(&settings(&[lagging.url(), knowing.url()])).schema(ID).await.is_ok());
}

#[tokio::test]
async fn fault_33_a_wrong_path_is_not_an_unknown_id() {
    for reply in [(|| Reply::error(404, 404)) as fn() -> Reply, || Reply::Full(404, vec![], "<html>".into())]
    {
        let server = Scripted::start(move |_, _| reply());
        let error = client(&settings(&[server.url()])).schema(ID).await.unwrap_err();
        assert!(is_retriable(&error), "{error}");
        assert!(error.to_string().contains("registry.url"), "{error}");
    }
}

#[tokio::test]
async fn fault_34_refused_credentials_stop_and_never_poison() {
    for status in [401, 403] {
        let server = Scripted::start(move |_, _| Reply::error(status, 40101));
        let registry = client(&with_password(&[server.url()]));
        for error in [registry.schema(ID).await.unwrap_err(), registry.probe().await.unwrap_err()] {
            let text = error.to_string();
            assert!(matches!(Failure::from(error), Failure::Fatal { .. }), "{text}");
            assert!(text.contains("registry.password") && !text.contains("hunter2"), "{text}");
        }
    }
}

#[tokio::test]
async fn fault_35_busy_and_broken_registries_are_retriable() {
    for status in [408, 429, 500, 502, 503, 504] {
        let server = Scripted::start(move |_, _| Reply::error(status, u32::from(status)));
        let error = client(&settings(&[server.url()])).schema(ID).await.unwrap_err();
        assert!(is_retriable(&error), "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
}

#[tokio::test]
async fn fault_35_retry_after_is_handed_on_without_another_try() {
    for status in [429, 503] {
        let server =
            Scripted::start(move |_, _| Reply::Full(status, vec!["retry-after: 17".into()], String::new()));
        let error = client(&settings(&[server.url()])).schema(ID).await.unwrap_err();
        let RegistryError::Unavailable { after, .. } = error else { panic!("{error}") };
        assert_eq!(after, Some(Duration::from_secs(17)));
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn fault_35_a_server_error_is_tried_once_more() {
    let server = Scripted::start(|_, number| match number {
        0 => Reply::error(500, 50001),
        _ => Reply::schema("\"int\""),
    });
    assert!(client(&settings(&[server.url()])).schema(ID).await.is_ok());
}

#[tokio::test]
async fn fault_35_a_hanging_registry_times_out() {
    let server = Scripted::start(|_, _| Reply::Hang);
    let timeout = Duration::from_millis(50);
    let registry = client(&RegistrySettings { timeout, ..settings(&[server.url()]) });
    let error = registry.schema(ID).await.unwrap_err();
    assert!(is_retriable(&error) && error.to_string().contains("no answer within 0.05 s"), "{error}");
    assert_eq!(registry.counts().requests, 1, "another try would hold the caller as long again");
}

#[tokio::test]
async fn fault_35_callers_of_the_same_id_share_one_request() {
    let server = Scripted::start(|_, _| Reply::schema("\"int\""));
    let registry = client(&settings(&[server.url()]));
    let answers = join_all((0..50).map(|_| registry.schema(ID))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn fault_35_a_caller_who_gives_up_takes_nothing_from_the_others() {
    let server = Scripted::start(|_, _| Reply::schema("\"int\""));
    let registry = client(&settings(&[server.url()]));
    let mut first = Box::pin(registry.schema(ID));
    assert!(futures_util::FutureExt::now_or_never(&mut first).is_none());
    let mut second = Box::pin(registry.schema(ID));
    assert!(futures_util::FutureExt::now_or_never(&mut second).is_none());
    drop(first);
    assert!(second.await.is_ok());
    assert_eq!(registry.counts().requests, 1);

    let mut alone = Box::pin(registry.schema(SchemaId::Number(8)));
    assert!(futures_util::FutureExt::now_or_never(&mut alone).is_none());
    drop(alone);
    assert!(registry.schema(SchemaId::Number(8)).await.is_ok(), "an abandoned request must not block the id");
}

#[tokio::test]
async fn the_next_url_is_asked_and_preferred_from_then_on() {
    let good = Scripted::start(|_, _| Reply::schema("\"int\""));
    let bad = Scripted::start(|_, _| Reply::error(500, 50001));
    let registry = client(&settings(&[bad.url(), good.url()]));
    for id in 1..=5 {
        registry.schema(SchemaId::from(id)).await.unwrap();
    }
    assert_eq!((bad.seen().len(), good.seen().len()), (1, 5));
}

#[tokio::test]
async fn fault_36_garbage_with_200_is_retriable_and_not_cached() {
    let garbage: [fn() -> Reply; 6] = [
        || Reply::ok("<html>please log in</html>"),
        || Reply::ok(r#"{"schema":"\"in"#),
        || Reply::ok(r#"{"id":7}"#),
        || Reply::ok(r#"{"schema":null}"#),
        || Reply::ok(""),
        || Reply::Truncated(r#"{"schema":"\"int\""}"#.into()),
    ];
    for make in garbage {
        let server =
            Scripted::start(move |_, number| if number < 2 { make() } else { Reply::schema("\"int\"") });
        let registry = client(&settings(&[server.url()]));
        let error = registry.schema(ID).await.unwrap_err();
        assert!(is_retriable(&error), "{error}");
        assert_eq!(registry.schema(ID).await.unwrap().json, "\"int\"");
    }
}

#[tokio::test]
async fn fault_37_a_schema_of_another_language_is_poison() {
    let server =
        Scripted::start(|_, _| Reply::ok(r#"{"schemaType":"PROTOBUF","schema":"syntax = \"proto3\";"}"#));
    let registry = client(&settings(&[server.url()]));
    for _ in 0..10 {
        let error = registry.schema(ID).await.unwrap_err();
        assert!(error.to_string().contains("PROTOBUF"), "{error}");
        assert_eq!(poison_kind(error), "not_avro");
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_explicit_avro_type_is_avro() {
    let server =
        Scripted::start(|_, _| Reply::ok(r#"{"schemaType":"AVRO","references":[],"schema":"\"int\""}"#));
    assert!(client(&settings(&[server.url()])).schema(ID).await.is_ok());
    let server = Scripted::start(|_, _| Reply::ok(r#"{"schemaType":"avro","schema":"\"int\""}"#));
    assert!(client(&settings(&[server.url()])).schema(ID).await.is_ok(), "whatever its case");
}

fn reference(name: &str) -> Reference {
    Reference { name: name.to_owned(), subject: format!("s/{name}"), version: 1 }
}

/// Registers one schema a name, each under the subject that [`reference`] gives, with its references.
fn register_all(local: &LocalRegistry, graph: &[(&str, &[&str])]) -> SchemaId {
    let mut last = ID;
    for (name, targets) in graph {
        let references: Vec<Reference> = targets.iter().map(|target| reference(target)).collect();
        let json = format!(r#"{{"type":"fixed","size":1,"name":"{name}"}}"#);
        last = local.register_referring(&reference(name).subject, &json, &references).unwrap().into();
    }
    last
}

fn names(references: &[ReferencedSchema]) -> Vec<&str> {
    references.iter().map(|reference| reference.name.as_str()).collect()
}

#[tokio::test]
async fn fault_38_nested_and_diamond_references_come_dependencies_first() {
    let local = LocalRegistry::start().await.unwrap();
    let top = register_all(&local, &[("d", &[]), ("b", &["d"]), ("c", &["d"]), ("a", &["b", "c", "d"])]);
    let registry = client(&settings(&[local.url()]));
    let schema = registry.schema(top).await.unwrap();
    assert_eq!(names(&schema.references), ["d", "b", "c"]);
    assert!(schema.references[0].json.contains("\"d\""), "{schema:?}");
    assert_eq!(registry.counts().requests, 4);
}

#[tokio::test]
async fn fault_38_a_circle_of_references_ends() {
    let local = LocalRegistry::start().await.unwrap();
    let top = register_all(&local, &[("b", &["c"]), ("c", &["b", "c"]), ("a", &["b"])]);
    let schema = client(&settings(&[local.url()])).schema(top).await.unwrap();
    assert_eq!(names(&schema.references), ["c", "b"]);
}

#[tokio::test]
async fn fault_38_references_without_end_are_refused() {
    let server = Scripted::start(|_, number| {
        let reference = reference(&format!("n{number}"));
        Reply::ok(serde_json::json!({ "schema": "\"int\"", "references": [reference] }).to_string())
    });
    let error = client(&settings(&[server.url()])).schema(ID).await.unwrap_err();
    assert_eq!(poison_kind(error), "too_many_references");

    let many: Vec<Reference> = (0..1_000).map(|number| reference(&format!("n{number}"))).collect();
    let server = Scripted::start(move |seen, _| {
        if seen.path.contains("ids") {
            Reply::ok(serde_json::json!({ "schema": "\"int\"", "references": many }).to_string())
        } else {
            Reply::schema("\"int\"")
        }
    });
    let error = client(&settings(&[server.url()])).schema(ID).await.unwrap_err();
    assert_eq!(poison_kind(error), "too_many_references");
}

#[tokio::test]
async fn fault_38_a_reference_that_leads_nowhere_is_poison_and_named() {
    let local = LocalRegistry::start().await.unwrap();
    let top = register_all(&local, &[("a", &["gone"])]);
    let error = client(&settings(&[local.url()])).schema(top).await.unwrap_err();
    assert!(error.to_string().contains("s/gone"), "{error}");
    assert_eq!(poison_kind(error), "missing_reference");
}

#[tokio::test]
async fn fault_38_a_reference_that_was_deleted_softly_is_found_all_the_same() {
    let local = LocalRegistry::start().await.unwrap();
    let top = register_all(&local, &[("b", &[]), ("a", &["b"])]);
    assert!(local.delete_softly("s/b", 1));
    let url = local.url().join("subjects/s%2Fb/versions/1").unwrap();
    assert_eq!(
        reqwest::get(url).await.unwrap().status(),
        404,
        "as if it were gone, to who does not know better"
    );
    let schema = client(&settings(&[local.url()])).schema(top).await.unwrap();
    assert_eq!(names(&schema.references), ["b"]);
}

#[tokio::test]
async fn fault_39_a_reset_registry_does_not_change_a_cached_schema() {
    let server = Scripted::start(|_, number| match number {
        0 => Reply::schema("\"int\""),
        _ => Reply::schema("\"long\""),
    });
    let registry = client(&settings(&[server.url()]));
    registry.schema(ID).await.unwrap();
    assert_eq!(registry.schema(ID).await.unwrap().json, "\"int\"");
}

#[tokio::test]
async fn fault_39_an_id_that_comes_back_different_is_noticed_after_its_schema_was_forgotten() {
    let server = Scripted::start(|_, number| Reply::schema(if number < 3 { "\"int\"" } else { "\"long\"" }));
    let tuning = Tuning { cached_schemas: 1, ..Tuning::default() };
    let registry = Registry::with_tuning(&settings(&[server.url()]), tuning).unwrap();
    for (id, expected) in [(7, 0), (8, 0), (7, 0), (8, 1), (7, 2), (8, 2)] {
        registry.schema(SchemaId::from(id)).await.unwrap();
        assert_eq!(registry.counts().changed, expected);
    }
}

#[tokio::test]
async fn fault_42_an_answer_without_end_is_cut_off() {
    let just_too_big = || Reply::ok(" ".repeat(16 << 20) + r#"{"schema":"\"int\""}"#);
    for reply in [just_too_big as fn() -> Reply, || Reply::Endless] {
        let server = Scripted::start(move |_, _| reply());
        let error = client(&settings(&[server.url()])).schema(ID).await.unwrap_err();
        assert!(is_retriable(&error) && error.to_string().contains("bigger than"), "{error}");
    }
}

#[tokio::test]
async fn fault_42_a_redirect_to_another_host_is_not_followed() {
    let thief = Scripted::start(|_, _| Reply::schema("\"int\""));
    let location = format!("location: {}steal", thief.url());
    let server = Scripted::start(move |_, _| Reply::Full(307, vec![location.clone()], String::new()));
    let error = client(&with_password(&[server.url()])).schema(ID).await.unwrap_err();
    assert_eq!(thief.seen().len(), 0, "a request went to another host");
    let text = error.to_string();
    assert!(matches!(Failure::from(error), Failure::Fatal { .. }), "{text}");
    assert!(text.contains(thief.url().port().unwrap().to_string().as_str()), "{text}");
}

#[tokio::test]
async fn fault_42_a_redirect_within_the_host_is_followed_with_a_limit() {
    let server = Scripted::start(|seen, _| match seen.path.as_str() {
        "/moved" => Reply::schema("\"int\""),
        _ => Reply::Full(302, vec!["location: /moved".into()], String::new()),
    });
    client(&with_password(&[server.url()])).schema(ID).await.unwrap();
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_some()));

    let server = Scripted::start(|_, _| Reply::Full(302, vec!["location: /again".into()], String::new()));
    assert!(client(&settings(&[server.url()])).schema(ID).await.is_err());
}

#[tokio::test]
async fn other_refusals_are_fatal_and_carry_the_registrys_words() {
    let server = Scripted::start(|_, _| Reply::error(422, 42201));
    let error = client(&settings(&[server.url()])).schema(ID).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Refused { status: 422, reason, .. } if reason == "no"),
        "{error}"
    );
    assert!(matches!(Failure::from(error), Failure::Fatal { .. }));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refuses = |settings: RegistrySettings, word: &str| {
        let text = Registry::new(&settings).err().unwrap().to_string();
        assert!(text.contains(word) && !text.contains("hunter2"), "{text}");
    };
    refuses(settings(&[]), "registry.url");
    refuses(settings(&[Url::parse("ftp://r/").unwrap()]), "http");
    refuses(settings(&[Url::parse("http://ann:hunter2@r/").unwrap()]), "registry.password");

    let url = Url::parse("https://r/").unwrap();
    let with_ca = |path| RegistrySettings { ca_file: Some(path), ..settings(std::slice::from_ref(&url)) };
    refuses(with_ca("no-such-file.pem".into()), "no-such-file.pem");
    let file = tempfile::NamedTempFile::new().unwrap();
    refuses(with_ca(file.path().to_owned()), "no PEM certificate");
}

#[test]
fn a_ca_file_may_hold_several_certificates() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{SOME_CA}\n{SOME_CA}")).unwrap();
    let url = Url::parse("https://r/").unwrap();
    let settings = RegistrySettings { ca_file: Some(file.path().to_owned()), ..settings(&[url]) };
    assert!(Registry::new(&settings).is_ok());
}

/// Self-signed, its key thrown away.
const SOME_CA: &str = "\
-----BEGIN CERTIFICATE-----
MIIBcDCCARegAwIBAgIUIx3Stb+lvloe3MkQuHPfXqxiyQ8wCgYIKoZIzj0EAwIw
DTELMAkGA1UEAwwCY2EwIBcNMjYxMTIxMDcxMjE3WhgPMjEyNjEwMjgwNzEyMTda
MA0xCzAJBgNVBAMMAmNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEbPyMLipG
dHrzG5Anth62rqnddUfGpi3Gpzb64j0e79mphF4kko9qXfCyBqDvdb5xNHn1BKtx
BQ0XHi7NZPQd/KNTMFEwHQYDVR0OBBYEFKI+veQVsHT/gJPUN5eekQJ2+jPAMB8G
A1UdIwQYMBaAFKI+veQVsHT/gJPUN5eekQJ2+jPAMA8GA1UdEwEB/wQFMAMBAf8w
CgYIKoZIzj0EAwIDRwAwRAIgEvgyKik4ht9cPpxhT5KoeweERfHvhJOb50TQKgLh
JgcCIF1zOIAf3U5o3kYpDiiW2X0sdyhe0LUAdavCtZS1ppqV
-----END CERTIFICATE-----";

/// A connector that begins with thousands of topics needs thousands of schemas at once.
#[tokio::test]
async fn fault_35_a_registry_is_asked_for_a_few_schemas_at_a_time() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (working, peak) = (Arc::clone(&now), Arc::clone(&most));
    let server = Scripted::start(move |_, _| {
        peak.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(2));
        working.fetch_sub(1, Ordering::SeqCst);
        Reply::schema("\"int\"")
    });
    let registry = client(&settings(&[server.url()]));
    let answers = join_all((0..200).map(|id| registry.schema(SchemaId::Number(id)))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(server.seen().len(), 200);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=16).contains(&most), "{most} at a time");
}

/// A flight that waits for its turn begins where the others have had an answer.
#[tokio::test]
async fn fault_35_of_many_schemas_only_the_first_few_try_a_registry_that_hangs() {
    let hanging = Scripted::start(|_, _| Reply::Hang);
    let answering = Scripted::start(|_, _| Reply::schema("\"int\""));
    let timeout = Duration::from_millis(200);
    let registry = client(&RegistrySettings { timeout, ..settings(&[hanging.url(), answering.url()]) });
    let answers = join_all((0..100).map(|id| registry.schema(SchemaId::Number(id)))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((hanging.seen().len(), answering.seen().len()), (16, 100));
}
