//! Owns what people hear of a connector: one log line for each change of state, counters for everything.
//! Repeats are rate-limited; nothing is logged a record.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::connector::status::ConnectorStatus;
use crate::error::{Failure, Stage};
use crate::metrics::ConnectorMetrics;
use crate::position::{Offset, TopicPartition};
use crate::task::message::Event;

/// The same kind of trouble is logged at most this often.
const REPEAT_AFTER: Duration = Duration::from_secs(10);

/// A file that has become visible.
#[derive(Clone, Debug)]
pub struct FileWritten {
    /// Names relative to the output prefix.
    pub names: Vec<String>,
    /// Rows in all of them.
    pub rows: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

pub(super) struct Observer {
    connector: String,
    metrics: Arc<ConnectorMetrics>,
    status: Arc<ConnectorStatus>,
    files: Option<Sender<FileWritten>>,
    repeats: HashMap<(Stage, &'static str), Repeat>,
    /// Why each flush on its way ended, by where it begins.
    reasons: HashMap<(TopicPartition, Offset), &'static str>,
}

struct Repeat {
    logged_at: Instant,
    held_back: u64,
}

impl Observer {
    pub(super) fn new(
        connector: &str,
        metrics: Arc<ConnectorMetrics>,
        status: Arc<ConnectorStatus>,
        files: Option<Sender<FileWritten>>,
    ) -> Self {
        let (repeats, reasons) = (HashMap::new(), HashMap::new());
        Self { connector: connector.to_owned(), metrics, status, files, repeats, reasons }
    }

    /// The connector ends because of this partition; the daemon says why, counts and shows it.
    pub(super) fn failed(&self, tp: Option<&TopicPartition>) {
        self.status.note_culprit(tp);
    }

    pub(super) fn observe(&mut self, event: Event) {
        match event {
            Event::Consumed { records, bytes, .. } => {
                self.metrics.records.add(records);
                self.metrics.record_bytes.add(bytes);
            }
            Event::Tombstones { count, skipped, .. } => {
                self.metrics.tombstones.add(count);
                self.metrics.skipped.add(if skipped { count } else { 0 });
            }
            Event::Started { tp, offset, replay, found } => self.started(&tp, offset, replay, found),
            Event::SetBack { tp, offset, published } => tracing::warn!(
                connector = self.connector,
                topic = &*tp.topic,
                partition = tp.partition,
                offset = offset.as_i64(),
                published = published.as_i64(),
                "the group begins before the end of the files that are there: it was set back, and what is read again is written again"
            ),
            Event::OutputEmpty { tp, offset } => tracing::warn!(
                connector = self.connector,
                topic = &*tp.topic,
                partition = tp.partition,
                offset = offset.as_i64(),
                "the group has committed offsets of this topic, but neither its claim nor a file of it is at storage.url: if a disk is not mounted or the files are elsewhere, stop and mend that"
            ),
            Event::LeftPending { tp, range } => tracing::warn!(
                connector = self.connector,
                topic = &*tp.topic,
                partition = tp.partition,
                start = range.start.as_i64(),
                end = range.end.as_i64(),
                "given up before a flush that was announced was made again: the next start finishes it, with the settings that shape files as they are"
            ),
            Event::Rotated { tp, range, reason, rows, files, bytes } => {
                self.metrics.rotations.add(reason.as_str(), 1);
                self.reasons.insert((tp.clone(), range.start), reason.as_str());
                tracing::debug!(
                    connector = self.connector,
                    topic = &*tp.topic,
                    partition = tp.partition,
                    start = range.start.as_i64(),
                    end = range.end.as_i64(),
                    reason = reason.as_str(),
                    rows,
                    files,
                    bytes,
                    "flush ended"
                );
            }
            event @ Event::Published { .. } => self.published(event),
            Event::Settled { tp, range } => {
                // A flush without files is never published.
                self.reasons.remove(&(tp.clone(), range.start));
                tracing::debug!(
                    connector = self.connector,
                    topic = &*tp.topic,
                    partition = tp.partition,
                    offset = range.end.as_i64(),
                    "offset committed"
                );
            }
            Event::Refused { tp, offset, stage, kind, reason, outcome } => {
                self.metrics.poison.add((stage, kind), 1);
                if outcome == "skipped" {
                    self.metrics.skipped.add(1);
                }
                if outcome == "failed" {
                    // What stops the connector is told when it stops.
                } else if let Some(repeats) = self.may_log(stage, kind) {
                    tracing::warn!(
                        connector = self.connector,
                        topic = &*tp.topic,
                        partition = tp.partition,
                        offset = offset.as_i64(),
                        stage = stage.as_str(),
                        kind,
                        outcome,
                        repeats,
                        "poison record: {reason}"
                    );
                }
            }
            Event::Retrying { tp, failure, after } => self.retrying(tp.as_ref(), &failure, after),
            Event::Dropped { tp, reason } => {
                self.metrics.drops.add(1);
                self.reasons.retain(|(of, _), _| *of != tp);
                self.status.note_drop(&reason);
                if let Some(repeats) = self.may_log(Stage::Recover, "drop") {
                    tracing::warn!(
                        connector = self.connector,
                        topic = &*tp.topic,
                        partition = tp.partition,
                        repeats,
                        "unsettled records dropped, to be read again: {reason}"
                    );
                }
            }
        }
    }

