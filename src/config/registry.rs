//! Owns the form and defaults of `registry:`. Does not own talking to it.

use std::time::Duration;

use url::Url;

use super::secret::Secret;
use super::section::Section;
use super::settings::{RegistryAuth, RegistrySettings};
use super::tree::{Content, Node, Scalar};
use super::value;

pub(super) const KEYS: &[&str] = &["url", "username", "password", "token", "ca_file", "timeout"];

const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads `registry:`, which is there.
pub(super) fn read(section: &Section<'_>) -> Option<RegistrySettings> {
    section.report_missing("url", "");
    let urls = urls(section);
    let auth = auth(section);
    let ca_file = section.read_file("ca_file");
    let timeout = section.read("timeout", value::time).unwrap_or(TIMEOUT);
    Some(RegistrySettings { urls: urls?, auth, ca_file, timeout })
}

/// A list, or one text with commas.
fn urls(section: &Section<'_>) -> Option<Vec<Url>> {
    if let Some(Node { content: Content::List(items), .. }) = section.node("url") {
        if items.is_empty() {
            section.report("url", "must hold at least one URL");
        }
        return Some(items.iter().filter_map(|item| section.read_item("url", item, url)).collect());
    }
    section.read("url", |scalar| {
        let text = value::text(scalar)?;
        text.split(',').map(|part| parse(part.trim())).collect()
    })
}

fn url(scalar: &Scalar) -> Result<Url, String> {
    parse(&value::text(scalar)?)
}

/// The messages do not show the text: it may hold a password where none belongs.
fn parse(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("must be a URL such as `http://registry:8081`: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with `http://` or `https://`".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password; write them as `username` and `password`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a `?` or `#` part".to_owned());
    }
    Ok(url)
}

fn auth(section: &Section<'_>) -> RegistryAuth {
    let username = section.read("username", value::text);
    let password = section.read("password", value::text).map(Secret::new);
    let token = section.read("token", value::text).map(Secret::new);
    match (section.has("username"), section.has("password"), section.has("token")) {
        (true, _, true) | (_, true, true) => {
            section.report("token", "cannot stand beside `username` and `password`");
        }
        (true, false, false) => section.report("username", "needs `password` beside it"),
        (false, true, false) => section.report("password", "needs `username` beside it"),
        _ => {}
    }
    match (username, password, token) {
        (Some(username), Some(password), _) => RegistryAuth::Basic { username, password },
        (_, _, Some(token)) => RegistryAuth::Bearer(token),
        _ => RegistryAuth::None,
    }
}
