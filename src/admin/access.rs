//! Owns who may ask the endpoints for what: the token, read-only mode, pages of other sites. Does not own what is answered.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::settings::{DaemonSettings, HttpSettings, Secret};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Probes carry no token.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// The rules in force.
#[derive(Clone, Debug)]
pub struct Access {
    token: Option<Secret>,
    read_only: bool,
    /// Only this machine can connect, so a name that is not this machine's is another site's trick.
    loopback: bool,
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Everything it asks for.
    Granted,
    /// A probe: the answer, without details.
    ProbeOnly,
    /// It needs a token, or a right one.
    NeedsToken,
    /// Never, for this reason.
    Forbidden(&'static str),
}

impl Access {
    /// As the configuration says.
    #[must_use]
    pub fn new(daemon: &DaemonSettings) -> Self {
        Self {
            token: daemon.http.token.clone(),
            read_only: daemon.http.read_only,
            loopback: daemon.listen.ip().is_loopback(),
        }
    }

    /// Takes up what a changed configuration says. Where the daemon listens stays as it is until the process ends.
    pub(crate) fn take_up(&mut self, http: &HttpSettings) {
        self.token.clone_from(&http.token);
        self.read_only = http.read_only;
    }

    /// Whether commands are taken at all.
    pub(super) fn takes_commands(&self) -> bool {
        !self.read_only
    }

    pub(super) fn judge(&self, method: &Method, path: &str, headers: &HeaderMap) -> Verdict {
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
        let probe = OPEN_PATHS.contains(&path);
        match &self.token {
            Some(token) if !text(AUTHORIZATION).is_some_and(|given| carries(given, token.expose())) => {
                return if probe { Verdict::ProbeOnly } else { Verdict::NeedsToken };
            }
            // A page elsewhere may let its own name point to this machine to read what is here.
            None if self.loopback && !probe && !is_this_machine(text(HOST).unwrap_or_default()) => {
                return Verdict::Forbidden(
                    "this address is for this machine only: ask for it as localhost or 127.0.0.1, or set daemon.http.token",
                );
            }
            _ => {}
        }
        if method == Method::GET || method == Method::HEAD {
            return Verdict::Granted;
        }
        if self.read_only {
            return Verdict::Forbidden("commands are not taken: daemon.http.read_only is set");
        }
        // What browsers say themselves comes first: they may hide the origin of our own page.
        let elsewhere = match (text(SEC_FETCH_SITE), text(ORIGIN)) {
            (Some(site), _) => site != "same-origin" && site != "none",
            (None, Some(origin)) => !is_own(origin, text(HOST).unwrap_or_default()),
            (None, None) => false,
        };
        if elsewhere {
            return Verdict::Forbidden("commands are not taken from pages of other sites");
        }
        Verdict::Granted
    }
}

/// Whether the header holds the token: as a bearer's, or as the password of HTTP basic.
fn carries(given: &str, token: &str) -> bool {
    let Some((scheme, rest)) = given.split_once(' ') else { return false };
    if scheme.eq_ignore_ascii_case("bearer") {
        return is_same(rest.trim().as_bytes(), token.as_bytes());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return false;
    }
    let Some(pair) = decode_base64(rest.trim()) else { return false };
    let password = pair.iter().position(|byte| *byte == b':').map(|colon| &pair[colon + 1..]);
    password.is_some_and(|password| is_same(password, token.as_bytes()))
}

/// Takes as long for a wrong token as for a right one of the same length.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let differences = given.iter().zip(token).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == token.len() && std::hint::black_box(differences) == 0
}

/// RFC 4648, section 4; `None` for anything else.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for symbol in text.trim_end_matches('=').bytes() {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

