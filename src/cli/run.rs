//! `sluice run`: the daemon, or a bounded run. Owns signals and the exit code.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::log;
use crate::cli::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, RunArguments, environment, runtime};
use crate::config;
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
    let log = log::start(&settings.daemon);
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
    let written = log.drain();
    let code = match end {
        DaemonEnd::Done => EXIT_DONE,
        DaemonEnd::Failed(failures) if written => {
            for (connector, failure) in failures {
                eprintln!("sluice: connector {connector}: {failure}");
            }
            EXIT_FAILED
        }
        DaemonEnd::Failed(_) | DaemonEnd::TimedOut => EXIT_FAILED,
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
