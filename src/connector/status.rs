//! Owns what a connector shows of itself: written by its threads, read by the endpoints.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::admin::snapshot::{
    ConnectorSnapshot, ConnectorState, ErrorSnapshot, FlushSnapshot, PartitionSnapshot,
};
use crate::error::Failure;
use crate::kafka::ConsumerStatus;
use crate::position::Offset;
use crate::task::LaneSnapshot;
use crate::task::clock::Tick;

/// Shared by a connector's threads and whoever asks how it is.
pub struct ConnectorStatus {
    name: String,
    topics: Vec<String>,
    pub(super) consumer: Arc<ConsumerStatus>,
    state: Mutex<ConnectorState>,
    tasks: Mutex<BTreeMap<usize, TaskShow>>,
    last_error: Mutex<Option<ErrorSnapshot>>,
}

struct TaskShow {
    lanes: Vec<LaneSnapshot>,
    /// Zero of the lanes' ticks.
    began: Instant,
    at: Instant,
}

impl ConnectorStatus {
    /// A connector that is starting.
    #[must_use]
    pub fn new(name: &str, topics: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            topics,
            consumer: Arc::default(),
            state: Mutex::default(),
            tasks: Mutex::default(),
            last_error: Mutex::default(),
        }
    }

    /// Says what the connector is doing now.
    pub fn set_state(&self, state: ConnectorState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Keeps a failure for people to see.
    pub fn note_failure(&self, failure: &Failure) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(ErrorSnapshot {
            at_ms: i64::try_from(at.as_millis()).unwrap_or(i64::MAX),
            stage: failure.stage().to_string(),
            message: failure.to_string(),
        });
    }

    /// Changes of the assignment since the start.
    #[must_use]
    pub fn rebalances(&self) -> u64 {
        self.consumer.rebalances.load(Ordering::Relaxed)
    }

    /// Everything, at this moment.
    #[must_use]
    pub fn snapshot(&self) -> ConnectorSnapshot {
        let highs = self.consumer.highs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut partitions: Vec<PartitionSnapshot> = tasks
            .values()
            .flat_map(|show| {
                show.lanes.iter().map(|lane| partition(lane, highs.get(&lane.tp).copied(), show.began))
            })
            .collect();
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let age = tasks.values().map(|show| show.at.elapsed().as_secs_f64()).fold(0.0, f64::max);
        let buffered: u64 = tasks.values().flat_map(|show| &show.lanes).map(|lane| lane.buffered_bytes).sum();
        let mut topics = self.topics.clone();
        for partition in &partitions {
            if !topics.contains(&partition.topic) {
                topics.push(partition.topic.clone());
            }
        }
        ConnectorSnapshot {
            name: self.name.clone(),
            state: *self.state.lock().unwrap_or_else(PoisonError::into_inner),
            assigned: self.consumer.assigned.load(Ordering::Relaxed),
            trouble: self.consumer.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            topics,
            buffered_bytes: buffered,
            snapshot_age_seconds: age,
            partitions,
        }
    }

    pub(super) fn show(&self, task: usize, lanes: Vec<LaneSnapshot>, began: Instant) {
        let show = TaskShow { lanes, began, at: Instant::now() };
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).insert(task, show);
    }
}

fn partition(lane: &LaneSnapshot, high: Option<Offset>, began: Instant) -> PartitionSnapshot {
    let high = high.unwrap_or_default().max(lane.high);
    let plain = |offset: Offset| offset.as_i64().unsigned_abs();
    let age = |tick: Tick| (began.elapsed().as_secs_f64() - tick.0 as f64 / 1000.0).max(0.0);
    PartitionSnapshot {
        topic: lane.tp.topic.to_string(),
        partition: lane.tp.partition,
        position: lane.running.then(|| plain(lane.position)),
        committed: lane.running.then(|| plain(lane.settled)),
        lag_records: lane.running.then(|| high.distance_from(lane.settled)),
        lag_seconds: lane.running.then(|| lane.oldest_unsettled.map_or(0.0, age)),
        paused: lane.paused,
        open_flush: lane.oldest_unsettled.map(|tick| FlushSnapshot {
            start: plain(lane.settled),
            rows: lane.open_rows,
            bytes: lane.buffered_bytes,
            age_seconds: age(tick),
        }),
    }
}
