//! Owns which path answers what. Does not own connections ([`super::server`]), who may ask ([`super::access`]) or HTML
//! ([`super::page`]).

#[cfg(test)]
mod tests;

use std::sync::PoisonError;

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{Router, get, post};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::access::Verdict;
use super::files::{footer, footer_page};
use super::page::{self, Around};
use super::snapshot::ConnectorSnapshot;
use super::{AdminCommand, AdminState, ConnectorAction};
use crate::config::settings::LogLevel;
use crate::metrics::ConnectorTotals;

/// Few requests need a body, and none a large one.
const MAX_BODY_BYTES: usize = 64 << 10;
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const SHUTTING_DOWN: &str = "the daemon is shutting down: it flushes and commits everything by itself";
const OPENAPI: &str = include_str!("openapi.json");

pub(super) fn routes(state: AdminState) -> Router {
    Router::new()
        .route("/", get(status))
        .route("/footer", get(footer_page))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .route("/api/openapi.json", get(openapi))
        .route("/api/connectors", get(connectors))
        .route("/api/connectors/{name}", get(connector))
        .route("/api/connectors/{name}/footer", get(footer))
        .route("/api/connectors/{name}/{action}", post(command))
        .route("/api/reload", post(reload))
        .route("/api/log", get(log_level).post(set_log_level))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "no such path") })
        .method_not_allowed_fallback(|| async {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(state.clone(), guard))
        .layer(map_response(in_one_shape))
        .layer(map_response(harden))
        .with_state(state)
}

