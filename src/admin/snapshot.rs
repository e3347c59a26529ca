//! Owns the form in which the daemon tells how it is: plain data, as served by `/api`. Does not own where it comes from.

use std::time::Duration;

use serde::Serialize;

/// The whole daemon at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DaemonSnapshot {
    /// In the order of the configuration.
    pub connectors: Vec<ConnectorSnapshot>,
}

/// One connector.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ConnectorSnapshot {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: ConnectorState,
    /// Whether an operator has paused it. That lasts until it is taken back, also over restarts, whatever its state.
    pub paused: bool,
    /// Whether the group has given it an assignment since it started; an empty one counts.
    pub assigned: bool,
    /// Why no broker answers, and what to do; `None` while one does.
    pub trouble: Option<String>,
    /// What keeps it from delivering at the moment, one entry a stage: a step that is tried again, no broker that answers,
    /// an output directory that cannot be written. Empty while nothing does.
    pub troubles: Vec<TroubleSnapshot>,
    /// The latest failure, kept after it has passed.
    pub last_error: Option<ErrorSnapshot>,
    /// Topics it consumes.
    pub topics: Vec<String>,
    /// Memory held by records and rows that are not yet in a file.
    pub buffered_bytes: u64,
    /// Bytes of records handed from the consumer to the tasks and not yet rows.
    pub in_flight_bytes: u64,
    /// When a failed connector will be started again by itself; `None`: it will not, or has not failed.
    pub restart_in_seconds: Option<f64>,
    /// How long ago the connector told all this.
    pub snapshot_age_seconds: f64,
    /// The partitions assigned to it, by topic and number.
    pub partitions: Vec<PartitionSnapshot>,
    /// The files published last, the newest first.
    pub last_files: Vec<FileSnapshot>,
    /// What went wrong last, the newest first; repeats are one.
    pub last_errors: Vec<ErrorSnapshot>,
}

/// What a connector is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectorState {
    /// Not yet consuming: connecting, joining the group, replaying an intent, or waiting for a service it needs.
    #[default]
    Starting,
    /// Consuming.
    Running,
    /// Not consuming because an operator asked for it.
    Paused,
    /// Stopped by a failure that will not pass by itself.
    Failed,
    /// Stopped because it was asked to, or because a bounded run is done.
    Stopped,
}

/// Something that fails now and is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TroubleSnapshot {
    /// The stage that fails.
    pub stage: String,
    /// What happened, in one place, and what to do; no secrets.
    pub message: String,
    /// Partitions that wait because of it; 0 where none does yet.
    pub partitions: u64,
}

/// A failure and when it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErrorSnapshot {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// The stage where it happened.
    pub stage: String,
    /// What must be done about it: `retriable` (nothing), `fatal` or `poison`.
    pub kind: String,
    /// What happened and what to do; no secrets.
    pub message: String,
    /// How often, in a row.
    pub count: u64,
}

/// A published file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileSnapshot {
    /// Path below the output prefix.
    pub path: String,
    /// When it was published, milliseconds since the epoch.
    pub at_ms: i64,
    /// First offset of its flush.
    pub start: u64,
    /// Offset after the last one of its flush.
    pub end: u64,
    /// Its size.
    pub bytes: u64,
    /// The rule that ended its flush.
    pub reason: String,
}

/// One assigned partition of a topic.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PartitionSnapshot {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Offset of the next record to be consumed; `None` before it is known.
    pub position: Option<u64>,
    /// The committed offset; `None` when the group has never committed.
    pub committed: Option<u64>,
    /// Offsets between the committed one and the partition's end; `None` before they are known.
    pub lag_records: Option<u64>,
    /// Age of the oldest record not yet committed; `None` where it is not known, 0 when there is none.
    pub lag_seconds: Option<f64>,
    /// Whether it is not being consumed for now, for whatever reason.
    pub paused: bool,
    /// The flush under way; `None` when no record waits.
    pub open_flush: Option<FlushSnapshot>,
}

/// A flush that is not yet settled.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FlushSnapshot {
    /// Its first offset.
    pub start: u64,
    /// Rows so far.
    pub rows: u64,
    /// Encoded bytes so far.
    pub bytes: u64,
    /// Time since its first record arrived.
    pub age_seconds: f64,
}

impl ConnectorState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Starting, Self::Running, Self::Paused, Self::Failed, Self::Stopped];

    /// Whether its threads run.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Lower-case word, stable: it is a metric label and part of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

impl ConnectorSnapshot {
    /// The same snapshot seen `by` later: what ages has aged. For a daemon that keeps what a connector last told.
    #[must_use]
    pub fn aged(mut self, by: Duration) -> Self {
        let by = by.as_secs_f64();
        self.snapshot_age_seconds += by;
        for flush in self.partitions.iter_mut().filter_map(|partition| partition.open_flush.as_mut()) {
            flush.age_seconds += by;
        }
        self
    }

