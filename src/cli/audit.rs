//! `sluice audit`: proves delivery from the files alone, or against the broker. Owns the command and its order of steps; does
//! not own what counts as proved ([`crate::audit`]), nor reading (`reading`) and asking (`broker`).

mod broker;
mod reading;
mod segments;
#[cfg(test)]
mod tests;
mod text;

use std::process::ExitCode;

use crate::audit::{AuditPlan, AuditReport, AuditedFile, Note};
use crate::cli::output::{complain, to_stdout, write_json};
use crate::cli::place::{UsageError, key_values, prefix_place};
use crate::cli::{AuditArguments, EXIT_DONE, EXIT_FAILED, EXIT_USAGE, runtime};
use crate::config::settings::StorageSettings;
use crate::storage::{StorageError, Store};
use broker::Broker;
use segments::Depth;

/// What an audit could not be begun or ended for.
#[derive(Debug, thiserror::Error)]
enum AuditError {
    #[error("{0}")]
    Usage(#[from] UsageError),
    #[error("{0}")]
    Failed(String),
}

/// Audits the prefix and prints the report.
///
/// # Errors
/// When standard output cannot be written, or the process cannot be set up.
pub fn audit(arguments: &AuditArguments) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let report = match begin(arguments) {
        Ok((settings, broker)) => {
            let depth = if arguments.fast { Depth::Offsets } else { Depth::Pages };
            runtime.block_on(examine(&settings, arguments.topic.as_deref(), broker.as_ref(), depth))
        }
        Err(error) => Err(error.into()),
    };
    runtime.shutdown_background();
    match report {
        Ok(report) => {
            to_stdout(
                |out| if arguments.json { write_json(out, &report) } else { text::write(out, &report) },
            )?;
            Ok(ExitCode::from(if report.ok { EXIT_DONE } else { EXIT_FAILED }))
        }
        Err(error) => {
            complain(format_args!("sluice: {error}"));
            let usage = matches!(error, AuditError::Usage(_));
            Ok(ExitCode::from(if usage { EXIT_USAGE } else { EXIT_FAILED }))
        }
    }
}

fn begin(arguments: &AuditArguments) -> Result<(StorageSettings, Option<Broker>), UsageError> {
    let settings = prefix_place(&arguments.url, &arguments.options)?;
    let properties = key_values(&arguments.properties, "--property")?;
    Ok((settings, Broker::of(properties, arguments.group.as_deref())?))
}

async fn examine(
    settings: &StorageSettings,
    topic: Option<&str>,
    broker: Option<&Broker>,
    depth: Depth,
) -> Result<AuditReport, AuditError> {
    let failed = |reason: String| AuditError::Failed(reason);
    let store = Store::open_for_reading(settings).map_err(|error| match error {
        StorageError::Invalid { reason } => UsageError::new(reason).into(),
        error => failed(error.to_string()),
    })?;
    let list = || async {
        let listed =
            store.list(topic.unwrap_or_default()).await.map_err(|error| failed(error.to_string()))?;
        Ok::<_, AuditError>(AuditPlan::of(listed.into_iter().map(|file| (file.path, file.size_bytes)), topic))
    };
    let mut plan = list().await?;
    let mut commits = None;
    if let Some(broker) = broker.filter(|broker| broker.has_group()) {
        // The commits are read before and after a listing: a daemon that runs meanwhile must not look like a fault.
        let before = broker.commits(&plan, topic).await.map_err(failed)?;
        plan = list().await?;
        commits = Some((before, broker.commits(&plan, topic).await.map_err(failed)?));
    }
    let mut auditor = reading::read_all(&store, &plan, depth).await;
    if let Some(broker) = broker {
        let after = commits.as_ref().map(|(_, after)| after);
        let beginnings = broker.beginnings(&plan, after).await;
        Broker::front(&mut auditor, &plan, after, &beginnings);
        if let Some((before, after)) = commits.clone() {
            broker.compare(&mut auditor, &plan, (&before, after), &beginnings);
        }
    }
    let mut partitions = auditor.finish();
    if let Some(broker) = broker {
        broker.look_into_gaps(&mut partitions).await;
    }
    let none_due = match (broker, &commits) {
        (Some(broker), Some((_, after))) if plan.files.is_empty() => {
            broker.expects_no_file(after, &partitions).await
        }
        _ => false,
    };
    let mut renamed = reading::renamed(&store, &plan.foreign).await;
    let foreign =
        plan.foreign.into_iter().filter(|path| renamed.iter().all(|note| note.file != *path)).collect();
    renamed.extend(plan.astray.iter().map(astray));
    let mut report = AuditReport::new(store.display_url(""), partitions, foreign, renamed);
    report.pages_read = depth == Depth::Pages;
    if none_due {
        report.excuse();
    }
    Ok(report)
}

fn astray(file: &AuditedFile) -> Note {
    let reason = format!(
        "it holds rows of {}, flush {}, in the directory of another topic: its readers see what is not theirs; move it back",
        file.tp, file.range
    );
    Note { file: file.path.clone(), reason }
}
