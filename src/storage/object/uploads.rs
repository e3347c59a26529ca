//! Owns finding and aborting uploads that nobody will complete any more. Does not own when that is done, nor the upload of a
//! file that is being published ([`super::staged`]).
//!
//! The client library aborts uploads but cannot list them. It signs any request, though, so the list is asked for by a
//! signed URL (`ListMultipartUploads` of the S3 protocol). Azure forgets uncommitted blocks by itself after a week, and
//! Google's store needs a lifecycle rule.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use object_store::Error;
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use serde::Deserialize;

use super::refusal::Refusal;
use super::{ObjectBackend, relative_to};
use crate::storage::error::StorageError;

/// How long a signed URL holds; it is used at once.
const SIGNED_FOR: Duration = Duration::from_secs(60);
/// A page holds up to a thousand uploads. What is left waits for the next sweep.
const MOST_PAGES: usize = 100;

/// Lists the unfinished uploads of a bucket.
pub(super) struct UploadLister {
    signer: Arc<dyn Signer>,
    http: HttpClient,
}

/// Where the next page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Marker {
    key: String,
    upload_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
    #[serde(default, rename = "Upload")]
    uploads: Vec<OpenUpload>,
}

/// An upload that is neither completed nor aborted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OpenUpload {
    key: String,
    upload_id: String,
    /// RFC 3339.
    initiated: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl UploadLister {
    pub(super) fn new(signer: Arc<dyn Signer>, http: HttpClient) -> Self {
        Self { signer, http }
    }

    async fn page(&self, prefix: &str, after: &Marker) -> Result<Page, StorageError> {
        let retriable = |error: &dyn fmt::Display| StorageError::retriable(error.to_string());
        let query = [
            ("uploads", ""),
            ("prefix", prefix),
            ("key-marker", &after.key),
            ("upload-id-marker", &after.upload_id),
        ];
        let query = query.into_iter().filter(|(key, value)| *key == "uploads" || !value.is_empty());
        let signed = SignedUrlOptions::default().with_query(query);
        let url = self
            .signer
            .signed_url_opts(Method::GET, &Path::default(), SIGNED_FOR, &signed)
            .await
            .map_err(|error| retriable(&error))?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.as_str().parse().map_err(|_| retriable(&"the endpoint is no URL"))?;
        let response = self.http.execute(request).await.map_err(|error| retriable(&error))?;
        let status = response.status().as_u16();
        let body = response.into_body().bytes().await.map_err(|error| retriable(&error))?;
        let text = String::from_utf8_lossy(&body);
        if status == 200 {
            return quick_xml::de::from_str(&text)
                .map_err(|error| StorageError::retriable(format!("the list cannot be read: {error}")));
        }
        let told: Told = quick_xml::de::from_str(&text).unwrap_or_default();
        let reason = format!("status {status}, {}: {}", told.code, told.message);
        Err(match status {
            401 | 403 | 405 | 501 => StorageError::denied(reason),
            _ => StorageError::retriable(reason),
        })
    }
}

impl fmt::Debug for UploadLister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadLister").finish_non_exhaustive()
    }
}

impl ObjectBackend {
    /// Aborts the uploads below the prefix that were begun before `least_age` and whose path is said to be ours; how
    /// many. An upload that lives after all is made anew by its owner, who is told that it is gone.
    pub(in crate::storage) async fn sweep_uploads(
        &self,
        least_age: Duration,
        is_ours: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Result<u64, StorageError> {
        let Some(lister) = &self.upload_lister else { return Ok(0) };
        let slash = if self.prefix.as_ref().is_empty() { "" } else { "/" };
        let prefix = format!("{}{slash}", self.prefix);
        let begun_before = Utc::now() - least_age;
        let (mut aborted, mut marker) = (0, Marker::default());
        for _ in 0..MOST_PAGES {
            let page = lister.page(&prefix, &marker).await?;
            for upload in &page.uploads {
                let ours = relative_to(&self.prefix, &upload.key).is_some_and(is_ours);
                if ours && upload.begun().is_some_and(|begun| begun < begun_before) {
                    self.abort_left(upload).await?;
                    aborted += 1;
                }
            }
            let next = Marker { key: page.next_key_marker, upload_id: page.next_upload_id_marker };
            if !page.is_truncated || next == marker {
                break;
            }
            marker = next;
        }
        Ok(aborted)
    }

    async fn abort_left(&self, upload: &OpenUpload) -> Result<(), StorageError> {
        let doing = "abort an upload that was left unfinished";
        let key = Path::parse(&upload.key).map_err(|error| StorageError::invalid(error.to_string()))?;
        tracing::debug!(%key, begun = upload.initiated, "an upload that was left unfinished is aborted");
        match self.multipart.abort_multipart(&key, &upload.upload_id).await {
            // Somebody else was faster.
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => match self.refusal(&error, doing) {
                Refusal::Absent => Ok(()),
                refusal => Err(refusal.into_error(doing)),
            },
        }
    }
}

impl OpenUpload {
    fn begun(&self) -> Option<DateTime<Utc>> {
        DateTime::parse_from_rfc3339(&self.initiated).ok().map(|begun| begun.to_utc())
    }
}
