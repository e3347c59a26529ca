//! Owns the one question every error answers: what must be done about it. Poison record, retriable, or fatal, each
//! with the stage where it happened. Rooms may have error types of their own; they become a [`Failure`] at their door.

use std::fmt;
use std::time::Duration;

/// What went wrong, by what must be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// This one record cannot be delivered as a row; `errors.on_poison` decides what becomes of it.
    #[error("poison record at stage {stage} ({kind}): {reason}")]
    Poison {
        /// Where it happened.
        stage: Stage,
        /// Short constant word for metrics: `truncated`, `trailing_bytes`, `unknown_schema`, …
        kind: &'static str,
        /// What is wrong with the record, lower case.
        reason: String,
    },
    /// It may pass by itself: try again with backoff, hold the offset meanwhile.
    #[error("{stage}: {reason}; will be tried again")]
    Retriable {
        /// Where it happened.
        stage: Stage,
        /// What happened, lower case.
        reason: String,
        /// How long the service asked us to wait.
        after: Option<Duration>,
    },
    /// It will not pass by itself: stop the connector, hold the offset.
    #[error("{stage}: {reason}")]
    Fatal {
        /// Where it happened.
        stage: Stage,
        /// What happened and what to do, lower case.
        reason: String,
    },
}

impl Failure {
    /// A retriable failure without a wish for when.
    pub fn retriable(stage: Stage, reason: impl Into<String>) -> Self {
        Self::Retriable { stage, reason: reason.into(), after: None }
    }

    /// A fatal failure.
    pub fn fatal(stage: Stage, reason: impl Into<String>) -> Self {
        Self::Fatal { stage, reason: reason.into() }
    }

    /// A poison record.
    pub fn poison(stage: Stage, kind: &'static str, reason: impl Into<String>) -> Self {
        Self::Poison { stage, kind, reason: reason.into() }
    }

    /// What happened, without stage and kind.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Poison { reason, .. } | Self::Retriable { reason, .. } | Self::Fatal { reason, .. } => {
                reason
            }
        }
    }

    /// What must be done about it, in a word; stable: it is a metric label.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Poison { .. } => "poison",
            Self::Retriable { .. } => "retriable",
            Self::Fatal { .. } => "fatal",
        }
    }

    /// The stage where it happened.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::Poison { stage, .. } | Self::Retriable { stage, .. } | Self::Fatal { stage, .. } => *stage,
        }
    }
}

/// What a panic said.
#[must_use]
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// The steps of a record's way, for messages and metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Fetching from the broker.
    Consume,
    /// Reading what stands in front of the datum.
    Wire,
    /// Getting or understanding a schema.
    Schema,
    /// Decoding the datum.
    Decode,
    /// Finding the storage partition.
    Partition,
    /// Writing Parquet.
    Encode,
    /// Writing staged bytes where no reader sees them.
    Seal,
    /// Committing an intent.
    Intend,
    /// Making files visible.
    Publish,
    /// Committing the end of a flush.
    Settle,
    /// Producing a dead letter.
    DeadLetter,
    /// Finding out where to start.
    Recover,
}

impl Stage {
    /// Lower-case word, stable: it is a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consume => "consume",
            Self::Wire => "wire",
            Self::Schema => "schema",
            Self::Decode => "decode",
            Self::Partition => "partition",
            Self::Encode => "encode",
            Self::Seal => "seal",
            Self::Intend => "intend",
            Self::Publish => "publish",
            Self::Settle => "settle",
            Self::DeadLetter => "dead_letter",
            Self::Recover => "recover",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
