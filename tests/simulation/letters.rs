//! Owns the proof that what became of dead letters counts only for the flush they belong to.

use sluice::config::settings::OnPoison;
use sluice::error::{Failure, Stage};
use sluice::position::TopicPartition;
use sluice::task::budget::MemoryBudget;
use sluice::task::message::{DeadLetter, Effect, Event, FlushId, Input};
use sluice::task::settings::TaskSettings;

use crate::alone::{Alone, position};
use crate::records;
use crate::rng::Rng;
use crate::settings;

#[test]
fn letters_of_a_flush_that_was_dropped_drop_nothing_else() {
    let tp = TopicPartition::new("t", 0);
    let mut alone = Alone::new(settings::any(&mut Rng::new(1)), MemoryBudget::new(1 << 20));
    alone.assign(&tp, position(Some(0), 0, 10), None, None);
    let result = Err(Failure::retriable(Stage::DeadLetter, "of an earlier attempt"));
    let asked = alone.tell(Input::DeadLettered { tp, flush: FlushId(99), result });
    assert!(asked.is_empty(), "{asked:?}");
}

/// As many bytes of letters may wait as these make, or one more.
const ROOM_BYTES: usize = 30_000;

/// A task that ends no flush by itself, and two partitions.
fn two() -> (Alone, MemoryBudget, [TopicPartition; 2]) {
    let mut settings = TaskSettings { letters_bytes: ROOM_BYTES, ..settings::any(&mut Rng::new(1)) };
    (settings.held_bytes, settings.held_together_bytes, settings.open_files) = (4 << 20, 12 << 20, 100);
    settings.errors.on_poison = OnPoison::DeadLetter;
    let rule = &mut settings.rotate;
    (rule.bytes, rule.rows, rule.every, rule.idle) = (None, None, None, None);
    let budget = MemoryBudget::new(1 << 20);
    let mut alone = Alone::new(settings, budget.clone());
    let tps = [0, 1].map(|partition| TopicPartition::new("t", partition));
    for tp in &tps {
        alone.assign(tp, position(Some(0), 0, 1_000), None, None);
    }
    (alone, budget, tps)
}

/// Values that are no Avro.
fn poison(count: usize) -> Vec<Vec<u8>> {
    vec![vec![9; 1_000]; count]
}

/// The letters among what is asked for, and the flush they belong to.
fn letters_of(effects: Vec<Effect>) -> Vec<(TopicPartition, FlushId, Vec<DeadLetter>)> {
    let letters = effects.into_iter().filter_map(|effect| match effect {
        Effect::DeadLetter { tp, flush, letters } => Some((tp, flush, letters)),
        _ => None,
    });
    letters.collect()
}

fn bytes_of(letters: &[DeadLetter]) -> usize {
    letters.iter().map(|letter| letter.counted.bytes() as usize).sum()
}

#[test]
fn letters_without_an_acknowledgement_hold_their_partition_and_no_other() {
    let (mut alone, budget, [one, other]) = two();
    let mut sent = letters_of(alone.records(&one, 0, poison(100)));
    let (_, _, first) = &sent[0];
    let (waiting, each) = (bytes_of(first), bytes_of(&first[..1]));
    assert!(first.len() > 3 && (ROOM_BYTES..ROOM_BYTES + each).contains(&waiting), "{waiting} bytes");
    assert!(budget.used_bytes() as usize > waiting, "letters count beside the records held back");
    // Neither the clock nor poison elsewhere makes another letter; what is no poison goes on.
    alone.now += 1_000;
    assert!(letters_of(alone.tell(Input::Tick)).is_empty());
    assert!(letters_of(alone.records(&other, 0, poison(1))).is_empty());
    alone.tell(Input::Lost { tp: other.clone(), epoch: crate::alone::EPOCH });
    alone.assign(&other, position(Some(0), 0, 1_000), None, None);
    let asked = alone.records(&other, 0, vec![vec![0, 0, 0, 0, 0, 2, 2, b'a']; 3]);
    let id = asked.iter().find_map(|effect| match effect {
        Effect::FetchSchema { id } => Some(*id),
        _ => None,
    });
    let id = id.expect("the schema is asked for");
    let asked = alone.tell(Input::SchemaFetched { id, result: records::schema(id) });
    let consumed = asked.iter().find_map(|effect| match effect {
        Effect::Report(Event::Consumed { tp, records, .. }) => Some((tp.partition, *records)),
        _ => None,
    });
    assert!(matches!(consumed, Some((1, 1..))), "{asked:?}");
    // Each acknowledgement makes room for as many, and every record comes once.
    let mut offsets = Vec::new();
    while let Some((tp, flush, letters)) = sent.pop() {
        assert!(bytes_of(&letters) < ROOM_BYTES + each);
        offsets.extend(letters.iter().map(|letter| letter.offset.as_i64()));
        drop(letters);
        sent.extend(letters_of(alone.tell(Input::DeadLettered { tp, flush, result: Ok(()) })));
    }
    assert_eq!(offsets, (0..100).collect::<Vec<_>>());
}

#[test]
fn letters_of_a_partition_that_is_gone_make_room_for_those_of_another() {
    let (mut alone, budget, [one, other]) = two();
    let mut sent = letters_of(alone.records(&one, 0, poison(100)));
    assert!(letters_of(alone.records(&other, 0, poison(2))).is_empty());
    alone.tell(Input::Lost { tp: one, epoch: crate::alone::EPOCH });
    let (tp, flush, letters) = sent.pop().expect("there was room at first");
    assert!(budget.used_bytes() as usize >= bytes_of(&letters), "they count as long as somebody has them");
    assert!(letters_of(alone.tell(Input::Tick)).is_empty());
    drop(letters);
    let sent = letters_of(alone.tell(Input::DeadLettered { tp, flush, result: Ok(()) }));
    assert_eq!((&sent[0].0, sent[0].2.len()), (&other, 2));
}
