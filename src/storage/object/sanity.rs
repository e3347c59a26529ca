//! Owns refusing addresses and texts that no request can be made with: the client libraries panic on some, and fail on
//! others with a message that names no option. Does not own which options there are.

use url::Url;

use crate::config::settings::StorageSettings;
use crate::storage::error::StorageError;

/// Texts of the options must fit into headers.
///
/// # Errors
/// Invalid, when one cannot be sent; its value is not shown.
pub(super) fn check_texts(settings: &StorageSettings) -> Result<(), StorageError> {
    match settings.options.iter().find(|(_, value)| value.expose().contains(char::is_control)) {
        Some((name, _)) => Err(StorageError::invalid(format!(
            "storage.options.{name} holds a line break or another control character; look at the file or variable it \
             comes from"
        ))),
        None => Ok(()),
    }
}

/// What the environment gave must fit into headers too.
///
/// # Errors
/// Invalid, when it cannot be sent; it is not shown.
pub(super) fn check_credential(what: &str, value: Option<String>) -> Result<(), StorageError> {
    match value.filter(|value| value.contains(char::is_control)) {
        Some(_) => Err(StorageError::invalid(format!(
            "{what} from the environment holds a line break or another control character; look at where it comes from"
        ))),
        None => Ok(()),
    }
}

/// An address of the store, if there is one; `names` are those of its option.
///
/// # Errors
/// Invalid, when it is no URL, or one without TLS and that is not allowed.
pub(super) fn check_address(
    settings: &StorageSettings,
    names: &[&str],
    value: Option<String>,
    plain_allowed: bool,
) -> Result<(), StorageError> {
    let Some(value) = value else { return Ok(()) };
    let mut options = settings.options.keys();
    let option = match options.find(|option| names.contains(&option.to_ascii_lowercase().as_str())) {
        Some(name) => format!("storage.options.{name}"),
        None => format!("the {} from the environment", names[0]),
    };
    let scheme = Url::parse(&value).ok().filter(Url::has_host).map(|url| url.scheme().to_owned());
    match scheme.as_deref() {
        Some("https") => Ok(()),
        Some("http") if plain_allowed => Ok(()),
        Some("http") => Err(StorageError::invalid(format!(
            "{option} is http, without TLS; if that is meant, set storage.options.allow_http: true"
        ))),
        _ => Err(StorageError::invalid(format!(
            "{option} is `{value}`, which is no URL; write it with its scheme, as in https://storage.example:9000"
        ))),
    }
}
