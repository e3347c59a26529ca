//! `sluice inspect`: a Parquet file's footer for people or as JSON. Owns the command and where the footer comes from; does
//! not own its forms (`report`, `text`).

mod bounds;
mod report;
mod schema;
#[cfg(test)]
mod tests;
mod text;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::ExitCode;

use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use crate::admin::FooterError;
use crate::cli::output::{complain, to_stdout, write_json};
use crate::cli::place::{FilePlace, file_place};
use crate::cli::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, InspectArguments, runtime};
use crate::config::settings::StorageSettings;
use crate::storage::{StorageError, Store};
use report::FileReport;

const MAGIC: &[u8] = b"PAR1";

/// Prints the footer of the file.
///
/// # Errors
/// When standard output cannot be written, or the process cannot be set up.
pub fn inspect(arguments: &InspectArguments) -> anyhow::Result<ExitCode> {
    let place = match file_place(&arguments.file, &arguments.options) {
        Ok(place) => place,
        Err(error) => {
            complain(format_args!("sluice: {error}"));
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let report = match &place {
        FilePlace::Local(path) => read_local(path),
        FilePlace::Object(settings, key) => {
            let store = match Store::open_for_reading(settings) {
                Ok(store) => store,
                // Options or variables that cannot be used.
                Err(error) => {
                    complain(format_args!("sluice: {error}"));
                    return Ok(ExitCode::from(EXIT_USAGE));
                }
            };
            let runtime = runtime()?;
            let report = runtime.block_on(read_object(&store, settings, key));
            runtime.shutdown_background();
            report
        }
    };
    match report {
        Ok(report) => {
            to_stdout(
                |out| if arguments.json { write_json(out, &report) } else { text::write(out, &report) },
            )?;
            Ok(ExitCode::from(EXIT_DONE))
        }
        Err(reason) => {
            complain(format_args!("sluice: {reason}"));
            Ok(ExitCode::from(EXIT_FAILED))
        }
    }
}

/// The footer of a published file below the output prefix of a connector, as `--json` shows it.
///
/// # Errors
/// When there is no such file, or it cannot be read.
pub(super) async fn published_footer(
    settings: StorageSettings,
    path: String,
) -> Result<serde_json::Value, FooterError> {
    let unreadable = |error: StorageError| match error {
        StorageError::Missing { .. } => FooterError::Missing(error.to_string()),
        error => FooterError::Unreadable(error.to_string()),
    };
    let store = Store::open_for_reading(&settings).map_err(unreadable)?;
    let size_bytes = store.read_tail(&path, 1).await.map_err(unreadable)?.file_bytes;
    let footer = store.read_metadata(&path).await.map_err(unreadable)?;
    let shown = format!("{}/{path}", settings.url.as_str().trim_end_matches('/'));
    serde_json::to_value(report_of(&shown, size_bytes, &footer))
        .map_err(|error| FooterError::Unreadable(error.to_string()))
}

/// A local file's report, or why there is none, in one line.
fn read_local(path: &Path) -> Result<FileReport, String> {
    let shown = path.display();
    let cannot_read = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => format!("{shown} does not exist"),
        _ => format!("cannot read {shown}: {error}"),
    };
    let mut file = File::open(path).map_err(cannot_read)?;
    let metadata = file.metadata().map_err(cannot_read)?;
    if metadata.is_dir() {
        return Err(format!("{shown} is a directory; name a file, or use `sluice audit` for all of them"));
    }
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
    let parsed = reader.try_parse(&file).and_then(|()| reader.finish());
    match parsed {
        Ok(footer) => Ok(report_of(&shown.to_string(), metadata.len(), &footer)),
        Err(error) => {
            let mut start = [0; MAGIC.len()];
            let read = std::io::Seek::rewind(&mut file).and_then(|()| file.read_exact(&mut start));
            Err(no_footer(&shown.to_string(), read.is_ok() && start == *MAGIC, &error.to_string()))
        }
    }
}

async fn read_object(store: &Store, settings: &StorageSettings, key: &str) -> Result<FileReport, String> {
    let shown = format!("{}/{key}", settings.url.as_str().trim_end_matches('/'));
    let size_bytes = store.read_tail(key, 1).await.map_err(|error| error.to_string())?.file_bytes;
    match store.read_metadata(key).await {
        Ok(footer) => Ok(report_of(&shown, size_bytes, &footer)),
        Err(error @ StorageError::Invalid { .. }) => {
            let start = store.read(key, 0..MAGIC.len() as u64).await;
            Err(no_footer(&shown, start.is_ok_and(|start| start == MAGIC), &error.to_string()))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn report_of(shown: &str, size_bytes: u64, footer: &ParquetMetaData) -> FileReport {
    FileReport::new(shown, size_bytes, footer)
}

fn no_footer(shown: &str, begins_as_parquet: bool, reason: &str) -> String {
    let reason = reason.lines().next().unwrap_or_default();
    if begins_as_parquet {
        format!(
            "{shown} begins as a Parquet file but has no whole footer: it was cut off, or is still being written ({reason})"
        )
    } else {
        format!("{shown} is not a Parquet file ({reason})")
    }
}
