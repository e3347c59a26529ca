//! Owns the proof that a record which stops the connector takes nothing with it that came before.

use std::time::Duration;

use sluice::config::settings::OnPoison;
use sluice::position::TopicPartition;
use sluice::task::budget::MemoryBudget;
use sluice::task::message::{CommitId, Effect, FlushId, Input, PublishedFiles, SchemaText};

use crate::alone::{Alone, commit_of, position};
use crate::rng::Rng;
use crate::settings;

const GOOD: [u8; 6] = [0, 0, 0, 0, 7, 2];
const POISON: [u8; 6] = [1, 0, 0, 0, 7, 2];

fn begin(tp: &TopicPartition) -> Alone {
    let mut settings = settings::any(&mut Rng::new(1));
    settings.errors.on_poison = OnPoison::Fail;
    settings.partition_by.clear();
    (settings.rotate.bytes, settings.rotate.rows, settings.rotate.idle) = (None, None, None);
    settings.rotate.every = Some(Duration::from_secs(3_600));
    let mut alone = Alone::new(settings, MemoryBudget::new(1 << 20));
    alone.assign(tp, position(Some(0), 0, 10), None, None);
    alone
}

fn fails(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Fail { .. }))
}

#[test]
fn records_before_one_that_stops_the_connector_are_delivered_first() {
    let tp = TopicPartition::new("t", 0);
    let mut alone = begin(&tp);
    let values = [GOOD, GOOD, GOOD, POISON, GOOD].map(Vec::from);
    let mut asked = alone.records(&tp, 0, values.into());
    if let Some(id) = asked.iter().find_map(|effect| match effect {
        Effect::FetchSchema { id } => Some(*id),
        _ => None,
    }) {
        let text = SchemaText { json: "\"long\"".to_owned(), references: Vec::new() };
        asked = alone.tell(Input::SchemaFetched { id, result: Ok(text) });
    }
    assert!(!fails(&asked), "{asked:?}");
    let flush: FlushId = asked
        .iter()
        .find_map(|effect| if let Effect::Seal { flush, .. } = effect { Some(*flush) } else { None })
        .expect("what came before is sealed");
    let asked = alone.tell(Input::Sealed { tp: tp.clone(), flush, result: Ok(()) });
    let settle = |alone: &mut Alone, commit: CommitId| {
        alone.tell(Input::CommitDone { tp: tp.clone(), commit, result: Ok(()) })
    };
    let (commit, offset, intent) = commit_of(&asked).expect("the intent");
    assert!(offset == 0 && intent.contains("\"end\":3"), "{intent}");
    let asked = settle(&mut alone, commit);
    assert!(asked.iter().any(|effect| matches!(effect, Effect::Publish { .. })), "{asked:?}");
    let asked = alone.tell(Input::Published { tp: tp.clone(), flush, result: Ok(PublishedFiles::default()) });
    assert!(!fails(&asked), "{asked:?}");
    let (commit, offset, metadata) = commit_of(&asked).expect("the end");
    assert_eq!((offset, metadata.as_str()), (3, ""));
    let asked = settle(&mut alone, commit);
    assert!(fails(&asked), "only then it stops: {asked:?}");
}

#[test]
fn a_record_that_stops_the_connector_stops_it_at_once_where_nothing_came_before() {
    let tp = TopicPartition::new("t", 0);
    let asked = begin(&tp).records(&tp, 0, vec![POISON.into()]);
    assert!(fails(&asked), "{asked:?}");
}

/// A bounded run ends when the tasks have let go of every record: the client's memory is theirs until then.
#[test]
fn what_comes_beyond_the_end_of_a_bounded_run_is_not_held() {
    let tp = TopicPartition::new("t", 0);
    let mut settings = settings::any(&mut Rng::new(1));
    settings.partition_by.clear();
    (settings.rotate.bytes, settings.rotate.rows, settings.rotate.idle) = (None, None, None);
    settings.rotate.every = Some(Duration::from_secs(3_600));
    let mut alone = Alone::new(settings, MemoryBudget::new(1 << 20));
    alone.assign(&tp, position(Some(0), 0, 10), Some(2), None);
    let values = |count| vec![Vec::from(GOOD); count];
    let mut asked = alone.records(&tp, 0, values(4));
    if let Some(id) = asked.iter().find_map(|effect| match effect {
        Effect::FetchSchema { id } => Some(*id),
        _ => None,
    }) {
        let text = SchemaText { json: "\"long\"".to_owned(), references: Vec::new() };
        asked = alone.tell(Input::SchemaFetched { id, result: Ok(text) });
    }
    let sealed = |effect: &Effect| matches!(effect, Effect::Seal { .. });
    assert!(asked.iter().any(sealed), "what lies before the end is on its way: {asked:?}");
    alone.records(&tp, 4, values(3));
    let lanes = alone.task.snapshot();
    assert_eq!(lanes[0].buffered_bytes, 0, "{lanes:?}");
}
