//! Owns which path answers what. Does not own connections ([`super::server`]), who may ask ([`super::access`]) or HTML
//! ([`super::page`]).

use std::sync::PoisonError;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
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

/// Nobody needs a body; one of this size is put up with.
const MAX_BODY_BYTES: usize = 64 << 10;
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
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
        .layer(map_response(harden))
        .with_state(state)
}

async fn guard(State(state): State<AdminState>, mut request: Request<Body>, next: Next) -> Response {
    let verdict = {
        let access = state.access.lock().unwrap_or_else(PoisonError::into_inner);
        access.judge(request.method(), request.uri().path(), request.headers())
    };
    match verdict {
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

async fn status(State(state): State<AdminState>, uri: Uri) -> Html<String> {
    let access = state.access.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let around = Around {
        history: &state.history,
        takes_commands: access.takes_commands(),
        refreshes: uri.query() != Some("refresh=off"),
        log_level: state.logs.as_ref().map(|logs| logs.level().as_str()),
        totals: &|name| state.metrics.connector(name).totals(),
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
    let Some(action) = ConnectorAction::parse(&action) else {
        return refuse(StatusCode::NOT_FOUND, "no such command: there are pause, resume, flush and restart");
    };
    if find(&state, &name).is_none() {
        return no_such_connector(&name);
    }
    match hand_on(&state, AdminCommand::Connector { connector: name, action }) {
        Err(refusal) => *refusal,
        Ok(()) if is_a_form(&headers) => see_page("../../../"),
        Ok(()) => (StatusCode::ACCEPTED, Json(json!({ "accepted": true }))).into_response(),
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
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the daemon is shutting down"),
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

fn hand_on(state: &AdminState, command: AdminCommand) -> Result<(), Box<Response>> {
    state.commands.try_send(command).map_err(|error| {
        let reason = match error {
            TrySendError::Full(_) => "too many commands are waiting, try again",
            TrySendError::Closed(_) => "the daemon is shutting down",
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

async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
                  frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use axum::http::header::{AUTHORIZATION, ORIGIN};
    use reqwest::{Client, Method, RequestBuilder};

    use super::*;
    use crate::admin::snapshot::{ConnectorState, ErrorSnapshot, sample};
    use crate::admin::testing::{Behind, state};
    use crate::daemon::ReloadReport;

    struct Running {
        base: String,
        behind: Behind,
    }

    impl Running {
        fn start() -> Self {
            Self::with("{}")
        }

        fn with(http: &str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let base = format!("http://{}", listener.local_addr().unwrap());
            let (state, behind) = state(http, 1);
            tokio::spawn(crate::admin::serve(listener, state, None, std::future::pending()));
            Self { base, behind }
        }

        fn request(&self, method: Method, path: &str) -> RequestBuilder {
            Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap()
                .request(method, format!("{}{path}", self.base))
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
        running.behind.daemon.lock().unwrap().connectors.push(failed);
        let not_ready = json!([{ "connector": "billing", "reason": "failed: bucket is gone" }]);
        let expected = json!({ "ready": false, "not_ready": not_ready });
        assert_eq!(running.json(Method::GET, "/readyz").await, (503, expected));
        assert_eq!(running.text(Method::GET, "/healthz").await.0, 200);

        running.behind.daemon.lock().unwrap().connectors.clear();
        assert_eq!(running.json(Method::GET, "/readyz").await.0, 503);
    }

    #[tokio::test]
    async fn metrics_come_in_the_text_form() {
        let running = Running::start();
        running.behind.metrics.connector("orders").records.add(3);
        let response = running.request(Method::GET, "/metrics").send().await.unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE.as_str()], METRICS_TYPE);
        let page = response.text().await.unwrap();
        assert!(page.contains("sluice_records_total{connector=\"orders\"} 3\n"), "{page}");
    }

    #[tokio::test]
    async fn the_api_tells_how_a_connector_is() {
        let running = Running::start();
        running.behind.metrics.connector("orders").rows.add(9);
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
            let Ok(AdminCommand::Connector { connector, action: asked }) = running.behind.commands.try_recv()
            else {
                panic!("no command")
            };
            assert_eq!((connector.as_str(), asked), ("orders", action));
        }
        let path = "/api/connectors/orders/flush";
        assert_eq!(running.json(Method::POST, path).await.0, 202);
        assert_eq!(running.json(Method::POST, path).await.0, 503, "the queue holds one");
        running.behind.commands.close();
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
        assert!(running.behind.commands.try_recv().is_err());
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
        assert!(running.behind.commands.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_reload_answers_what_it_did_or_every_problem() {
        let mut running = Running::start();
        let answers: [Result<ReloadReport, Vec<String>>; 2] = [
            Ok(ReloadReport { added: vec!["new".to_owned()], ..ReloadReport::default() }),
            Err(vec!["c.yaml:1:1: unknown key `x`".to_owned(), "second".to_owned()]),
        ];
        for (answer, status) in answers.into_iter().zip([200, 422]) {
            let asked = running.request(Method::POST, "/api/reload");
            let asked = tokio::spawn(async move { asked.send().await.unwrap() });
            let Some(AdminCommand::Reload { reply }) = running.behind.commands.recv().await else { panic!() };
            reply.send(answer.clone()).unwrap();
            let response = asked.await.unwrap();
            assert_eq!(response.status().as_u16(), status);
            let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
            match answer {
                Ok(report) => assert_eq!(body, serde_json::to_value(report).unwrap()),
                Err(problems) => assert_eq!(body["problems"], json!(problems)),
            }
        }
    }

    #[tokio::test]
    async fn a_button_leads_back_to_the_page() {
        let mut running = Running::start();
        let pressed = running
            .request(Method::POST, "/api/connectors/orders/flush")
            .header(ACCEPT, "text/html,*/*;q=0.8");
        let response = pressed.send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[LOCATION]),
            (303, &HeaderValue::from_static("../../../"))
        );
        assert!(running.behind.commands.try_recv().is_ok());
    }

    #[tokio::test]
    async fn with_a_token_only_probes_are_open_and_they_tell_nothing() {
        let mut running = Running::with("{ token: 0123456789abcdefgh }");
        assert_eq!(running.text(Method::GET, "/healthz").await.0, 200);
        assert_eq!(running.json(Method::GET, "/readyz").await, (200, json!({ "ready": true })));
        for (method, path) in [
            (Method::GET, "/"),
            (Method::GET, "/metrics"),
            (Method::GET, "/api/connectors"),
            (Method::GET, "/api/openapi.json"),
            (Method::GET, "/nowhere"),
            (Method::POST, "/api/connectors/orders/pause"),
            (Method::POST, "/api/reload"),
        ] {
            let response = running.request(method, path).send().await.unwrap();
            assert_eq!(response.status().as_u16(), 401, "{path}");
            assert_eq!(response.headers().get_all(WWW_AUTHENTICATE).iter().count(), 2, "{path}");
        }
        assert!(running.behind.commands.try_recv().is_err());
        let asked = running
            .request(Method::POST, "/api/connectors/orders/pause")
            .header(AUTHORIZATION, "Bearer 0123456789abcdefgh");
        assert_eq!(asked.send().await.unwrap().status().as_u16(), 202);
    }

    #[tokio::test]
    async fn read_only_takes_no_command_and_shows_no_button() {
        let mut running = Running::with("{ read_only: true }");
        for path in ["/api/connectors/orders/pause", "/api/reload", "/api/log"] {
            assert_eq!(running.json(Method::POST, path).await.0, 403, "{path}");
        }
        assert!(running.behind.commands.try_recv().is_err());
        assert!(!running.text(Method::GET, "/").await.1.contains("<form"));
        assert!(Running::start().text(Method::GET, "/").await.1.contains("<form"));
    }

    #[tokio::test]
    async fn footers_are_shown_of_published_files_only() {
        let running = Running::start();
        let path = "shop/a%3D1/shop+0+0+10.parquet".replace('+', "%2B");
        let (status, body) =
            running.json(Method::GET, &format!("/api/connectors/orders/footer?path={path}")).await;
        assert_eq!((status, &body["file"]), (200, &json!("shop/a=1/shop+0+0+10.parquet")));
        let (status, page) =
            running.text(Method::GET, &format!("/footer?connector=orders&path={path}")).await;
        assert!(status == 200 && page.contains("shop/a=1/shop+0+0+10.parquet"), "{page}");
        for (query, status) in [
            ("orders/footer?path=shop/none.parquet", 404),
            ("nobody/footer?path=shop/none.parquet", 404),
            ("orders/footer?path=shop/broken.parquet", 502),
            ("orders/footer?path=../../etc/shadow.parquet", 400),
            ("orders/footer?path=/etc/x.parquet", 400),
            ("orders/footer?path=.sluice/x.parquet", 400),
            ("orders/footer?path=shop/secret.txt", 400),
            ("orders/footer", 400),
        ] {
            assert_eq!(
                running.json(Method::GET, &format!("/api/connectors/{query}")).await.0,
                status,
                "{query}"
            );
        }
    }

    #[tokio::test]
    async fn the_document_names_every_path() {
        let running = Running::start();
        let (_, document) = running.json(Method::GET, "/api/openapi.json").await;
        let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
        let expected = [
            "/",
            "/footer",
            "/healthz",
            "/readyz",
            "/metrics",
            "/api/openapi.json",
            "/api/connectors",
            "/api/connectors/{name}",
            "/api/connectors/{name}/footer",
            "/api/connectors/{name}/{action}",
            "/api/reload",
            "/api/log",
        ];
        assert_eq!(paths, expected.iter().collect::<Vec<_>>());
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[tokio::test]
    async fn the_status_page_is_served() {
        let running = Running::start();
        let response = running.request(Method::GET, "/").send().await.unwrap();
        assert!(response.headers()[CONTENT_TYPE.as_str()].to_str().unwrap().starts_with("text/html"));
        assert!(response.text().await.unwrap().contains("orders"));
    }
}
