//! Owns what a connector shows of itself: written by its threads, read by the endpoints.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::admin::snapshot::{
    ConnectorSnapshot, ConnectorState, ErrorSnapshot, FileSnapshot, FlushSnapshot, PartitionSnapshot,
    TroubleSnapshot,
};
use crate::error::Failure;
use crate::kafka::ConsumerStatus;
use crate::position::{Offset, OffsetRange, TopicPartition};
use crate::task::LaneSnapshot;
use crate::task::clock::Tick;

/// Files and errors that are kept for people to see, each.
const KEPT: usize = 20;

/// Shared by a connector's threads and whoever asks how it is.
pub struct ConnectorStatus {
    name: String,
    pub(super) consumer: Arc<ConsumerStatus>,
    told: Mutex<Told>,
    tasks: Mutex<BTreeMap<usize, TaskShow>>,
}

#[derive(Default)]
struct Told {
    state: ConnectorState,
    topics: Vec<String>,
    restart_at: Option<Instant>,
    /// An operator has paused it.
    operator_paused: bool,
    /// Where the life at hand met what ended it.
    culprit: Option<TopicPartition>,
    /// Why it cannot start, tried again.
    not_started_because: Option<Failure>,
    /// What is wrong with the place of its files, as looked at now and then.
    place: Option<Failure>,
    /// Committed offsets of the partitions that it has, or had when it failed, by task.
    committed: BTreeMap<usize, BTreeMap<TopicPartition, Offset>>,
    /// Something has failed: partitions go, and their offsets stay known.
    failing: bool,
    /// The newest first.
    files: VecDeque<FileSnapshot>,
    /// The newest first.
    errors: VecDeque<ErrorSnapshot>,
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
            consumer: Arc::default(),
            told: Mutex::new(Told { topics, ..Told::default() }),
            tasks: Mutex::default(),
        }
    }

    /// The connector's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new life begins: it has no assignment yet.
    pub fn begin(&self) {
        self.consumer.assigned.store(false, Ordering::Relaxed);
        self.consumer.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clear();
        {
            let mut told = self.told();
            told.culprit = None;
            told.not_started_because = None;
            told.place = None;
            told.committed.clear();
            told.failing = false;
        }
        self.set_state(ConnectorState::Starting);
    }

    /// Says what the connector is doing now.
    pub fn set_state(&self, state: ConnectorState) {
        let mut told = self.told();
        told.state = state;
        told.restart_at = None;
    }

    /// Says why it cannot start and tries again; `None`: nothing is in its way any more.
    pub(super) fn set_not_started(&self, because: Option<Failure>) {
        self.told().not_started_because = because;
    }

    /// Says what is wrong with the place of its files; `None`: nothing. Gives whether that is news.
    pub(super) fn set_place(&self, trouble: Option<Failure>) -> bool {
        let mut told = self.told();
        let before = std::mem::replace(&mut told.place, trouble);
        before.as_ref().map(Failure::reason) != told.place.as_ref().map(Failure::reason)
    }

    /// Says whether an operator wants it paused, whatever it is doing.
    pub fn set_operator_paused(&self, paused: bool) {
        self.told().operator_paused = paused;
    }

    /// Committed offsets of the partitions it has, or had when it failed.
    #[must_use]
    pub fn last_committed(&self) -> BTreeMap<TopicPartition, Offset> {
        self.told().committed.values().flatten().map(|(tp, offset)| (tp.clone(), *offset)).collect()
    }

    /// Keeps what a task has committed, or found committed.
    pub(super) fn note_committed(&self, task: usize, tp: &TopicPartition, offset: Offset) {
        self.told().committed.entry(task).or_default().insert(tp.clone(), offset);
    }

    /// A task has given a partition up, for others to go on with.
    pub(super) fn note_released(&self, task: usize, tp: &TopicPartition) {
        if let Some(committed) = self.told().committed.get_mut(&task) {
            committed.remove(tp);
        }
    }

    /// Keeps the partition that ends the life at hand; the first one named stays.
    pub fn note_culprit(&self, tp: Option<&TopicPartition>) {
        let mut told = self.told();
        told.failing = true;
        told.culprit = told.culprit.take().or_else(|| tp.cloned());
    }

    /// The partition that ended the life at hand, where it was one.
    #[must_use]
    pub fn culprit(&self) -> Option<TopicPartition> {
        self.told().culprit.clone()
    }

    /// Says when it will be started again.
    pub fn set_restart(&self, at: Option<Instant>) {
        self.told().restart_at = at;
    }

    /// Says which topics it is to read, where they have names.
    pub fn set_topics(&self, topics: Vec<String>) {
        self.told().topics = topics;
    }

    /// Keeps a failure for people to see.
    pub fn note_failure(&self, failure: &Failure) {
        self.note(failure.stage().as_str(), failure.kind(), failure.to_string());
    }

    /// Keeps for people to see that records will be read again.
    pub fn note_drop(&self, reason: &str) {
        self.note("recover", "retriable", format!("unsettled records dropped, to be read again: {reason}"));
    }

    /// Keeps files for people to see. Gives the time, ms since the epoch.
    pub fn note_files(
        &self,
        names: &[String],
        sizes_bytes: &[u64],
        range: OffsetRange,
        reason: Option<&str>,
    ) -> u64 {
        let at_ms = now_ms();
        let mut told = self.told();
        for (path, bytes) in names.iter().zip(sizes_bytes) {
            told.files.push_front(FileSnapshot {
                path: path.clone(),
                at_ms,
                start: plain(range.start),
                end: plain(range.end),
                bytes: *bytes,
                reason: reason.unwrap_or_default().to_owned(),
            });
        }
        told.files.truncate(KEPT);
        at_ms.unsigned_abs()
    }

    /// Changes of the assignment since the start.
    #[must_use]
    pub fn rebalances(&self) -> u64 {
        self.consumer.rebalances.load(Ordering::Relaxed)
    }

    /// Everything, at this moment.
    #[must_use]
    pub fn snapshot(&self) -> ConnectorSnapshot {
        let broker = self.consumer.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let highs = self.consumer.highs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let told = self.told();
        let paused = told.state == ConnectorState::Paused;
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut partitions: Vec<PartitionSnapshot> = tasks
            .values()
            .flat_map(|show| {
                show.lanes
                    .iter()
                    .map(|lane| partition(lane, highs.get(&lane.tp).copied(), show.began, paused))
            })
            .collect();
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let age = tasks.values().map(|show| show.at.elapsed().as_secs_f64()).fold(0.0, f64::max);
        let buffered: u64 = tasks.values().flat_map(|show| &show.lanes).map(|lane| lane.buffered_bytes).sum();
        let mut topics = told.topics.clone();
        for partition in &partitions {
            if !topics.contains(&partition.topic) {
                topics.push(partition.topic.clone());
            }
        }
        let now = Instant::now();
        ConnectorSnapshot {
            name: self.name.clone(),
            state: told.state,
            paused: told.operator_paused,
            assigned: self.consumer.assigned.load(Ordering::Relaxed),
            troubles: troubles(&told, broker.as_deref(), &tasks),
            trouble: broker,
            last_error: told.errors.front().cloned(),
            topics,
            buffered_bytes: buffered,
            in_flight_bytes: self.consumer.in_flight_bytes.load(Ordering::Relaxed) as u64,
            restart_in_seconds: told.restart_at.map(|at| at.saturating_duration_since(now).as_secs_f64()),
            snapshot_age_seconds: if told.state.is_active() { age } else { 0.0 },
            partitions,
            last_files: told.files.iter().cloned().collect(),
            last_errors: told.errors.iter().cloned().collect(),
        }
    }

    pub(super) fn show(&self, task: usize, lanes: Vec<LaneSnapshot>, began: Instant) {
        {
            let mut told = self.told();
            if !told.failing && !lanes.is_empty() {
                let running = lanes.iter().filter(|lane| lane.running);
                told.committed.insert(task, running.map(|lane| (lane.tp.clone(), lane.settled)).collect());
            }
        }
        let show = TaskShow { lanes, began, at: Instant::now() };
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).insert(task, show);
    }

    /// A task has ended, and has no partition any more. What it had committed stays known.
    pub(super) fn leave(&self, task: usize) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).remove(&task);
    }

    fn note(&self, stage: &str, kind: &str, message: String) {
        let at_ms = now_ms();
        let mut told = self.told();
        if let Some(last) = told.errors.front_mut()
            && last.stage == stage
            && last.message == message
        {
            last.at_ms = at_ms;
            last.count += 1;
            return;
        }
        let (stage, kind) = (stage.to_owned(), kind.to_owned());
        told.errors.push_front(ErrorSnapshot { at_ms, stage, kind, message, count: 1 });
        told.errors.truncate(KEPT);
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What keeps the connector from delivering at the moment: one entry a stage.
fn troubles(told: &Told, broker: Option<&str>, tasks: &BTreeMap<usize, TaskShow>) -> Vec<TroubleSnapshot> {
    let mut found: BTreeMap<&'static str, TroubleSnapshot> = BTreeMap::new();
    let mut add = |stage: &'static str, message: &str, partitions: u64| {
        let known = found.entry(stage).or_insert_with(|| TroubleSnapshot {
            stage: stage.to_owned(),
            message: message.to_owned(),
            partitions: 0,
        });
        known.partitions += partitions;
    };
    if !told.state.is_active() && told.state != ConnectorState::Starting {
        return Vec::new();
    }
    let lanes = || tasks.values().flat_map(|show| &show.lanes);
    if let Some(message) = broker {
        add("consume", message, lanes().count() as u64);
    }
    // The looks at the place say more than what a step met there.
    for failure in told.not_started_because.iter().chain(&told.place) {
        add(failure.stage().as_str(), failure.reason(), 0);
    }
    for failure in lanes().filter_map(|lane| lane.trouble.as_ref()) {
        add(failure.stage().as_str(), failure.reason(), 1);
    }
    found.into_values().collect()
}

