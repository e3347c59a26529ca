//! Owns what the user may write where a file or a prefix is asked for: a path, or a URL, with options. Does not own
//! reading it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use url::Url;

use crate::cli::environment;
use crate::config;
use crate::config::settings::{Secret, StorageSettings};
use crate::storage;

const NO_OPTIONS: &str = "--option is for object stores; a local file takes none";

/// A file, wherever it is.
#[derive(Clone, Debug)]
pub(super) enum FilePlace {
    /// On a local file system.
    Local(PathBuf),
    /// In an object store: the bucket, and the whole key, byte for byte.
    Object(StorageSettings, String),
}

/// Why an argument cannot be used; said before anything is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(String);

impl UsageError {
    /// With what to do instead.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// A file's place from a path or URL. Keys are taken as they stand, since ours hold `%` and `=`.
///
/// # Errors
/// When the URL names no file, or an option is none.
pub(super) fn file_place(text: &str, options: &[String]) -> Result<FilePlace, UsageError> {
    let Some((scheme, rest)) = text.split_once("://") else { return local(PathBuf::from(text), options) };
    if scheme == "file" {
        let url = parse(text)?;
        let path = url.to_file_path().map_err(|()| not_local(text))?;
        return local(path, options);
    }
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if key.is_empty() || key.ends_with('/') {
        return Err(UsageError(format!("{text} names no file; for a whole prefix use `sluice audit`")));
    }
    let url = checked(parse(&format!("{scheme}://{bucket}"))?)?;
    Ok(FilePlace::Object(with_options(url, options)?, key.to_owned()))
}

/// A prefix's place from a path or URL, as `storage.url` has it.
///
/// # Errors
/// When the URL cannot be a prefix, or an option is none.
pub(super) fn prefix_place(text: &str, options: &[String]) -> Result<StorageSettings, UsageError> {
    let url = if text.contains("://") {
        checked(parse(text)?)?
    } else {
        let path = std::path::absolute(text).map_err(|error| UsageError(format!("{text}: {error}")))?;
        Url::from_file_path(&path).map_err(|()| not_local(text))?
    };
    if url.scheme() == "file" && !options.is_empty() {
        return Err(UsageError(NO_OPTIONS.to_owned()));
    }
    with_options(url, options)
}

/// With options that the store knows.
fn with_options(url: Url, options: &[String]) -> Result<StorageSettings, UsageError> {
    let settings = StorageSettings { url, options: key_values(options, "--option")? };
    let faults: Vec<String> = storage::option_faults(&settings)
        .into_iter()
        .map(|fault| format!("--option {} {}", fault.option, fault.reason))
        .collect();
    if faults.is_empty() { Ok(settings) } else { Err(UsageError(faults.join("\nsluice: "))) }
}

/// Pairs from repeated `KEY=VALUE` arguments, with references in the values as in a configuration: arguments can be read by
/// everybody on the machine. The last of a key counts.
///
/// # Errors
/// When one has no `=`, or a reference leads nowhere.
pub(super) fn key_values(pairs: &[String], argument: &str) -> Result<BTreeMap<String, Secret>, UsageError> {
    let split = |pair: &String| match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => config::expanded(value, &environment)
            .map(|value| (key.to_owned(), Secret::new(value)))
            .map_err(|message| UsageError(format!("{argument} {key}: {message}"))),
        // The text may be a secret whose key was forgotten.
        _ => Err(UsageError(format!("{argument} takes KEY=VALUE"))),
    };
    pairs.iter().map(split).collect()
}

fn local(path: PathBuf, options: &[String]) -> Result<FilePlace, UsageError> {
    if options.is_empty() {
        return Ok(FilePlace::Local(path));
    }
    Err(UsageError(NO_OPTIONS.to_owned()))
}

/// Without the text in its messages where that may hold a password.
fn checked(url: Url) -> Result<Url, UsageError> {
    if !["file", "s3", "gs", "az"].contains(&url.scheme()) {
        let scheme = url.scheme();
        return Err(UsageError(format!(
            "`{scheme}://` is not a storage; use a path, file://, s3://, gs:// or az://"
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let message =
            "the URL holds a user or password; credentials belong in the environment or in --option";
        return Err(UsageError(message.to_owned()));
    }
    Ok(url)
}

fn parse(text: &str) -> Result<Url, UsageError> {
    Url::parse(text).map_err(|error| UsageError(format!("not a URL: {error}")))
}

fn not_local(text: &str) -> UsageError {
    UsageError(format!("{text} is not a local path; write file:///absolute/path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_object_stores_are_taken_as_they_stand() {
        let text = "s3://lake/raw/t/at=10%3A00/t+0+000000000000+000000000001.parquet";
        let Ok(FilePlace::Object(settings, key)) = file_place(text, &["region=eu".to_owned()]) else {
            panic!()
        };
        assert_eq!(settings.url.as_str(), "s3://lake");
        assert_eq!(key, "raw/t/at=10%3A00/t+0+000000000000+000000000001.parquet");
        assert_eq!(settings.options["region"].expose(), "eu");
    }

    #[test]
    fn paths_are_local_files() {
        for text in ["a/b c.parquet", "file:///x/b%20c.parquet", "/x/%3A.parquet"] {
            let Ok(FilePlace::Local(path)) = file_place(text, &[]) else { panic!("{text}") };
            assert!(["a/b c.parquet", "/x/b c.parquet", "/x/%3A.parquet"].contains(&path.to_str().unwrap()));
        }
    }

    #[test]
    fn what_cannot_be_a_place_is_refused_without_showing_secrets() {
        for text in
            ["s3://lake", "s3://lake/", "s3://lake/raw/", "http://h/f", "s3://u:hunter2@lake/f", "://"]
        {
            let error = file_place(text, &[]).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(!prefix_place("s3://u:hunter2@lake", &[]).unwrap_err().to_string().contains("hunter2"));
        assert!(
            !key_values(&["hunter2".to_owned()], "--option").unwrap_err().to_string().contains("hunter2")
        );
        assert!(file_place("f.parquet", &["a=b".to_owned()]).is_err());
    }

    #[test]
    fn a_secret_of_an_argument_may_lie_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter2\n").unwrap();
        let pairs = [format!("sasl.password=${{file:{}}}", file.display()), "a=b=c".to_owned()];
        let found = key_values(&pairs, "--property").unwrap();
        assert_eq!((found["sasl.password"].expose(), found["a"].expose()), ("hunter2", "b=c"));
        let missing = key_values(&["x=${file:nowhere}".to_owned()], "--property").unwrap_err().to_string();
        assert!(missing.starts_with("--property x: cannot use the file `nowhere`"), "{missing}");
    }

    #[test]
    fn a_relative_path_is_a_prefix() {
        let url = prefix_place("lake/raw", &[]).unwrap().url;
        assert!(url.to_file_path().unwrap().ends_with("lake/raw"));
    }
}
