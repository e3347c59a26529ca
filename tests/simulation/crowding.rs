//! Owns the proofs that partitions which cannot go on keep no other from going on: what they hold back is bounded together,
//! and a budget that is used up by nothing else comes back.

use sluice::position::TopicPartition;
use sluice::task::budget::MemoryBudget;
use sluice::task::message::{Effect, Input};
use sluice::task::settings::TaskSettings;

use crate::alone::{Alone, position};
use crate::records;
use crate::rng::Rng;
use crate::settings;

fn plain() -> TaskSettings {
    let mut settings = settings::any(&mut Rng::new(1));
    (settings.held_bytes, settings.held_together_bytes) = (4 << 20, 12 << 20);
    settings
}

fn two(settings: TaskSettings, budget: MemoryBudget) -> (Alone, [TopicPartition; 2]) {
    let mut alone = Alone::new(settings, budget);
    let tps = [0, 1].map(|partition| TopicPartition::new("t", partition));
    for tp in &tps {
        alone.assign(tp, position(Some(0), 0, 1_000), None, None);
    }
    (alone, tps)
}

/// Values of a schema that is not known yet.
fn values(count: usize) -> Vec<Vec<u8>> {
    vec![vec![0, 0, 0, 0, 0, 2, 2, b'a']; count]
}

fn paused(effects: &[Effect]) -> Vec<i32> {
    let pauses = effects.iter().filter_map(|effect| match effect {
        Effect::Pause { tp, .. } => Some(tp.partition),
        _ => None,
    });
    pauses.collect()
}

#[test]
fn fault_32_small_records_that_wait_count_what_they_cost() {
    let settings = TaskSettings { held_bytes: 20_000, ..plain() };
    let (mut alone, [tp, _]) = two(settings, MemoryBudget::new(1 << 30));
    assert_eq!(paused(&alone.records(&tp, 0, values(100))), [0]);
}

#[test]
fn fault_99_lanes_that_wait_are_paused_before_they_fill_the_way_to_all() {
    let settings = TaskSettings { held_together_bytes: 60_000, ..plain() };
    let (mut alone, [one, other]) = two(settings, MemoryBudget::new(1 << 30));
    assert!(paused(&alone.records(&one, 0, values(100))).is_empty());
    assert_eq!(paused(&alone.records(&other, 0, values(100))), [1]);
    assert_eq!(paused(&alone.records(&one, 100, values(1))), [0]);
    // What is lost counts no more.
    alone.tell(Input::Lost { tp: other, epoch: crate::alone::EPOCH });
}

#[test]
fn a_budget_used_up_by_records_held_back_comes_back() {
    let budget = MemoryBudget::new(50_000);
    let (mut alone, tps) = two(plain(), budget.clone());
    let mut asked = Vec::new();
    for tp in &tps {
        asked.extend(alone.records(tp, 0, values(100)));
    }
    assert!(budget.exhausted());
    let id = asked.iter().find_map(|effect| match effect {
        Effect::FetchSchema { id } => Some(*id),
        _ => None,
    });
    let id = id.expect("the schema is asked for");
    let mut asked = alone.tell(Input::SchemaFetched { id, result: records::schema(id) });
    for _ in 0..10 {
        alone.now += 100;
        asked.extend(alone.tell(Input::Tick));
    }
    assert!(asked.iter().any(|effect| matches!(effect, Effect::Seal { .. })), "{asked:?}");
}
