//! Owns the form of `storage:`. Does not own the options of the stores, which they judge themselves.

use std::collections::BTreeMap;

use url::Url;

use super::nearest::suggestion;
use super::secret::Secret;
use super::section::Section;
use super::settings::StorageSettings;
use super::tree::Scalar;
use super::value;

pub(super) const KEYS: &[&str] = &["url", "options"];

const SCHEMES: [&str; 4] = ["file", "s3", "gs", "az"];

/// Reads `storage:`.
pub(super) fn read(section: &Section<'_>) -> Option<StorageSettings> {
    let url = section.require("url", url);
    let options = options(&section.section("options", &[]));
    Some(StorageSettings { url: url?, options })
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
        _ => Ok(url),
    }
}

/// Messages name keys and never show values.
fn options(section: &Section<'_>) -> BTreeMap<String, Secret> {
    let read = |key: &str| section.read_raw(key).map(|text| (key.to_owned(), Secret::new(text)));
    section.entries().iter().filter_map(|entry| read(&entry.key)).collect()
}
