//! Owns the form of `storage:`. Does not own the options of the stores, which they judge
//! themselves ([`storage::option_faults`]).

use std::collections::BTreeMap;

use url::Url;

use super::nearest::suggestion;
use super::secret::Secret;
use super::section::Section;
use super::settings::StorageSettings;
use super::tree::Scalar;
use super::value;
use crate::storage;

pub(super) const KEYS: &[&str] = &["url", "options"];

const SCHEMES: [&str; 4] = ["file", "s3", "gs", "az"];

/// Reads `storage:`.
pub(super) fn read(section: &Section<'_>) -> Option<StorageSettings> {
    let url = section.require("url", url);
    let options_section = section.section("options", &[]);
    let options = options(&options_section);
    let settings = StorageSettings { url: url?, options };
    for fault in storage::option_faults(&settings) {
        options_section.report_key(&fault.option, &fault.reason);
    }
    if settings.url.scheme() == "file" && !settings.options.is_empty() {
        let message = "`storage.options` means nothing to a local directory";
        section.problems().warn(options_section.place(), message);
    }
    Some(settings)
}

/// The messages do not show the text: it may hold a password where none belongs.
fn url(scalar: &Scalar) -> Result<Url, String> {
    const FORM: &str =
        "must be a URL such as `file:///data/lake`, `s3://bucket/prefix`, `gs://…` or `az://…`";
    let text = value::text(scalar)?;
    let url = Url::parse(&text).map_err(|error| format!("{FORM}: {error}"))?;
    if !SCHEMES.contains(&url.scheme()) {
        let meant = if scalar.referenced { String::new() } else { suggestion(url.scheme(), SCHEMES) };
        return Err(format!("{FORM}{meant}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "must not hold a user or password; credentials belong in `options` or the environment".to_owned()
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a `?` or `#` part".to_owned());
    }
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "file" if !host.is_empty() || !text.starts_with("file:///") => {
            Err("must be an absolute path with three slashes: `file:///data/lake`".to_owned())
        }
        "file" if url.path() == "/" => Err("must name a directory below the root".to_owned()),
        "file" => Ok(url),
        scheme if host.is_empty() => Err(format!("must name a bucket: `{scheme}://bucket/prefix`")),
        scheme if url.port().is_some() => Err(format!(
            "must be `{scheme}://bucket/prefix`, without a port; where the store is, is said in `options`"
        )),
        // Azure's own containers begin so: `$web`, `$root`, `$logs`.
        "az" if host
            .strip_prefix('$')
            .is_some_and(|name| !name.is_empty() && name.chars().all(is_of_bucket)) =>
        {
            Ok(url)
        }
        _ if !host.chars().all(is_of_bucket) => {
            Err("must name a bucket of ASCII letters, digits, `.`, `-` and `_`".to_owned())
        }
        _ => Ok(url),
    }
}

fn is_of_bucket(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_')
}

/// Messages name keys and never show values.
fn options(section: &Section<'_>) -> BTreeMap<String, Secret> {
    let read = |key: &str| section.read_raw(key).map(|text| (key.to_owned(), Secret::new(text)));
    section.entries().iter().filter_map(|entry| read(&entry.key)).collect()
}
