//! Lakes in a directory, sound and spoiled.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use super::*;
use crate::audit::{GapContent, PartitionReport};
use crate::config::settings::Secret;
use crate::encode::FileFacts;
use crate::position::{Offset, OffsetRange, TopicPartition};
use crate::task::names::object_name;

struct Lake(TempDir);

impl Lake {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// Writes a file of a flush of `t[0]`; offsets `None` = no such column, with five rows.
    fn write(&self, range: (i64, i64), directory: &str, offsets: Option<&[i64]>) -> PathBuf {
        let tp = TopicPartition::new("t", 0);
        let range = OffsetRange::new(Offset::new(range.0).unwrap(), Offset::new(range.1).unwrap());
        let path = self.0.path().join(object_name(&tp, range, directory, 0));
        let rows = offsets.map_or(5, <[i64]>::len);
        let facts = FileFacts {
            connector: "c",
            topic_partition: &tp,
            topic_id: None,
            range,
            // Not told, as by the first versions.
            flush_files: 0,
            intent: "",
            rows: rows as u64,
            schema_ids: Vec::new(),
            avro_schema: None,
            checksum: 1,
        };
        let values: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows as i32));
        let mut columns = vec![("value", values)];
        if let Some(offsets) = offsets {
            columns.push(("_offset", Arc::new(Int64Array::from(offsets.to_vec())) as ArrayRef));
        }
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(3))
            .set_key_value_metadata(Some(facts.key_values()))
            .build();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer =
            ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    }

    fn sound() -> Self {
        let lake = Self::new();
        lake.write((0, 10), "d=1", Some(&[0, 1, 4, 9]));
        lake.write((0, 10), "d=2", Some(&[2, 3, 5, 6, 7, 8]));
        lake.write((10, 20), "d=1", Some(&[10, 19]));
        lake
    }

    async fn examine(&self, topic: Option<&str>) -> AuditReport {
        self.examine_with(topic, None).await
    }

    async fn examine_with(&self, topic: Option<&str>, broker: Option<&Broker>) -> AuditReport {
        let url = url::Url::from_file_path(self.0.path()).unwrap();
        let settings = StorageSettings { url, options: BTreeMap::new() };
        examine(&settings, topic, broker).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

fn shown(report: &AuditReport) -> String {
    let mut out = Vec::new();
    text::write(&mut out, report).unwrap();
    String::from_utf8(out).unwrap()
}

fn only(report: &AuditReport) -> &PartitionReport {
    assert_eq!(report.partitions.len(), 1, "{report:#?}");
    &report.partitions[0]
}

#[tokio::test]
async fn a_sound_lake_is_proved() {
    let lake = Lake::sound();
    let report = lake.examine(None).await;
    assert!(report.ok, "{}", shown(&report));
    assert_eq!((report.files, report.rows, only(&report).flushes), (3, 12, 2));
    assert!(shown(&report).contains("proved: "), "{}", shown(&report));
    assert!(lake.examine(Some("t")).await.ok);
    let other = lake.examine(Some("u")).await;
    assert!(!other.ok, "nothing is no proof");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["partitions"][0]["offsets"], serde_json::json!({"start": 0, "end": 20}));
}

#[tokio::test]
async fn duplicates_gaps_and_overlaps_in_files_are_found() {
    let lake = Lake::sound();
    lake.write((0, 10), "d=3", Some(&[4]));
    lake.write((15, 25), "d=1", Some(&[19, 20]));
    lake.write((30, 40), "d=1", Some(&[29, 31, 30]));
    let report = lake.examine(None).await;
    let found = only(&report);
    assert_eq!(
        (report.ok, found.duplicates.count, found.overlaps.len()),
        (false, 2, 1),
        "{}",
        shown(&report)
    );
    assert_eq!((found.outside.count, found.descending.count), (1, 1));
    let gaps: Vec<String> = found.gaps.iter().map(|gap| gap.span.to_string()).collect();
    assert_eq!(gaps, ["[25, 30)"]);
    for part in ["duplicate: 2", "gap: no file holds [25, 30)", "overlap: ", "NOT PROVED"] {
        assert!(shown(&report).contains(part), "{part} is not in:\n{}", shown(&report));
    }
}

