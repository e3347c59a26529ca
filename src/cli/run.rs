//! `sluice run`: the daemon, or a bounded run. Owns logging, signals and the exit code.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::cli::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, RunArguments, environment, runtime};
use crate::config;
use crate::config::settings::{DaemonSettings, LogFormat, LogLevel};
use crate::connector::Process;
use crate::daemon::{self, DaemonEnd, Signals};
use crate::metrics::Metrics;
use crate::task::budget::MemoryBudget;

/// Runs until drained, until the end of a bounded run, or until it cannot go on.
///
/// # Errors
/// When the process itself cannot be set up.
pub fn run(arguments: &RunArguments) -> anyhow::Result<ExitCode> {
    let settings = match config::load(&arguments.config, &environment) {
        Ok(settings) => settings,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    start_logging(&settings.daemon);
    let runtime = runtime()?;
    let signals = Arc::new(Signals::default());
    runtime.spawn(listen(signals.clone()));
    let process = Process {
        runtime: runtime.handle().clone(),
        budget: MemoryBudget::new(settings.daemon.memory.0),
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
    let end = daemon::run(&settings, &process, &Metrics::new(), &signals);
    // Uploads that hang must not keep the process: what they belong to is not committed.
    runtime.shutdown_background();
    let code = match end {
        DaemonEnd::Done => EXIT_DONE,
        DaemonEnd::Failed(failures) => {
            for (connector, failure) in failures {
                eprintln!("sluice: connector {connector}: {failure}");
            }
            EXIT_FAILED
        }
        DaemonEnd::TimedOut => EXIT_FAILED,
    };
    if code != EXIT_DONE {
        // Threads that wait for a service would keep an ordinary return from ending the process.
        std::process::exit(i32::from(code));
    }
    Ok(ExitCode::from(code))
}

async fn listen(signals: Arc<Signals>) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be heard; end the process with kill -9, no record is lost");
        return;
    };
    let Ok(mut reload) = signal(SignalKind::hangup()) else { return };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = reload.recv() => {
                tracing::warn!("SIGHUP: a changed configuration is not taken up while running yet; restart the process");
                continue;
            }
        }
        if signals.shutdown.swap(true, Ordering::SeqCst) {
            tracing::warn!("second signal: ending at once; what is not committed will be read again");
            signals.abort.store(true, Ordering::SeqCst);
        }
    }
}

fn start_logging(daemon: &DaemonSettings) {
    let level = match daemon.log_level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Libraries speak up from WARN on; their chatter is not a change of our state.
    let filter = EnvFilter::new(format!("warn,sluice={level}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(LossyStderr);
    match daemon.log_format {
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
        }
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
    }
}

/// Standard error that never fails the writer: a closed log pipe must not stop delivery.
#[derive(Clone, Copy)]
struct LossyStderr;

impl tracing_subscriber::fmt::MakeWriter<'_> for LossyStderr {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl io::Write for LossyStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
