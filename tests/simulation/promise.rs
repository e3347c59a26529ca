//! Owns the promises K1 to K6 as a ledger of what was produced, announced, published, acknowledged and committed. The
//! ledger sees all of the world and knows nothing of how the task does it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sluice::position::{OffsetRange, TopicPartition};
use sluice::task::intent::Intent;
use sluice::task::names::parse_object_name;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Promise {
    /// No offset is committed before it is settled.
    K1,
    /// Every record is settled once: in one file, or dead-lettered, or skipped.
    K2,
    /// The committed offset never goes back.
    K3,
    /// Nothing is published for a range without its intent.
    K4,
    /// Memory stays within the budget and a batch.
    K5,
    /// Offsets ascend within a file.
    K6,
    /// When faults stop, lag reaches 0.
    K7,
    /// Each file begins where another one ends, also behind records that made no row, or where a flush ended that was announced
    /// and then emptied by compaction. None overlaps another, or such a flush.
    Contiguous,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub promise: Promise,
    pub what: String,
}

/// What must become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Row,
    Skip,
    Letter,
    /// The connector stops there, and an operator passes it over.
    Stop,
}

#[derive(Default)]
pub(crate) struct Ledger {
    partitions: BTreeMap<TopicPartition, Account>,
    /// Offsets of every visible file.
    files: BTreeMap<String, Vec<i64>>,
    /// Promises nobody looks at in this run.
    blind_to: BTreeSet<Promise>,
    pub broken: Option<Broken>,
    /// Flushes that were announced, and whose records compaction had removed before any file of them was visible.
    pub emptied: u64,
}

/// What is known of one topic-partition.
#[derive(Default)]
struct Account {
    fates: BTreeMap<i64, Fate>,
    /// Offsets whose record the broker has removed.
    gone: BTreeSet<i64>,
    /// The file that holds an offset.
    rows: BTreeMap<i64, String>,
    /// Offsets acknowledged by the dead-letter topic.
    letters: BTreeSet<i64>,
    committed: i64,
    /// From where on every record is to be delivered; before it is known, a group that begins at the end passes over what
    /// was there.
    owed_from: Option<i64>,
    intents: BTreeSet<(i64, i64)>,
    /// The range that the committed offset announces, as it will be in names.
    announced: Option<(i64, i64)>,
    /// Ranges of the files published so far, and those of emptied flushes.
    ranges: BTreeSet<(i64, i64)>,
}

impl Account {
    fn is_settled(&self, offset: i64, fate: Fate) -> bool {
        match fate {
            Fate::Row => self.rows.contains_key(&offset) || self.gone.contains(&offset),
            Fate::Letter => self.letters.contains(&offset) || self.gone.contains(&offset),
            Fate::Skip => true,
            Fate::Stop => self.gone.contains(&offset),
        }
    }

    /// Whether nothing is amiss with an offset that is not delivered.
    fn is_done(&self, offset: i64, fate: Fate) -> bool {
        self.owed_from.is_some_and(|from| offset < from) || self.is_settled(offset, fate)
    }
}

impl Ledger {
    pub(crate) fn new(blind_to: &[Promise]) -> Self {
        Self { blind_to: blind_to.iter().copied().collect(), ..Self::default() }
    }

    pub(crate) fn break_promise(&mut self, promise: Promise, what: String) {
        if !self.blind_to.contains(&promise) {
            self.broken.get_or_insert(Broken { promise, what });
        }
    }

    pub(crate) fn produced(&mut self, tp: &TopicPartition, offset: i64, fate: Fate) {
        self.partitions.entry(tp.clone()).or_default().fates.insert(offset, fate);
    }

    /// Every record of the partition is to be delivered.
    pub(crate) fn owe_all(&mut self, tp: &TopicPartition) {
        self.owe_from(tp, 0);
    }