    fn published(&mut self, event: Event) {
        let Event::Published { tp, range, names, sizes_bytes, rows, bytes, adopted, replayed, took } = event
        else {
            return;
        };
        let reason = self.reasons.remove(&(tp.clone(), range.start));
        // Those of a replay that were all there already have been counted by whoever made them visible.
        if !(replayed && adopted == names.len()) {
            self.metrics.files.add(names.len() as u64);
            self.metrics.rows.add(rows);
            self.metrics.file_bytes.add(bytes);
            for size in &sizes_bytes {
                self.metrics.file_sizes.observe_bytes(*size);
            }
        }
        self.metrics.adopted_files.add(adopted as u64);
        self.metrics.publish_time.observe_duration(took);
        self.metrics.intents_replayed.add(u64::from(replayed));
        let at_ms = self.status.note_files(&names, &sizes_bytes, range, reason);
        self.metrics.last_published_ms.store(at_ms, Ordering::Relaxed);
        tracing::info!(
            connector = self.connector,
            topic = &*tp.topic,
            partition = tp.partition,
            start = range.start.as_i64(),
            end = range.end.as_i64(),
            reason,
            rows,
            bytes,
            files = names.len(),
            adopted,
            replayed,
            took_ms = took.as_millis() as u64,
            file = names.first(),
            "flush published"
        );
        if let Some(files) = &self.files {
            let _ = files.send(FileWritten { names, rows, bytes });
        }
    }

    fn started(&self, tp: &TopicPartition, offset: Offset, replay: Option<Offset>, found: &'static str) {
        if found == "files" {
            tracing::warn!(
                connector = self.connector,
                topic = &*tp.topic,
                partition = tp.partition,
                offset = offset.as_i64(),
                "the group has no committed offset; going on after the last published file"
            );
        }
        tracing::info!(
            connector = self.connector,
            topic = &*tp.topic,
            partition = tp.partition,
            offset = offset.as_i64(),
            found,
            replay_to = replay.map(Offset::as_i64),
            "partition started"
        );
    }

    fn retrying(&mut self, tp: Option<&TopicPartition>, failure: &Failure, after: Duration) {
        self.metrics.retries.add(failure.stage(), 1);
        self.metrics.note_error(failure);
        self.status.note_failure(failure);
        if let Some(repeats) = self.may_log(failure.stage(), "retry") {
            tracing::warn!(
                connector = self.connector,
                topic = tp.map(|tp| &*tp.topic),
                partition = tp.map(|tp| tp.partition),
                stage = failure.stage().as_str(),
                again_in_ms = after.as_millis() as u64,
                repeats,
                "{failure}"
            );
        }
    }

    /// Whether trouble of this kind may be logged now; the number of those held back since the last time.
    fn may_log(&mut self, stage: Stage, kind: &'static str) -> Option<u64> {
        let now = Instant::now();
        match self.repeats.get_mut(&(stage, kind)) {
            Some(repeat) if now.duration_since(repeat.logged_at) < REPEAT_AFTER => {
                repeat.held_back += 1;
                None
            }
            Some(repeat) => {
                repeat.logged_at = now;
                Some(std::mem::take(&mut repeat.held_back))
            }
            None => {
                self.repeats.insert((stage, kind), Repeat { logged_at: now, held_back: 0 });
                Some(0)
            }
        }
    }
}
