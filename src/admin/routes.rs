//! Owns which path answers what. Does not own connections ([`super::server`]) or HTML ([`super::page`]).

use axum::Json;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{Router, get, post};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::error::TrySendError;

use super::page::status_page;
use super::snapshot::ConnectorSnapshot;
use super::{AdminCommand, AdminState, ConnectorAction};
use crate::metrics::ConnectorTotals;

/// Nobody needs a body; one of this size is put up with.
const MAX_BODY_BYTES: usize = 64 << 10;
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn routes(state: AdminState) -> Router {
    Router::new()
        .route("/", get(status))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .route("/api/connectors", get(connectors))
        .route("/api/connectors/{name}", get(connector))
        .route("/api/connectors/{name}/{action}", post(command))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "no such path") })
        .method_not_allowed_fallback(|| async {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(map_response(harden))
        .with_state(state)
}

async fn status(State(state): State<AdminState>) -> Html<String> {
    Html(status_page(&(state.snapshot)()))
}

async fn readiness(State(state): State<AdminState>) -> Response {
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
    (status, Json(json!({ "ready": ready, "not_ready": not_ready }))).into_response()
}

async fn metrics(State(state): State<AdminState>) -> Response {
    let page = state.metrics.render(&(state.snapshot)());
    ([(CONTENT_TYPE, METRICS_TYPE)], page).into_response()
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
        let counters = state.metrics.connector(&snapshot.name).totals();
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
    if is_from_another_site(&headers) {
        return refuse(StatusCode::FORBIDDEN, "commands are not taken from pages of other sites");
    }
    let Some(action) = ConnectorAction::parse(&action) else {
        return refuse(StatusCode::NOT_FOUND, "no such command: there are pause, resume, flush and restart");
    };
    if find(&state, &name).is_none() {
        return no_such_connector(&name);
    }
    match state.commands.try_send(AdminCommand { connector: name, action }) {
        Ok(()) => (StatusCode::ACCEPTED, Json(json!({ "accepted": true }))).into_response(),
        Err(TrySendError::Full(_)) => {
            refuse(StatusCode::SERVICE_UNAVAILABLE, "too many commands are waiting, try again")
        }
        Err(TrySendError::Closed(_)) => {
            refuse(StatusCode::SERVICE_UNAVAILABLE, "the daemon is shutting down")
        }
    }
}

fn find(state: &AdminState, name: &str) -> Option<ConnectorSnapshot> {
    (state.snapshot)().connectors.into_iter().find(|connector| connector.name == name)
}

/// A browser sends `Origin` with every post; a page elsewhere must not command a daemon on the reader's machine.
fn is_from_another_site(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let Some(origin) = text(ORIGIN) else { return false };
    let own = text(HOST).unwrap_or_default();
    origin.split_once("://").is_none_or(|(_, authority)| authority != own)
}

fn no_such_connector(name: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, &format!("no connector is named {name:?}"))
}

fn refuse(status: StatusCode, reason: &str) -> Response {
    (status, Json(json!({ "error": reason }))).into_response()
}

