//! Files of ours, of other people's, and no files at all.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use super::report::DictionaryUse;
use super::*;
use crate::encode::FileFacts;
use crate::position::{Offset, OffsetRange, SchemaId, TopicPartition};

fn batch(rows: i64) -> RecordBatch {
    let offsets: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let name = |row: i64| (row % 4 != 0).then(|| format!("name-{}", row % 7));
    let names: ArrayRef = Arc::new((0..rows).map(name).collect::<StringArray>());
    let times: ArrayRef = Arc::new(
        TimestampMillisecondArray::from_iter_values((0..rows).map(|row| row * 1_000)).with_timezone("UTC"),
    );
    RecordBatch::try_from_iter([("_offset", offsets), ("name\u{1b}[2J", names), ("_timestamp", times)])
        .unwrap()
}

fn write(directory: &TempDir, key_values: Vec<KeyValue>) -> PathBuf {
    let path = directory.path().join("t+0+000000000000+000000000100.parquet");
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(60))
        .set_column_dictionary_enabled("_offset".into(), false)
        .set_column_bloom_filter_enabled("_offset".into(), true)
        .set_key_value_metadata(Some(key_values))
        .build();
    let batch = batch(100);
    let mut writer =
        ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

fn ours() -> Vec<KeyValue> {
    let facts = FileFacts {
        connector: "orders",
        topic_partition: &TopicPartition::new("t", 0),
        topic_id: None,
        range: OffsetRange::new(Offset::ZERO, Offset::new(100).unwrap()),
        flush_files: 2,
        intent: "{}",
        rows: 100,
        schema_ids: vec![SchemaId::Number(3), SchemaId::Number(4)],
        avro_schema: Some(
            "{\"type\":\"record\",\"name\":\"Order\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"}]}",
        ),
        checksum: 0xfeed,
    };
    facts.key_values()
}

fn text_of(report: &FileReport) -> String {
    let mut out = Vec::new();
    text::write(&mut out, report).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_file_of_ours_tells_its_origin_columns_and_sizes() {
    let directory = TempDir::new().unwrap();
    let path = write(&directory, ours());
    let report = read_local(&path).unwrap();
    assert_eq!(report.size_bytes, fs::metadata(&path).unwrap().len());
    assert_eq!((report.rows, report.row_groups.len()), (100, 2));
    let [offset, name, time] = &report.columns[..] else { panic!("{:?}", report.columns) };
    assert_eq!((offset.dictionary, name.dictionary), (DictionaryUse::No, DictionaryUse::Yes));
    assert_eq!((offset.null_count, name.null_count), (Some(0), Some(25)));
    assert_eq!((offset.min.as_deref(), offset.max.as_deref()), (Some("0"), Some("99")));
    assert_eq!((name.min.as_deref(), name.max.as_deref()), (Some("name-0"), Some("name-6")));
    assert_eq!(time.max.as_deref(), Some("1970-01-01T00:01:39Z"));
    assert_eq!((offset.bloom_filters, name.bloom_filters, offset.page_indexes), (2, 0, 2));
    assert_eq!(name.compression, ["SNAPPY"]);
    let text = text_of(&report);
    for part in [
        "[0, 100)",
        "3,4",
        "000000000000feed",
        "TIMESTAMP(ms,UTC)",
        "100 rows, 2 row groups, 3 columns",
        "bloom filter",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "names of a file do not command the terminal");
}

#[test]
fn json_has_the_whole_schema() {
    let directory = TempDir::new().unwrap();
    let report = read_local(&write(&directory, ours())).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["sluice"]["topic"], "t");
    assert_eq!(json["sluice"]["start"], "0");
    assert!(json["sluice"]["avro_schema"].as_str().unwrap().contains("\"Order\""));
    assert_eq!(json["columns"][1]["null_count"], 25);
    assert_eq!(json["row_groups"][0]["rows"], 60);
    assert_eq!(json["schema"][0]["repetition"], "required");
}

#[test]
fn other_peoples_files_are_shown_too() {
    let directory = TempDir::new().unwrap();
    let report =
        read_local(&write(&directory, vec![KeyValue::new("pandas".to_owned(), "x".repeat(1000))])).unwrap();
    assert!(report.sluice.is_empty());
    let text = text_of(&report);
    assert!(text.contains("pandas") && !text.contains(&"x".repeat(100)), "{text}");
    assert!(!text.contains("delivered by"), "{text}");
}

#[test]
fn what_is_no_parquet_file_is_told_in_one_line() {
    let directory = TempDir::new().unwrap();
    let whole = fs::read(write(&directory, ours())).unwrap();
    let place = |name: &str| directory.path().join(name);
    fs::write(place("cut"), &whole[..whole.len() / 2]).unwrap();
    fs::write(place("short"), b"PAR1").unwrap();
    fs::write(place("text"), "offset,name\n".repeat(100)).unwrap();
    fs::write(place("empty"), b"").unwrap();
    let cases = [
        ("cut", "cut off"),
        ("short", "cut off"),
        ("text", "not a Parquet file"),
        ("empty", "not a Parquet file"),
        ("missing", "does not exist"),
        ("", "is a directory"),
    ];
    for (name, expected) in cases {
        let error = read_local(&place(name)).unwrap_err();
        assert!(error.contains(expected) && error.lines().count() == 1, "{name}: {error}");
    }
}

#[test]
fn damaged_footers_are_errors_or_reports() {
    let directory = TempDir::new().unwrap();
    let whole = fs::read(write(&directory, ours())).unwrap();
    let footer =
        whole.len() - 8 - u32::from_le_bytes(whole[whole.len() - 8..][..4].try_into().unwrap()) as usize;
    let damaged = directory.path().join("damaged");
    for at in footer..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&damaged, bytes).unwrap();
        if let Ok(report) = read_local(&damaged) {
            text_of(&report);
        }
    }
}

#[tokio::test]
async fn missing_objects_and_non_parquet_ones_are_told_apart() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("f"), b"PAR1....").unwrap();
    let url = url::Url::from_file_path(directory.path()).unwrap();
    let settings = StorageSettings { url, options: std::collections::BTreeMap::new() };
    let store = Store::open_for_reading(&settings).unwrap();
    assert!(read_object(&store, &settings, "g").await.unwrap_err().contains("does not exist"));
    assert!(read_object(&store, &settings, "f").await.unwrap_err().contains("cut off"));
}
