//! Owns when a flush ends. Does not own how.

use std::fmt;
use std::time::Duration;

use crate::config::settings::RotateSettings;
use crate::task::clock::Tick;

/// Why a flush ended; a metric label and a word in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RotationReason {
    /// `rotate.bytes` of a file.
    Bytes,
    /// `rotate.rows` of the flush.
    Rows,
    /// `rotate.every`.
    Every,
    /// `rotate.idle`.
    Idle,
    /// The memory budget.
    Memory,
    /// Too many open files.
    OpenFiles,
    /// What the registry says of a schema changed, or it refused as many as an intent can name.
    Schemas,
    /// The cut of an intent that is being replayed.
    Replay,
    /// The partition is being given up.
    Revoke,
    /// The daemon is shutting down.
    Shutdown,
    /// The end noted by `--until-end`.
    End,
    /// An operator asked for it.
    Operator,
    /// The connector stops at the record behind it.
    Failure,
}

impl RotationReason {
    /// Every reason, for metrics that show zeros.
    pub const ALL: [Self; 13] = [
        Self::Bytes,
        Self::Rows,
        Self::Every,
        Self::Idle,
        Self::Memory,
        Self::OpenFiles,
        Self::Schemas,
        Self::Replay,
        Self::Revoke,
        Self::Shutdown,
        Self::End,
        Self::Operator,
        Self::Failure,
    ];

    /// Lower-case word, stable.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Rows => "rows",
            Self::Every => "every",
            Self::Idle => "idle",
            Self::Memory => "memory",
            Self::OpenFiles => "open_files",
            Self::Schemas => "schemas",
            Self::Replay => "replay",
            Self::Revoke => "revoke",
            Self::Shutdown => "shutdown",
            Self::End => "end",
            Self::Operator => "operator",
            Self::Failure => "failure",
        }
    }
}

impl fmt::Display for RotationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct FlushSize {
    /// Rows of the flush.
    pub rows: u64,
    /// Estimated size of its largest file, bytes of Parquet.
    pub largest_file_bytes: u64,
    /// When its first record arrived.
    pub first_at: Tick,
    /// When its last record arrived.
    pub last_at: Tick,
}

/// Why a flush of this size should end at `now`, if it should.
#[must_use]
pub fn due(rule: &RotateSettings, size: &FlushSize, now: Tick) -> Option<RotationReason> {
    if rule.rows.is_some_and(|rows| size.rows >= rows.get()) {
        return Some(RotationReason::Rows);
    }
    if rule.bytes.is_some_and(|bytes| size.largest_file_bytes >= bytes.0) {
        return Some(RotationReason::Bytes);
    }
    if rule.every.is_some_and(|every| now.since(size.first_at) >= every) {
        return Some(RotationReason::Every);
    }
    if rule.idle.is_some_and(|idle| now.since(size.last_at) >= idle) {
        return Some(RotationReason::Idle);
    }
    None
}

/// When the clock alone will end the flush, if it will.
#[must_use]
pub fn deadline(rule: &RotateSettings, size: &FlushSize) -> Option<Tick> {
    let at = |start: Tick, wait: Option<Duration>| wait.map(|wait| start.after(wait));
    [at(size.first_at, rule.every), at(size.last_at, rule.idle)].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::config::settings::ByteSize;

    const RULE: RotateSettings = RotateSettings {
        bytes: Some(ByteSize(100)),
        rows: NonZeroU64::new(10),
        every: Some(Duration::from_secs(1)),
        idle: Some(Duration::from_millis(300)),
    };

    fn size(rows: u64, bytes: u64) -> FlushSize {
        FlushSize { rows, largest_file_bytes: bytes, first_at: Tick(5000), last_at: Tick(5600) }
    }

    #[test]
    fn whichever_comes_first_ends_the_flush() {
        assert_eq!(due(&RULE, &size(9, 99), Tick(5899)), None);
        assert_eq!(due(&RULE, &size(10, 99), Tick(5899)), Some(RotationReason::Rows));
        assert_eq!(due(&RULE, &size(9, 100), Tick(5899)), Some(RotationReason::Bytes));
        assert_eq!(due(&RULE, &size(9, 99), Tick(5900)), Some(RotationReason::Idle));
        assert_eq!(due(&RULE, &size(9, 99), Tick(6000)), Some(RotationReason::Every));
    }

    #[test]
    fn the_clock_ends_a_flush_without_a_new_record() {
        assert_eq!(deadline(&RULE, &size(1, 1)), Some(Tick(5900)));
        let without_idle = RotateSettings { idle: None, ..RULE };
        assert_eq!(deadline(&without_idle, &size(1, 1)), Some(Tick(6000)));
        assert_eq!(deadline(&RotateSettings { every: None, ..without_idle }, &size(1, 1)), None);
    }

    #[test]
    fn fault_101_a_clock_that_steps_back_ends_nothing() {
        assert_eq!(due(&RULE, &size(1, 1), Tick(10)), None);
    }
}
