//! Owns what a registry's "no" means, by the words of its API. Does not own what is done about it.

use reqwest::StatusCode;

use super::apicurio;
use super::glue;
use super::wire::ErrorBody;
use crate::config::settings::RegistryApi;

/// A refusal, understood.
pub(super) struct Refusal {
    pub(super) kind: Kind,
    /// The registry's own words; may be empty.
    pub(super) message: String,
}

pub(super) enum Kind {
    /// It does not have what was asked for.
    Absent,
    /// Something answered that knows nothing of schemas: it must not poison every record.
    NotThisApi,
    /// Later it may answer.
    Busy,
    /// AWS does not let us in.
    Denied,
    /// Whatever the HTTP status means.
    ByStatus,
}

/// Reads a refusal's body, which may be anything.
pub(super) fn understand(api: &RegistryApi, status: StatusCode, body: &[u8]) -> Refusal {
    if let RegistryApi::Glue { .. } = api {
        return by_glue(status, body);
    }
    let said = serde_json::from_slice::<ErrorBody>(body).unwrap_or_default();
    let message = [said.message, said.title].into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    let kind = match (status, api) {
        (StatusCode::NOT_FOUND, RegistryApi::Apicurio { .. }) => {
            if apicurio::ABSENT.contains(&said.name.as_str()) { Kind::Absent } else { Kind::NotThisApi }
        }
        (StatusCode::NOT_FOUND, _) => match said.error_code {
            Some(code) if code != 404 => Kind::Absent,
            _ => Kind::NotThisApi,
        },
        _ => Kind::ByStatus,
    };
    Refusal { kind, message }
}

/// AWS says almost everything with status 400.
fn by_glue(status: StatusCode, body: &[u8]) -> Refusal {
    let Some((name, words)) = glue::refusal_kind(body) else {
        return Refusal { kind: Kind::ByStatus, message: String::new() };
    };
    let kind = match name.as_str() {
        "EntityNotFoundException" => Kind::Absent,
        "ThrottlingException"
        | "RequestLimitExceeded"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InternalServiceException" => Kind::Busy,
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "InvalidClientTokenId" => Kind::Denied,
        _ if status.is_server_error() => Kind::Busy,
        _ => Kind::ByStatus,
    };
    Refusal { kind, message: if words.is_empty() { name } else { format!("{name}: {words}") } }
}
