//! Owns a small registry inside this process, for the demo and for tests: in memory, on a free port of 127.0.0.1.
//! Does not own compatibility rules; whatever is JSON is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{Router, get};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use super::wire::{ErrorBody, Reference, SchemaBody};

const MAX_BODY_BYTES: usize = 16 << 20;

/// A running registry; stops taking connections when dropped.
pub struct LocalRegistry {
    address: SocketAddr,
    store: SharedStore,
    server: JoinHandle<()>,
}

impl LocalRegistry {
    /// Starts a registry on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the port cannot be had.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let store = SharedStore::default();
        let routes = routes(store.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "the local schema registry stopped");
            }
        });
        Ok(Self { address, store, server })
    }

    /// Its base URL.
    ///
    /// # Panics
    /// Never: an address is a URL.
    #[must_use]
    pub fn url(&self) -> Url {
        Url::parse(&format!("http://{}/", self.address)).expect("an address makes a URL")
    }

    /// Registers an Avro schema; the same schema gets the same id again.
    ///
    /// # Errors
    /// When the schema is not JSON.
    pub fn register(&self, subject: &str, schema_json: &str) -> Result<u32, serde_json::Error> {
        self.register_referring(subject, schema_json, &[])
    }

    /// Registers an Avro schema that refers to others; nobody checks that they are there.
    ///
    /// # Errors
    /// When the schema is not JSON.
    pub fn register_referring(
        &self,
        subject: &str,
        schema_json: &str,
        references: &[Reference],
    ) -> Result<u32, serde_json::Error> {
        let references = Some(references.to_vec()).filter(|references| !references.is_empty());
        let body = SchemaBody { schema: schema_json.to_owned(), schema_type: None, references };
        self.store.lock().register(subject, body)
    }

    /// Deletes a version softly: its id is still known, the version only to those who ask for deleted ones, too. Gives
    /// whether it was there.
    #[must_use]
    pub fn delete_softly(&self, subject: &str, version: usize) -> bool {
        self.store.lock().delete(subject, version)
    }
}

impl Drop for LocalRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Clone, Default)]
struct SharedStore(Arc<Mutex<Store>>);

impl SharedStore {
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Store {
    /// Schema with id `n` at index `n - 1`.
    schemas: Vec<StoredSchema>,
    /// Ids by subject; version `n` at index `n - 1`.
    subjects: BTreeMap<String, Vec<u32>>,
    /// Versions that were deleted softly, by subject.
    deleted: BTreeSet<(String, usize)>,
}

struct StoredSchema {
    body: SchemaBody,
    /// The same for texts that differ only in white space.
    parsed: Value,
}

impl Store {
    fn register(&mut self, subject: &str, body: SchemaBody) -> Result<u32, serde_json::Error> {
        let parsed: Value = match body.foreign_type() {
            Some("PROTOBUF") => Value::String(body.schema.clone()),
            _ => serde_json::from_str(&body.schema)?,
        };
        let is_same = |known: &StoredSchema| {
            known.parsed == parsed
                && known.body.references == body.references
                && known.body.foreign_type() == body.foreign_type()
        };
        let index = self.schemas.iter().position(is_same).unwrap_or_else(|| {
            self.schemas.push(StoredSchema { body, parsed });
            self.schemas.len() - 1
        });
        let id = index as u32 + 1;
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        if !versions.contains(&id) {
            versions.push(id);
        }
        Ok(id)
    }

    fn delete(&mut self, subject: &str, version: usize) -> bool {
        self.version_numbers(subject, false).contains(&version)
            && self.deleted.insert((subject.to_owned(), version))
    }

    /// Ascending; none when there is no such subject.
    fn version_numbers(&self, subject: &str, deleted: bool) -> Vec<usize> {
        let all = 1..=self.subjects.get(subject).map_or(0, Vec::len);
        all.filter(|version| deleted || !self.deleted.contains(&(subject.to_owned(), *version))).collect()
    }

    fn schema(&self, id: u32) -> Option<&SchemaBody> {
        let index = (id as usize).checked_sub(1)?;
        self.schemas.get(index).map(|stored| &stored.body)
    }
}

fn routes(store: SharedStore) -> Router {
    Router::new()
        .route("/schemas/ids/{id}", get(schema_by_id))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(schema_by_version).delete(delete_version))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(store)
}

async fn schema_by_id(State(store): State<SharedStore>, Path(id): Path<String>) -> Response {
    match id.parse().ok().and_then(|id| store.lock().schema(id).cloned()) {
        Some(body) => Json(body).into_response(),
        None => refuse(ErrorBody::SCHEMA_NOT_FOUND, format!("Schema {id} not found")),
    }
}

async fn subjects(State(store): State<SharedStore>) -> Response {
    let names: Vec<String> = store.lock().subjects.keys().cloned().collect();
    Json(names).into_response()
}

async fn versions(
    State(store): State<SharedStore>,
    Path(subject): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let numbers = store.lock().version_numbers(&subject, with_deleted(query.as_deref()));
    if numbers.is_empty() {
        return refuse(ErrorBody::SUBJECT_NOT_FOUND, format!("Subject '{subject}' not found."));
    }
    Json(numbers).into_response()
}

