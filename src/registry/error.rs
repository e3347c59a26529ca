//! Owns what can go wrong with a registry, by what the caller must do about it. Does not own trying again.

use std::time::Duration;

use crate::error::{Failure, Stage};
use crate::position::SchemaId;

/// Why a schema could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Every registry answered, more than once, that it has no such id: the record is poison.
    #[error("no schema with id {0} in the registry")]
    UnknownSchema(SchemaId),
    /// The registry of the settings cannot know such an id: the record is poison.
    #[error("registry.api has no schemas named like {0}; see value.wire, key.wire and registry.api")]
    ForeignId(SchemaId),
    /// The id belongs to a schema of another language: the record is poison.
    #[error("schema {id} is of type {schema_type}, not AVRO")]
    NotAvro {
        /// The id asked for.
        id: SchemaId,
        /// `PROTOBUF`, `JSON`, …
        schema_type: String,
    },
    /// The schema refers to one that no registry has: the record is poison.
    #[error("schema {id} refers to version {version} of subject {subject:?}, which is not in the registry")]
    MissingReference {
        /// The id asked for.
        id: SchemaId,
        /// Subject referred to.
        subject: String,
        /// Version referred to.
        version: String,
    },
    /// The schema's references go too deep or are too many: the record is poison.
    #[error("schema {id}: {reason}")]
    TooManyReferences {
        /// The id asked for.
        id: SchemaId,
        /// Which limit was passed.
        reason: String,
    },
    /// The registry does not let us in: stop, an operator has to act.
    #[error(
        "{url} answered {status}: check registry.username and registry.password, or registry.token, \
         and that they may read schemas"
    )]
    Unauthorized {
        /// Base URL of the registry that answered.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// No registry gave an answer that can be used; later it may.
    #[error("{reason}")]
    Unavailable {
        /// What each URL did.
        reason: String,
        /// How long the registry asked us to wait.
        after: Option<Duration>,
    },
    /// A registry refused the request for good: stop, an operator has to act.
    #[error("{url} answered {status}: {reason}")]
    Refused {
        /// Base URL of the registry that answered.
        url: String,
        /// HTTP status.
        status: u16,
        /// The registry's own words, or what to do.
        reason: String,
    },
    /// The settings cannot work: stop, an operator has to act.
    #[error("{0}")]
    Settings(String),
}

impl RegistryError {
    /// Whether the verdict is about the schema, so that asking again soon gives the same answer.
    pub(super) fn is_about_schema(&self) -> bool {
        self.poison_kind().is_some()
    }

    /// Whether a registry that lags behind its leader would give this answer for something just registered.
    pub(super) fn may_be_lag(&self) -> bool {
        matches!(self, Self::UnknownSchema(_) | Self::MissingReference { .. })
    }

    fn poison_kind(&self) -> Option<&'static str> {
        match self {
            Self::UnknownSchema(_) => Some("unknown_schema"),
            Self::ForeignId(_) => Some("foreign_id"),
            Self::NotAvro { .. } => Some("not_avro"),
            Self::MissingReference { .. } => Some("missing_reference"),
            Self::TooManyReferences { .. } => Some("too_many_references"),
            Self::Unauthorized { .. }
            | Self::Unavailable { .. }
            | Self::Refused { .. }
            | Self::Settings(_) => None,
        }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        let reason = error.to_string();
        if let Some(kind) = error.poison_kind() {
            return Self::poison(Stage::Schema, kind, reason);
        }
        match error {
            RegistryError::Unavailable { after, .. } => {
                Self::Retriable { stage: Stage::Schema, reason, after }
            }
            _ => Self::fatal(Stage::Schema, reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_verdicts_about_the_schema_are_poison() {
        let verdicts = [
            (RegistryError::UnknownSchema(SchemaId::Number(7)), "unknown_schema"),
            (RegistryError::NotAvro { id: SchemaId::Number(7), schema_type: "JSON".into() }, "not_avro"),
        ];
        for (error, expected) in verdicts {
            let Failure::Poison { stage: Stage::Schema, kind, reason } = Failure::from(error) else {
                panic!("not poison")
            };
            assert_eq!(kind, expected);
            assert!(reason.contains('7'), "{reason}");
        }
    }

    #[test]
    fn an_outage_is_retriable_and_keeps_the_wish_for_when() {
        let after = Some(Duration::from_secs(9));
        let failure = Failure::from(RegistryError::Unavailable { reason: "down".into(), after });
        assert_eq!(failure, Failure::Retriable { stage: Stage::Schema, reason: "down".into(), after });
    }
}