    /// A process has been handed records from `offset` on: no later beginning is right any more.
    pub(crate) fn owe_from(&mut self, tp: &TopicPartition, offset: i64) {
        self.partitions.entry(tp.clone()).or_default().owed_from.get_or_insert(offset);
    }

    pub(crate) fn compacted(&mut self, tp: &TopicPartition, offset: i64) {
        self.partitions.entry(tp.clone()).or_default().gone.insert(offset);
    }

    /// A connector has named the range as gone and stopped: its records are nobody's any more.
    pub(crate) fn named_as_gone(&mut self, tp: &TopicPartition, range: OffsetRange) {
        let account = self.partitions.entry(tp.clone()).or_default();
        let lost = account.fates.range(range.start.as_i64()..range.end.as_i64());
        account.gone.extend(lost.map(|(offset, _)| *offset));
    }

    /// A record before `offset` that is not settled.
    pub(crate) fn unsettled_before(&self, tp: &TopicPartition, offset: i64) -> Option<i64> {
        let account = &self.partitions[tp];
        account.fates.range(..offset).find(|(at, fate)| !account.is_done(**at, **fate)).map(|(at, _)| *at)
    }

    /// Whether the broker removed records of the range, so that a replay may rightly find other content.
    pub(crate) fn was_compacted(&self, tp: &TopicPartition, range: OffsetRange) -> bool {
        let account = &self.partitions[tp];
        account.gone.range(range.start.as_i64()..range.end.as_i64()).next().is_some()
    }

    /// K1, K3: the coordinator takes a commit.
    pub(crate) fn committed(&mut self, tp: &TopicPartition, offset: i64, metadata: &str) {
        let account = self.partitions.entry(tp.clone()).or_default();
        let before = account.committed;
        account.owed_from.get_or_insert(offset);
        let unsettled = account
            .fates
            .range(before.min(offset)..offset)
            .find(|(at, fate)| !account.is_done(**at, **fate))
            .map(|(at, fate)| (*at, *fate));
        account.committed = offset;
        // That nothing of it was due is for K1 to see.
        if let Some(settled) = account.announced.take().filter(|announced| announced.1 == offset)
            && account.ranges.insert(settled)
        {
            self.emptied += 1;
        }
        if let Ok(Some(intent)) = Intent::from_metadata(metadata) {
            let start = intent.unfiled.map_or(offset, |unfiled| unfiled.start.as_i64());
            account.intents.insert((start, intent.end.as_i64()));
            account.announced = Some((start, intent.end.as_i64()));
        }
        if offset < before {
            self.break_promise(Promise::K3, format!("{tp} commits {offset} after {before}"));
        }
        if let Some((at, fate)) = unsettled {
            self.break_promise(
                Promise::K1,
                format!("{tp} commits {offset}, but offset {at} ({fate:?}) is not settled"),
            );
        }
    }

    /// The group has no committed offset any more, or an operator has set it: going back is allowed once.
    pub(crate) fn set_back(&mut self, tp: &TopicPartition, offset: i64) {
        let account = self.partitions.entry(tp.clone()).or_default();
        account.committed = offset;
        account.announced = None;
        // Who begins where an operator says leaves no gap of its own.
        account.ranges.insert((offset, offset));
    }

    /// K4: a file is about to become visible.
    pub(crate) fn publishing(&mut self, tp: &TopicPartition, name: &str) {
        let (_, range, _) = parse_object_name(name).expect("a name of ours");
        let announced = (range.start.as_i64(), range.end.as_i64());
        if !self.partitions.entry(tp.clone()).or_default().intents.contains(&announced) {
            self.break_promise(Promise::K4, format!("{name} is published without an intent of {range}"));
        }
        let ranges = &mut self.partitions.entry(tp.clone()).or_default().ranges;
        let overlaps =
            |known: &&(i64, i64)| known.0 < known.1 && known.0 < announced.1 && announced.0 < known.1;
        let other = ranges.iter().filter(overlaps).find(|known| **known != announced).copied();
        let follows = ranges.iter().all(|known| known.0 == known.1)
            || ranges.iter().any(|known| known.1 == announced.0);
        if ranges.insert(announced) && !follows {
            self.break_promise(Promise::Contiguous, format!("{name} begins where no file ends"));
        }
        if let Some((start, end)) = other {
            self.break_promise(Promise::Contiguous, format!("{name} overlaps [{start}, {end})"));
        }
    }

