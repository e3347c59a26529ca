//! Owns the way of a log line to its reader, who may be slow or gone. Does not own what is in it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Lines that may wait for their reader.
const LINES_WAITING: usize = 4096;

/// Takes lines without ever waiting. Clones share the queue.
#[derive(Clone)]
pub(super) struct LineQueue {
    lines: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    /// Written, or given up with a reader that is gone.
    done: AtomicU64,
    dropped: AtomicU64,
}

impl LineQueue {
    /// Starts the thread that writes to `reader`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(reader: Box<dyn Write + Send>) -> io::Result<Self> {
        let (lines, queue) = sync_channel(LINES_WAITING);
        let counts = Arc::new(Counts::default());
        let theirs = Arc::clone(&counts);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&queue, reader, &theirs))?;
        Ok(Self { lines, counts })
    }

    pub(super) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was taken is written, `patience` at most.
    pub(super) fn drain(&self, patience: Duration) {
        let began = Instant::now();
        let taken = self.counts.taken.load(Ordering::SeqCst);
        while self.counts.done.load(Ordering::SeqCst) < taken && began.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn write(queue: &Receiver<Vec<u8>>, mut reader: Box<dyn Write + Send>, counts: &Counts) {
    let mut told = 0;
    while let Ok(line) = queue.recv() {
        // A reader that is gone is no reason to stop: another one may take its place.
        let _ = reader.write_all(&line);
        let dropped = counts.dropped.load(Ordering::Relaxed);
        if dropped > told {
            let _ = writeln!(
                reader,
                "{{\"level\":\"WARN\",\"message\":\"{} log lines dropped: nobody read them in time\"}}",
                dropped - told
            );
            told = dropped;
        }
        counts.done.fetch_add(1, Ordering::SeqCst);
    }
}

impl Write for LineQueue {
    /// Each call is a line: the formatter hands over whole ones.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.lines.try_send(line.to_vec()) {
            Ok(()) => self.counts.taken.fetch_add(1, Ordering::SeqCst),
            Err(_) => self.counts.dropped.fetch_add(1, Ordering::Relaxed),
        };
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for LineQueue {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    /// Reads nothing until it is told to.
    struct Stuck {
        go: Receiver<()>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            self.read.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn fault_106_a_reader_that_does_not_read_holds_nobody_up() {
        let (go, wait) = channel();
        let read = Arc::new(Mutex::new(Vec::new()));
        let mut queue = LineQueue::start(Box::new(Stuck { go: wait, read: read.clone() })).unwrap();
        let lines = LINES_WAITING * 2;
        for number in 0..lines {
            queue.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        let dropped = queue.dropped();
        assert!(dropped as usize >= lines - LINES_WAITING - 1, "{dropped}");
        // The reader comes back, and hears of what it missed.
        drop(go);
        queue.drain(Duration::from_secs(30));
        let text = String::from_utf8(read.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("line 0\n"));
        assert!(text.contains(&format!("{dropped} log lines dropped")), "{}", &text[..200]);
    }

    #[test]
    fn fault_106_a_reader_that_is_gone_is_no_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut queue = LineQueue::start(Box::new(Gone)).unwrap();
        queue.write_all(b"hello\n").unwrap();
        queue.drain(Duration::from_secs(30));
        assert_eq!(queue.dropped(), 0);
    }
}
