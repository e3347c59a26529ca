//! Descriptions of topics that come, fail, or take long, against the client library's own mock of a broker.

use std::sync::mpsc::Receiver;
use std::time::Instant;

use rdkafka::consumer::Consumer as _;
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaRespErr;

use super::*;
use crate::kafka::consumer::starts::Start;
use crate::kafka::consumer::tests::{PATIENCE, produce, thread};
use crate::task::message::{CommitError, CommitId};

/// Between two looks.
const ANSWER_WAIT: Duration = Duration::from_millis(20);
const SHORT: Duration = Duration::from_secs(1);
/// Longer than the time-out of the description, so that it passes first.
const SLOW_ANSWER: Duration = Duration::from_millis(1_500);

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// Two brokers, the first leads topic `t`, the second topic `u`.
fn cluster() -> Cluster {
    let cluster = MockCluster::new(2).unwrap();
    for (topic, leader) in [("t", 1), ("u", 2)] {
        cluster.create_topic(topic, 1, 1).unwrap();
        cluster.partition_leader(topic, 0, Some(leader)).unwrap();
    }
    cluster
}

fn taken_over(thread: &mut ConsumerThread, topic: &str) -> Read {
    thread.assign(&[(topic.to_owned(), 0)]).unwrap();
    Read { tp: TopicPartition::new(topic, 0), epoch: Epoch(thread.epochs), attempt: Attempt(0) }
}

fn describe(thread: &mut ConsumerThread, read: Read) {
    let metadata = thread.consumer.fetch_metadata(Some(&read.tp.topic), DESCRIBE_TIMEOUT);
    thread.describe(vec![(read, position())], metadata);
}

fn position() -> BrokerPosition {
    BrokerPosition {
        committed: None,
        metadata: String::new(),
        low: Offset::ZERO,
        high: Offset::ZERO,
        topic_id: None,
        partitions: None,
    }
}

/// The answer to the one read that waits.
fn answer(thread: &mut ConsumerThread, inputs: &Receiver<Input>) -> Result<BrokerPosition, Failure> {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "no answer");
        // A refusal may also come this way.
        let _ = thread.poll_client();
        thread.look_at_readings(ANSWER_WAIT);
        for input in inputs.try_iter() {
            if let Input::Committed { result, .. } = input {
                return result;
            }
        }
    }
}

#[test]
fn fault_7_a_position_comes_with_the_id_of_its_topic() {
    let cluster = cluster();
    let (mut thread, inputs) = thread(&cluster.bootstrap_servers());
    let reads = ["t", "u"].map(|topic| taken_over(&mut thread, topic)).to_vec();
    thread.read_committed(reads).unwrap();
    let ids = [answer(&mut thread, &inputs), answer(&mut thread, &inputs)].map(|position| {
        let position = position.unwrap();
        assert_eq!(position.partitions, Some(1));
        position.topic_id.unwrap()
    });
    assert_ne!(ids[0], ids[1]);
    thread.queue = None;
}

#[test]
fn fault_7_an_id_that_is_not_told_in_time_is_asked_for_again_and_holds_nobody_up() {
    let cluster = cluster();
    let (mut thread, inputs) = thread(&cluster.bootstrap_servers());
    let running = taken_over(&mut thread, "t");
    let Read { tp, epoch, attempt } = running;
    thread.start(Start { tp: tp.clone(), epoch, attempt, offset: Offset::ZERO });
    thread.start_waiting();
    let waiting = taken_over(&mut thread, "u");
    // Connected before the answers become slow.
    thread.consumer.fetch_watermarks("u", 0, PATIENCE).unwrap();

    cluster.broker_round_trip_time(2, SLOW_ANSWER).unwrap();
    let description = Description::ask(&thread.consumer, &BTreeSet::from(["u"]), 2, SHORT).unwrap();
    thread.readings.push(Reading { description, positions: vec![(waiting.clone(), position())] });
    produce(&cluster, "t", 1);
    let mut records = 0;
    while records == 0 {
        thread.poll_client().unwrap();
        thread.look_at_readings(Duration::ZERO);
        assert!(!thread.readings.is_empty(), "a record had to wait for the description of another topic");
        thread.start_waiting();
        thread.consume().unwrap();
        records += inputs
            .try_iter()
            .filter(|input| matches!(input, Input::Records { tp: of, .. } if *of == tp))
            .count();
    }
    let failure = answer(&mut thread, &inputs).unwrap_err();
    assert!(matches!(failure, Failure::Retriable { .. }), "{failure}");
    assert!(failure.reason().contains("cannot describe topic u"), "{failure}");

    cluster.broker_round_trip_time(2, Duration::ZERO).unwrap();
    describe(&mut thread, waiting);
    assert!(answer(&mut thread, &inputs).unwrap().topic_id.is_some());
    thread.queue = None;
}

