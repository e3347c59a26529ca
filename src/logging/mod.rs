//! Owns how the process logs: format, level (changeable while it runs), and that nothing about it can hold up delivery.
//! Does not own what is said.

mod lines;

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::config::settings::{LogFormat, LogLevel};
use lines::LineQueue;

/// How long the end of the process waits for the last lines to be read.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log of the process: its level, and what became of its lines. Clones share it.
#[derive(Clone)]
pub struct LogControl {
    shared: Arc<Shared>,
}

struct Shared {
    level: Mutex<LogLevel>,
    apply: Box<dyn Fn(LogLevel) + Send + Sync>,
    lines: LineQueue,
}

/// Starts logging to standard error, and makes panics log lines like any other. Once a process.
///
/// Lines are handed to a thread of their own: when nobody reads them they are dropped and counted, and whoever logs never
/// waits.
///
/// # Errors
/// When the thread cannot be started.
///
/// # Panics
/// When something else logs in this process already.
pub fn start(format: LogFormat, level: LogLevel) -> io::Result<LogControl> {
    let lines = LineQueue::start(Box::new(io::stderr()))?;
    let builder = tracing_subscriber::fmt().with_writer(lines.clone());
    let apply: Box<dyn Fn(LogLevel) + Send + Sync> = match format {
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(false).with_span_list(false);
            let builder = builder.with_env_filter(filter(level)).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Box::new(move |level| told(handle.reload(filter(level))))
        }
        LogFormat::Text => {
            let builder = builder.with_ansi(false).with_env_filter(filter(level)).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Box::new(move |level| told(handle.reload(filter(level))))
        }
    };
    std::panic::set_hook(Box::new(log_panic));
    Ok(LogControl { shared: Arc::new(Shared { level: Mutex::new(level), apply, lines }) })
}

impl LogControl {
    /// The level in force.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        *self.shared.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs at this level from now on.
    pub fn set_level(&self, level: LogLevel) {
        let mut current = self.shared.level.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != level {
            // Said at the more talkative of the two levels.
            if level < *current {
                tracing::info!(level = level.as_str(), "log level changed");
            }
            (self.shared.apply)(level);
            if level > *current {
                tracing::info!(level = level.as_str(), "log level changed");
            }
            *current = level;
        }
    }

    /// Lines nobody read in time, since the start.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.shared.lines.dropped()
    }

    /// Writes a line that is no event, in order behind what has been logged.
    pub fn say(&self, line: &str) {
        let _ = writeln!(self.shared.lines.clone(), "{line}");
    }

    /// Gives the last lines a moment to be read. For the end of the process.
    pub fn finish(&self) {
        self.shared.lines.drain(LAST_LINES);
    }
}

/// Libraries speak up from WARN on; their chatter is not a change of our state.
fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(format!("warn,sluice={}", level.as_str()))
}

fn told(outcome: Result<(), tracing_subscriber::reload::Error>) {
    if let Err(error) = outcome {
        tracing::warn!("the log level cannot be changed: {error}");
    }
}

fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let text = crate::error::panic_text(info.payload());
    tracing::error!(thread = thread.name(), "panicked at {place}: {text}; please report this");
}
