//! Owns what an operator does about processes that ended, by the words of their last message.

use sluice::position::{Offset, OffsetRange, TopicPartition};
use sluice::task::intent::Intent;
use sluice::task::names::parse_object_name;

use crate::promise::Promise;
use crate::world::World;

impl World {
    pub(crate) fn attend(&mut self) {
        if let Some(at) = self.processes.iter().position(|process| process.consumer.is_drained()) {
            let process = self.processes.swap_remove(at);
            self.outside.coordinator.leave(process.id);
            self.outside.tally.count("shutdowns finished");
            self.replace();
        }
        let Some(at) = self.processes.iter().position(|process| process.failure.is_some()) else { return };
        let process = self.processes.swap_remove(at);
        self.outside.coordinator.leave(process.id);
        let (tp, failure) = process.failure.clone().unwrap();
        let reason = failure.reason().to_owned();
        match tp {
            Some(tp) if reason.contains("exists with other content") => self.resolve_conflict(&tp, &reason),
            Some(tp) if reason.contains("with other settings") => self.resolve_plan(&tp),
            Some(tp) if reason.contains("are gone (retention)") => self.accept_loss(&tp, &reason),
            Some(tp) if reason.contains("the offset is held: mend the record") => {
                self.pass_over(&tp, &reason)
            }
            // The next process finds out what is lost.
            Some(_) if reason.contains("out of range") => {}
            _ => self.outside.ledger.break_promise(Promise::K7, format!("a connector stopped: {reason}")),
        }
        self.replace();
    }

    /// Only compaction between a crash and the replay explains other content.
    fn resolve_conflict(&mut self, tp: &TopicPartition, reason: &str) {
        let name = reason.split(' ').next().unwrap_or_default();
        let (_, range, _) = parse_object_name(name).expect("the message begins with the name");
        if !self.outside.ledger.was_compacted(tp, range) {
            let what = format!("{name}: the same records made another file");
            self.outside.ledger.break_promise(Promise::K2, what);
        }
        if self.pending(tp) == Some(range) {
            self.abandon(tp, range);
        }
    }

    /// A pending flush of another plan: finish it with the former settings, or abandon it.
    fn resolve_plan(&mut self, tp: &TopicPartition) {
        self.outside.tally.count("stops before another plan");
        if let Some(range) = self.pending(tp) {
            self.abandon(tp, range);
        } else if self.outside.coordinator.committed(tp).is_none()
            && let Some(last) = self.outside.store.last_flush(tp)
        {
            self.remove_files(tp, last.range);
        }
    }

    /// Goes on behind records that were gone before they were read, as the message says.
    fn accept_loss(&mut self, tp: &TopicPartition, reason: &str) {
        self.outside.tally.count("stops before a loss");
        let lost = reason.split("records [").nth(1).and_then(|rest| rest.split_once(')'));
        let (start, end) = lost.and_then(|(range, _)| range.split_once(", ")).expect("the range is named");
        let [start, end] = [start, end].map(|number| Offset::new(number.parse().unwrap()).unwrap());
        if reason.contains("delete the files of exactly this range") {
            let last = self.outside.store.last_flush(tp).map(|last| last.range);
            self.pending(tp).or(last).into_iter().for_each(|range| self.remove_files(tp, range));
        }
        self.outside.ledger.named_as_gone(tp, OffsetRange::new(start, end));
        self.outside.coordinator.set_committed(tp, Some(end.as_i64()));
        self.outside.ledger.set_back(tp, end.as_i64());
        self.restart_all();
    }

    /// Goes on behind a record that no policy lets pass, as people do who cannot mend it. What came before it is delivered, or
    /// it would be read again by every start.
    fn pass_over(&mut self, tp: &TopicPartition, reason: &str) {
        self.outside.tally.count("stops before poison");
        let offset = reason.split(", offset ").nth(1).and_then(|rest| rest.split_once(';'));
        let offset: i64 = offset.expect("the offset is named").0.parse().unwrap();
        if let Some(unsettled) = self.outside.ledger.unsettled_before(tp, offset) {
            let what = format!("{tp} stops at poison at {offset}, and {unsettled} is not settled");
            self.outside.ledger.break_promise(Promise::K7, what);
        }
        let next = offset + 1;
        let range = [offset, next].map(|at| Offset::new(at).unwrap());
        self.outside.ledger.named_as_gone(tp, OffsetRange::new(range[0], range[1]));
        self.outside.coordinator.set_committed(tp, Some(next));
        self.outside.ledger.set_back(tp, next);
        self.restart_all();
    }

    fn pending(&self, tp: &TopicPartition) -> Option<OffsetRange> {
        let (offset, metadata) = self.outside.coordinator.committed(tp)?;
        let intent = Intent::from_metadata(&metadata).ok()??;
        let start = intent.unfiled.map(|unfiled| unfiled.start).or(Offset::new(offset))?;
        Some(OffsetRange { start, end: intent.end })
    }

    /// With everything stopped, deletes the files of exactly this range and commits its start without metadata.
    fn abandon(&mut self, tp: &TopicPartition, range: OffsetRange) {
        self.outside.tally.count("flushes abandoned");
        self.remove_files(tp, range);
        self.outside.coordinator.set_committed(tp, Some(range.start.as_i64()));
        self.outside.ledger.set_back(tp, range.start.as_i64());
        self.restart_all();
    }

    fn remove_files(&mut self, tp: &TopicPartition, range: OffsetRange) {
        for (name, found) in self.outside.store.list(tp) {
            if found == range {
                self.outside.store.remove(&name);
                self.outside.ledger.removed(tp, &name);
            }
        }
    }
}
