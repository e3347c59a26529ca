//! The consumer thread's steps by hand, against the client library's own mock of a broker.

use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

use super::starts::Start;
use super::*;
use crate::config::settings::{Secret, StartPosition};

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
        thread.starts.add(Start { tp, epoch, attempt: Attempt(1), offset });
        thread.start_waiting();
        cluster.broker_round_trip_time(-1, Duration::ZERO).unwrap();
        let found = offsets_handed_over(&mut thread, &inputs);
        assert_eq!(found, (BEGINNING..RECORDS).collect::<Vec<_>>(), "sought after {polled_between_ms} ms");
        thread.queue = None;
    }
}