#[test]
fn fault_7_a_topic_that_may_not_be_described_is_fatal() {
    let cluster = cluster();
    let (mut thread, inputs) = thread(&cluster.bootstrap_servers());
    let read = taken_over(&mut thread, "t");
    cluster.topic_error("t", RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    describe(&mut thread, read);
    let failure = answer(&mut thread, &inputs).unwrap_err();
    assert!(matches!(failure, Failure::Fatal { .. }), "{failure}");
    assert!(failure.reason().contains("allow READ on the topic"), "{failure}");
    thread.queue = None;
}

#[test]
fn fault_7_only_a_broker_that_has_no_ids_may_leave_one_out() {
    let told = |described: Result<Described, RDKafkaErrorCode>| with_description(position(), "t", &described);
    let of_topic = |code| told(Ok(Described::from([("t".to_owned(), Err(code))])));
    for code in [
        RDKafkaErrorCode::OperationTimedOut,
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::LeaderNotAvailable,
        RDKafkaErrorCode::UnknownTopicOrPartition,
    ] {
        for failure in [told(Err(code)), of_topic(code)].map(Result::unwrap_err) {
            assert!(matches!(failure, Failure::Retriable { .. }), "{failure}");
        }
    }
    assert!(matches!(told(Ok(Described::new())), Err(Failure::Retriable { .. })));
    for code in [RDKafkaErrorCode::UnsupportedVersion, RDKafkaErrorCode::UnsupportedFeature] {
        assert_eq!(told(Err(code)), Ok(position()));
        assert_eq!(of_topic(code), Ok(position()));
    }
}

#[test]
fn fault_7_an_old_broker_counts_partitions_and_has_no_ids() {
    let cluster = cluster();
    // Ids came with version 10.
    cluster.apiversion(rdkafka::types::RDKafkaApiKey::Metadata, Some(0), Some(9)).unwrap();
    let (mut thread, inputs) = thread(&cluster.bootstrap_servers());
    let read = taken_over(&mut thread, "t");
    describe(&mut thread, read);
    let position = answer(&mut thread, &inputs).unwrap();
    assert_eq!((position.topic_id, position.partitions), (None, Some(1)));
    thread.queue = None;
}

#[test]
fn fault_2_committed_offsets_that_are_not_told_in_time_hold_nobody_up() {
    let cluster = cluster();
    cluster.coordinator(MockCoordinator::Group("g".to_owned()), 2).unwrap();
    let (mut thread, inputs) = thread(&cluster.bootstrap_servers());
    let Read { tp, epoch, attempt } = taken_over(&mut thread, "t");
    thread.start(Start { tp: tp.clone(), epoch, attempt, offset: Offset::ZERO });
    thread.start_waiting();
    let waiting = taken_over(&mut thread, "u");
    thread.consumer.fetch_watermarks("u", 0, PATIENCE).unwrap();
    cluster.broker_round_trip_time(2, SLOW_ANSWER).unwrap();
    produce(&cluster, "t", 1);
    thread.read_committed(vec![waiting]).unwrap();
    let mut heard = Vec::new();
    while !heard.iter().any(|input| matches!(input, Input::Records { tp: of, .. } if *of == tp)) {
        thread.poll_client().unwrap();
        thread.look_at_readings(Duration::ZERO);
        thread.start_waiting();
        thread.consume().unwrap();
        heard.extend(inputs.try_iter());
    }
    let told = heard.iter().any(|input| matches!(input, Input::Committed { .. }));
    assert!(!told, "a record had to wait for the committed offset of another partition");
    assert_eq!(answer(&mut thread, &inputs).map(|position| position.committed), Ok(None));
    thread.queue = None;
}

#[test]
fn what_an_earlier_attempt_asked_does_not_set_the_guard_back() {
    let cluster = cluster();
    let (mut thread, inputs) = thread(&cluster.bootstrap_servers());
    let Read { tp, epoch, attempt } = taken_over(&mut thread, "t");
    let (begun, end) = (Attempt(attempt.0 + 1), Offset::new(7).unwrap());
    let lane = thread.lanes.get_mut(&tp).unwrap();
    (lane.attempt, lane.committed) = (Some(begun), end);
    inputs.try_iter().for_each(drop);
    for late in [attempt, begun] {
        thread.answer(Read { tp: tp.clone(), epoch, attempt: late }, Ok(position()));
        assert_eq!((thread.lanes[&tp].committed, inputs.try_iter().count()), (end, 0));
    }
    thread.answer(Read { tp: tp.clone(), epoch, attempt: Attempt(begun.0 + 1) }, Ok(position()));
    assert_eq!((thread.lanes[&tp].committed, inputs.try_iter().count()), (Offset::ZERO, 1));
    thread.queue = None;
}

#[test]
fn fault_7_nothing_is_committed_to_a_topic_that_was_made_again() {
    let cluster = cluster();
    let (mut thread, inputs) = thread(&cluster.bootstrap_servers());
    let read = taken_over(&mut thread, "t");
    let Read { tp, epoch, .. } = read.clone();
    thread.read_committed(vec![read]).unwrap();
    let id = answer(&mut thread, &inputs).unwrap().topic_id;
    assert_eq!(thread.lanes[&tp].topic_id, id);
    let commit = |thread: &mut ConsumerThread| {
        thread.commit(vec![(tp.clone(), epoch, CommitId(1), Offset::ZERO, String::new())]).unwrap();
        inputs.try_iter().last().unwrap()
    };
    assert!(matches!(commit(&mut thread), Input::CommitDone { result: Ok(()), .. }));
    // As if it had been another one when the partition was taken over.
    thread.lanes.get_mut(&tp).unwrap().topic_id = Some("another".into());
    let Input::ReadFailed { failure, .. } = commit(&mut thread) else { panic!("it was committed") };
    assert!(matches!(failure, Failure::Fatal { .. }), "{failure}");
    assert!(failure.reason().contains("deleted and made again while it was read (id another, now "));
    // Whether it is the same is not known: it is asked again.
    thread.brokers = vec![99];
    let unknown = commit(&mut thread);
    assert!(matches!(unknown, Input::CommitDone { result: Err(CommitError::Unknown(_)), .. }), "{unknown:?}");
    // Of one that answers.
    thread.lanes.get_mut(&tp).unwrap().topic_id = id;
    assert!(matches!(commit(&mut thread), Input::CommitDone { result: Ok(()), .. }));
    thread.queue = None;
}
