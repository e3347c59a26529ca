//! Lakes in a directory, sound and spoiled.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int32Builder, Int64Array, ListBuilder, RecordBatch,
    StringArray,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use super::*;
use crate::audit::{GapContent, PartitionReport};
use crate::config::settings::{ByteSize, Compression, Dictionary, ParquetSettings, Secret};
use crate::encode::{Encoding, FileEncoder, FileFacts};
use crate::position::{Offset, OffsetRange, TopicPartition};
use crate::task::names::object_name;

struct Lake(TempDir);

/// A file as the encoder makes them, of rows that wear every form of a page.
fn encoded(facts: &FileFacts<'_>, offsets: &[i64]) -> Vec<u8> {
    let rows = offsets.len() as i32;
    let mut lists = ListBuilder::new(Int32Builder::new());
    for row in 0..rows {
        lists.append_value((0..row % 3).map(Some));
    }
    let columns: [(&str, ArrayRef); 6] = [
        ("id", Arc::new(Int32Array::from_iter_values(0..rows))),
        (
            "name",
            Arc::new(
                (0..rows).map(|row| (row % 4 > 0).then(|| format!("name-{row}"))).collect::<StringArray>(),
            ),
        ),
        ("price", Arc::new((0..rows).map(|row| Some(f64::from(row) / 3.0)).collect::<Float64Array>())),
        ("paid", Arc::new((0..rows).map(|row| Some(row % 2 == 0)).collect::<BooleanArray>())),
        ("items", Arc::new(lists.finish())),
        ("_offset", Arc::new(Int64Array::from(offsets.to_vec()))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let settings = ParquetSettings {
        compression: Compression::None,
        row_group_bytes: ByteSize(1 << 20),
        row_group_rows: 5.try_into().unwrap(),
        dictionary: Dictionary::Auto,
        columns: [].into(),
        sort_by: Vec::new(),
    };
    let mut encoder = FileEncoder::new(&"t".into(), batch.schema(), &Encoding::new(&settings), &[]).unwrap();
    encoder.write(&batch).unwrap();
    let mut file = encoder.take_bytes().concat();
    file.extend(encoder.finish(facts.key_values()).unwrap().tail.concat());
    file
}

fn facts(tp: &TopicPartition, range: (i64, i64), rows: usize) -> FileFacts<'_> {
    FileFacts {
        connector: "c",
        topic_partition: tp,
        topic_id: None,
        range: OffsetRange::new(Offset::new(range.0).unwrap(), Offset::new(range.1).unwrap()),
        // Not told, as by the first versions.
        flush_files: 0,
        intent: "",
        rows: rows as u64,
        schema_ids: Vec::new(),
        avro_schema: None,
        checksum: 1,
    }
}

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
        let facts = facts(&tp, (range.start.as_i64(), range.end.as_i64()), rows);
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

    /// Writes a file as the encoder makes them.
    fn encode(&self, range: (i64, i64), offsets: &[i64]) -> PathBuf {
        let tp = TopicPartition::new("t", 0);
        let facts = facts(&tp, range, offsets.len());
        let path = self.0.path().join(object_name(&tp, facts.range, "", 0));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, encoded(&facts, offsets)).unwrap();
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
        examine(&settings, topic, broker, Depth::Pages).await.unwrap_or_else(|error| panic!("{error}"))
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

/// No flipped bit of a file that has a checksum is passed over, wherever it is.
#[tokio::test]
async fn a_changed_byte_is_found_wherever_it_is() {
    let lake = Lake::new();
    let first: Vec<i64> = (0..12).collect();
    let second: Vec<i64> = (12..24).collect();
    lake.encode((0, 12), &first);
    let victim = lake.encode((12, 24), &second);
    let report = lake.examine(None).await;
    assert!(report.ok && only(&report).files_compared == 2, "{}", shown(&report));
    assert!(shown(&report).contains("every byte is as it was written"), "{}", shown(&report));
    let whole = fs::read(&victim).unwrap();
    for at in (0..whole.len()).step_by(11) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&victim, bytes).unwrap();
        let report = lake.examine(None).await;
        assert!(!report.ok, "byte {at} of {}: {}", whole.len(), shown(&report));
    }
}