    /// K2, K6: a file is visible, with these offsets in this order; perhaps instead of another.
    pub(crate) fn published(&mut self, tp: &TopicPartition, name: &str, rows: u64, offsets: &[i64]) {
        let (_, range, _) = parse_object_name(name).expect("a name of ours");
        let mut trouble = Vec::new();
        if offsets.windows(2).any(|pair| pair[0] >= pair[1]) {
            trouble.push((Promise::K6, format!("{name}: offsets do not ascend: {offsets:?}")));
        }
        if offsets.len() as u64 != rows {
            trouble.push((Promise::K2, format!("{name} has {} rows, was sealed with {rows}", offsets.len())));
        }
        let account = self.partitions.entry(tp.clone()).or_default();
        for former in self.files.get(name).into_iter().flatten() {
            account.rows.remove(former);
            if !offsets.contains(former) {
                trouble.push((Promise::K2, format!("{name} was replaced, and offset {former} is gone")));
            }
        }
        for offset in offsets {
            if !(range.start.as_i64()..range.end.as_i64()).contains(offset) {
                trouble.push((Promise::K2, format!("{name} holds offset {offset}")));
            }
            if account.fates.get(offset) != Some(&Fate::Row) {
                trouble.push((Promise::K2, format!("{name} holds offset {offset}, which is no row")));
            }
            if let Some(other) = account.rows.insert(*offset, name.to_owned()) {
                trouble.push((Promise::K2, format!("{tp} offset {offset} is in {other} and in {name}")));
            }
        }
        self.files.insert(name.to_owned(), offsets.to_vec());
        for (promise, what) in trouble {
            self.break_promise(promise, what);
        }
    }

    /// An operator took a file away.
    pub(crate) fn removed(&mut self, tp: &TopicPartition, name: &str) {
        let account = self.partitions.entry(tp.clone()).or_default();
        if let Some((_, range, _)) = parse_object_name(name) {
            account.ranges.remove(&(range.start.as_i64(), range.end.as_i64()));
        }
        for offset in self.files.remove(name).into_iter().flatten() {
            account.rows.remove(&offset);
        }
    }

    /// The dead-letter topic has acknowledged a record. Says whether it had it before.
    pub(crate) fn lettered(&mut self, tp: &TopicPartition, offset: i64) -> bool {
        let account = self.partitions.entry(tp.clone()).or_default();
        let (fate, again) = (account.fates.get(&offset).copied(), !account.letters.insert(offset));
        if fate != Some(Fate::Letter) {
            self.break_promise(Promise::K2, format!("{tp} offset {offset} ({fate:?}) was dead-lettered"));
        }
        again
    }

    /// A record was counted as skipped.
    pub(crate) fn skipped(&mut self, tp: &TopicPartition, offset: i64) {
        let fate = self.partitions.entry(tp.clone()).or_default().fates.get(&offset).copied();
        if fate != Some(Fate::Skip) {
            self.break_promise(Promise::K2, format!("{tp} offset {offset} ({fate:?}) was skipped"));
        }
    }

    /// K2 at the end, when lag is 0: nothing is missing.
    pub(crate) fn check_complete(&mut self) {
        let missing = self.partitions.iter().find_map(|(tp, account)| {
            let (at, fate) = account.fates.iter().find(|(at, fate)| !account.is_done(**at, **fate))?;
            Some(format!("{tp} offset {at} ({fate:?}) was never settled"))
        });
        if let Some(what) = missing {
            self.break_promise(Promise::K2, what);
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.what)
    }
}
