//! Owns what can go wrong in storage, by what the caller must do. Does not own how errors of disks and object stores are
//! read; that is beside the code that meets them.

use std::fmt;
use std::time::Duration;

use super::identity::FileIdentity;
use super::name::InvalidName;
use crate::error::{Failure, Stage};

/// What went wrong, by what must be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// It may pass by itself. Nothing is lost: call the same method again, after a pause.
    #[error("{reason}")]
    Retriable {
        /// What happened, lower case.
        reason: String,
        /// How long the store asked us to wait.
        after: Option<Duration>,
    },
    /// The staged bytes are lost or in doubt. Drop the flush and read its records again.
    #[error("staged bytes are lost: {reason}")]
    Spoiled {
        /// What happened, lower case.
        reason: String,
    },
    /// Another file has our name. It was not touched; neither will this one be published.
    #[error(
        "{path} exists with other content (it has {existing}, ours has {ours}); if the topic was deleted and made \
         again, move the old files away or choose another prefix"
    )]
    Conflict {
        /// Where it is, without credentials.
        path: String,
        /// What we wanted to publish.
        ours: FileIdentity,
        /// What is there.
        existing: ExistingFile,
    },
    /// The store refuses us. Fatal until somebody changes rights, credentials or the bucket.
    #[error("{reason}")]
    Denied {
        /// Who refused what, and what to do.
        reason: String,
    },
    /// The configuration, or the store it names, cannot work.
    #[error("{reason}")]
    Invalid {
        /// What is wrong and what to do.
        reason: String,
    },
    /// A file to be read is not there.
    #[error("{path} does not exist")]
    Missing {
        /// Where it should be, without credentials.
        path: String,
    },
}

/// A file found under a name that we wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExistingFile {
    /// It says what it holds.
    Identified(FileIdentity),
    /// It does not; why.
    Unreadable(String),
}

impl StorageError {
    /// Seen from a connector: what to do, and where it happened. `Spoiled` becomes retriable, since reading the
    /// records again mends it; a caller that holds the staged file looks at the variant first.
    #[must_use]
    pub fn into_failure(self, stage: Stage) -> Failure {
        match self {
            Self::Retriable { reason, after } => Failure::Retriable { stage, reason, after },
            Self::Spoiled { .. } => Failure::retriable(stage, self.to_string()),
            Self::Conflict { .. } | Self::Denied { .. } | Self::Invalid { .. } | Self::Missing { .. } => {
                Failure::fatal(stage, self.to_string())
            }
        }
    }

    pub(super) fn retriable(reason: impl Into<String>) -> Self {
        Self::Retriable { reason: reason.into(), after: None }
    }

    pub(super) fn spoiled(reason: impl Into<String>) -> Self {
        Self::Spoiled { reason: reason.into() }
    }

    pub(super) fn denied(reason: impl Into<String>) -> Self {
        Self::Denied { reason: reason.into() }
    }

    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }
}

impl From<InvalidName> for StorageError {
    fn from(error: InvalidName) -> Self {
        Self::invalid(error.to_string())
    }
}

impl fmt::Display for ExistingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identified(identity) => identity.fmt(f),
            Self::Unreadable(why) => write!(f, "no readable identity: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_both_identities() {
        let conflict = StorageError::Conflict {
            path: "s3://lake/raw/t/f.parquet".into(),
            ours: FileIdentity { rows: 3, checksum: 0xab },
            existing: ExistingFile::Identified(FileIdentity { rows: 4, checksum: 0xcd }),
        };
        let failure = conflict.into_failure(Stage::Publish);
        assert!(matches!(failure, Failure::Fatal { stage: Stage::Publish, .. }));
        let text = failure.to_string();
        for part in ["s3://lake/raw/t/f.parquet", "3 rows", "4 rows", "00000000000000ab", "00000000000000cd"]
        {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }

    #[test]
    fn spoiled_is_mended_by_reading_again() {
        let failure = StorageError::spoiled("fsync failed").into_failure(Stage::Seal);
        assert!(matches!(failure, Failure::Retriable { stage: Stage::Seal, .. }));
    }
}
