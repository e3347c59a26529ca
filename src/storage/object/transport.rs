//! Owns what has to be seen or changed at the level of HTTP because the client library has no word for it: completing a
//! multipart upload only where no object exists, and how long a busy store asks to wait. Does not own retries.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::{ClientOptions, HeaderValue};

use super::refusal::PARTS_CODES;
use crate::storage::RequestCount;

/// A store's wish is followed so far: what it asks for in error must not stop delivery for hours.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Facts seen on the wire, for those who use the client.
#[derive(Debug, Default)]
pub(super) struct ServiceSignals {
    /// The store knows no conditional completion of uploads; then looking before completing is all there is.
    plain_completion: AtomicBool,
    /// Last `Retry-After`, in seconds; 0 = none since it was last taken.
    retry_after_seconds: AtomicU64,
    requests: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl ServiceSignals {
    /// How long the store asked us to wait since this was last called.
    pub(super) fn take_retry_after(&self) -> Option<Duration> {
        match self.retry_after_seconds.swap(0, Ordering::Relaxed) {
            0 => None,
            seconds => Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
        }
    }

    /// Requests so far, those of the client's own short retries too.
    pub(super) fn requests(&self) -> Vec<RequestCount> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |(key, count): (&(&'static str, &'static str), &u64)| RequestCount {
            operation: key.0,
            outcome: key.1,
            count: *count,
        };
        requests.iter().map(count).collect()
    }

    fn count(&self, operation: &'static str, outcome: &'static str) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((operation, outcome)).or_default() += 1;
    }

    #[cfg(test)]
    pub(super) fn completes_plainly(&self) -> bool {
        self.plain_completion.load(Ordering::Relaxed)
    }
}

/// Makes HTTP clients that report to [`ServiceSignals`].
#[derive(Debug)]
pub(super) struct SignalingConnector {
    signals: Arc<ServiceSignals>,
    conditional_completion: bool,
    last_client: LastClient,
}

/// The client made last. The library makes those for credentials first and the one for the store at the end, and keeps
/// them to itself.
#[derive(Clone, Debug, Default)]
pub(super) struct LastClient(Arc<Mutex<Option<HttpClient>>>);

impl LastClient {
    pub(super) fn get(&self) -> Option<HttpClient> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SignalingConnector {
    /// `conditional_completion`: whether the store's protocol has `If-None-Match` on the completion of an upload. S3 has
    /// it; GCS and Azure have not, or sign the header.
    pub(super) fn new(signals: Arc<ServiceSignals>, conditional_completion: bool) -> Self {
        Self { signals, conditional_completion, last_client: LastClient::default() }
    }

    /// The client that it will have made last.
    pub(super) fn last_client(&self) -> LastClient {
        self.last_client.clone()
    }
}

impl HttpConnector for SignalingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = HttpClient::new(SignalingService {
            inner: ReqwestConnector::default().connect(options)?,
            signals: Arc::clone(&self.signals),
            conditional_completion: self.conditional_completion,
        });
        *self.last_client.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }
}

struct SignalingService {
    inner: HttpClient,
    signals: Arc<ServiceSignals>,
    conditional_completion: bool,
}

impl SignalingService {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let conditional = self.conditional_completion
            && is_completion(&request)
            && !self.signals.plain_completion.load(Ordering::Relaxed);
        if !conditional {
            return self.inner.execute(request).await;
        }
        let plain = request.clone();
        // Not among the signed headers: SigV4 signs the host and `x-amz-*`, a store takes any other beside them.
        request.headers_mut().insert("if-none-match", HeaderValue::from_static("*"));
        let response = self.inner.execute(request).await?;
        if response.status().as_u16() != 501 {
            return Ok(response);
        }
        tracing::warn!(
            "the store cannot complete an upload conditionally; looking before completing instead"
        );
        self.signals.plain_completion.store(true, Ordering::Relaxed);
        self.inner.execute(plain).await
    }

    fn note_retry_after(&self, response: &HttpResponse) {
        if !matches!(response.status().as_u16(), 429 | 503) {
            return;
        }
        let asked =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        if let Some(seconds) = asked {
            self.signals.retry_after_seconds.store(seconds, Ordering::Relaxed);
        }
    }
}

impl HttpService for SignalingService {
    fn call<'service, 'call>(
        &'service self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'service: 'call,
        Self: 'call,
    {
        Box::pin(async move {
            let operation = operation_of(&request);
            let completes = is_completion(&request);
            let response = match self.send(request).await {
                Ok(response) if completes => unmask(response).await,
                response => response,
            };
            self.signals.count(operation, outcome_of(&response));
            let response = response?;
            self.note_retry_after(&response);
            Ok(response)
        })
    }
}

impl fmt::Debug for SignalingService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalingService").field("signals", &self.signals).finish_non_exhaustive()
    }
}

/// The operation of a request, by the S3 protocol's words; those of other stores are told by their method.
fn operation_of(request: &HttpRequest) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    let has = |key: &str| query.split('&').any(|pair| pair.split('=').next() == Some(key));
    match request.method().as_str() {
        "POST" if has("uploads") => "create_upload",
        "POST" if has("uploadId") => "complete_upload",
        "PUT" if has("partNumber") || has("blockid") => "put_part",
        "PUT" => "put",
        "GET" if has("uploads") => "list_uploads",
        "GET" if has("list-type") || has("prefix") || has("comp") => "list",
        "GET" => "get",
        "HEAD" => "head",
        "DELETE" if has("uploadId") => "abort_upload",
        "DELETE" => "delete",
        _ => "other",
    }
}

/// The answer in a word; a status that a step asks for, such as 412 for a name that is taken, is no failure of the store.
fn outcome_of(response: &Result<HttpResponse, HttpError>) -> &'static str {
    let Ok(response) = response else { return "no_answer" };
    match response.status().as_u16() {
        200..=399 => "ok",
        401 | 403 => "denied",
        404 => "absent",
        409 | 412 => "exists",
        429 | 503 => "busy",
        500..=599 => "server_error",
        _ => "refused",
    }
}

/// Whether a request is `CompleteMultipartUpload` of the S3 protocol: `POST /key?uploadId=…`.
fn is_completion(request: &HttpRequest) -> bool {
    let has_upload_id = |query: &str| query.split('&').any(|pair| pair.starts_with("uploadId="));
    request.method().as_str() == "POST" && request.uri().query().is_some_and(has_upload_id)
}

/// An answer to a completion may begin with 200 before the store has looked at the parts, and be an error nevertheless. The
/// library then passes on neither code nor text, so what is said of the parts gets the status it has elsewhere.
async fn unmask(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    if response.status().as_u16() != 200 {
        return Ok(response);
    }
    let (mut head, body) = response.into_parts();
    let body = body.bytes().await?;
    let text = String::from_utf8_lossy(&body);
    if PARTS_CODES.iter().any(|code| text.contains(&format!("<Code>{code}"))) {
        head.status = StatusCode::BAD_REQUEST;
    }
    Ok(HttpResponse::from_parts(head, body.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_35_the_wait_that_a_store_asks_for_has_a_limit() {
        let signals = ServiceSignals::default();
        for (asked, waited) in [(7, Some(7)), (86_400, Some(300)), (u64::MAX, Some(300)), (0, None)] {
            signals.retry_after_seconds.store(asked, Ordering::Relaxed);
            assert_eq!(signals.take_retry_after(), waited.map(Duration::from_secs));
        }
    }
}
