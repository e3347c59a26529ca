//! Owns showing the footer of a published file. Does not own reading it ([`super::Footers`]).

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use tokio::sync::Semaphore;

use super::page;
use super::routes::{no_such_connector, refuse};
use super::{AdminState, FooterError};
use crate::storage::ObjectName;

/// Footers that are read at one time: they cost memory and requests that delivery needs more.
static READING: Semaphore = Semaphore::const_new(2);

/// `GET /api/connectors/{name}/footer?path=…`
pub(super) async fn footer(State(state): State<AdminState>, Path(name): Path<String>, uri: Uri) -> Response {
    match read(&state, &name, &uri).await {
        Ok(footer) => Json(footer).into_response(),
        Err(refusal) => refusal,
    }
}

/// `GET /footer?connector=…&path=…`, for people.
pub(super) async fn footer_page(State(state): State<AdminState>, uri: Uri) -> Response {
    let Some(name) = asked_for(&uri, "connector") else {
        return refuse(StatusCode::BAD_REQUEST, "say which file: ?connector=…&path=…");
    };
    match read(&state, &name, &uri).await {
        Ok(footer) => Html(page::footer_page(&name, &footer)).into_response(),
        Err(refusal) => refusal,
    }
}

async fn read(state: &AdminState, name: &str, uri: &Uri) -> Result<serde_json::Value, Response> {
    let Some(path) = asked_for(uri, "path").filter(|path| is_published(path)) else {
        let reason = "say which published file: ?path=…, below the output prefix, as in last_files";
        return Err(refuse(StatusCode::BAD_REQUEST, reason));
    };
    let storage = (state.storage)(name).ok_or_else(|| no_such_connector(name))?;
    let footers = state.footers.as_ref().ok_or_else(|| {
        refuse(StatusCode::SERVICE_UNAVAILABLE, "this process cannot read footers; use sluice inspect")
    })?;
    let _permit = READING.acquire().await;
    footers(storage, path).await.map_err(|error| match error {
        FooterError::Missing(reason) => refuse(StatusCode::NOT_FOUND, &reason),
        FooterError::Unreadable(reason) => refuse(StatusCode::BAD_GATEWAY, &reason),
    })
}

fn asked_for(uri: &Uri, key: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
}

/// Below the prefix, and nothing hidden there.
fn is_published(path: &str) -> bool {
    ObjectName::new(path).is_ok() && path.ends_with(".parquet")
}