    /// Age of the oldest open flush; 0 without one.
    #[must_use]
    pub fn oldest_unflushed_age_seconds(&self) -> f64 {
        let flushes = self.partitions.iter().filter_map(|partition| partition.open_flush.as_ref());
        flushes.map(|flush| flush.age_seconds).fold(0.0, f64::max)
    }

    /// Why the connector is not ready; `None` when it is. Ready is: assigned, in touch with a broker, and running or
    /// paused.
    #[must_use]
    pub fn not_ready_because(&self) -> Option<String> {
        let state = self.state.as_str();
        match self.state {
            ConnectorState::Running | ConnectorState::Paused => match &self.trouble {
                Some(trouble) => Some(format!("no broker answers: {trouble}")),
                None if self.assigned => None,
                None => Some("waits for its assignment".to_owned()),
            },
            // The last error may be of an earlier life.
            ConnectorState::Starting => Some(match self.troubles.first() {
                Some(trouble) => format!("{state}: {}", trouble.message),
                None => state.to_owned(),
            }),
            ConnectorState::Failed | ConnectorState::Stopped => Some(match &self.last_error {
                Some(error) if self.state == ConnectorState::Failed => format!("{state}: {}", error.message),
                _ => state.to_owned(),
            }),
        }
    }
}

/// A daemon with one running connector of two partitions, one of them paused and unknown.
#[cfg(test)]
pub(crate) fn sample(name: &str) -> DaemonSnapshot {
    let shop = |partition| PartitionSnapshot { topic: "shop".into(), partition, ..Default::default() };
    let flush = FlushSnapshot { start: 10, rows: 5, bytes: 900, age_seconds: 12.5 };
    let partitions = vec![
        PartitionSnapshot {
            position: Some(15),
            committed: Some(10),
            lag_records: Some(30),
            lag_seconds: Some(2.5),
            open_flush: Some(flush),
            ..shop(0)
        },
        PartitionSnapshot { paused: true, ..shop(1) },
    ];
    let file = FileSnapshot {
        path: "shop/shop+0+000000000000+000000000010.parquet".into(),
        at_ms: 1_700_000_000_000,
        start: 0,
        end: 10,
        bytes: 4096,
        reason: "rows".into(),
    };
    let connector = ConnectorSnapshot {
        last_files: vec![file],
        name: name.to_owned(),
        state: ConnectorState::Running,
        assigned: true,
        topics: vec!["shop".into()],
        buffered_bytes: 4096,
        partitions,
        ..Default::default()
    };
    DaemonSnapshot { connectors: vec![connector] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ages_ages() {
        let aged = sample("a").connectors.remove(0).aged(Duration::from_secs(3));
        assert!((aged.oldest_unflushed_age_seconds() - 15.5).abs() < 1e-9);
        assert!((aged.snapshot_age_seconds - 3.0).abs() < 1e-9);
        let mut two = aged;
        two.partitions[1].open_flush = Some(FlushSnapshot { age_seconds: 1.0, ..Default::default() });
        assert!((two.oldest_unflushed_age_seconds() - 15.5).abs() < 1e-9, "the oldest, not the last");
    }

    #[test]
    fn ready_is_assigned_and_not_stopped() {
        let mut connector = sample("a").connectors.remove(0);
        assert_eq!(connector.not_ready_because(), None);
        connector.state = ConnectorState::Paused;
        assert_eq!(connector.not_ready_because(), None);
        connector.assigned = false;
        assert_eq!(connector.not_ready_because().as_deref(), Some("waits for its assignment"));
        connector.assigned = true;
        connector.trouble = Some("a:1: connection refused; check the network".into());
        let expected = "no broker answers: a:1: connection refused; check the network";
        assert_eq!(connector.not_ready_because().as_deref(), Some(expected));
        connector.trouble = None;
        for state in [ConnectorState::Starting, ConnectorState::Failed, ConnectorState::Stopped] {
            connector.state = state;
            assert_eq!(connector.not_ready_because().as_deref(), Some(state.as_str()));
        }
        connector.last_error =
            Some(ErrorSnapshot { message: "of an earlier life".into(), ..Default::default() });
        connector.state = ConnectorState::Starting;
        assert_eq!(connector.not_ready_because().as_deref(), Some("starting"));
        let message = "no such bucket".to_owned();
        connector.troubles = vec![TroubleSnapshot { message, ..Default::default() }];
        assert_eq!(connector.not_ready_because().as_deref(), Some("starting: no such bucket"));
    }

    #[test]
    fn the_words_of_states_are_the_same_everywhere() {
        for state in ConnectorState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
