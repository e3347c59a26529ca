//! Owns the proof that what became of dead letters counts only for the flush they belong to.

use sluice::error::{Failure, Stage};
use sluice::position::TopicPartition;
use sluice::task::budget::MemoryBudget;
use sluice::task::message::{FlushId, Input};

use crate::alone::{Alone, position};
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