#[tokio::test]
async fn a_file_whose_name_and_footer_differ_is_found() {
    let lake = Lake::sound();
    let path = lake.write((20, 30), "d=1", Some(&[20]));
    fs::rename(&path, path.with_file_name("t+0+000000000020+000000000031.parquet")).unwrap();
    let report = lake.examine(None).await;
    assert_eq!((report.ok, only(&report).disagreements.len()), (false, 1), "{}", shown(&report));
}

#[tokio::test]
async fn a_copy_under_a_foreign_name_is_found_and_other_files_are_named() {
    let lake = Lake::sound();
    let path = lake.write((20, 30), "d=1", Some(&[20]));
    fs::write(lake.0.path().join("README.md"), "hello").unwrap();
    fs::write(lake.0.path().join("t/other.parquet"), "not Parquet").unwrap();
    let report = lake.examine(None).await;
    assert_eq!((report.ok, report.foreign.len()), (true, 2), "{}", shown(&report));
    fs::copy(&path, path.with_file_name("copy.parquet")).unwrap();
    let report = lake.examine(None).await;
    assert_eq!((report.ok, report.foreign.len(), report.renamed.len()), (false, 2, 1), "{}", shown(&report));
}

#[tokio::test]
async fn files_without_the_column_are_judged_by_name_and_rows() {
    let lake = Lake::new();
    lake.write((0, 10), "d=1", None);
    lake.write((0, 10), "d=2", None);
    let report = lake.examine(None).await;
    assert_eq!((report.ok, only(&report).files_without_offsets), (true, 2), "{}", shown(&report));
    lake.write((0, 10), "d=3", None);
    assert!(!lake.examine(None).await.ok, "15 rows of 10 offsets");
}

#[tokio::test]
async fn damaged_files_are_named_and_the_others_are_read() {
    let lake = Lake::sound();
    let cut = lake.write((20, 30), "d=1", Some(&[20, 21, 22, 23]));
    let whole = fs::read(&cut).unwrap();
    fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    let report = lake.examine(None).await;
    let found = only(&report);
    assert_eq!((report.ok, found.unreadable.len(), found.rows), (false, 1, 12), "{}", shown(&report));
    assert!(found.unreadable[0].reason.contains("not a Parquet file"), "{}", found.unreadable[0].reason);
}

/// Whatever is damaged, the audit ends; and what it does not notice is the same in all its numbers.
#[tokio::test]
async fn no_damage_to_a_file_ends_the_audit() {
    let lake = Lake::sound();
    let victim = lake.write((20, 30), "d=1", Some(&[20, 21, 22, 23]));
    let whole = fs::read(&victim).unwrap();
    let sound = lake.examine(None).await;
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        fs::write(&victim, bytes).unwrap();
        let report = lake.examine(None).await;
        assert!(!report.ok || report.rows == sound.rows, "byte {at}: {}", shown(&report));
    }
}

#[tokio::test]
async fn a_prefix_that_is_not_there_is_an_error() {
    let settings = prefix_place("/nonexistent/lake", &[]).unwrap();
    let error = examine(&settings, None, None).await.unwrap_err();
    assert!(error.to_string().contains("/nonexistent/lake does not exist"), "{error}");
}

fn properties(
    cluster: &MockCluster<'_, rdkafka::producer::DefaultProducerContext>,
) -> BTreeMap<String, Secret> {
    [("bootstrap.servers".to_owned(), Secret::new(cluster.bootstrap_servers()))].into()
}

