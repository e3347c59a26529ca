//! Proves the endpoints over real connections.

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
    assert_eq!(running.json(Method::GET, "/readyz").await, (200, json!({ "ready": true, "not_ready": [] })));

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
    assert_eq!(running.json(Method::GET, "/api/connectors").await, (200, json!({ "connectors": [body] })));
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
        (Method::GET, "/api/connectors/%ff", 400),
        (Method::POST, "/api/connectors/%ff/pause", 400),
        (Method::POST, "/api/connectors/orders/%ff", 400),
        (Method::GET, "/api/connectors/%ff/footer?path=a.parquet", 400),
    ] {
        let response = running.request(method, path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()[CONTENT_TYPE.as_str()], "application/json", "{path}");
        assert_eq!(response.headers().contains_key("allow"), status == 405, "{path}");
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert!(body["error"].is_string() && body.as_object().unwrap().len() == 1, "{path}: {body}");
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
        let request = running.request(Method::POST, &format!("/api/connectors/orders/{word}"));
        let (answer, asked) = tokio::join!(request.send(), running.behind.answer(Ok(())));
        assert_eq!(answer.unwrap().status().as_u16(), 202);
        assert_eq!(asked, ("orders".to_owned(), action));
    }
    // One that waits for its answer fills the queue.
    let path = "/api/connectors/orders/flush";
    let waiting = tokio::spawn(running.request(Method::POST, path).send());
    while running.behind.commands.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.json(Method::POST, path).await.0, 503, "the queue holds one");
    // The daemon goes: those who wait are told, and those who come.
    running.behind.commands.close();
    assert_eq!(running.json(Method::POST, path).await.0, 503);
    assert!(running.behind.commands.try_recv().is_ok(), "it was never answered");
    assert_eq!(waiting.await.unwrap().unwrap().status().as_u16(), 503);
}

#[tokio::test]
async fn a_command_that_cannot_be_obeyed_says_what_can_be_done() {
    let mut running = Running::start();
    let reason = "connector orders has failed: <restart> it";
    for (accept, kind) in [("*/*", "application/json"), ("text/html", "text/html; charset=utf-8")] {
        let request = running.request(Method::POST, "/api/connectors/orders/flush").header(ACCEPT, accept);
        let (answer, _) = tokio::join!(request.send(), running.behind.answer(Err(reason.to_owned())));
        let answer = answer.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()[CONTENT_TYPE.as_str()]),
            (409, &HeaderValue::from_static(kind))
        );
        let body = answer.text().await.unwrap();
        let expected = if accept == "*/*" {
            json!({ "error": reason }).to_string()
        } else {
            "&lt;restart&gt;".to_owned()
        };
        assert!(body.contains(&expected), "{body}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_cannot_command() {
    let mut running = Running::start();
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        let request = running.request(Method::POST, "/api/connectors/orders/pause").header(ORIGIN, origin);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 403, "{origin}");
    }
    assert!(running.behind.commands.try_recv().is_err());
    let own = running.request(Method::POST, "/api/connectors/orders/pause").header(ORIGIN, &running.base);
    let (answer, _) = tokio::join!(own.send(), running.behind.answer(Ok(())));
    assert_eq!(answer.unwrap().status().as_u16(), 202);
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_refused() {
    let mut running = Running::start();
    let request = running.request(Method::POST, "/api/connectors/orders/pause");
    let answer = request.body(vec![0_u8; MAX_BODY_BYTES + 1]).send().await;
    // The server may hang up before the client has sent it all.
    if let Ok(answer) = answer {
        assert_eq!(answer.status().as_u16(), 413);
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert!(body["error"].as_str().unwrap().contains("64 KiB"), "{body}");
    }
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
async fn a_person_sees_why_a_reload_was_refused() {
    let mut running = Running::start();
    let pressed = running.request(Method::POST, "/api/reload").header(ACCEPT, "text/html");
    let pressed = tokio::spawn(async move { pressed.send().await.unwrap() });
    let Some(AdminCommand::Reload { reply }) = running.behind.commands.recv().await else { panic!() };
    reply.send(Err(vec!["c.yaml:1:1: unknown key `x`".to_owned()])).unwrap();
    let response = pressed.await.unwrap();
    assert_eq!(response.status().as_u16(), 422);
    assert!(response.headers()[CONTENT_TYPE.as_str()].to_str().unwrap().starts_with("text/html"));
    assert!(response.text().await.unwrap().contains("unknown key"));
}

#[tokio::test]
async fn every_answer_is_hardened() {
    let open = Running::start();
    let closed = Running::with("{ token: 0123456789abcdefgh }");
    for (running, path) in [(&open, "/"), (&open, "/metrics"), (&open, "/nowhere"), (&closed, "/")] {
        let response = running.request(Method::GET, path).send().await.unwrap();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(header("referrer-policy"), Some("same-origin"), "{path}");
        let policy = header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
    }
}

#[tokio::test]
async fn a_button_leads_back_to_the_page() {
    let mut running = Running::start();
    let pressed =
        running.request(Method::POST, "/api/connectors/orders/flush").header(ACCEPT, "text/html,*/*;q=0.8");
    let (response, asked) = tokio::join!(pressed.send(), running.behind.answer(Ok(())));
    let response = response.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()[LOCATION]),
        (303, &HeaderValue::from_static("../../../"))
    );
    assert_eq!(asked.1, ConnectorAction::Flush);
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
    let (answer, _) = tokio::join!(asked.send(), running.behind.answer(Ok(())));
    assert_eq!(answer.unwrap().status().as_u16(), 202);
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
    let (status, page) = running.text(Method::GET, &format!("/footer?connector=orders&path={path}")).await;
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
        assert_eq!(running.json(Method::GET, &format!("/api/connectors/{query}")).await.0, status, "{query}");
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
