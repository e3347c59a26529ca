//! Owns the proof that a task which waits for nothing asks for no wake-up. Found by the simulation.

use std::sync::Arc;

use sluice::error::{Failure, Stage};
use sluice::position::{Epoch, Offset, TopicPartition};
use sluice::record::{OwnedRecord, RecordBlock};
use sluice::task::SinkTask;
use sluice::task::budget::MemoryBudget;
use sluice::task::clock::{Now, Tick};
use sluice::task::message::{Attempt, BrokerPosition, Effect, Input};

use crate::rng::Rng;
use crate::settings;

#[test]
fn a_schema_that_nobody_needs_any_more_wakes_nobody() {
    let now = Now { tick: Tick(1_000), wall_ms: 0 };
    let settings = Arc::new(settings::any(&mut Rng::new(1)));
    let mut task = SinkTask::new(settings, None, None, MemoryBudget::new(1 << 20), 1).unwrap();
    let (tp, epoch, attempt) = (TopicPartition::new("t", 0), Epoch(1), Attempt(0));
    task.handle(Input::Assigned { tp: tp.clone(), epoch, stop: None }, now);
    let position = BrokerPosition {
        committed: Offset::new(0),
        metadata: String::new(),
        low: Offset::ZERO,
        high: Offset::new(1).unwrap(),
        topic_id: None,
        partitions: None,
    };
    task.handle(Input::Committed { tp: tp.clone(), epoch, attempt, result: Ok(position) }, now);
    let claim = std::iter::from_fn(|| task.poll_effect()).find_map(|effect| {
        if let Effect::Claim { claim, .. } = effect { Some(claim.to_json()) } else { None }
    });
    task.handle(Input::Claimed { tp: tp.clone(), epoch, attempt, result: Ok(claim.unwrap()) }, now);
    let record = OwnedRecord { value: Some(vec![0, 0, 0, 0, 7, 0]), ..OwnedRecord::default() };
    let block = RecordBlock::from_owned(vec![record]);
    task.handle(Input::Records { tp: tp.clone(), epoch, attempt, block }, now);
    let id = std::iter::from_fn(|| task.poll_effect())
        .find_map(|effect| if let Effect::FetchSchema { id } = effect { Some(id) } else { None })
        .expect("the record's schema is asked for");
    let result = Err(Failure::retriable(Stage::Schema, "the registry is away"));
    task.handle(Input::SchemaFetched { id, result }, now);
    assert!(task.poll_timeout().is_some(), "it is asked for again");
    task.handle(Input::Lost { tp, epoch }, now);
    assert_eq!(task.poll_timeout(), None);
}