fn partition(
    lane: &LaneSnapshot,
    high: Option<Offset>,
    began: Instant,
    all_paused: bool,
) -> PartitionSnapshot {
    let high = high.unwrap_or_default().max(lane.high);
    let age = |tick: Tick| (began.elapsed().as_secs_f64() - tick.0 as f64 / 1000.0).max(0.0);
    let lag_records = high.distance_from(lane.settled);
    let lag_seconds = if lag_records == 0 {
        Some(0.0)
    } else {
        let by_timestamp = lane.oldest_timestamp_ms.map(|at| ((now_ms() - at) as f64 / 1000.0).max(0.0));
        by_timestamp.or(lane.oldest_unsettled.map(age))
    };
    PartitionSnapshot {
        topic: lane.tp.topic.to_string(),
        partition: lane.tp.partition,
        position: lane.running.then(|| plain(lane.position)),
        committed: lane.running.then(|| plain(lane.settled)),
        lag_records: lane.running.then_some(lag_records),
        lag_seconds: lag_seconds.filter(|_| lane.running),
        paused: lane.paused || all_paused,
        open_flush: lane.oldest_unsettled.map(|tick| FlushSnapshot {
            start: plain(lane.settled),
            rows: lane.open_rows,
            bytes: lane.buffered_bytes,
            age_seconds: age(tick),
        }),
    }
}

