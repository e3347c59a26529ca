//! Owns one question to the registries: which URL to ask, in what order, and what an answer is worth. Does not own
//! caching, what is asked for, or waiting out an outage.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, redirect};
use tokio::sync::Semaphore;
use url::Url;

use super::counters::RegistryCounters;
use super::error::RegistryError;
use super::glue::Signer;
use super::refusal::{self, Refusal};
use crate::config::settings::{RegistryApi, RegistryAuth, RegistrySettings};

/// Bigger answers are refused while they stream in.
const MAX_BODY_BYTES: usize = 16 << 20;
const MAX_ERROR_BODY_BYTES: usize = 64 << 10;
/// A longer wish of a registry is cut down to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
const MAX_CONNECT_TIME: Duration = Duration::from_secs(5);
const MAX_REDIRECTS: usize = 5;
/// Requests under way at a time. A connector of thousands of topics would ask for thousands of schemas at once; a registry that
/// cannot answer them all within the time-out would be asked again and again for what it is still working on.
const REQUESTS_AT_ONCE: usize = 16;
/// Every URL is asked this often before the call gives up.
const ROUNDS: usize = 2;
/// How the TLS library begins when it does not trust the other side.
const UNTRUSTED: &str = "invalid peer certificate";
const ADVICE_ON_TRUST: &str = "; renew the certificate if it has expired or names another host, else set registry.ca_file to the \
                               authority that signed it";
const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// The registries of a connector, equal in content, asked in order.
pub(super) struct Endpoints {
    http: Client,
    bases: Vec<Url>,
    auth: RegistryAuth,
    timeout: Duration,
    /// Between two rounds.
    pause: Duration,
    /// Index of the URL that answered last.
    preferred: AtomicUsize,
    api: RegistryApi,
    /// For AWS Glue.
    signer: Option<Signer>,
    /// The time-out of a request begins when it is sent, not when it waits here.
    room: Semaphore,
    counters: Arc<RegistryCounters>,
}

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct Question<'q> {
    /// Below the base URLs; one element each, unescaped.
    pub(super) path: &'q [&'q str],
    /// Name and value, unescaped.
    pub(super) query: Option<(&'q str, &'q str)>,
    /// JSON to be posted and signed; without it the request is a GET.
    pub(super) body: Option<&'q str>,
}

