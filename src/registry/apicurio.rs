//! Owns asking for a schema by Apicurio's own API, versions 2 and 3: by global or content id, with its references.
//! Does not own HTTP.
//!
//! API: <https://www.apicur.io/registry/docs/apicurio-registry/3.0.x/index.html>

use serde::Deserialize;

use super::confluent::json;
use super::endpoints::{AskError, Endpoints, Question};
use super::error::RegistryError;
use super::references::{Link, Linked, RegisteredSchema, collect};
use crate::config::settings::ApicurioIds;
use crate::position::SchemaId;
use crate::schema::is_json;

/// Group of artifacts that have none.
const DEFAULT_GROUP: &str = "default";

/// Where a reference points.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ArtifactVersion {
    group: String,
    artifact: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferenceBody {
    group_id: Option<String>,
    artifact_id: String,
    version: Option<String>,
    name: String,
}

/// What Apicurio's answers to a request for something it does not have say of themselves; a path that it does not
/// have says `NotFoundException`.
pub(super) const ABSENT: [&str; 4] = [
    "ArtifactNotFoundException",
    "ContentNotFoundException",
    "GroupNotFoundException",
    "VersionNotFoundException",
];

/// Gets schema `id` and everything it refers to. `ids` says what a bare number is.
pub(super) async fn resolve(
    endpoints: &Endpoints,
    id: SchemaId,
    ids: ApicurioIds,
) -> Result<RegisteredSchema, RegistryError> {
    let (door, number) = match (id, ids) {
        (SchemaId::GlobalId(number), _) | (SchemaId::Number(number), ApicurioIds::Global) => {
            ("globalIds", number)
        }
        (SchemaId::ContentId(number), _) | (SchemaId::Number(number), ApicurioIds::Content) => {
            ("contentIds", number)
        }
        (other, _) => return Err(RegistryError::ForeignId(other)),
    };
    let number = number.to_string();
    let unknown = |error| match error {
        AskError::NotFound { .. } => RegistryError::UnknownSchema(id),
        AskError::Failed(error) => error,
    };
    let path = ["ids", door, &number];
    let text = endpoints.ask_for(&Question::get(&path), content).await.map_err(unknown)?;
    let path = ["ids", door, &number, "references"];
    let references = endpoints.ask_for(&Question::get(&path), json).await.map_err(unknown)?;
    let schema = linked(id, text, references, latest(endpoints))?;
    collect(id, schema, |to| fetch_reference(endpoints, id, to)).await
}

/// The version of a reference that names none.
fn latest(endpoints: &Endpoints) -> &'static str {
    if endpoints.speaks_version_3() { "branch=latest" } else { "latest" }
}

async fn fetch_reference(
    endpoints: &Endpoints,
    id: SchemaId,
    to: ArtifactVersion,
) -> Result<Linked<ArtifactVersion>, RegistryError> {
    let ArtifactVersion { group, artifact, version } = &to;
    let missing = |error| match error {
        AskError::NotFound { .. } => RegistryError::MissingReference {
            id,
            subject: format!("{group}/{artifact}"),
            version: version.clone(),
        },
        AskError::Failed(error) => error,
    };
    let mut path = vec!["groups", group, "artifacts", artifact, "versions", version];
    if endpoints.speaks_version_3() {
        path.push("content");
    }
    let text = endpoints.ask_for(&Question::get(&path), content).await.map_err(missing)?;
    let path = ["groups", group, "artifacts", artifact, "versions", version, "references"];
    let references = endpoints.ask_for(&Question::get(&path), json).await.map_err(missing)?;
    linked(id, text, references, latest(endpoints))
}

fn linked(
    id: SchemaId,
    text: Content,
    references: Vec<ReferenceBody>,
    latest: &str,
) -> Result<Linked<ArtifactVersion>, RegistryError> {
    let Content::Json(json) = text else {
        return Err(RegistryError::NotAvro { id, schema_type: "another language (no JSON)".to_owned() });
    };
    let links = references.into_iter().map(|body| {
        let to = ArtifactVersion {
            group: body.group_id.unwrap_or_else(|| DEFAULT_GROUP.to_owned()),
            artifact: body.artifact_id,
            version: body.version.unwrap_or_else(|| latest.to_owned()),
        };
        Link { name: body.name, to }
    });
    Ok(Linked { json, links: links.collect() })
}

enum Content {
    Json(String),
    /// Protobuf, GraphQL, …
    Other,
}

/// The registry hands out a schema as it is, so a proxy's page has to be told from it by its looks.
fn content(body: &[u8]) -> Result<Content, String> {
    let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8".to_owned())?;
    if is_json(text) {
        return Ok(Content::Json(text.to_owned()));
    }
    match text.trim_start().chars().next() {
        None | Some('<' | '{' | '[') => Err("it is no schema".to_owned()),
        Some(_) => Ok(Content::Other),
    }
}
