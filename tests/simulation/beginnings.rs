//! Owns the proofs about where a lane begins: that it is noted and committed before anything is read, that it does not move,
//! and that people are told what they have to know of it.

use sluice::config::settings::StartPosition;
use sluice::error::{Failure, Stage};
use sluice::position::{Offset, OffsetRange, TopicPartition};
use sluice::task::budget::MemoryBudget;
use sluice::task::intent::{Basis, Intent};
use sluice::task::message::{BrokerPosition, CommitError, Effect, Event, Input, PublishedFlush};

use crate::alone::{ATTEMPT, Alone, EPOCH, commit_of, position, start_of};
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

/// Finds a beginning as a process that was started later, with the claim and notes that a former one left.
fn later(former: Alone, start: StartPosition, position: BrokerPosition) -> (Alone, Vec<Effect>) {
    let mut alone = Alone { claim: former.claim, notes: former.notes, ..alone(start) };
    let asked = alone.assign(&TopicPartition::new("t", 0), position, None, None);
    (alone, asked)
}

fn fails(effects: &[Effect]) -> Option<String> {
    effects.iter().find_map(|effect| match effect {
        Effect::Fail { failure, .. } => Some(failure.to_string()),
        _ => None,
    })
}

#[test]
fn fault_4_where_a_new_group_begins_at_the_start_is_committed_and_noted_before_anything_is_read() {
    let (mut first, tp) = (alone(StartPosition::Earliest), TopicPartition::new("t", 0));
    let asked = first.assign(&tp, position(None, 0, 100), None, None);
    let (commit, offset, _) = commit_of(&asked).expect("the beginning is committed");
    assert_eq!((offset, start_of(&asked)), (0, None));
    let noted = asked.iter().position(|effect| matches!(effect, Effect::NoteBeginning { .. })).unwrap();
    let committed = asked.iter().position(|effect| matches!(effect, Effect::Commit { .. })).unwrap();
    assert!(noted < committed);
    let asked = first.tell(Input::CommitDone { tp, commit, result: Ok(()) });
    assert_eq!(start_of(&asked), Some(0));
    // Retention passes it before the first flush is settled.
    for committed in [Some(0), None] {
        let before = Alone {
            claim: first.claim.clone(),
            notes: first.notes.clone(),
            ..alone(StartPosition::Earliest)
        };
        let (_, asked) = later(before, StartPosition::Earliest, position(committed, 50, 100));
        let failure = fails(&asked).expect("it stops");
        assert!(failure.contains("records [0, 50) are gone (retention)"), "{failure}");
    }
}

#[test]
fn a_group_that_lost_its_offsets_begins_where_it_once_began_not_at_the_end_of_now() {
    let (mut first, tp) = (alone(StartPosition::Latest), TopicPartition::new("t", 0));
    first.assign(&tp, position(None, 0, 100), None, None);
    let (mut second, asked) = later(first, StartPosition::Latest, position(None, 0, 250));
    let (commit, offset, _) = commit_of(&asked).expect("the beginning is committed");
    assert_eq!(offset, 100);
    let asked = second.tell(Input::CommitDone { tp, commit, result: Ok(()) });
    assert_eq!(start_of(&asked), Some(100));
    let (_, asked) = later(second, StartPosition::Latest, position(None, 130, 250));
    assert!(fails(&asked).is_some_and(|failure| failure.contains("records [100, 130) are gone")));
}

#[test]
fn a_group_that_began_at_a_commit_and_made_no_file_begins_there_again() {
    let (mut first, tp) = (alone(StartPosition::Latest), TopicPartition::new("t", 0));
    let asked = first.assign(&tp, position(Some(40), 0, 100), None, None);
    assert_eq!(start_of(&asked), Some(40));
    let (_, asked) = later(first, StartPosition::Latest, position(None, 0, 250));
    assert_eq!(commit_of(&asked).map(|(_, offset, _)| offset), Some(40));
}

#[test]
fn fault_107_a_claim_without_notes_keeps_nobody_from_beginning_at_the_start() {
    let claim = r#"{"v":1,"group":"sluice-sim","topic_id":null,"connector":"sim"}"#.to_owned();
    let old = || Alone { claim: Some(claim.clone()), ..alone(StartPosition::Latest) };
    let (_, asked) = later(old(), StartPosition::Latest, position(None, 0, 100));
    assert!(fails(&asked).is_some_and(|failure| failure.contains("an earlier version claimed the topic")));
    let (_, asked) = later(old(), StartPosition::Earliest, position(None, 0, 100));
    assert_eq!(commit_of(&asked).map(|(_, offset, _)| offset), Some(0), "{asked:?}");
}