impl<'q> Question<'q> {
    pub(super) fn get(path: &'q [&'q str]) -> Self {
        Self { path, query: None, body: None }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum AskError {
    /// Every registry says that it has no such thing.
    NotFound {
        /// Base URL of one that said so.
        url: String,
        /// Its own words.
        message: String,
    },
    /// See the error; never one about a schema.
    Failed(RegistryError),
}

/// What one URL answered, when it is of no use.
enum Setback {
    /// A registry says that it has no such thing.
    Absent { url: String, message: String },
    /// Later, or elsewhere, it may work.
    Trouble(Trouble),
    /// No other URL and no other try would help.
    Verdict(RegistryError),
}

struct Trouble {
    reason: String,
    after: Option<Duration>,
    /// Whether another try may help right now.
    at_once: bool,
}

impl Endpoints {
    /// Reads the CA file; sends nothing.
    pub(super) fn new(
        settings: &RegistrySettings,
        pause: Duration,
        signer: Option<Signer>,
        counters: Arc<RegistryCounters>,
    ) -> Result<Self, RegistryError> {
        check_urls(&settings.urls)?;
        Ok(Self {
            http: build_client(settings)?,
            bases: settings.urls.clone(),
            auth: settings.auth.clone(),
            timeout: settings.timeout,
            pause,
            preferred: AtomicUsize::new(0),
            api: settings.api.clone(),
            signer,
            room: Semaphore::new(REQUESTS_AT_ONCE),
            counters,
        })
    }

    /// Whose API the registries speak.
    pub(super) fn api(&self) -> &RegistryApi {
        &self.api
    }

    /// Whether a base URL says that it is Apicurio's API of version 3.
    pub(super) fn speaks_version_3(&self) -> bool {
        self.bases.iter().any(|base| base.path().trim_end_matches('/').ends_with("/v3"))
    }

    /// Asks the base URLs until one gives an answer that `read` can make something of.
    pub(super) async fn ask_for<T>(
        &self,
        question: &Question<'_>,
        read: fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, AskError> {
        let mut round = 1;
        loop {
            match self.ask_each(question, read).await {
                Err(Setback::Trouble(trouble)) if trouble.at_once && round < ROUNDS => {
                    round += 1;
                    tokio::time::sleep(self.pause).await;
                }
                Err(Setback::Trouble(Trouble { reason, after, .. })) => {
                    let reason = format!("schema registry: {reason}");
                    return Err(AskError::Failed(RegistryError::Unavailable { reason, after }));
                }
                Err(Setback::Absent { url, message }) => return Err(AskError::NotFound { url, message }),
                Err(Setback::Verdict(error)) => return Err(AskError::Failed(error)),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// One round. "Not found" counts only when every URL says so: the one that is down may be the one that knows.
    async fn ask_each<T>(
        &self,
        question: &Question<'_>,
        read: fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Setback> {
        // For the round: whoever waited here begins at the URL that has answered meanwhile, and signs for this moment. Never
        // closed, so there is always a permit to wait for.
        let _permit = self.room.acquire().await;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut troubles = Vec::new();
        let mut absent = None;
        for step in 0..self.bases.len() {
            let index = (first + step) % self.bases.len();
            match self.ask(&self.bases[index], question, read).await {
                Ok(answer) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(Setback::Trouble(trouble)) => {
                    RegistryCounters::add(&self.counters.failures);
                    troubles.push(trouble);
                }
                Err(verdict @ Setback::Verdict(_)) => {
                    RegistryCounters::add(&self.counters.failures);
                    return Err(verdict);
                }
                Err(not_here @ Setback::Absent { .. }) => absent = Some(not_here),
            }
        }
        match absent {
            Some(absent) if troubles.is_empty() => Err(absent),
            _ => Err(Setback::Trouble(Trouble::merge(troubles))),
        }
    }

    async fn ask<T>(
        &self,
        base: &Url,
        question: &Question<'_>,
        read: fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Setback> {
        let request = self.request(base, question).await?;
        RegistryCounters::add(&self.counters.requests);
        let response = request.send().await.map_err(|error| self.trouble(base, error))?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(self.judge_refusal(base, response).await);
        }
        let body = read_capped(response, MAX_BODY_BYTES).await.map_err(|error| match error {
            ReadError::TooBig => Trouble::new(base, "an answer bigger than 16 MiB").into(),
            ReadError::Broken(error) => self.trouble(base, error),
        })?;
        read(&body).map_err(|error| {
            Trouble::new(base, format!("200 with something that is no answer: {error}")).into()
        })
    }

    async fn request(&self, base: &Url, question: &Question<'_>) -> Result<RequestBuilder, Setback> {
        let url = join(base, question);
        let Some(body) = question.body else {
            return Ok(self.authorize(self.http.get(url).header(ACCEPT, ACCEPTED)));
        };
        let mut request = self.http.post(url.clone()).body(body.to_owned());
        if let Some(signer) = &self.signer {
            let headers = signer.headers(url.as_str(), body).await;
            request = request.headers(headers.map_err(|reason| {
                Setback::Trouble(Trouble { reason: format!("{base}: {reason}"), after: None, at_once: false })
            })?);
        }
        Ok(request)
    }

    fn authorize(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.auth {
            RegistryAuth::None => request,
            RegistryAuth::Basic { username, password } => {
                request.basic_auth(username, Some(password.expose()))
            }
            RegistryAuth::Bearer(token) => request.bearer_auth(token.expose()),
        }
    }

    async fn judge_refusal(&self, base: &Url, response: Response) -> Setback {
        let status = response.status();
        let url = base.to_string();
        let after = retry_after(response.headers());
        let location = location_host(&response);
        // A reason that cannot be read is no reason to fail otherwise.
        let body = read_capped(response, MAX_ERROR_BODY_BYTES).await.unwrap_or_default();
        let Refusal { kind, message } = refusal::understand(&self.api, status, &body);
        let message = printable(&message);
        match kind {
            refusal::Kind::Absent => return Setback::Absent { url, message },
            refusal::Kind::NotThisApi => {
                let what = "404, but not as a schema registry does: check the path of registry.url";
                return Trouble::new(base, what).into();
            }
            refusal::Kind::Busy => {
                return Setback::Trouble(Trouble { after, at_once: false, ..Trouble::new(base, message) });
            }
            refusal::Kind::Denied => {
                let reason = format!(
                    "{message}; check the AWS credentials, and that they allow glue:GetSchemaVersion"
                );
                return Setback::Verdict(RegistryError::Refused { url, status: status.as_u16(), reason });
            }
            refusal::Kind::ByStatus => {}
        }
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Setback::Verdict(RegistryError::Unauthorized { url, status: status.as_u16() })
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Setback::Trouble(Trouble { after, at_once: false, ..Trouble::new(base, status) })
            }
            _ if status.is_server_error() => {
                let what =
                    if message.is_empty() { status.to_string() } else { format!("{status}: {message}") };
                Setback::Trouble(Trouble { after, at_once: after.is_none(), ..Trouble::new(base, what) })
            }
            _ if status.is_client_error() => {
                Setback::Verdict(RegistryError::Refused { url, status: status.as_u16(), reason: message })
            }
            _ if status.is_redirection() => {
                let reason = format!(
                    "a redirect to {location} is not followed; set registry.url to the final address"
                );
                Setback::Verdict(RegistryError::Refused { url, status: status.as_u16(), reason })
            }
            _ => Trouble::new(base, format!("{status}, which makes no sense here")).into(),
        }
    }

    fn trouble(&self, base: &Url, error: reqwest::Error) -> Setback {
        if error.is_timeout() {
            let reason = format!("{base} gave no answer within {} s", self.timeout.as_secs_f64());
            // Another try would hold the caller for as long again.
            return Setback::Trouble(Trouble { reason, after: None, at_once: false });
        }
        let said = in_words(&error.without_url());
        let advice = if said.contains(UNTRUSTED) { ADVICE_ON_TRUST } else { "" };
        let reason = format!("{base} could not be asked: {said}{advice}");
        Setback::Trouble(Trouble { reason, after: None, at_once: true })
    }
}

impl Trouble {
    fn new(base: &Url, what: impl std::fmt::Display) -> Self {
        Self { reason: format!("{base} answered {what}"), after: None, at_once: true }
    }

    /// The trouble of a whole round: worth a pause only as long as the most impatient URL asks for.
    fn merge(troubles: Vec<Self>) -> Self {
        assert!(!troubles.is_empty(), "a round without answer has met trouble");
        let after = troubles.iter().map(|trouble| trouble.after.unwrap_or_default()).min();
        Self {
            at_once: troubles.iter().all(|trouble| trouble.at_once),
            after: after.filter(|after| !after.is_zero()),
            reason: troubles.into_iter().map(|trouble| trouble.reason).collect::<Vec<_>>().join("; "),
        }
    }
}

impl From<Trouble> for Setback {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

fn check_urls(urls: &[Url]) -> Result<(), RegistryError> {
    let refuse = |reason: &str| Err(RegistryError::Settings(format!("registry.url: {reason}")));
    if urls.is_empty() {
        return refuse("name at least one URL");
    }
    if urls.iter().any(|url| !matches!(url.scheme(), "http" | "https") || !url.has_host()) {
        return refuse("must begin with http:// or https://");
    }
    if urls.iter().any(|url| !url.username().is_empty() || url.password().is_some()) {
        return refuse("put the user and password into registry.username and registry.password");
    }
    Ok(())
}

fn build_client(settings: &RegistrySettings) -> Result<Client, RegistryError> {
    let builder = Client::builder()
        .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
        .timeout(settings.timeout)
        .connect_timeout(settings.timeout.min(MAX_CONNECT_TIME))
        .redirect(redirect::Policy::custom(within_origin));
    let ca_certificates = settings.ca_file.as_deref().map(read_certificates).transpose()?;
    let builder = match ca_certificates {
        Some(certificates) => builder.tls_certs_merge(certificates),
        // Without TLS the system's certificates are not needed, and a bare container has none.
        None if settings.urls.iter().all(|url| url.scheme() == "http") => builder.tls_certs_only([]),
        None => builder,
    };
    builder.build().map_err(|error| {
        RegistryError::Settings(format!(
            "schema registry client: {}; install CA certificates or set registry.ca_file",
            in_words(&error)
        ))
    })
}

fn read_certificates(path: &std::path::Path) -> Result<Vec<Certificate>, RegistryError> {
    let refuse =
        |reason: String| RegistryError::Settings(format!("registry.ca_file {}: {reason}", path.display()));
    let pem = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| refuse(in_words(&error)))?;
    if certificates.is_empty() {
        return Err(refuse("holds no PEM certificate".to_owned()));
    }
    Ok(certificates)
}

/// A redirect elsewhere is not followed: credentials stay with the host they are meant for.
fn within_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let same_origin = attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
    if same_origin && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
}

fn join(base: &Url, question: &Question<'_>) -> Url {
    let mut url = base.clone();
    url.set_fragment(None);
    url.set_query(None);
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(question.path);
    }
    if let Some((name, value)) = question.query {
        url.query_pairs_mut().append_pair(name, value);
    }
    url
}

/// RFC 9110, 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (chrono::DateTime::parse_from_rfc2822(value).ok()?.to_utc() - chrono::Utc::now())
            .to_std()
            .unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

fn location_host(response: &Response) -> String {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let target = location.and_then(|location| response.url().join(location).ok());
    target.map_or_else(|| "nowhere".to_owned(), |target| target.origin().ascii_serialization())
}

enum ReadError {
    TooBig,
    Broken(reqwest::Error),
}

async fn read_capped(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ReadError::Broken)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(ReadError::TooBig);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with its causes, which reqwest leaves out.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

/// A stranger's message, fit for one line of our log.
fn printable(message: &str) -> String {
    message.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn after(value: &'static str) -> Option<Duration> {
        retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]))
    }

    #[test]
    fn fault_35_retry_after_is_seconds_or_a_date_and_has_a_limit() {
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("999999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("Fri, 31 Dec 2399 23:59:59 GMT"), Some(MAX_RETRY_AFTER));
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn paths_keep_the_base_and_escape_what_they_must() {
        let base = Url::parse("http://r:1/apis/ccompat/v6/").unwrap();
        assert_eq!(
            join(&base, &Question::get(&["a/b c", "1"])).as_str(),
            "http://r:1/apis/ccompat/v6/a%2Fb%20c/1"
        );
        let base = Url::parse("http://r:1").unwrap();
        assert_eq!(
            join(&base, &Question::get(&["schemas", "ids", "7"])).as_str(),
            "http://r:1/schemas/ids/7"
        );
    }
}
