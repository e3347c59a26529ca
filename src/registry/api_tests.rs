//! The client against registries with another API than Confluent's, and with contexts.

use std::sync::Arc;
use std::time::Duration;

use object_store::StaticCredentialProvider;
use object_store::aws::AwsCredential;
use serde_json::{Value, json};

use super::client::Tuning;
use super::fault_tests::{client, is_retriable, poison_kind, settings};
use super::scripted::{Reply, Scripted, Seen};
use super::{Registry, RegistryError};
use crate::config::settings::{ApicurioIds, RegistryApi, RegistrySettings};
use crate::error::Failure;
use crate::position::SchemaId;

const UUID: SchemaId = SchemaId::Uuid(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");
const UUID_TEXT: &str = "00112233-4455-6677-8899-aabbccddeeff";

fn with_api(server: &Scripted, path: &str, api: RegistryApi) -> Registry {
    let url = server.url().join(path).unwrap();
    client(&RegistrySettings { api, ..settings(&[url]) })
}

fn paths(server: &Scripted) -> Vec<String> {
    server.seen().into_iter().map(|seen| seen.path).collect()
}

#[tokio::test]
async fn ids_guids_and_references_are_looked_up_in_the_context() {
    let server = Scripted::start(|seen, _| {
        let reference = json!([{ "name": "B", "subject": "b", "version": 3 }]);
        let elsewhere = json!([{ "name": "C", "subject": ":.other:c", "version": 1 }]);
        match seen.path.as_str() {
            path if path.starts_with("/schemas/") => {
                Reply::ok(json!({ "schema": "\"B\"", "references": reference }).to_string())
            }
            path if path.contains("/b/") || path.contains(":b/") => {
                Reply::ok(json!({ "schema": "\"C\"", "references": elsewhere }).to_string())
            }
            _ => Reply::schema("\"int\""),
        }
    });
    let api = RegistryApi::Confluent { context: Some("lab".to_owned()) };
    let registry = with_api(&server, "", api);
    let schema = registry.schema(SchemaId::Number(7)).await.unwrap();
    assert_eq!(schema.references.len(), 2);
    assert_eq!(
        paths(&server),
        [
            "/schemas/ids/7?subject=%3A.lab%3A",
            "/subjects/:.lab:b/versions/3?deleted=true",
            "/subjects/:.other:c/versions/1?deleted=true"
        ]
    );
    registry.schema(UUID).await.unwrap();
    assert_eq!(paths(&server)[3], format!("/schemas/guids/{UUID_TEXT}?subject=%3A.lab%3A"));
}

#[tokio::test]
async fn an_id_of_another_kind_is_poison_and_nobody_is_asked() {
    let server = Scripted::start(|_, _| Reply::schema("\"int\""));
    let registry = client(&settings(&[server.url()]));
    for id in [SchemaId::GlobalId(1), SchemaId::ContentId(1), SchemaId::Fingerprint(1)] {
        assert_eq!(poison_kind(registry.schema(id).await.unwrap_err()), "foreign_id");
    }
    assert!(server.seen().is_empty());
}

const COMMENTED: &str = "// by hand\n{\"type\": /* days */ \"int\", \"logicalType\": \"date\"}";

/// Apicurio's answers, as version 2.3.1 gave them.
fn apicurio(seen: &Seen) -> Reply {
    let absent = |name: &str| {
        let body = json!({ "message": "No.", "error_code": 404, "detail": "No.", "name": name });
        Reply::Full(404, Vec::new(), body.to_string())
    };
    let path = seen.path.trim_start_matches("/apis/registry/v2").trim_start_matches("/apis/registry/v3");
    match path {
        "/ids/globalIds/2" | "/ids/contentIds/5" => Reply::ok(r#"{"type":"array","items":"shop.Address"}"#),
        "/ids/globalIds/2/references" | "/ids/contentIds/5/references" => {
            Reply::ok(r#"[{"groupId":null,"artifactId":"Address","version":"1","name":"shop.Address"}]"#)
        }
        "/groups/default/artifacts/Address/versions/1"
        | "/groups/default/artifacts/Address/versions/1/content" => {
            Reply::ok(r#"{"type":"fixed","size":1,"name":"shop.Address"}"#)
        }
        "/groups/default/artifacts/Address/versions/1/references" | "/ids/globalIds/3/references" => {
            Reply::ok("[]")
        }
        "/ids/globalIds/3" => Reply::ok("syntax = \"proto3\"; message M {}"),
        "/ids/globalIds/4" => Reply::ok("<html>busy</html>"),
        "/ids/globalIds/6" => Reply::ok(COMMENTED),
        "/ids/globalIds/7" => Reply::ok(format!("{}{}", "[".repeat(600), "]".repeat(600))),
        "/ids/globalIds/8" => Reply::ok("{\"type\": \"int\""),
        "/ids/globalIds/6/references" | "/ids/globalIds/7/references" => Reply::ok("[]"),
        "/ids/globalIds/9" => Reply::ok(r#""Place""#),
        "/ids/globalIds/9/references" => {
            Reply::ok(r#"[{"groupId":"shop","artifactId":"Place","version":null,"name":"Place"}]"#)
        }
        path if path.starts_with("/groups/shop/artifacts/Place/") => {
            Reply::ok(if path.ends_with("/references") { "[]" } else { r#""int""# })
        }
        "/system/info" => Reply::ok(r#"{"name":"apicurio"}"#),
        path if path.starts_with("/ids/globalIds/") => absent("ArtifactNotFoundException"),
        path if path.starts_with("/ids/contentIds/") => absent("ContentNotFoundException"),
        _ => absent("NotFoundException"),
    }
}

#[tokio::test]
async fn apicurio_gives_schemas_by_global_and_content_id_with_references() {
    let server = Scripted::start(|seen, _| apicurio(seen));
    for (path, content) in [("apis/registry/v2", ""), ("apis/registry/v3", "/content")] {
        let global = with_api(&server, path, RegistryApi::Apicurio { ids: ApicurioIds::Global });
        let schema = global.schema(SchemaId::Number(2)).await.unwrap();
        assert_eq!(schema.json, r#"{"type":"array","items":"shop.Address"}"#);
        assert_eq!(schema.references[0].name, "shop.Address");
        let asked = format!("/{path}/groups/default/artifacts/Address/versions/1{content}");
        assert!(paths(&server).contains(&asked), "{:?}", paths(&server));
        // What a header says goes before the setting.
        assert_eq!(global.schema(SchemaId::ContentId(5)).await.unwrap().references.len(), 1);

        let by_content = with_api(&server, path, RegistryApi::Apicurio { ids: ApicurioIds::Content });
        assert!(by_content.schema(SchemaId::Number(5)).await.is_ok());
        assert!(by_content.schema(SchemaId::GlobalId(2)).await.is_ok());
        assert_eq!(poison_kind(by_content.schema(SchemaId::Number(2)).await.unwrap_err()), "unknown_schema");
        assert!(by_content.probe().await.is_ok());
    }
}

#[tokio::test]
async fn apicurios_references_have_a_group_and_where_they_name_no_version_the_latest() {
    let server = Scripted::start(|seen, _| apicurio(seen));
    for (path, version) in [("apis/registry/v2", "latest"), ("apis/registry/v3", "branch=latest/content")] {
        let registry = with_api(&server, path, RegistryApi::Apicurio { ids: ApicurioIds::Global });
        assert_eq!(registry.schema(SchemaId::Number(9)).await.unwrap().references[0].name, "Place");
        let asked = format!("/{path}/groups/shop/artifacts/Place/versions/{version}");
        assert!(paths(&server).contains(&asked), "{:?}", paths(&server));
    }
}

#[tokio::test]
async fn fault_33_to_37_apicurios_refusals_are_told_apart() {
    let server = Scripted::start(|seen, _| apicurio(seen));
    let api = || RegistryApi::Apicurio { ids: ApicurioIds::Global };
    let registry = with_api(&server, "apis/registry/v2", api());
    assert_eq!(poison_kind(registry.schema(SchemaId::Number(99)).await.unwrap_err()), "unknown_schema");
    assert_eq!(poison_kind(registry.schema(SchemaId::Number(3)).await.unwrap_err()), "not_avro");
    assert!(is_retriable(&registry.schema(SchemaId::Number(4)).await.unwrap_err()), "a page is no schema");
    assert_eq!(registry.schema(SchemaId::Number(6)).await.unwrap().json, COMMENTED);
    assert!(registry.schema(SchemaId::Number(7)).await.is_ok(), "whoever parses it says that it is too deep");
    assert!(is_retriable(&registry.schema(SchemaId::Number(8)).await.unwrap_err()), "it broke off");
    assert_eq!(poison_kind(registry.schema(UUID).await.unwrap_err()), "foreign_id");
    // Confluent's path: everything would be unknown there.
    let registry = with_api(&server, "apis/ccompat/v6", api());
    assert!(is_retriable(&registry.schema(SchemaId::Number(2)).await.unwrap_err()));
    assert!(is_retriable(&registry.probe().await.unwrap_err()));
}

/// Glue's answers; the signature is looked at by a server of its own only.
fn glue(seen: &Seen) -> Reply {
    let refuse = |kind: &str| {
        let body = json!({ "__type": format!("com.amazonaws.glue#{kind}"), "Message": "No." });
        Reply::Full(400, Vec::new(), body.to_string())
    };
    let body: Value = serde_json::from_str(&seen.body).unwrap_or_default();
    match body["SchemaVersionId"].as_str() {
        Some(UUID_TEXT) => Reply::ok(
            json!({ "SchemaVersionId": UUID_TEXT, "SchemaDefinition": "\"long\"", "DataFormat": "AVRO",
                    "SchemaArn": "arn:x", "VersionNumber": 1, "Status": "AVAILABLE" })
            .to_string(),
        ),
        Some(id) if id.starts_with("01") => {
            Reply::ok(json!({ "SchemaDefinition": "{}", "DataFormat": "JSON" }).to_string())
        }
        Some(id) if id.starts_with("02") => refuse("AccessDeniedException"),
        Some(id) if id.starts_with("03") => refuse("ThrottlingException"),
        Some(id) if id.starts_with("04") => refuse("InvalidInputException"),
        Some(id) if id.starts_with("05") => {
            Reply::Full(500, Vec::new(), json!({ "__type": "InternalFailure" }).to_string())
        }
        _ => refuse("EntityNotFoundException"),
    }
}

fn id(first: u8) -> SchemaId {
    let mut bytes = [9; 16];
    bytes[0] = first;
    SchemaId::Uuid(bytes)
}

fn glue_client(server: &Scripted) -> Registry {
    let credential = AwsCredential {
        key_id: "AKID".to_owned(),
        secret_key: "never-shown".to_owned(),
        token: Some("session".to_owned()),
    };
    let tuning = Tuning {
        between_rounds: Duration::ZERO,
        for_lag: Vec::new(),
        credentials: Some(Arc::new(StaticCredentialProvider::new(credential))),
        ..Tuning::default()
    };
    let api = RegistryApi::Glue { region: "eu-central-1".to_owned() };
    Registry::with_tuning(&RegistrySettings { api, ..settings(&[server.url()]) }, tuning).unwrap()
}

#[tokio::test]
async fn glue_gives_schema_versions_to_signed_requests() {
    let server = Scripted::start(|seen, _| glue(seen));
    let registry = glue_client(&server);
    assert_eq!(registry.schema(UUID).await.unwrap().json, "\"long\"");
    assert!(registry.probe().await.is_ok());
    let seen = &server.seen()[0];
    assert_eq!(seen.header("x-amz-target"), Some("AWSGlue.GetSchemaVersion"));
    assert_eq!(seen.header("content-type"), Some("application/x-amz-json-1.1"));
    let signature = seen.header("authorization").unwrap();
    assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{signature}");
    assert!(!signature.contains("never-shown"));
    assert_eq!(seen.header("x-amz-security-token"), Some("session"));
    assert!(signature.contains("/eu-central-1/glue/aws4_request"), "{signature}");
    assert!(signature.contains("x-amz-target"), "the target is signed too: {signature}");
}

#[tokio::test]
async fn fault_33_to_37_glues_refusals_are_told_apart() {
    let server = Scripted::start(|seen, _| glue(seen));
    let registry = glue_client(&server);
    assert_eq!(poison_kind(registry.schema(id(9)).await.unwrap_err()), "unknown_schema");
    assert_eq!(poison_kind(registry.schema(id(1)).await.unwrap_err()), "not_avro");
    assert_eq!(poison_kind(registry.schema(SchemaId::Number(1)).await.unwrap_err()), "foreign_id");
    for busy in [3, 5] {
        let before = registry.counts().requests;
        let error = registry.schema(id(busy)).await.unwrap_err();
        assert!(is_retriable(&error), "{error}");
        assert_eq!(registry.counts().requests - before, 1, "not asked again at once: {error}");
    }
    for stopped in [2, 4] {
        let error = registry.schema(id(stopped)).await.unwrap_err();
        assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
        assert!(matches!(Failure::from(error), Failure::Fatal { .. }));
    }
}
