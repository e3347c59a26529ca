//! Owns asking AWS Glue for a schema version: the request, its signature, and what its refusals mean. Does not own HTTP.
//!
//! API: <https://docs.aws.amazon.com/glue/latest/webapi/API_GetSchemaVersion.html>; signature: AWS's version 4, by
//! `object_store`, which needs it for S3.

use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpRequest;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::confluent::json;
use super::endpoints::{AskError, Endpoints, Question};
use super::error::RegistryError;
use super::references::RegisteredSchema;
use crate::position::SchemaId;
use crate::schema_id::hyphenated;

/// Glue knows no version of this id; asking for it shows whether it lets us in.
pub(super) const NOBODYS_ID: SchemaId = SchemaId::Uuid([0; 16]);

const TARGET: &str = "AWSGlue.GetSchemaVersion";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SchemaVersionBody {
    schema_definition: String,
    data_format: Option<String>,
}

/// Gets schema version `id`. Glue has no references.
pub(super) async fn resolve(endpoints: &Endpoints, id: SchemaId) -> Result<RegisteredSchema, RegistryError> {
    let SchemaId::Uuid(uuid) = id else { return Err(RegistryError::ForeignId(id)) };
    let body = json!({ "SchemaVersionId": hyphenated(&uuid) }).to_string();
    let question = Question { body: Some(&body), ..Question::get(&[]) };
    let version: SchemaVersionBody =
        endpoints.ask_for(&question, json).await.map_err(|error| match error {
            AskError::NotFound { .. } => RegistryError::UnknownSchema(id),
            AskError::Failed(error) => error,
        })?;
    match version.data_format {
        Some(format) if !format.eq_ignore_ascii_case("AVRO") => {
            Err(RegistryError::NotAvro { id, schema_type: format })
        }
        _ => Ok(RegisteredSchema { id, json: version.schema_definition, references: Vec::new() }),
    }
}

/// Signs requests to Glue.
pub(super) struct Signer {
    credentials: AwsCredentialProvider,
    region: String,
}

impl Signer {
    /// Signs with these.
    #[cfg(test)]
    pub(super) fn with(credentials: AwsCredentialProvider, region: &str) -> Self {
        Self { credentials, region: region.to_owned() }
    }

    /// Finds out where credentials come from; asks for none yet.
    pub(super) fn new(region: &str) -> Result<Self, RegistryError> {
        // The chain of credentials comes with a store; the bucket is never asked for.
        let store = AmazonS3Builder::from_env().with_region(region).with_bucket_name("glue").build();
        let store = store.map_err(|error| RegistryError::Settings(format!("AWS credentials: {error}")))?;
        Ok(Self { credentials: store.credentials().clone(), region: region.to_owned() })
    }

    /// The headers of a signed request with this body.
    pub(super) async fn headers(&self, url: &str, body: &str) -> Result<HeaderMap, String> {
        let credential = self.credentials.get_credential().await;
        let credential = credential.map_err(|error| format!("no AWS credentials: {error}"))?;
        let mut request: HttpRequest = http_request(url, body)?;
        AwsAuthorizer::new(&credential, "glue", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| format!("the request cannot be signed: {error}"))?;
        Ok(std::mem::take(request.headers_mut()))
    }
}

fn http_request(url: &str, body: &str) -> Result<HttpRequest, String> {
    let mut request = HttpRequest::new(body.to_owned().into());
    *request.method_mut() = reqwest::Method::POST;
    *request.uri_mut() = url.parse().map_err(|_| format!("{url} is no address"))?;
    let headers = request.headers_mut();
    headers.insert("content-type", reqwest::header::HeaderValue::from_static(CONTENT_TYPE));
    headers.insert("x-amz-target", reqwest::header::HeaderValue::from_static(TARGET));
    Ok(request)
}

/// A refusal's kind, from `__type`: the part after `#`.
pub(super) fn refusal_kind(body: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "__type")]
        kind: String,
        #[serde(alias = "Message", default)]
        message: String,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let kind = body.kind.rsplit('#').next().unwrap_or_default().to_owned();
    Some((kind, body.message))
}