async fn guard(State(state): State<AdminState>, mut request: Request<Body>, next: Next) -> Response {
    let verdict = {
        let access = state.access.lock().unwrap_or_else(PoisonError::into_inner);
        access.judge(request.method(), request.uri().path(), request.headers())
    };
    match verdict {
        // Before it comes: whoever announces so much would be waited for.
        Verdict::Granted | Verdict::ProbeOnly
            if !request.method().is_safe() && announces_too_much(request.headers()) =>
        {
            too_large()
        }
        Verdict::Granted | Verdict::ProbeOnly => {
            request.extensions_mut().insert(verdict);
            next.run(request).await
        }
        Verdict::NeedsToken => {
            let mut response =
                refuse(StatusCode::UNAUTHORIZED, "a token is needed: daemon.http.token is set");
            let asked = HeaderValue::from_static("Basic realm=\"sluice\", charset=\"UTF-8\"");
            response.headers_mut().append(WWW_AUTHENTICATE, asked);
            response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        Verdict::Forbidden(reason) => refuse(StatusCode::FORBIDDEN, reason),
    }
}

fn announces_too_much(headers: &HeaderMap) -> bool {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    announced.is_some_and(|bytes| bytes > MAX_BODY_BYTES as u64)
}

fn too_large() -> Response {
    let limit = MAX_BODY_BYTES >> 10;
    let reason = format!("the body is too large: {limit} KiB at the most");
    refuse(StatusCode::PAYLOAD_TOO_LARGE, &reason)
}

async fn status(State(state): State<AdminState>, uri: Uri) -> Html<String> {
    let access = state.access.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let around = Around {
        history: &state.history,
        takes_commands: access.takes_commands(),
        refreshes: uri.query() != Some("refresh=off"),
        log_level: state.logs.as_ref().map(|logs| logs.level().as_str()),
        totals: &|name| state.metrics.totals(name),
    };
    Html(page::status_page(&(state.snapshot)(), &around))
}

async fn readiness(State(state): State<AdminState>, request: Request<Body>) -> Response {
    let daemon = (state.snapshot)();
    let not_ready: Vec<Value> = daemon
        .connectors
        .iter()
        .filter_map(|connector| {
            let reason = connector.not_ready_because()?;
            Some(json!({ "connector": connector.name, "reason": reason }))
        })
        .collect();
    let ready = not_ready.is_empty() && !daemon.connectors.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if request.extensions().get() == Some(&Verdict::ProbeOnly) {
        return (status, Json(json!({ "ready": ready }))).into_response();
    }
    (status, Json(json!({ "ready": ready, "not_ready": not_ready }))).into_response()
}

async fn metrics(State(state): State<AdminState>) -> Response {
    let page = state.metrics.render(&(state.snapshot)());
    ([(CONTENT_TYPE, METRICS_TYPE)], page).into_response()
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// What the API says of a connector.
#[derive(Serialize)]
struct ConnectorStatus {
    #[serde(flatten)]
    snapshot: ConnectorSnapshot,
    counters: ConnectorTotals,
}

impl ConnectorStatus {
    fn new(snapshot: ConnectorSnapshot, state: &AdminState) -> Self {
        let counters = state.metrics.totals(&snapshot.name);
        Self { snapshot, counters }
    }
}

async fn connectors(State(state): State<AdminState>) -> Response {
    let snapshots = (state.snapshot)().connectors.into_iter();
    let all: Vec<_> = snapshots.map(|snapshot| ConnectorStatus::new(snapshot, &state)).collect();
    Json(json!({ "connectors": all })).into_response()
}

async fn connector(State(state): State<AdminState>, Path(name): Path<String>) -> Response {
    match find(&state, &name) {
        Some(snapshot) => Json(ConnectorStatus::new(snapshot, &state)).into_response(),
        None => no_such_connector(&name),
    }
}

async fn command(
    State(state): State<AdminState>,
    Path((name, action)): Path<(String, String)>,
    headers: HeaderMap,
    _: Bytes,
) -> Response {
    let Some(action) = ConnectorAction::parse(&action) else {
        return refuse(StatusCode::NOT_FOUND, "no such command: there are pause, resume, flush and restart");
    };
    if find(&state, &name).is_none() {
        return no_such_connector(&name);
    }
    let (reply, answer) = oneshot::channel();
    if let Err(refusal) = hand_on(&state, AdminCommand::Connector { connector: name, action, reply }) {
        return *refusal;
    }
    match answer.await {
        Ok(Ok(())) if is_a_form(&headers) => see_page("../../../"),
        Ok(Ok(())) => (StatusCode::ACCEPTED, Json(json!({ "accepted": true }))).into_response(),
        Ok(Err(reason)) if is_a_form(&headers) => {
            (StatusCode::CONFLICT, Html(page::not_done_page(&reason))).into_response()
        }
        Ok(Err(reason)) => refuse(StatusCode::CONFLICT, &reason),
        Err(_) => shutting_down(),
    }
}

async fn reload(State(state): State<AdminState>, headers: HeaderMap, _: Bytes) -> Response {
    let (reply, answer) = oneshot::channel();
    if let Err(refusal) = hand_on(&state, AdminCommand::Reload { reply }) {
        return *refusal;
    }
    match answer.await {
        Ok(Ok(_)) if is_a_form(&headers) => see_page("../"),
        Ok(Ok(report)) => Json(report).into_response(),
        Ok(Err(problems)) if is_a_form(&headers) => {
            (StatusCode::UNPROCESSABLE_ENTITY, Html(page::refused_page(&problems))).into_response()
        }
        Ok(Err(problems)) => {
            let reason = "the configuration is refused; everything goes on as before";
            let body = json!({ "error": reason, "problems": problems });
            (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
        }
        Err(_) => shutting_down(),
    }
}

async fn log_level(State(state): State<AdminState>) -> Response {
    match &state.logs {
        Some(logs) => Json(json!({ "level": logs.level().as_str() })).into_response(),
        None => no_log(),
    }
}

async fn set_log_level(State(state): State<AdminState>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(logs) = &state.logs else { return no_log() };
    let Some(level) = asked_level(&headers, &body) else {
        let reason = "say {\"level\": …} with error, warn, info, debug or trace";
        return refuse(StatusCode::BAD_REQUEST, reason);
    };
    logs.set_level(level);
    if is_a_form(&headers) {
        return see_page("../");
    }
    Json(json!({ "level": level.as_str() })).into_response()
}

/// From a JSON object, or from a form.
fn asked_level(headers: &HeaderMap, body: &[u8]) -> Option<LogLevel> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let word = if kind.starts_with("application/x-www-form-urlencoded") {
        let mut pairs = url::form_urlencoded::parse(body);
        pairs.find(|(key, _)| key == "level").map(|(_, value)| value.into_owned())?
    } else {
        serde_json::from_slice::<Value>(body).ok()?.as_object()?.get("level")?.as_str()?.to_owned()
    };
    LogLevel::ALL.into_iter().find(|level| level.as_str() == word)
}

fn shutting_down() -> Response {
    refuse(StatusCode::SERVICE_UNAVAILABLE, SHUTTING_DOWN)
}

fn hand_on(state: &AdminState, command: AdminCommand) -> Result<(), Box<Response>> {
    state.commands.try_send(command).map_err(|error| {
        let reason = match error {
            TrySendError::Full(_) => "too many commands are waiting, try again",
            TrySendError::Closed(_) => SHUTTING_DOWN,
        };
        Box::new(refuse(StatusCode::SERVICE_UNAVAILABLE, reason))
    })
}

fn find(state: &AdminState, name: &str) -> Option<ConnectorSnapshot> {
    (state.snapshot)().connectors.into_iter().find(|connector| connector.name == name)
}

/// Whether a person pressed a button on the status page.
fn is_a_form(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// Sends the browser back to the status page; relative, so that a prefix of a proxy stays.
fn see_page(place: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response()
}

fn no_log() -> Response {
    refuse(StatusCode::SERVICE_UNAVAILABLE, "this process keeps no log of its own")
}

pub(super) fn no_such_connector(name: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, &format!("no connector is named {name:?}"))
}

pub(super) fn refuse(status: StatusCode, reason: &str) -> Response {
    (status, Json(json!({ "error": reason }))).into_response()
}

/// Extractors refuse in plain words of their own: they get the shape of every other error.
async fn in_one_shape(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_plain = kind.is_empty() || kind.starts_with(b"text/plain");
    if !(status.is_client_error() || status.is_server_error()) || !is_plain {
        return response;
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large();
    }
    let (mut parts, body) = response.into_parts();
    let said = to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
    let reason = format!("the request cannot be understood: {}", String::from_utf8_lossy(&said).trim());
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    let mut refusal = refuse(status, &reason);
    refusal.headers_mut().extend(parts.headers);
    refusal
}

async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // `no-referrer` would also hide the origin of our own page's forms.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
                  frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}