async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use reqwest::{Client, Method, RequestBuilder};
    use tokio::sync::mpsc;

    use super::*;
    use crate::admin::snapshot::{ConnectorState, DaemonSnapshot, ErrorSnapshot, sample};
    use crate::metrics::Metrics;

    struct Running {
        base: String,
        commands: mpsc::Receiver<AdminCommand>,
        daemon: Arc<Mutex<DaemonSnapshot>>,
        metrics: Metrics,
    }

    impl Running {
        fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let base = format!("http://{}", listener.local_addr().unwrap());
            let (sender, commands) = mpsc::channel(1);
            let daemon = Arc::new(Mutex::new(sample("orders")));
            let metrics = Metrics::new();
            let shown = Arc::clone(&daemon);
            let state = AdminState {
                snapshot: Arc::new(move || shown.lock().unwrap().clone()),
                commands: sender,
                metrics: metrics.clone(),
            };
            tokio::spawn(crate::admin::serve(listener, state, std::future::pending()));
            Self { base, commands, daemon, metrics }
        }

        fn request(&self, method: Method, path: &str) -> RequestBuilder {
            Client::builder().no_proxy().build().unwrap().request(method, format!("{}{path}", self.base))
        }

        async fn text(&self, method: Method, path: &str) -> (u16, String) {
            let response = self.request(method, path).send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        }

        async fn json(&self, method: Method, path: &str) -> (u16, Value) {
            let (status, text) = self.text(method, path).await;
            (status, serde_json::from_str(&text).unwrap())
        }
    }

    #[tokio::test]
    async fn readiness_names_who_is_not_ready() {
        let running = Running::start();
        assert_eq!(running.text(Method::GET, "/healthz").await, (200, "ok\n".to_owned()));
        assert_eq!(
            running.json(Method::GET, "/readyz").await,
            (200, json!({ "ready": true, "not_ready": [] }))
        );

        let mut failed = sample("billing").connectors.remove(0);
        failed.state = ConnectorState::Failed;
        failed.last_error = Some(ErrorSnapshot { message: "bucket is gone".into(), ..Default::default() });
        running.daemon.lock().unwrap().connectors.push(failed);
        let not_ready = json!([{ "connector": "billing", "reason": "failed: bucket is gone" }]);
        let expected = json!({ "ready": false, "not_ready": not_ready });
        assert_eq!(running.json(Method::GET, "/readyz").await, (503, expected));
        assert_eq!(running.text(Method::GET, "/healthz").await.0, 200);

        running.daemon.lock().unwrap().connectors.clear();
        assert_eq!(running.json(Method::GET, "/readyz").await.0, 503);
    }

    #[tokio::test]
    async fn metrics_come_in_the_text_form() {
        let running = Running::start();
        running.metrics.connector("orders").records.add(3);
        let response = running.request(Method::GET, "/metrics").send().await.unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE.as_str()], METRICS_TYPE);
        let page = response.text().await.unwrap();
        assert!(page.contains("sluice_records_total{connector=\"orders\"} 3\n"), "{page}");
    }

    #[tokio::test]
    async fn the_api_tells_how_a_connector_is() {
        let running = Running::start();
        running.metrics.connector("orders").rows.add(9);
        let (status, body) = running.json(Method::GET, "/api/connectors/orders").await;
        assert_eq!(status, 200);
        assert_eq!((&body["name"], &body["state"]), (&json!("orders"), &json!("running")));
        assert_eq!(body["counters"]["rows"], 9);
        let partition = &body["partitions"][0];
        assert_eq!((&partition["committed"], &partition["lag_records"]), (&json!(10), &json!(30)));
        assert_eq!(partition["open_flush"]["rows"], 5);
        assert_eq!(body["partitions"][1]["position"], Value::Null);
        assert_eq!(
            running.json(Method::GET, "/api/connectors").await,
            (200, json!({ "connectors": [body] }))
        );
    }

    #[tokio::test]
    async fn what_is_not_there_is_refused_in_json() {
        let running = Running::start();
        for (method, path, status) in [
            (Method::GET, "/api/connectors/nobody", 404),
            (Method::POST, "/api/connectors/nobody/pause", 404),
            (Method::POST, "/api/connectors/orders/explode", 404),
            (Method::GET, "/api/connectors/orders/pause", 405),
            (Method::POST, "/metrics", 405),
            (Method::DELETE, "/api/connectors/orders", 405),
            (Method::GET, "/nowhere", 404),
        ] {
            let (got, body) = running.json(method, path).await;
            assert_eq!(got, status, "{path}");
            assert!(body["error"].is_string(), "{path}: {body}");
        }
    }

    #[tokio::test]
    async fn commands_are_handed_on() {
        let mut running = Running::start();
        for (word, action) in [
            ("pause", ConnectorAction::Pause),
            ("resume", ConnectorAction::Resume),
            ("flush", ConnectorAction::Flush),
            ("restart", ConnectorAction::Restart),
        ] {
            let path = format!("/api/connectors/orders/{word}");
            assert_eq!(running.json(Method::POST, &path).await.0, 202);
            let expected = AdminCommand { connector: "orders".into(), action };
            assert_eq!(running.commands.try_recv(), Ok(expected));
        }
        let path = "/api/connectors/orders/flush";
        assert_eq!(running.json(Method::POST, path).await.0, 202);
        assert_eq!(running.json(Method::POST, path).await.0, 503, "the queue holds one");
        running.commands.close();
        assert_eq!(running.json(Method::POST, path).await.0, 503);
    }

    #[tokio::test]
    async fn pages_of_other_sites_cannot_command() {
        let mut running = Running::start();
        for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
            let request =
                running.request(Method::POST, "/api/connectors/orders/pause").header(ORIGIN, origin);
            assert_eq!(request.send().await.unwrap().status().as_u16(), 403, "{origin}");
        }
        assert!(running.commands.try_recv().is_err());
        let own = running.request(Method::POST, "/api/connectors/orders/pause").header(ORIGIN, &running.base);
        assert_eq!(own.send().await.unwrap().status().as_u16(), 202);
    }

    #[tokio::test]
    async fn bodies_beyond_the_limit_are_refused() {
        let mut running = Running::start();
        let request = running.request(Method::POST, "/api/connectors/orders/pause");
        let answer = request.body(vec![0_u8; MAX_BODY_BYTES + 1]).send().await;
        // The server may hang up before the client has sent it all.
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status().as_u16() == 413));
        assert!(running.commands.try_recv().is_err());
    }

    #[tokio::test]
    async fn the_status_page_is_served() {
        let running = Running::start();
        let response = running.request(Method::GET, "/").send().await.unwrap();
        assert!(response.headers()[CONTENT_TYPE.as_str()].to_str().unwrap().starts_with("text/html"));
        assert!(response.text().await.unwrap().contains("orders"));
    }
}
