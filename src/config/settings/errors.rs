//! Owns what becomes of records that cannot be delivered as they are.

/// `errors`: what happens to records that cannot become rows.
///
/// ```yaml
/// errors:
///   on_poison: dead_letter
///   dead_letter_topic: orders.dead
///   on_tombstone: row
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorSettings {
    /// `on_poison`: `fail`, `skip` or `dead_letter`. Default `fail`.
    pub on_poison: OnPoison,
    /// `dead_letter_topic`: there whenever a policy says `dead_letter`; none of the topics that the connector reads.
    pub dead_letter_topic: Option<String>,
    /// `on_tombstone`: `skip`, `fail`, `dead_letter` or `row`. Default `skip`.
    pub on_tombstone: OnTombstone,
}

/// `errors.on_poison`: a record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPoison {
    /// `fail`: deliver the records before it, stop the connector, hold the offset.
    Fail,
    /// `skip`: count it and go on.
    Skip,
    /// `dead_letter`: produce it to the dead-letter topic and go on.
    DeadLetter,
}

/// `errors.on_tombstone`: a record without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTombstone {
    /// `skip`: count it and go on.
    Skip,
    /// `fail`: stop the connector, hold the offset.
    Fail,
    /// `dead_letter`: produce it to the dead-letter topic and go on.
    DeadLetter,
    /// `row`: a row of nulls with its metadata columns.
    Row,
}
