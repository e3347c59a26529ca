//! Owns what surrounds the processes of a run: broker, store, registry, dead-letter topic, clocks, weather, the ledger of
//! promises and the count of what happened.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use sluice::error::{Failure, Stage};
use sluice::position::{Offset, TopicPartition};
use sluice::task::clock::{Now, Tick};
use sluice::task::intent::Intent;
use sluice::task::message::BrokerPosition;

use crate::control::Control;
use crate::coordinator::Coordinator;
use crate::logs::Logs;
use crate::promise::Ledger;
use crate::rng::Rng;
use crate::store::Store;
use crate::tally::Tally;

pub(crate) struct Outside {
    pub rng: Rng,
    pub control: Control,
    pub logs: Logs,
    pub coordinator: Coordinator,
    pub store: Store,
    pub ledger: Ledger,
    pub tally: Tally,
    /// Monotonic, ms.
    pub now: u64,
    /// Wall clock beside `now`, ms.
    pub wall_offset: i64,
    /// No more faults.
    pub calm: bool,
    /// Services that are away, and until when.
    pub away: BTreeMap<Service, u64>,
    pub trace: Trace,
}

/// What a process talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Broker,
    Store,
    Registry,
    DeadLetters,
}

/// What happened, as a hash and, where asked for, as text.
#[derive(Default)]
pub(crate) struct Trace {
    hasher: DefaultHasher,
    /// Whether every input and effect counts, not only what chance chose.
    full: bool,
    print: bool,
}

impl Outside {
    pub(crate) fn clock(&self) -> Now {
        Now { tick: Tick(self.now), wall_ms: self.wall_offset + self.now as i64 }
    }

    /// Whether a request to a service goes wrong now.
    pub(crate) fn trouble(&mut self, service: Service) -> bool {
        !self.calm && (self.away.get(&service).is_some_and(|until| *until > self.now) || self.rng.chance(6))
    }

    pub(crate) fn position(&self, tp: &TopicPartition) -> BrokerPosition {
        let (committed, metadata) = match self.coordinator.committed(tp) {
            Some((offset, metadata)) => (Offset::new(offset), metadata),
            None => (None, String::new()),
        };
        let hidden = match self.control {
            Control::IgnoreIntent => true,
            Control::ForgetWhereFilesEnd => matches!(Intent::from_metadata(&metadata), Ok(None)),
            _ => false,
        };
        let metadata = if hidden { String::new() } else { metadata };
        BrokerPosition {
            committed,
            metadata,
            low: Offset::new(self.logs.low(tp)).unwrap(),
            high: Offset::new(self.logs.end(tp)).unwrap(),
            topic_id: None,
            partitions: Some(self.logs.count(tp)),
        }
    }

    /// Offsets not committed yet, over all partitions.
    pub(crate) fn lag(&self) -> i64 {
        // Without a committed offset, a lane that begins after the last whole flush has nothing to commit.
        let after_files = |tp: &TopicPartition| {
            let last = self.store.last_flush(tp)?;
            let whole = last.footer.is_none_or(|footer| footer.files <= last.files);
            whole.then(|| last.range.end.as_i64())
        };
        let committed = |tp: &TopicPartition| {
            let offset = self.coordinator.committed(tp).map(|(offset, _)| offset);
            offset.or_else(|| after_files(tp)).unwrap_or(0)
        };
        self.logs.partitions.iter().map(|(tp, log)| log.end - committed(tp)).sum()
    }
}

impl Trace {
    pub(crate) fn new(full: bool, print: bool) -> Self {
        Self { full, print, ..Self::default() }
    }

    pub(crate) fn chose(&mut self, what: impl Hash) {
        what.hash(&mut self.hasher);
    }

    pub(crate) fn note(&mut self, process: usize, what: &dyn Debug) {
        if self.full || self.print {
            let text = format!("process {process}: {what:?}");
            if self.print {
                eprintln!("{text:.400}");
            }
            text.hash(&mut self.hasher);
        }
    }

    pub(crate) fn finish(&self) -> u64 {
        self.hasher.finish()
    }
}

pub(crate) fn passing(stage: Stage) -> Failure {
    Failure::retriable(stage, "a passing fault")
}
