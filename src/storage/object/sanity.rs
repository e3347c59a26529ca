//! Owns refusing options and variables with which no request can be made, and addresses without TLS where nobody said so. Does
//! not own what is wrong with each by itself ([`super::faults`]).

use super::faults::{canonical, of_environment, of_options};
use crate::config::settings::StorageSettings;
use crate::storage::error::StorageError;

/// Each option, and each variable of the environment that no option stands before, must be of use by itself. The client
/// libraries panic on some that are not, and fail on others with a message that names none.
///
/// # Errors
/// Invalid, with all that are not; their values are not shown.
pub(super) fn check_each(settings: &StorageSettings) -> Result<(), StorageError> {
    let options = of_options(settings).into_iter();
    let options = options.map(|fault| format!("storage.options.{} {}", fault.option, fault.reason));
    let variables = of_environment(&settings.url, variables()).into_iter();
    let counting = variables.filter(|(name, _)| option_of(settings, &key_of(settings, name)).is_none());
    let variables = counting.map(|(name, reason)| format!("{name} in the environment {reason}"));
    let faults: Vec<String> = options.chain(variables).collect();
    if faults.is_empty() { Ok(()) } else { Err(StorageError::invalid(faults.join("; "))) }
}

/// `value` is the address that the client has for `key`, if there is one.
///
/// # Errors
/// Invalid, when it is one without TLS and that is not allowed.
pub(super) fn check_plain(
    settings: &StorageSettings,
    key: &str,
    value: Option<String>,
    plain_allowed: bool,
) -> Result<(), StorageError> {
    if plain_allowed || value.is_none_or(|value| !value.to_ascii_lowercase().starts_with("http://")) {
        return Ok(());
    }
    let variable = || variables().map(|(name, _)| name).find(|name| key_of(settings, name) == key);
    let source = match (option_of(settings, key), variable()) {
        (Some(option), _) => format!("storage.options.{option}"),
        (None, Some(variable)) => format!("{variable} in the environment"),
        (None, None) => format!("the {key} from the environment"),
    };
    Err(StorageError::invalid(format!(
        "{source} is http, without TLS; if that is meant, set storage.options.allow_http: true"
    )))
}

fn option_of<'s>(settings: &'s StorageSettings, key: &str) -> Option<&'s str> {
    settings.options.keys().map(String::as_str).find(|option| key_of(settings, option) == key)
}

fn key_of(settings: &StorageSettings, name: &str) -> String {
    canonical(&settings.url, &name.to_ascii_lowercase()).unwrap_or_default()
}

fn variables() -> impl Iterator<Item = (String, String)> {
    // What is no text the library does not read either.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
