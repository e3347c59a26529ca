//! Owns asking for a schema by Confluent's API: by id or GUID, in a context, with its references.
//! Does not own HTTP.
//!
//! API: <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>

use serde::Deserialize;

use super::endpoints::{AskError, Endpoints, Question};
use super::error::RegistryError;
use super::references::{Link, Linked, RegisteredSchema, collect};
use super::wire::{Reference, SchemaBody};
use crate::position::SchemaId;
use crate::schema_id::hyphenated;

/// Where a reference points.
#[derive(Clone, PartialEq, Eq, Hash)]
struct SubjectVersion {
    subject: String,
    version: u32,
}

/// Answer of `GET /subjects/{subject}/versions/latest`.
#[derive(Deserialize)]
struct VersionBody {
    id: u64,
    #[serde(flatten)]
    body: SchemaBody,
}

/// Gets schema `id` and everything it refers to. `context` is where ids and subjects are looked up.
pub(super) async fn resolve(
    endpoints: &Endpoints,
    id: SchemaId,
    context: Option<&str>,
) -> Result<RegisteredSchema, RegistryError> {
    let (door, name) = match id {
        SchemaId::Number(number) => ("ids", number.to_string()),
        SchemaId::Uuid(guid) => ("guids", hyphenated(&guid)),
        other => return Err(RegistryError::ForeignId(other)),
    };
    let path = ["schemas", door, &name];
    // An empty subject of the context stands for all of it.
    let subject = context.map(|context| format!(":.{context}:"));
    let question =
        Question { query: subject.as_deref().map(|subject| ("subject", subject)), ..Question::get(&path) };
    let body = endpoints.ask_for(&question, json).await.map_err(|error| match error {
        AskError::NotFound { .. } => RegistryError::UnknownSchema(id),
        AskError::Failed(error) => error,
    })?;
    let schema = linked(id, body)?;
    collect(id, schema, |to| fetch_reference(endpoints, id, to, context)).await
}

/// Gets the newest schema of `subject` and everything it refers to; `None` where there is no such subject.
pub(super) async fn latest(
    endpoints: &Endpoints,
    subject: &str,
    context: Option<&str>,
) -> Result<Option<RegisteredSchema>, RegistryError> {
    let qualified = in_context(subject, context);
    let path = ["subjects", &qualified, "versions", "latest"];
    let VersionBody { id, body } = match endpoints.ask_for(&Question::get(&path), json).await {
        Ok(body) => body,
        Err(AskError::NotFound { .. }) => return Ok(None),
        Err(AskError::Failed(error)) => return Err(error),
    };
    let id = SchemaId::Number(id);
    let schema = linked(id, body)?;
    collect(id, schema, |to| fetch_reference(endpoints, id, to, context)).await.map(Some)
}

pub(super) fn json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

async fn fetch_reference(
    endpoints: &Endpoints,
    id: SchemaId,
    SubjectVersion { subject, version }: SubjectVersion,
    context: Option<&str>,
) -> Result<Linked<SubjectVersion>, RegistryError> {
    let missing =
        || RegistryError::MissingReference { id, subject: subject.clone(), version: version.to_string() };
    if matches!(subject.as_str(), "" | "." | "..") {
        // No URL can name such a subject.
        return Err(missing());
    }
    let qualified = in_context(&subject, context);
    let path = ["subjects", &qualified, "versions", &version.to_string()];
    // A version that was deleted softly is still what a schema that refers to it means; its id is found, too.
    let question = Question { query: Some(("deleted", "true")), ..Question::get(&path) };
    let body = endpoints.ask_for(&question, json).await.map_err(|error| match error {
        AskError::NotFound { .. } => missing(),
        AskError::Failed(error) => error,
    })?;
    linked(id, body)
}

/// The subject's name as it is known outside of the context.
fn in_context(subject: &str, context: Option<&str>) -> String {
    match context {
        Some(context) if !subject.starts_with(":.") => format!(":.{context}:{subject}"),
        _ => subject.to_owned(),
    }
}

fn linked(id: SchemaId, body: SchemaBody) -> Result<Linked<SubjectVersion>, RegistryError> {
    if let Some(foreign) = body.foreign_type() {
        return Err(RegistryError::NotAvro { id, schema_type: foreign.to_owned() });
    }
    let links = body.references.unwrap_or_default().into_iter();
    let links = links
        .map(|Reference { name, subject, version }| Link { name, to: SubjectVersion { subject, version } });
    Ok(Linked { json: body.schema, links: links.collect() })
}