fn plain(offset: Offset) -> u64 {
    offset.as_i64().unsigned_abs()
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Stage;

    fn quiet_lane() -> LaneSnapshot {
        LaneSnapshot {
            tp: TopicPartition::new("t", 0),
            running: true,
            settled: Offset::ZERO,
            position: Offset::ZERO,
            high: Offset::new(5).unwrap(),
            open_rows: 0,
            buffered_bytes: 0,
            oldest_unsettled: None,
            oldest_timestamp_ms: None,
            deliveries: 0,
            paused: false,
            trouble: None,
        }
    }

    #[test]
    fn repeats_of_an_error_are_one_and_old_ones_go() {
        let status = ConnectorStatus::new("orders", Vec::new());
        let failure = |number: usize| Failure::retriable(Stage::Publish, format!("try {number}"));
        for _ in 0..3 {
            status.note_failure(&failure(0));
        }
        assert_eq!(status.snapshot().last_errors.len(), 1);
        assert_eq!(status.snapshot().last_errors[0].count, 3);
        for number in 0..=KEPT {
            status.note_failure(&failure(number));
        }
        let errors = status.snapshot().last_errors;
        assert_eq!(errors.len(), KEPT);
        assert!(errors[0].message.contains(&format!("try {KEPT}")), "{}", errors[0].message);
    }

    #[test]
    fn trouble_is_shown_once_a_stage_and_only_while_it_lasts() {
        let status = ConnectorStatus::new("orders", Vec::new());
        let shown = |status: &ConnectorStatus| {
            let all = status.snapshot().troubles.into_iter();
            all.map(|one| (one.stage, one.message, one.partitions)).collect::<Vec<_>>()
        };
        status.set_not_started(Some(Failure::retriable(Stage::Seal, "no such directory")));
        assert_eq!(shown(&status), [("seal".to_owned(), "no such directory".to_owned(), 0)]);
        status.set_not_started(None);
        status.set_state(ConnectorState::Running);
        let lane = |number, trouble: Option<Failure>| LaneSnapshot {
            tp: TopicPartition::new("t", number),
            trouble,
            ..quiet_lane()
        };
        let publish = |reason: &str| Some(Failure::retriable(Stage::Publish, reason));
        status.show(0, vec![lane(0, publish("first")), lane(1, None)], Instant::now());
        status.show(1, vec![lane(2, publish("second"))], Instant::now());
        assert!(status.set_place(Some(Failure::retriable(Stage::Seal, "gone"))), "news");
        assert!(!status.set_place(Some(Failure::retriable(Stage::Seal, "gone"))), "no news");
        let (publish, seal) = ("publish".to_owned(), "seal".to_owned());
        assert_eq!(shown(&status), [(publish, "first".to_owned(), 2), (seal, "gone".to_owned(), 0)]);
        assert!(status.set_place(None));
        status.show(0, Vec::new(), Instant::now());
        status.leave(1);
        assert_eq!(shown(&status), []);
    }

    #[test]
    fn lag_in_seconds_goes_by_the_oldest_record_that_is_not_settled() {
        let lane = LaneSnapshot { oldest_timestamp_ms: Some(now_ms() - 60_000), ..quiet_lane() };
        let shown = partition(&lane, None, Instant::now(), false);
        assert!(shown.lag_seconds.unwrap() >= 60.0 && shown.lag_records == Some(5));
        let settled = LaneSnapshot { settled: Offset::new(5).unwrap(), ..lane.clone() };
        assert_eq!(partition(&settled, None, Instant::now(), false).lag_seconds, Some(0.0));
        let unread = LaneSnapshot { oldest_timestamp_ms: None, ..lane };
        let shown = partition(&unread, None, Instant::now(), true);
        assert_eq!((shown.lag_seconds, shown.paused), (None, true));
    }
}