fn produce(brokers: &str, records: usize) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    for _ in 0..records {
        producer.send(BaseRecord::<(), str>::to("t").partition(0).payload("x")).unwrap();
    }
    producer.flush(std::time::Duration::from_secs(10)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_looked_up_at_the_broker() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    produce(&cluster.bootstrap_servers(), 12);
    let broker = Broker::of(properties(&cluster), None).unwrap().unwrap();
    let lake = Lake::new();
    lake.write((0, 5), "", Some(&[0]));
    lake.write((6, 20), "", Some(&[6]));
    lake.write((25, 30), "", Some(&[25]));
    let report = lake.examine_with(None, Some(&broker)).await;
    let contents: Vec<&GapContent> = only(&report).gaps.iter().map(|gap| &gap.broker).collect();
    assert_eq!(contents[0], &GapContent::Record(5), "{}", shown(&report));
    assert!(
        matches!(contents[1], GapContent::Unknown(why) if why.contains("ends at 12")),
        "{}",
        shown(&report)
    );
    assert!(!report.ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_head_is_a_gap_for_the_broker_to_tell() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    produce(&cluster.bootstrap_servers(), 12);
    let broker = Broker::of(properties(&cluster), None).unwrap().unwrap();
    let lake = Lake::new();
    lake.write((5, 12), "", Some(&[5]));
    let alone = lake.examine(None).await;
    assert!(alone.ok && shown(&alone).contains("proved: from the first offset found"), "{}", shown(&alone));
    let report = lake.examine_with(None, Some(&broker)).await;
    assert!(!report.ok && shown(&report).contains("gap: no file holds [0, 5)"), "{}", shown(&report));
    assert_eq!(only(&report).gaps[0].broker, GapContent::Record(0));
    lake.write((0, 5), "", Some(&[0]));
    let report = lake.examine_with(None, Some(&broker)).await;
    assert!(report.ok && shown(&report).contains("from the broker's first offset"), "{}", shown(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_whose_files_are_gone_altogether_is_found_by_its_commit() {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 3, 1).unwrap();
    produce(&cluster.bootstrap_servers(), 20);
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    for _ in 0..4 {
        producer.send(BaseRecord::<(), str>::to("t").partition(1).payload("x")).unwrap();
    }
    producer.flush(std::time::Duration::from_secs(10)).unwrap();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "g")
        .create()
        .unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    for (partition, offset) in [(0, 20), (1, 4)] {
        list.add_partition_offset("t", partition, rdkafka::Offset::Offset(offset)).unwrap();
    }
    consumer.commit(&list, CommitMode::Sync).unwrap();
    let broker = Broker::of(properties(&cluster), Some("g")).unwrap().unwrap();
    let lake = Lake::sound();
    let report = lake.examine_with(None, Some(&broker)).await;
    let partitions: Vec<(i32, bool)> = report.partitions.iter().map(|one| (one.partition, one.ok)).collect();
    assert_eq!(partitions, [(0, true), (1, false)], "{}", shown(&report));
    assert_eq!(report.partitions[1].gaps[0].broker, GapContent::Record(0));
    assert!(shown(&report).contains("gap: no file holds [0, 4)"), "{}", shown(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_tell_where_it_begins_proves_nothing() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("another", 1, 1).unwrap();
    let broker = Broker::of(properties(&cluster), None).unwrap().unwrap();
    let report = Lake::sound().examine_with(None, Some(&broker)).await;
    assert!(!report.ok && shown(&report).contains("no such partition"), "{}", shown(&report));
    assert!(only(&report).broker_silent.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_held_against_the_files() {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let broker = Broker::of(properties(&cluster), Some("g")).unwrap().unwrap();
    let lake = Lake::sound();
    let report = lake.examine_with(None, Some(&broker)).await;
    assert!(!report.ok && shown(&report).contains("committed nothing"), "{}", shown(&report));

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "g")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let commit = |offset| {
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset("t", 0, rdkafka::Offset::Offset(offset)).unwrap();
        consumer.commit(&list, CommitMode::Sync).unwrap();
    };
    commit(20);
    let report = lake.examine_with(None, Some(&broker)).await;
    assert!(report.ok, "{}", shown(&report));
    assert_eq!(only(&report).committed.as_ref().and_then(|commit| commit.offset), Some(20));
    commit(10);
    let report = lake.examine_with(None, Some(&broker)).await;
    assert!(!report.ok && shown(&report).contains("announced no such flush"), "{}", shown(&report));
}

#[test]
fn a_broker_needs_an_address() {
    let properties: BTreeMap<String, Secret> = [("sasl.username".to_owned(), Secret::new("me"))].into();
    assert!(Broker::of(properties, None).is_err());
    assert!(Broker::of(BTreeMap::new(), None).unwrap().is_none());
}
