//! Owns the form and defaults of `registry:`. Does not own talking to it.

use std::time::Duration;

use url::Url;

use super::secret::Secret;
use super::section::Section;
use super::settings::{ApicurioIds, RegistryApi, RegistryAuth, RegistrySettings, WireFormat};
use super::tree::{Content, Node, Scalar};
use super::value;

pub(super) const KEYS: &[&str] =
    &["url", "username", "password", "token", "ca_file", "timeout", "api", "context", "ids", "region"];

const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads `registry:`, which is there. `wires` are the wire formats whose schemas come from it.
pub(super) fn read(section: &Section<'_>, wires: &[WireFormat]) -> Option<RegistrySettings> {
    let api = api(section, wires);
    let urls = match &api {
        Some(RegistryApi::Glue { region }) if !section.has("url") => Some(vec![glue_url(region)?]),
        // Without a right `api` nobody knows whether the URL may be left out.
        None if !section.has("url") => None,
        _ => {
            section.report_missing("url", "");
            urls(section)
        }
    };
    let auth = auth(section);
    if matches!(api, Some(RegistryApi::Glue { .. })) && !matches!(auth, RegistryAuth::None) {
        let key = if section.has("token") { "token" } else { "username" };
        section.report(key, "means nothing to AWS Glue; requests are signed with AWS credentials");
    }
    let ca_file = section.read_file("ca_file");
    let timeout = section.read("timeout", value::time).unwrap_or(TIMEOUT);
    Some(RegistrySettings { urls: urls?, auth, ca_file, timeout, api: api? })
}

fn api(section: &Section<'_>, wires: &[WireFormat]) -> Option<RegistryApi> {
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        Confluent,
        Apicurio,
        Glue,
    }
    let words = [("confluent", Word::Confluent), ("apicurio", Word::Apicurio), ("glue", Word::Glue)];
    let suggested = match wires {
        _ if wires.contains(&WireFormat::Glue) => Word::Glue,
        _ if wires.contains(&WireFormat::Apicurio) => Word::Apicurio,
        _ => Word::Confluent,
    };
    let word = if section.has("api") { section.read("api", value::choice(&words))? } else { suggested };
    let fits = |wire: &WireFormat| (*wire == WireFormat::Glue) == (word == Word::Glue);
    if !wires.iter().all(fits) {
        section.report("api", "`glue` and `wire: glue` go together: no other registry knows those ids");
    }
    for (key, owner, name) in [
        ("context", Word::Confluent, "confluent"),
        ("ids", Word::Apicurio, "apicurio"),
        ("region", Word::Glue, "glue"),
    ] {
        if section.has(key) && word != owner {
            section.report(key, &format!("is for `api: {name}`"));
        }
    }
    match word {
        Word::Confluent => Some(RegistryApi::Confluent { context: section.read("context", context) }),
        Word::Apicurio => {
            let ids = [("global", ApicurioIds::Global), ("content", ApicurioIds::Content)];
            let default = if wires.contains(&WireFormat::Apicurio) {
                ApicurioIds::Global
            } else {
                ApicurioIds::Content
            };
            Some(RegistryApi::Apicurio { ids: section.read("ids", value::choice(&ids)).unwrap_or(default) })
        }
        Word::Glue => Some(RegistryApi::Glue { region: section.require("region", region)? }),
    }
}

/// A context as it is written in `:.context:subject`, without the signs around it.
fn context(scalar: &Scalar) -> Result<String, String> {
    let text = value::text(scalar)?;
    let name = text.trim_matches(':').trim_start_matches('.');
    if name.is_empty() || name.contains([':', '/']) || name.contains(char::is_whitespace) {
        return Err(format!("must be the name of a context, such as `staging`; found {}", scalar.shown()));
    }
    Ok(name.to_owned())
}

fn region(scalar: &Scalar) -> Result<String, String> {
    let name = value::text(scalar)?;
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Err(format!("must be an AWS region, such as `eu-central-1`; found {}", scalar.shown()));
    }
    Ok(name)
}

fn glue_url(region: &str) -> Option<Url> {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    Url::parse(&format!("https://glue.{region}.{domain}")).ok()
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
