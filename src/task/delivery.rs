//! Owns one flush on its way from sealed files to a committed end: the steps of the protocol and what was reached.
//! Does not own the order between flushes: that is the lane's.

use crate::error::Failure;
use crate::position::{Offset, OffsetRange};
use crate::task::backoff::Backoff;
use crate::task::clock::Tick;
use crate::task::flush::SealingFlush;
use crate::task::intent::unfiled_metadata;
use crate::task::message::{CommitId, FlushId, SealedFile};

pub(super) struct Delivery {
    pub(super) flush: FlushId,
    pub(super) range: OffsetRange,
    file_start: Offset,
    pub(super) files: Vec<SealedFile>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// The cut was found, not made: by the broker's intent or the footers of its files.
    pub(super) replayed: bool,
    pub(super) rotated_at: Tick,
    pub(super) stage: DeliveryStage,
    pub(super) backoff: Backoff,
    /// Why the step at hand is tried again.
    pub(super) trouble: Option<Failure>,
    /// Batches of dead letters without an acknowledgement.
    letters_outstanding: usize,
    intent: String,
    /// The broker holds the intent of exactly this range.
    intended: bool,
    /// Every file is visible.
    published: bool,
}

/// What a delivery waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryStage {
    /// Storage to make the staged files durable.
    Sealing,
    /// Its turn.
    Sealed,
    /// The answer to the commit of its intent.
    Intending(CommitId),
    /// Storage to make the files visible.
    Publishing,
    /// Dead letters, then its settling commit.
    Published,
    /// The answer to the commit of its end.
    Settling(CommitId),
    /// The clock, to try a step again.
    Retrying(Step, Tick),
}

/// A step that can be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Seal,
    Intend,
    Publish,
    Settle,
}

impl Delivery {
    /// `replayed`: the cut was found, not made; `intended`: the broker holds the intent. `letters_acknowledged`: batches of dead letters acknowledged while the flush was open.
    pub(super) fn new(
        flush: FlushId,
        sealing: SealingFlush,
        letters_acknowledged: usize,
        replayed: bool,
        intended: bool,
        now: Tick,
    ) -> Self {
        let stage = if sealing.files.is_empty() { DeliveryStage::Sealed } else { DeliveryStage::Sealing };
        Self {
            flush,
            range: sealing.range,
            file_start: sealing.file_start,
            rows: sealing.rows,
            bytes: sealing.bytes,
            replayed,
            rotated_at: now,
            stage,
            backoff: Backoff::default(),
            trouble: None,
            letters_outstanding: sealing.letter_batches - letters_acknowledged,
            intent: sealing.intent,
            intended,
            published: sealing.files.is_empty(),
            files: sealing.files,
        }
    }

    /// The step at hand has worked.
    pub(super) fn succeed(&mut self) {
        self.backoff.succeed();
        self.trouble = None;
    }

    /// Metadata of the commit that announces it.
    pub(super) fn intent(&self) -> &str {
        &self.intent
    }

    /// Metadata of the commit of its end, where that announces no other flush.
    pub(super) fn settled_metadata(&self) -> String {
        if self.is_in_no_file() { unfiled_metadata(self.file_start) } else { String::new() }
    }

    /// Where the names of the files behind it begin.
    pub(super) fn next_file_start(&self) -> Offset {
        if self.is_in_no_file() { self.file_start } else { self.range.end }
    }

    /// Whether no file has its range in its name. A flush that was announced had files, and they may be visible: that
    /// making it again makes none is compaction's doing.
    fn is_in_no_file(&self) -> bool {
        self.files.is_empty() && !self.replayed
    }

    pub(super) fn is_intended(&self) -> bool {
        self.intended
    }

    pub(super) fn set_intended(&mut self) {
        self.intended = true;
    }

    pub(super) fn set_published(&mut self) {
        // K4: nothing is published for a range without its intent.
        assert!(self.intended, "range {} was published without its intent", self.range);
        self.published = true;
        self.stage = DeliveryStage::Published;
    }

    pub(super) fn letters_are_acknowledged(&self) -> bool {
        self.letters_outstanding == 0
    }

    pub(super) fn acknowledge_letters(&mut self) {
        assert!(self.letters_outstanding > 0, "an acknowledgement nobody waits for");
        self.letters_outstanding -= 1;
    }

    /// Whether every offset of the range is settled but for the commit: K1.
    pub(super) fn may_settle(&self) -> bool {
        self.published && self.letters_are_acknowledged()
    }

    /// Whether its intent could travel with the commit of the flush before it.
    pub(super) fn may_be_announced(&self) -> bool {
        self.stage == DeliveryStage::Sealed && !self.files.is_empty() && !self.intended
    }
}