fn is_own(origin: &str, host: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, authority)| authority == host)
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        // An IPv6 address without a port ends with a bracket.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn access(token: Option<&str>, read_only: bool) -> Access {
        Access { token: token.map(Secret::new), read_only, loopback: true }
    }

    fn judged(access: &Access, method: &Method, path: &str, headers: &[(&'static str, &str)]) -> Verdict {
        let mut map = HeaderMap::new();
        map.insert(HOST, HeaderValue::from_static("127.0.0.1:9464"));
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        access.judge(method, path, &map)
    }

    #[test]
    fn a_token_is_asked_for_everywhere_but_by_probes() {
        let access = access(Some(TOKEN), false);
        let ask = |path, headers: &[(&'static str, &str)]| judged(&access, &Method::GET, path, headers);
        assert_eq!(ask("/metrics", &[]), Verdict::NeedsToken);
        assert_eq!(ask("/readyz", &[]), Verdict::ProbeOnly);
        assert_eq!(ask("/readyz", &[("authorization", &format!("Bearer {TOKEN}"))]), Verdict::Granted);
        assert_eq!(ask("/", &[("authorization", &format!("bearer {TOKEN}"))]), Verdict::Granted);
        // `any:0123456789abcdef`
        assert_eq!(ask("/", &[("authorization", "Basic YW55OjAxMjM0NTY3ODlhYmNkZWY=")]), Verdict::Granted);
        for wrong in
            ["Bearer 0123456789abcdeX", "Bearer 0123456789abcde", "Bearer ", "Basic !!", "Basic YQ==", TOKEN]
                .into_iter()
                .chain(["Digest YW55OjAxMjM0NTY3ODlhYmNkZWY=", "Basic MDEyMzQ1Njc4OWFiY2RlZjphbnk="])
        {
            assert_eq!(ask("/", &[("authorization", wrong)]), Verdict::NeedsToken, "{wrong}");
        }
    }

    #[test]
    fn names_that_are_not_this_machines_are_refused_where_nothing_else_protects() {
        let open = access(None, false);
        for (host, granted) in [
            ("localhost:9464", true),
            ("LOCALHOST", true),
            ("[::1]:9464", true),
            ("[::1]", true),
            ("127.0.0.1", true),
            ("evil.example:9464", false),
            ("", false),
        ] {
            let verdict = judged(&open, &Method::GET, "/api/connectors", &[("host", host)]);
            assert_eq!(verdict == Verdict::Granted, granted, "{host}");
        }
        let probe = judged(&open, &Method::GET, "/healthz", &[("host", "evil.example")]);
        assert_eq!(probe, Verdict::Granted);
        let elsewhere = Access { loopback: false, ..open };
        assert_eq!(judged(&elsewhere, &Method::GET, "/", &[("host", "sluice.example")]), Verdict::Granted);
    }

    #[test]
    fn commands_come_from_our_own_page_or_from_no_page() {
        let open = access(None, false);
        let post = |headers: &[(&'static str, &str)]| judged(&open, &Method::POST, "/api/reload", headers);
        assert_eq!(post(&[]), Verdict::Granted);
        assert_eq!(post(&[("origin", "http://127.0.0.1:9464")]), Verdict::Granted);
        assert_eq!(post(&[("sec-fetch-site", "same-origin"), ("origin", "null")]), Verdict::Granted);
        let forged = [("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:9464")];
        assert!(matches!(post(&forged), Verdict::Forbidden(_)));
        for other in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(matches!(post(&[other]), Verdict::Forbidden(_)), "{other:?}");
        }
        let read_only = access(None, true);
        assert!(matches!(judged(&read_only, &Method::POST, "/api/reload", &[]), Verdict::Forbidden(_)));
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(judged(&read_only, &method, "/", &[]), Verdict::Granted, "{method}");
        }
    }

    #[test]
    fn a_changed_configuration_is_taken_up() {
        let mut access = access(None, false);
        access.take_up(&HttpSettings { token: Some(Secret::new(TOKEN)), read_only: true, tls: None });
        assert_eq!(judged(&access, &Method::GET, "/", &[]), Verdict::NeedsToken);
        let bearer = format!("Bearer {TOKEN}");
        let command = judged(&access, &Method::POST, "/api/reload", &[("authorization", &bearer)]);
        assert!(matches!(command, Verdict::Forbidden(_)));
        access.take_up(&HttpSettings { token: None, read_only: false, tls: None });
        assert_eq!(judged(&access, &Method::POST, "/api/reload", &[]), Verdict::Granted);
    }
}