async fn schema_by_version(
    State(store): State<SharedStore>,
    Path((subject, version)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let store = store.lock();
    let numbers = store.version_numbers(&subject, with_deleted(query.as_deref()));
    let (Some(ids), Some(latest)) = (store.subjects.get(&subject), numbers.last()) else {
        return refuse(ErrorBody::SUBJECT_NOT_FOUND, format!("Subject '{subject}' not found."));
    };
    let number = match version.as_str() {
        "latest" | "-1" => *latest,
        text => match text.parse() {
            Ok(number) if number > 0 => number,
            _ => return refuse(ErrorBody::INVALID_VERSION, format!("The version '{text}' is not valid")),
        },
    };
    let found = ids
        .get(number - 1)
        .filter(|_| numbers.contains(&number))
        .and_then(|id| Some((id, store.schema(*id)?)));
    let Some((id, body)) = found else {
        return refuse(ErrorBody::VERSION_NOT_FOUND, format!("Version {version} not found."));
    };
    let mut answer = json!({ "subject": subject, "version": number, "id": id, "schema": body.schema });
    if let Some(schema_type) = &body.schema_type {
        answer["schemaType"] = json!(schema_type);
    }
    if let Some(references) = &body.references {
        answer["references"] = json!(references);
    }
    Json(answer).into_response()
}

async fn delete_version(
    State(store): State<SharedStore>,
    Path((subject, version)): Path<(String, usize)>,
) -> Response {
    if store.lock().delete(&subject, version) {
        return Json(version).into_response();
    }
    refuse(ErrorBody::VERSION_NOT_FOUND, format!("Version {version} not found."))
}

async fn register(State(store): State<SharedStore>, Path(subject): Path<String>, body: Bytes) -> Response {
    let registered = serde_json::from_slice(&body).and_then(|body| store.lock().register(&subject, body));
    match registered {
        Ok(id) => Json(json!({ "id": id })).into_response(),
        Err(error) => refuse(ErrorBody::INVALID_SCHEMA, format!("Invalid schema: {error}")),
    }
}

/// Whether the answer is to tell of versions that were deleted softly.
fn with_deleted(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair == "deleted=true"))
}

fn refuse(error_code: i64, message: String) -> Response {
    let status = StatusCode::from_u16((error_code / 100) as u16).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(ErrorBody { error_code: Some(error_code), message, ..ErrorBody::default() }))
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(registry: &LocalRegistry, path: &str) -> (u16, Value) {
        let response = reqwest::get(registry.url().join(path).unwrap()).await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn post(registry: &LocalRegistry, subject: &str, body: Value) -> (u16, Value) {
        let url = registry.url().join(&format!("subjects/{subject}/versions")).unwrap();
        let response = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    #[tokio::test]
    async fn what_is_registered_can_be_read_back() {
        let registry = LocalRegistry::start().await.unwrap();
        let int = json!({ "schema": "\"int\"" });
        assert_eq!(post(&registry, "a%2Fb", int.clone()).await, (200, json!({ "id": 1 })));
        assert_eq!(post(&registry, "a%2Fb", int.clone()).await, (200, json!({ "id": 1 })));
        assert_eq!(
            post(&registry, "other", json!({ "schema": " \"int\" " })).await,
            (200, json!({ "id": 1 }))
        );
        assert_eq!(registry.register("a/b", "\"long\"").unwrap(), 2);

        assert_eq!(get(&registry, "schemas/ids/1?subject=x").await, (200, int));
        assert_eq!(get(&registry, "subjects").await, (200, json!(["a/b", "other"])));
        assert_eq!(get(&registry, "subjects/a%2Fb/versions").await, (200, json!([1, 2])));
        let latest = json!({ "subject": "a/b", "version": 2, "id": 2, "schema": "\"long\"" });
        assert_eq!(get(&registry, "subjects/a%2Fb/versions/latest").await, (200, latest.clone()));
        assert_eq!(get(&registry, "subjects/a%2Fb/versions/2").await, (200, latest));
    }

    #[tokio::test]
    async fn references_and_types_are_kept() {
        let registry = LocalRegistry::start().await.unwrap();
        let references = json!([{ "name": "x", "subject": "a", "version": 1 }]);
        let body = json!({ "schema": "\"x\"", "schemaType": "AVRO", "references": references });
        assert_eq!(post(&registry, "s", body.clone()).await.0, 200);
        assert_eq!(get(&registry, "schemas/ids/1").await, (200, body));
        assert_eq!(get(&registry, "subjects/s/versions/1").await.1["references"], references);
        assert_eq!(registry.register("s", "\"x\"").unwrap(), 2, "without references it is another");
    }

    #[tokio::test]
    async fn refusals_carry_the_apis_codes() {
        let registry = LocalRegistry::start().await.unwrap();
        registry.register("s", "\"int\"").unwrap();
        for (path, status, code) in [
            ("schemas/ids/2", 404, 40403),
            ("schemas/ids/0", 404, 40403),
            ("schemas/ids/x", 404, 40403),
            ("subjects/t/versions", 404, 40401),
            ("subjects/t/versions/1", 404, 40401),
            ("subjects/s/versions/2", 404, 40402),
            ("subjects/s/versions/0", 422, 42202),
        ] {
            let (got, body) = get(&registry, path).await;
            assert_eq!((got, &body["error_code"]), (status, &json!(code)), "{path}");
        }
        let (status, body) = post(&registry, "s", json!({ "schema": "{oops" })).await;
        assert_eq!((status, &body["error_code"]), (422, &json!(42201)));
    }
}
