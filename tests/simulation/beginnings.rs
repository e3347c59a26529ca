//! Owns the proofs that what nothing but a commit remembers is committed before anything is read.

use sluice::config::settings::StartPosition;
use sluice::position::{Offset, OffsetRange, TopicPartition};
use sluice::task::budget::MemoryBudget;
use sluice::task::message::{CommitError, Effect, Input, PublishedFlush};

use crate::alone::{Alone, commit_of, position, start_of};
use crate::rng::Rng;
use crate::settings;

fn alone(start: StartPosition) -> Alone {
    let mut settings = settings::any(&mut Rng::new(1));
    settings.start = start;
    Alone::new(settings, MemoryBudget::new(1 << 20))
}

fn finishes(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Finished { .. }))
}

#[test]
fn fault_8_the_end_where_a_new_group_begins_is_committed_before_anything_is_read() {
    let (mut alone, tp) = (alone(StartPosition::Latest), TopicPartition::new("t", 0));
    let asked = alone.assign(&tp, position(None, 0, 100), None, None);
    let (commit, offset, metadata) = commit_of(&asked).expect("the beginning is committed");
    assert_eq!((offset, metadata.as_str(), start_of(&asked)), (100, "", None));
    let asked = alone.tell(Input::CommitDone { tp, commit, result: Ok(()) });
    assert_eq!(start_of(&asked), Some(100));
}

#[test]
fn a_beginning_whose_commit_may_not_have_been_made_does_not_move() {
    let (mut alone, tp) = (alone(StartPosition::Latest), TopicPartition::new("t", 0));
    let asked = alone.assign(&tp, position(None, 0, 100), None, None);
    let (commit, _, _) = commit_of(&asked).unwrap();
    let result = Err(CommitError::Unknown("no answer".to_owned()));
    assert_eq!(start_of(&alone.tell(Input::CommitDone { tp: tp.clone(), commit, result })), None);
    alone.now += 60_000;
    let asked = alone.tell(Input::Tick);
    assert!(asked.iter().any(|effect| matches!(effect, Effect::ReadCommitted { .. })), "{asked:?}");
    let asked = alone.find_beginning(&tp, position(None, 0, 250), None);
    assert_eq!(commit_of(&asked).map(|(_, offset, _)| offset), Some(100));
}

#[test]
fn a_bounded_run_with_nothing_left_to_read_commits_where_it_is() {
    let range = OffsetRange::new(Offset::new(10).unwrap(), Offset::new(100).unwrap());
    let last = PublishedFlush { range, files: 1, footer: None };
    for (start, listed) in [(StartPosition::Earliest, Some(last)), (StartPosition::Latest, None)] {
        let (mut alone, tp) = (alone(start), TopicPartition::new("t", 0));
        let asked = alone.assign(&tp, position(None, 0, 100), Some(100), listed);
        let (commit, offset, _) = commit_of(&asked).expect("the stop is committed");
        assert_eq!((offset, finishes(&asked)), (100, false));
        assert!(finishes(&alone.tell(Input::CommitDone { tp, commit, result: Ok(()) })));
    }
}