/// Another program's file with our footer: every page is in order, and the values are others.
#[tokio::test]
async fn values_that_were_rewritten_are_found() {
    let lake = Lake::new();
    let path = lake.encode((0, 4), &[0, 1, 2, 3]);
    let footer = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap().metadata().clone();
    let pairs = footer.file_metadata().key_value_metadata().cloned();
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int32Array::from(vec![0; 4]))),
        ("_offset", Arc::new(Int64Array::from(vec![0, 1, 2, 3]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_key_value_metadata(pairs).build();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let report = lake.examine(None).await;
    assert!(!report.ok && only(&report).changed.len() == 1, "{}", shown(&report));
    let settings = prefix_place(lake.0.path().to_str().unwrap(), &[]).unwrap();
    let fast = examine(&settings, None, None, Depth::Offsets).await.unwrap();
    assert!(fast.ok && shown(&fast).contains("values were not read"), "{}", shown(&fast));
}

/// Files of the first versions have no checksum: damage that keeps a page from being decoded is found all the same.
#[tokio::test]
async fn pages_of_files_without_a_checksum_are_decoded() {
    let lake = Lake::sound();
    let report = lake.examine(None).await;
    assert!(report.ok && shown(&report).contains("without a checksum"), "{}", shown(&report));
    let path = lake.write((20, 30), "d=1", Some(&[20, 21, 22, 23]));
    let footer = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap().metadata().clone();
    let (start, _) = footer.row_group(0).column(0).byte_range();
    let mut bytes = fs::read(&path).unwrap();
    bytes[usize::try_from(start).unwrap()] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    let report = lake.examine(None).await;
    assert!(!report.ok && shown(&report).contains("`value` column"), "{}", shown(&report));
}

#[tokio::test]
async fn a_file_in_the_directory_of_another_topic_is_found() {
    let lake = Lake::sound();
    let path = lake.write((20, 30), "", Some(&[20]));
    let other = lake.0.path().join("u");
    fs::create_dir(&other).unwrap();
    fs::rename(&path, other.join(path.file_name().unwrap())).unwrap();
    for topic in [None, Some("u")] {
        let report = lake.examine(topic).await;
        assert!(!report.ok && shown(&report).contains("directory of another topic"), "{}", shown(&report));
    }
    assert!(lake.examine(Some("t")).await.ok, "its own directory is whole");
}

#[tokio::test]
async fn a_prefix_that_is_not_there_is_an_error() {
    let settings = prefix_place("/nonexistent/lake", &[]).unwrap();
    let error = examine(&settings, None, None, Depth::Pages).await.unwrap_err();
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

/// A topic of two partitions, and a group that has committed `commits` of them.
async fn examine_without_files(commits: &[(i32, i64, &str)]) -> AuditReport {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 2, 1).unwrap();
    if !commits.is_empty() {
        produce(&cluster.bootstrap_servers(), 5);
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "g")
            .create()
            .unwrap();
        let mut list = rdkafka::TopicPartitionList::new();
        for (partition, offset, metadata) in commits {
            list.add_partition_offset("t", *partition, rdkafka::Offset::Offset(*offset)).unwrap();
            list.find_partition("t", *partition).unwrap().set_metadata(*metadata);
        }
        consumer.commit(&list, CommitMode::Sync).unwrap();
    }
    let broker = Broker::of(properties(&cluster), Some("g")).unwrap().unwrap();
    let lake = Lake::new();
    fs::create_dir(lake.0.path().join("t")).unwrap();
    lake.examine_with(Some("t"), Some(&broker)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_is_right_where_none_is_due() {
    let empty = examine_without_files(&[]).await;
    assert!(empty.ok && shown(&empty).contains("none is due"), "{}", shown(&empty));
    let skipped = examine_without_files(&[(0, 5, "{\"no_file_since\":0}")]).await;
    assert!(skipped.ok && shown(&skipped).contains("nothing of [0, 5) became a row"), "{}", shown(&skipped));
    let lost = examine_without_files(&[(0, 5, "")]).await;
    assert!(!lost.ok && shown(&lost).contains("gap: no file holds [0, 5)"), "{}", shown(&lost));
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
fn numbers_among_the_properties_are_numbers() {
    let refused = |key: &str, value: &str| {
        let pairs = [("bootstrap.servers", "localhost:9"), (key, value)];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), Secret::new(value)));
        Broker::of(pairs.into(), None).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let shown = refused("fetch.max.bytes", "10MiB");
    assert!(
        shown.contains("--property fetch.max.bytes is librdkafka's own and takes a plain number"),
        "{shown}"
    );
    assert!(!shown.contains("10485760"), "{shown}");
    assert_eq!(refused("fetch.max.bytes", "10485760"), "");
    assert_eq!(refused("sasl.mechanism", ""), "");
}

#[test]
fn a_broker_needs_an_address() {
    let properties: BTreeMap<String, Secret> = [("sasl.username".to_owned(), Secret::new("me"))].into();
    assert!(Broker::of(properties, None).is_err());
    assert!(Broker::of(BTreeMap::new(), None).unwrap().is_none());
    let error = Broker::of(BTreeMap::new(), Some("g")).err().unwrap();
    assert!(
        error.to_string().contains("--group") && error.to_string().contains("bootstrap.servers"),
        "{error}"
    );
}
