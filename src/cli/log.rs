//! Owns how log lines reach standard error: over a bounded queue and a thread of its own, so that a log pipe that is full
//! or closed holds up nothing. Does not own what is logged.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::settings::{DaemonSettings, LogFormat, LogLevel};

/// Lines that may wait; what comes beyond is counted and dropped.
const QUEUED_LINES: usize = 4096;
/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Starts logging as the settings say. At most one can be started in a process.
pub(super) fn start(daemon: &DaemonSettings) -> Log {
    let level = match daemon.log_level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let log = Log::to(io::stderr());
    // Libraries speak up from WARN on; their chatter is not a change of our state.
    let filter = EnvFilter::new(format!("warn,sluice={level}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone());
    match daemon.log_format {
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
        }
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
    }
    log
}

/// Takes lines and never blocks nor fails.
#[derive(Clone)]
pub(super) struct Log {
    lines: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

enum Line {
    Text(Vec<u8>),
    /// Answered once everything before it is written.
    Mark(SyncSender<()>),
}

impl Log {
    fn to(target: impl Write + Send + 'static) -> Self {
        let (lines, queue) = sync_channel(QUEUED_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let log = Self { lines, dropped: dropped.clone() };
        let writer = move || write_lines(target, &queue, &dropped);
        // Without the thread the queue is closed: every line is dropped, delivery goes on.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(writer);
        log
    }

    /// Waits for the lines taken so far, a second at the most. Whether they are written.
    pub(super) fn drain(&self) -> bool {
        let (done, answer) = sync_channel(1);
        let deadline = Instant::now() + LAST_LINES;
        let mut mark = Line::Mark(done);
        loop {
            match self.lines.try_send(mark) {
                Ok(()) => {
                    return answer.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok();
                }
                Err(TrySendError::Full(back)) if Instant::now() < deadline => mark = back,
                Err(_) => return false,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Line::Text(bytes.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Errors of the target are nobody's business: a closed pipe has no reader to tell.
fn write_lines(mut target: impl Write, queue: &Receiver<Line>, dropped: &AtomicU64) {
    for line in queue {
        match line {
            Line::Text(bytes) => {
                let _ = target.write_all(&bytes);
                let lost = dropped.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ = writeln!(target, "{lost} log lines dropped: nobody read them fast enough");
                }
            }
            Line::Mark(done) => {
                let _ = target.flush();
                let _ = done.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A pipe that nobody reads until it is told to go on.
    struct Stuck(Receiver<()>, Memory);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn lines_arrive_in_order_before_drain_says_so() {
        let memory = Memory::default();
        let mut log = Log::to(memory.clone());
        for number in 0..100 {
            writeln!(log, "{number}").unwrap();
        }
        assert!(log.drain());
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(String::from_utf8(memory.0.lock().unwrap().clone()).unwrap(), expected);
    }

    #[test]
    fn fault_106_a_full_pipe_holds_nobody_up_and_losses_are_told() {
        let (go_on, wait) = channel();
        let memory = Memory::default();
        let mut log = Log::to(Stuck(wait, memory.clone()));
        for _ in 0..QUEUED_LINES + 100 {
            log.write_all(b"line\n").unwrap();
        }
        assert!(!log.drain(), "the pipe is full");
        drop(go_on);
        assert!(log.drain());
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("log lines dropped"), "{}", text.len());
    }

    #[test]
    fn fault_106_a_closed_pipe_is_no_error() {
        let mut log = Log::to(Closed);
        log.write_all(b"line").unwrap();
        assert!(log.drain());
    }
}
