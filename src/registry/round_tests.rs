//! The client's rounds over several URLs, and what it takes from a registry that it does not trust.

use std::time::Duration;

use serde_json::json;

use super::RegistryError;
use super::fault_tests::{client, is_retriable, poison_kind, settings};
use super::scripted::{Reply, Scripted};
use crate::position::SchemaId;

const ID: SchemaId = SchemaId::Number(7);

/// A registry that is busy, with a wish for a pause or without.
fn busy(status: u16, retry_after_seconds: Option<u64>) -> Scripted {
    Scripted::start(move |_, _| {
        let header = retry_after_seconds.map(|seconds| format!("retry-after: {seconds}"));
        Reply::Full(status, header.into_iter().collect(), String::new())
    })
}

async fn pause_of(servers: &[&Scripted]) -> (Option<Duration>, u64) {
    let urls: Vec<_> = servers.iter().map(|server| server.url()).collect();
    let registry = client(&settings(&urls));
    match registry.schema(ID).await.unwrap_err() {
        RegistryError::Unavailable { after, .. } => (after, registry.counts().requests),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn fault_35_the_shortest_wish_of_a_round_counts() {
    let (long, short, none) = (busy(503, Some(17)), busy(429, Some(5)), busy(429, None));
    assert_eq!(pause_of(&[&long, &short]).await, (Some(Duration::from_secs(5)), 2));
    assert_eq!(pause_of(&[&short, &long]).await, (Some(Duration::from_secs(5)), 2));
    assert_eq!(pause_of(&[&long, &none]).await, (None, 2), "who names no pause may be asked any time");
}

#[tokio::test]
async fn fault_35_one_url_that_wants_a_pause_ends_the_tries() {
    let (broken, wants_pause) = (busy(500, None), busy(429, None));
    assert_eq!(pause_of(&[&broken, &wants_pause]).await.1, 2);
    assert_eq!(pause_of(&[&broken, &broken]).await.1, 4, "without one the round is made once more");
}

#[tokio::test]
async fn every_useless_answer_counts_as_a_failure() {
    let registry = client(&settings(&[busy(500, None).url()]));
    registry.schema(ID).await.unwrap_err();
    assert_eq!((registry.counts().requests, registry.counts().failures), (2, 2));
    let registry = client(&settings(&[busy(401, None).url()]));
    registry.schema(ID).await.unwrap_err();
    assert_eq!((registry.counts().requests, registry.counts().failures), (1, 1));
}

#[tokio::test]
async fn fault_36_other_success_than_200_is_no_answer() {
    for status in [202, 203, 206] {
        let body = json!({ "schema": "\"int\"" }).to_string();
        let server = Scripted::start(move |_, _| Reply::Full(status, Vec::new(), body.clone()));
        let error = client(&settings(&[server.url()])).schema(ID).await.unwrap_err();
        assert!(is_retriable(&error) && error.to_string().contains(&status.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_strangers_words_are_one_short_line() {
    let words = format!("a\nb\u{1b}[31m{}", "x".repeat(5_000));
    let body = json!({ "error_code": 42201, "message": words }).to_string();
    let server = Scripted::start(move |_, _| Reply::Full(422, Vec::new(), body.clone()));
    let RegistryError::Refused { reason, .. } =
        client(&settings(&[server.url()])).schema(ID).await.unwrap_err()
    else {
        panic!()
    };
    assert!(reason.starts_with("a b [31mxxx"), "{reason}");
    assert_eq!(reason.chars().count(), 200);
}

#[tokio::test]
async fn fault_38_a_subject_that_no_url_can_name_is_missing_and_not_asked_for() {
    for subject in ["", ".", ".."] {
        let references = json!([{ "name": "B", "subject": subject, "version": 1 }]);
        let body = json!({ "schema": "\"B\"", "references": references }).to_string();
        let server = Scripted::start(move |_, _| Reply::ok(body.clone()));
        let error = client(&settings(&[server.url()])).schema(ID).await.unwrap_err();
        assert_eq!(poison_kind(error), "missing_reference", "{subject:?}");
        assert!(server.seen().iter().all(|seen| seen.path == "/schemas/ids/7"), "{:?}", server.seen());
    }
}

#[tokio::test]
async fn fault_38_a_reference_that_arrives_late_is_found() {
    let server = Scripted::start(|seen, number| {
        if seen.path.starts_with("/schemas/") {
            let references = json!([{ "name": "B", "subject": "b", "version": 1 }]);
            return Reply::ok(json!({ "schema": "\"B\"", "references": references }).to_string());
        }
        if number < 2 { Reply::error(404, 40402) } else { Reply::schema("\"int\"") }
    });
    let schema = client(&settings(&[server.url()])).schema(ID).await.unwrap();
    assert_eq!(schema.references.len(), 1);
}