#[test]
fn a_group_with_offsets_at_an_output_that_nobody_wrote_to_is_told_of_it() {
    let tells = |asked: &[Effect]| {
        asked.iter().any(|effect| matches!(effect, Effect::Report(Event::OutputEmpty { .. })))
    };
    let told = |alone: &mut Alone, listed| {
        tells(&alone.assign(&TopicPartition::new("t", 0), position(Some(40), 0, 100), None, listed))
    };
    let mut new = alone(StartPosition::Earliest);
    assert!(told(&mut new, None));
    // Of a task with another number.
    let claim = new.claim.map(|claim| claim.replace("\"id\":\"", "\"id\":\"0"));
    let mut again = Alone { claim, ..alone(StartPosition::Earliest) };
    assert!(!told(&mut again, None), "it has been here");
    // Nor is it told of what it committed itself.
    let (mut own, tp) = (alone(StartPosition::Earliest), TopicPartition::new("t", 0));
    let asked = own.assign(&tp, position(None, 0, 100), None, None);
    let (commit, _, _) = commit_of(&asked).unwrap();
    let result = Err(CommitError::Unknown("no answer".to_owned()));
    own.tell(Input::CommitDone { tp: tp.clone(), commit, result });
    own.now += 60_000;
    own.tell(Input::Tick);
    assert!(!tells(&own.find_beginning(&tp, position(Some(40), 0, 100), None)));
    let range = OffsetRange::new(Offset::new(10).unwrap(), Offset::new(40).unwrap());
    let last = PublishedFlush { range, files: 1, footer: None };
    assert!(!told(&mut alone(StartPosition::Earliest), Some(last)), "its files were brought here");
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

#[test]
fn a_drain_that_leaves_an_announced_flush_unfinished_names_it() {
    let plan = settings::any(&mut Rng::new(1)).plan;
    let intent = Intent { end: Offset::new(40).unwrap(), plan, basis: Basis::default(), unfiled: None };
    for (metadata, told) in [(intent.to_metadata(), Some((10, 40))), (String::new(), None)] {
        let (mut alone, tp) = (alone(StartPosition::Earliest), TopicPartition::new("t", 0));
        let asked = alone.assign(&tp, BrokerPosition { metadata, ..position(Some(10), 0, 100) }, None, None);
        assert_eq!(start_of(&asked), Some(10));
        let asked = alone.tell(Input::Drain);
        let left = asked.iter().find_map(|effect| match effect {
            Effect::Report(Event::LeftPending { range, .. }) => {
                Some((range.start.as_i64(), range.end.as_i64()))
            }
            _ => None,
        });
        assert_eq!(left, told);
        assert!(asked.iter().any(|effect| matches!(effect, Effect::Release { .. })));
    }
}

/// The note is what is left of a beginning when the group's offsets are lost before there is a file.
#[test]
fn files_that_could_not_be_listed_beside_everything_else_are_listed_later() {
    let (mut alone, tp) = (alone(StartPosition::Latest), TopicPartition::new("t", 0));
    alone.tell(Input::Assigned { tp: tp.clone(), epoch: EPOCH, stop: None });
    let result = Ok(position(Some(40), 0, 100));
    let asked = alone.tell(Input::Committed { tp: tp.clone(), epoch: EPOCH, attempt: ATTEMPT, result });
    let claim = asked.into_iter().find_map(|effect| match effect {
        Effect::Claim { claim, .. } => Some(claim.to_json()),
        _ => None,
    });
    let result = Ok(claim.unwrap());
    let asked = alone.tell(Input::Claimed { tp: tp.clone(), epoch: EPOCH, attempt: ATTEMPT, result });
    assert_eq!(start_of(&asked), Some(40), "nothing waits for the listing");
    let lists = |asked: &[Effect]| asked.iter().any(|effect| matches!(effect, Effect::ListPublished { .. }));
    assert!(lists(&asked));
    let listed = |result| Input::Listed { tp: tp.clone(), epoch: EPOCH, attempt: ATTEMPT, result };
    let failure = Failure::retriable(Stage::Recover, "503");
    assert!(!lists(&alone.tell(listed(Err(failure)))));
    let due = alone.task.poll_timeout().expect("it wants to be woken");
    alone.now = due.0 - 1;
    assert!(!lists(&alone.tell(Input::Tick)));
    alone.now = due.0;
    assert!(lists(&alone.tell(Input::Tick)));
    assert!(!lists(&alone.tell(Input::Tick)), "once at a time");
    let asked = alone.tell(listed(Ok(None)));
    let noted = asked.iter().any(|effect| matches!(effect, Effect::NoteBeginning { .. }));
    assert!(noted, "{asked:?}");
}
