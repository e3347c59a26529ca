//! `sluice run`: the daemon, or a bounded run. Owns signals and the exit code.

use std::io::{IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::check::{endpoint_problems, offline_problems};
use crate::cli::inspect::published_footer;
use crate::cli::output::{Align, Table, complain, thousands, to_stdout};
use crate::cli::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, RunArguments, environment, runtime};
use crate::config;
use crate::config::settings::{LogFormat, Settings};
use crate::connector::Process;
use crate::daemon::{self, ConnectorSummary, DaemonEnd, Signals, Surroundings};
use crate::logging;
use crate::metrics::Metrics;
use crate::storage::UploadRoom;
use crate::task::budget::MemoryBudget;

/// How long the process waits at its end for work that was given up to tidy up behind itself.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Runs until drained, until the end of a bounded run, or until it cannot go on.
///
/// # Errors
/// When the process itself cannot be set up.
pub fn run(arguments: &RunArguments) -> anyhow::Result<ExitCode> {
    let settings = match config::load(&arguments.config, &environment) {
        Ok(settings) => settings,
        Err(errors) => {
            complain(errors);
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let problems = endpoint_problems(&settings);
    if !problems.is_empty() {
        problems.iter().for_each(complain);
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let logs = logging::start(settings.daemon.log_format, settings.daemon.log_level)?;
    raise_open_file_limit();
    let runtime = runtime()?;
    let signals = Arc::new(Signals::default());
    listen(&runtime, &signals);
    let budget = MemoryBudget::new(settings.daemon.memory.0);
    let process = Process {
        runtime: runtime.handle().clone(),
        uploads: UploadRoom::of(&budget, settings.connectors.len()),
        budget,
        connectors: settings.connectors.len(),
        scratch_dir: settings.daemon.scratch_dir.clone(),
        until_end: arguments.until_end,
        files: None,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        connectors = settings.connectors.len(),
        memory = %settings.daemon.memory,
        until_end = arguments.until_end,
        "started"
    );
    warn_of(&settings);
    let path = arguments.config.clone();
    let (sender, summaries) = channel();
    let surroundings = Surroundings {
        reread: Some(Box::new(move || reread(&path))),
        logs: Some(logs.clone()),
        footers: Some(Arc::new(|storage, path| Box::pin(published_footer(storage, path)))),
        summaries: Some(sender),
    };
    let end = daemon::run(&settings, &process, &Metrics::new(), &signals, surroundings);
    // Staged files tidy up as their work is dropped. Uploads that hang must not keep the process: what they belong to is
    // not committed.
    runtime.shutdown_timeout(LAST_WORK);
    let code = match end {
        // What was drained was drained; that others had failed before is told in the log.
        DaemonEnd::Done | DaemonEnd::DoneWithout(_) => EXIT_DONE,
        DaemonEnd::Failed(failures) => {
            // Told in the log already; who reads the last line on a terminal sees what to do.
            if settings.daemon.log_format == LogFormat::Text {
                for (connector, failure) in failures {
                    logs.say(&format!("sluice: connector {connector}: {failure}"));
                }
            }
            EXIT_FAILED
        }
        DaemonEnd::Interrupted(connectors) => {
            tracing::warn!(
                connectors = connectors.join(" "),
                "stopped before the end was reached: run it again to go on where it stopped"
            );
            EXIT_FAILED
        }
        DaemonEnd::TimedOut => EXIT_FAILED,
    };
    logs.finish();
    if std::io::stdout().is_terminal() {
        to_stdout(|out| write_summaries(out, summaries.try_iter()))?;
    }
    if code != EXIT_DONE {
        // Threads that wait for a service would keep an ordinary return from ending the process.
        std::process::exit(i32::from(code));
    }
    Ok(ExitCode::from(code))
}

/// A table of what each connector of a bounded run did; nothing without any.
fn write_summaries(
    out: &mut dyn Write,
    summaries: impl Iterator<Item = ConnectorSummary>,
) -> std::io::Result<()> {
    let mut summaries = summaries.peekable();
    if summaries.peek().is_none() {
        return Ok(());
    }
    let mut table = Table::new(&[&[Align::Left; 2][..], &[Align::Right; 7]].concat());
    table.push(["connector", "", "records", "rows", "files", "size", "dead letters", "skipped", "time"]);
    for ConnectorSummary { connector, outcome, totals, took } in summaries {
        let numbers = [totals.records, totals.rows, totals.files].map(thousands);
        let more = [totals.dead_letters, totals.skipped].map(thousands);
        let size = format!("{:.1} MiB", totals.file_bytes as f64 / f64::from(1 << 20));
        let time = format!("{:.1} s", took.as_secs_f64());
        let words = [connector, outcome.to_owned()];
        table.push(words.into_iter().chain(numbers).chain([size]).chain(more).chain([time]));
    }
    writeln!(out)?;
    table.write(out, "  ")
}

/// A flush over many storage partitions has many files open at once; the customary soft limit of 1,024 is for programs that
/// use `select`.
fn raise_open_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// The configuration as it is now, or what `check --offline` would say of it.
fn reread(path: &Path) -> Result<Settings, Vec<String>> {
    let settings = config::load(path, &environment)
        .map_err(|errors| errors.to_string().lines().map(str::to_owned).collect::<Vec<_>>())?;
    match offline_problems(&settings) {
        problems if problems.is_empty() => {
            warn_of(&settings);
            Ok(settings)
        }
        problems => Err(problems),
    }
}

fn warn_of(settings: &Settings) {
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
}

/// Hears signals from now on. Each is registered by itself: one that cannot be heard keeps its usual effect.
fn listen(runtime: &Runtime, signals: &Arc<Signals>) {
    let _entered = runtime.enter();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        match signal(kind) {
            Ok(stream) => drop(runtime.spawn(hear(stream, kind, signals.clone()))),
            Err(error) => tracing::warn!(signal = kind.as_raw_value(), %error, "a signal cannot be heard"),
        }
    }
}

async fn hear(mut stream: Signal, kind: SignalKind, signals: Arc<Signals>) {
    while stream.recv().await.is_some() {
        if kind == SignalKind::hangup() {
            signals.reload.store(true, Ordering::SeqCst);
        } else if signals.shutdown.swap(true, Ordering::SeqCst) {
            tracing::warn!("second signal: ending at once; what is not committed will be read again");
            signals.abort.store(true, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ConnectorTotals;

    #[test]
    fn a_bounded_run_ends_with_a_table() {
        let totals = ConnectorTotals {
            records: 1_500,
            rows: 1_499,
            files: 2,
            file_bytes: 3 << 20,
            skipped: 1,
            ..Default::default()
        };
        let orders = ConnectorSummary {
            connector: "orders".to_owned(),
            outcome: "done",
            totals,
            took: Duration::from_millis(2_340),
        };
        let mut out = Vec::new();
        write_summaries(&mut out, [orders].into_iter()).unwrap();
        let shown = String::from_utf8(out).unwrap();
        let expected = "
  connector        records   rows  files     size  dead letters  skipped   time
  orders     done    1,500  1,499      2  3.0 MiB             0        1  2.3 s
";
        assert_eq!(shown, expected);
        let mut out = Vec::new();
        write_summaries(&mut out, std::iter::empty()).unwrap();
        assert!(out.is_empty(), "a daemon has no table");
    }
}
