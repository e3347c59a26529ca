//! Null keys before the first key that has a schema: they share its file, also when the flush is made again.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

const AVRO_KEYS: &str = "key: { format: avro }";
const FIELD: &str =
    r#"{"type":"record","name":"K","fields":[{"name":"id","type":"long"},{"name":"n","type":"long"}]}"#;

fn value(number: i64) -> Vec<u8> {
    framed(1, &[number])
}

/// A flush whose records come in blocks of so many.
fn in_blocks(bench: &mut Bench, pairs: &[(Bytes, Bytes)], size: usize) -> (Vec<SealedFile>, Basis) {
    let mut flush = bench.open(Cut::None, Basis::default());
    let mut all = keyed(pairs.to_vec());
    while !all.is_empty() {
        let rest = all.split_off(size.min(all.len()));
        assert_eq!(bench.take(&mut flush, all), Ok(Taken::All));
        all = rest;
    }
    bench.seal(flush)
}

fn identities(files: &[SealedFile]) -> Vec<(String, u64, u64)> {
    files.iter().map(|file| (file.name.clone(), file.rows, file.checksum)).collect()
}

/// What the only file has.
fn content(bench: &mut Bench) -> RecordBatch {
    let mut bytes = Vec::new();
    for effect in bench.effects.drain(..) {
        if let Effect::Append { bytes: piece, .. } = effect {
            bytes.extend_from_slice(&piece);
        }
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    reader.build().unwrap().next().unwrap().unwrap()
}

#[test]
fn fault_18_null_keys_before_the_first_that_has_a_schema_share_its_file() {
    let pairs = [
        (None, Some(value(0))),
        (None, Some(value(1))),
        (Some(framed(2, &[7])), Some(value(2))),
        (None, Some(value(3))),
        (Some(framed(3, &[8, 1])), Some(value(4))),
    ];
    for size in 1..=5 {
        let schemas = [(1, LONG), (2, KEY), (3, WIDER_KEY)];
        let mut bench = Bench::new(AVRO_KEYS, &schemas);
        let (files, basis) = in_blocks(&mut bench, &pairs, size);
        assert_eq!(rows(&files), [1, 4], "blocks of {size}: only the wider key's record is elsewhere");
        assert_eq!(basis.readers.key, Some(SchemaId::Number(2)), "the intent says so");
        // Made again by a process that knows nothing, it asks for the schema before anything is decided.
        let mut later = Bench::new(AVRO_KEYS, &schemas[..1]);
        let mut flush = later.open(Cut::Replay(Offset::new(5).unwrap()), basis.clone());
        let taken = later.take(&mut flush, keyed(pairs.to_vec()));
        assert_eq!(taken, Ok(Taken::NeedSchema(SchemaId::Number(2))));
        let again = Bench::new(AVRO_KEYS, &schemas).replay(&basis, keyed(pairs.to_vec())).unwrap();
        assert_eq!(identities(&again), identities(&files), "blocks of {size}");
    }
}

#[test]
fn fault_18_rows_that_are_given_a_key_column_keep_their_values() {
    for size in [1, 2, 40, 100] {
        let mut bench = Bench::new(AVRO_KEYS, &[(1, LONG), (2, KEY)]);
        // More blocks than wait in a file as they came.
        let mut pairs: Vec<(Bytes, Bytes)> = (0..40).map(|number| (None, Some(value(number)))).collect();
        pairs.push((Some(framed(2, &[7])), Some(value(40))));
        let (files, _) = in_blocks(&mut bench, &pairs, size);
        assert_eq!(rows(&files), [41]);
        let batch = content(&mut bench);
        let numbers = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().clone();
        assert!(numbers.values().iter().copied().eq(0..41));
        let keys = batch.column_by_name("_key").unwrap().as_struct().clone();
        assert_eq!((keys.null_count(), keys.is_valid(40)), (40, true));
        assert_eq!(keys.column(0).as_primitive::<Int64Type>().value(40), 7);
    }
}

#[test]
fn tombstones_and_unrelated_types_are_given_the_column_too() {
    const OTHER: &str = r#"{"type":"record","name":"O","fields":[{"name":"t","type":"boolean"}]}"#;
    let lines = "key: { format: avro }\n    errors: { on_tombstone: row }";
    let schemas = [(1, LONG), (2, KEY), (4, OTHER)];
    let pairs = [
        (None, None),
        (None, Some(value(1))),
        (None, Some(framed(4, &[0]))),
        (Some(framed(2, &[7])), None),
        (Some(framed(2, &[8])), Some(framed(4, &[0]))),
        (None, Some(value(2))),
    ];
    let mut bench = Bench::new(lines, &schemas);
    let (files, basis) = in_blocks(&mut bench, &pairs, 1);
    // The first tombstone has no reader but the settings; then come those of the two types.
    assert_eq!(rows(&files), [3, 2, 1]);
    let again = Bench::new(lines, &schemas).replay(&basis, keyed(pairs.to_vec())).unwrap();
    assert_eq!(identities(&again), identities(&files));
}

#[test]
fn directories_of_rows_that_are_given_the_column_stay_as_they_were() {
    let schemas = [(1, LONG), (2, FIELD)];
    let pairs = [
        (None, Some(value(1))),
        (None, Some(value(2))),
        (None, Some(value(1))),
        (Some(framed(2, &[5, 6])), Some(value(1))),
        (None, Some(value(2))),
    ];
    for rules in [
        "{ field: _key.id }",
        "{ field: n }",
        "{ field: _key.n, name: m }, { field: n }",
        "{ field: _key.id, name: id }",
    ] {
        let lines = format!("partition_by: [{rules}]\n    key: {{ format: avro }}");
        let (files, basis) = in_blocks(&mut Bench::new(&lines, &schemas), &pairs, 1);
        assert_eq!(rows(&files).iter().sum::<u64>(), 5, "{rules}");
        assert_eq!(basis.readers.key, Some(SchemaId::Number(2)), "{rules}");
        let again = Bench::new(&lines, &schemas).replay(&basis, keyed(pairs.to_vec())).unwrap();
        assert_eq!(identities(&again), identities(&files), "{rules}");
        let (whole, _) = in_blocks(&mut Bench::new(&lines, &schemas), &pairs, 5);
        assert_eq!(identities(&whole), identities(&files), "{rules}");
    }
}

/// A mebibyte of rows: the first bytes of their file have left.
#[test]
fn a_file_of_null_keys_that_has_begun_stays_as_it_is() {
    let mut pairs: Vec<(Bytes, Bytes)> = (0..60_000).map(|number| (None, Some(value(number % 60)))).collect();
    pairs.push((Some(framed(2, &[7])), Some(value(0))));
    pairs.push((None, Some(value(0))));
    let mut bench = Bench::new(AVRO_KEYS, &[(1, LONG), (2, KEY)]);
    let (files, basis) = in_blocks(&mut bench, &pairs, 60_000);
    assert_eq!((rows(&files), basis.readers.key), (vec![2, 60_000], None));
    // In one block they are not in a file yet when the key comes, but the intent says what was done.
    let mut later = Bench::new(AVRO_KEYS, &[(1, LONG), (2, KEY)]);
    let again = later.replay(&basis, keyed(pairs.clone())).unwrap();
    assert_eq!(identities(&again), identities(&files));
    let (joined, basis) = in_blocks(&mut later, &pairs, 60_002);
    assert_eq!(rows(&joined), [60_002]);
    assert_eq!(identities(&bench.replay(&basis, keyed(pairs)).unwrap()), identities(&joined));
}

#[test]
fn each_version_of_keys_for_itself_leaves_null_keys_to_themselves() {
    let lines = "key: { format: avro }\n    schema: { evolution: per_version }";
    let pairs = [(None, Some(value(0))), (Some(framed(2, &[7])), Some(value(1))), (None, Some(value(2)))];
    let (files, basis) = in_blocks(&mut Bench::new(lines, &[(1, LONG), (2, KEY)]), &pairs, 1);
    assert_eq!((rows(&files), basis.readers.key), (vec![1, 2], None));
}

/// A refused value does not undo what its key decided.
#[test]
fn a_key_whose_record_is_refused_counts() {
    let lines = "key: { format: avro }\n    errors: { on_poison: skip }";
    let schemas = [(1, LONG), (2, KEY)];
    let pairs =
        [(None, Some(value(0))), (Some(framed(2, &[7])), Some(framed(1, &[]))), (None, Some(value(2)))];
    let (files, basis) = in_blocks(&mut Bench::new(lines, &schemas), &pairs, 1);
    assert_eq!((rows(&files), basis.readers.key), (vec![2], Some(SchemaId::Number(2))));
    let again = Bench::new(lines, &schemas).replay(&basis, keyed(pairs.to_vec())).unwrap();
    assert_eq!(identities(&again), identities(&files));
}

/// Before any key had a schema, the rule meant the value's field; with the column it means the column.
#[test]
fn rows_whose_directory_was_of_a_field_with_the_name_of_the_column_are_not_given_it() {
    const VALUE: &str = r#"{"type":"record","name":"R","fields":[{"name":"_key","type":"long"}]}"#;
    let lines = "partition_by: [{ field: _key, name: k }]\n    key: { format: avro }";
    let schemas = [(1, VALUE), (2, "\"long\"")];
    let pairs = [(None, Some(value(1))), (Some(framed(2, &[5])), Some(value(1))), (None, Some(value(1)))];
    for size in 1..=3 {
        let (files, basis) = in_blocks(&mut Bench::new(lines, &schemas), &pairs, size);
        assert_eq!(basis.readers.key, None);
        let again = Bench::new(lines, &schemas).replay(&basis, keyed(pairs.to_vec())).unwrap();
        assert_eq!(identities(&again), identities(&files), "blocks of {size}");
    }
}
