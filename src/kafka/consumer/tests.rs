//! The consumer thread's steps by hand, against the client library's own mock of a broker.

use rdkafka::Offset as KafkaOffset;
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

use super::starts::Start;
use super::*;
use crate::config::settings::{Secret, StartPosition};
use crate::kafka::native::InFlight;

const RECORDS: i64 = 200;
const BEGINNING: i64 = 20;
/// Longer than the steps between taking a partition over and the seek.
const SLOW_ANSWER: Duration = Duration::from_millis(300);
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    produce(&cluster, "t", RECORDS);
    cluster
}

/// Records in partition 0.
pub(super) fn produce(cluster: &MockCluster<'static, DefaultProducerContext>, topic: &str, records: i64) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    for _ in 0..records {
        producer.send(BaseRecord::<(), str>::to(topic).partition(0).payload("x")).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

fn kafka_settings(brokers: &str) -> KafkaSettings {
    KafkaSettings {
        topics: TopicSelection::Names(vec!["t".to_owned()]),
        group: "g".to_owned(),
        start: StartPosition::Earliest,
        properties: [("bootstrap.servers".to_owned(), Secret::new(brokers))].into(),
    }
}

pub(super) fn thread(brokers: &str) -> (ConsumerThread, Receiver<Input>) {
    let kafka = kafka_settings(brokers);
    let settings = ConsumerSettings {
        connector: "a".into(),
        kafka,
        with_headers: false,
        until_end: false,
        ahead_bytes: 1 << 20,
    };
    let (task, inputs) = channel();
    (prepare(settings, vec![task], Arc::default()).unwrap().1, inputs)
}

/// Offsets of the records handed over, until `RECORDS` are reached or nothing more comes.
fn offsets_handed_over(thread: &mut ConsumerThread, inputs: &Receiver<Input>) -> Vec<i64> {
    let began = Instant::now();
    let mut offsets: Vec<i64> = Vec::new();
    while offsets.last() != Some(&(RECORDS - 1)) && began.elapsed() < PATIENCE {
        thread.poll_client().unwrap();
        thread.start_waiting();
        thread.consume().unwrap();
        for input in inputs.try_iter() {
            match input {
                Input::Records { block, .. } => {
                    offsets.extend(block.iter().map(|record| record.offset.as_i64()));
                }
                Input::ReadFailed { failure, .. } => panic!("{failure}"),
                _ => {}
            }
        }
    }
    offsets
}

/// A partition at whose end only a marker is left gives no record that would end the doubt after an error.
#[test]
fn fault_10_doubt_after_an_error_ends_without_a_record() {
    let cluster = cluster();
    let (mut thread, inputs) = thread(&cluster.bootstrap_servers());
    thread.assign(&[("t".to_owned(), 0)]).unwrap();
    let (tp, epoch) = (TopicPartition::new("t", 0), Epoch(thread.epochs));
    let offset = Offset::new(BEGINNING).unwrap();
    thread.start(Start { tp: tp.clone(), epoch, attempt: Attempt(1), offset });
    thread.start_waiting();
    assert_eq!(offsets_handed_over(&mut thread, &inputs).last(), Some(&(RECORDS - 1)));
    let end = Offset::new(RECORDS).unwrap();
    thread.lanes.get_mut(&tp).unwrap().doubt = Doubt::Open;
    thread.next_positions_look = Instant::now();
    thread.look_at_positions();
    let lane = thread.lanes.get_mut(&tp).unwrap();
    assert_eq!((lane.doubt, lane.delivered), (Doubt::Sought, end), "sought back to where we are");
    // As if what lies between were markers: the client passes over it and hands nothing over.
    let before = Offset::new(RECORDS - 10).unwrap();
    lane.delivered = before;
    thread.seek_back(&tp);
    let began = Instant::now();
    while thread
        .consumer
        .position()
        .is_ok_and(|list| list.elements()[0].offset() != KafkaOffset::Offset(RECORDS))
        && began.elapsed() < PATIENCE
    {
        thread.poll_client().unwrap();
        thread.start_waiting();
        let (queue, count) = (thread.queue.as_mut().unwrap(), Arc::default());
        let of = |_: &TopicPartition| Arc::default();
        drop(queue.consume(BATCH_WAIT, usize::MAX, false, &InFlight { all: &count, of: &of }));
    }
    thread.next_positions_look = Instant::now();
    thread.look_at_positions();
    let reached: Vec<Offset> = inputs
        .try_iter()
        .filter_map(|input| if let Input::Reached { position, .. } = input { Some(position) } else { None })
        .collect();
    assert_eq!(reached, [end]);
    thread.queue = None;
}

/// A partition that is taken over at its end loses records here: the client asks where the end is, the seek outdates the
/// answer, so the client asks again, after the seek, and goes there.
#[test]
fn fault_19_an_answer_that_comes_after_the_seek_passes_no_record_over() {
    let cluster = cluster();
    for polled_between_ms in [0, 20, 60, 120] {
        let (mut thread, inputs) = thread(&cluster.bootstrap_servers());
        // Connected, so that whatever the client asks when it gets the partition goes out at once.
        thread.consumer.fetch_metadata(Some("t"), PATIENCE).unwrap();
        cluster.broker_round_trip_time(-1, SLOW_ANSWER).unwrap();
        thread.assign(&[("t".to_owned(), 0)]).unwrap();
        let assigned = Instant::now();
        while assigned.elapsed() < Duration::from_millis(polled_between_ms) {
            thread.poll_client().unwrap();
        }
        let (tp, epoch) = (TopicPartition::new("t", 0), Epoch(thread.epochs));
        let offset = Offset::new(BEGINNING).unwrap();
        thread.start(Start { tp, epoch, attempt: Attempt(1), offset });
        thread.start_waiting();
        cluster.broker_round_trip_time(-1, Duration::ZERO).unwrap();
        let found = offsets_handed_over(&mut thread, &inputs);
        assert_eq!(found, (BEGINNING..RECORDS).collect::<Vec<_>>(), "sought after {polled_between_ms} ms");
        thread.queue = None;
    }
}

/// What the task heard of a commit at offset 0.
fn answer_to_a_commit(
    thread: &mut ConsumerThread,
    inputs: &Receiver<Input>,
    epoch: Epoch,
) -> Result<(), CommitError> {
    let commit = (TopicPartition::new("t", 0), epoch, CommitId(1), Offset::ZERO, String::new());
    thread.commit(vec![commit]).unwrap();
    let answer = inputs.try_iter().find_map(|input| match input {
        Input::CommitDone { result, .. } => Some(result),
        _ => None,
    });
    answer.unwrap()
}

#[test]
fn fault_29_the_guard_before_the_client_lets_no_commit_go_back_nor_ahead() {
    let cluster = cluster();
    let (mut thread, _inputs) = thread(&cluster.bootstrap_servers());
    thread.assign(&[("t".to_owned(), 0)]).unwrap();
    let (tp, epoch) = (TopicPartition::new("t", 0), Epoch(thread.epochs));
    let at = |raw| Offset::new(raw).unwrap();
    let lane = thread.lanes.get_mut(&tp).unwrap();
    (lane.committed, lane.delivered) = (at(10), at(20));
    let passes = |epoch, raw| thread.guard(&tp, epoch, at(raw)).is_ok();
    assert_eq!([9, 10, 20, 21].map(|raw| passes(epoch, raw)), [false, true, true, false]);
    assert!(!passes(Epoch(epoch.0 + 1), 15), "not of this assignment");
    assert!(thread.guard(&TopicPartition::new("u", 0), epoch, at(15)).is_err(), "not ours");
    thread.queue = None;
}

#[test]
fn fault_22_partitions_kept_under_another_member_id_are_taken_over_anew() {
    let cluster = cluster();
    let (mut thread, inputs) = thread(&cluster.bootstrap_servers());
    thread.subscribe().unwrap();
    let began = Instant::now();
    while thread.lanes.is_empty() {
        assert!(began.elapsed() < PATIENCE, "nothing assigned");
        thread.poll_client().unwrap();
        thread.act_on_rebalances().unwrap();
    }
    let first = Epoch(thread.epochs);
    assert_eq!(answer_to_a_commit(&mut thread, &inputs, first), Ok(()));
    // As if the client had joined again since.
    thread.member = "another".to_owned();
    let refused = answer_to_a_commit(&mut thread, &inputs, first);
    assert!(matches!(refused, Err(CommitError::Refused(_))), "{refused:?}");

    thread.renew_membership().unwrap();
    let second = Epoch(thread.epochs);
    let heard: Vec<(bool, Epoch)> = inputs
        .try_iter()
        .filter_map(|input| match input {
            Input::Lost { epoch, .. } => Some((false, epoch)),
            Input::Assigned { epoch, .. } => Some((true, epoch)),
            _ => None,
        })
        .collect();
    assert_eq!(heard, [(false, first), (true, second)]);
    assert_eq!(answer_to_a_commit(&mut thread, &inputs, second), Ok(()));
    thread.renew_membership().unwrap();
    assert_eq!(thread.epochs, second.0, "nothing has changed since");
    thread.queue = None;
    thread.consumer.context().close();
}

/// While draining nothing is taken, but the group counts as ours what it gave: it asks for it back.
#[test]
fn fault_28_partitions_that_were_given_while_draining_can_be_asked_back() {
    let cluster = cluster();
    let (mut thread, _inputs) = thread(&cluster.bootstrap_servers());
    thread.draining = true;
    thread.subscribe().unwrap();
    let began = Instant::now();
    while !thread.status.assigned.load(Ordering::Relaxed) {
        assert!(began.elapsed() < PATIENCE, "nothing assigned");
        thread.poll_client().unwrap();
        thread.act_on_rebalances().unwrap();
    }
    assert!(thread.lanes.is_empty());
    let given = [("t".to_owned(), 0)];
    thread.revoke(&given);
    thread.finish_revocation().unwrap();
    assert!(thread.revoking.is_none());
    thread.lose(&given).unwrap();
    thread.queue = None;
    thread.consumer.context().close();
}

/// A start waits when the client is not ready; what a partition holds that is paused stops no other.
#[test]
fn fault_32_a_pause_that_comes_before_the_start_is_kept() {
    let cluster = cluster();
    let (mut thread, inputs) = thread(&cluster.bootstrap_servers());
    thread.assign(&[("t".to_owned(), 0)]).unwrap();
    let (tp, epoch) = (TopicPartition::new("t", 0), Epoch(thread.epochs));
    thread.start(Start { tp: tp.clone(), epoch, attempt: Attempt(1), offset: Offset::ZERO });
    thread.set_paused(&tp, epoch, true);
    let began = Instant::now();
    while thread.lanes[&tp].attempt.is_none() {
        assert!(began.elapsed() < PATIENCE, "not started");
        thread.poll_client().unwrap();
        thread.start_waiting();
    }
    assert!(thread.lanes[&tp].paused);
    for _ in 0..10 {
        thread.poll_client().unwrap();
        thread.consume().unwrap();
    }
    assert!(!inputs.try_iter().any(|input| matches!(input, Input::Records { .. })));
    thread.set_paused(&tp, epoch, false);
    assert_eq!(offsets_handed_over(&mut thread, &inputs), (0..RECORDS).collect::<Vec<_>>());
    thread.queue = None;
}
