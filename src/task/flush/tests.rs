//! An open flush driven by hand: which files its records make, and that they are the same when it is made again.

mod late_key;
mod refusals;

use std::collections::VecDeque;

use super::reading::Wires;
use super::{Cut, FlushContext, OpenFlush, Taken};
use crate::config::load_str;
use crate::error::{Failure, Stage};
use crate::position::{Offset, SchemaId, TopicPartition};
use crate::record::{OwnedRecord, RecordBlock};
use crate::schema::ColumnOptions;
use crate::task::budget::MemoryBudget;
use crate::task::clock::{Now, Tick};
use crate::task::intent::{Basis, Intent, REFUSED_SCHEMAS, Readers, SCHEMA_PRINTS};
use crate::task::message::{DeadLetter, Effect, Event, FlushId, SchemaText, SealedFile};
use crate::task::names::name_overhead_bytes;
use crate::task::partitioner::Partitioner;
use crate::task::rotation::RotationReason;
use crate::task::schemas::SchemaBook;
use crate::task::settings::TaskSettings;

const NOW: Now = Now { tick: Tick(0), wall_ms: 0 };
const LONG: &str = r#"{"type":"record","name":"a.N","fields":[{"name":"n","type":"long"}]}"#;
const WIDER: &str = r#"{"type":"record","name":"a.N","fields":[{"name":"n","type":"long"},{"name":"m","type":["null","long"],"default":null}]}"#;
const NAMESAKE: &str = r#"{"type":"record","name":"b.N","fields":[{"name":"n","type":"long"}]}"#;

/// One connector's task with a flush to fill.
struct Bench {
    settings: TaskSettings,
    schemas: SchemaBook,
    effects: VecDeque<Effect>,
    letters: MemoryBudget,
    tp: TopicPartition,
}

impl Bench {
    /// `lines` are those of the connector, besides what it needs.
    fn new(lines: &str, schemas: &[(u32, &str)]) -> Self {
        let text = format!(
            "version: 1
connectors:
  - name: a
    kafka: {{ topics: [t], properties: {{ bootstrap.servers: 'localhost:9092' }} }}
    value: {{ format: avro }}
    registry: {{ url: 'http://localhost:8081' }}
    storage: {{ url: 'file:///lake' }}
    {lines}
"
        );
        let settings = load_str(&text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        let mut bench = Self {
            settings: TaskSettings::of(&settings.connectors[0], None, None),
            schemas: SchemaBook::new(ColumnOptions {
                nullable_top_level: lines.contains("on_tombstone: row"),
                ..ColumnOptions::default()
            }),
            effects: VecDeque::new(),
            letters: MemoryBudget::new(1 << 20),
            tp: TopicPartition::new("t", 0),
        };
        for (id, json) in schemas {
            bench.answer(*id, Ok(json));
        }
        bench
    }

    fn answer(&mut self, id: u32, answer: Result<&str, Failure>) {
        let text = answer.map(|json| SchemaText { json: json.to_owned(), references: Vec::new() });
        self.schemas.request(id.into(), NOW.tick);
        self.schemas.fetched(id.into(), text, NOW.tick, 0).unwrap();
    }

    fn unknown(&mut self, id: u32) {
        self.answer(id, Err(Failure::poison(Stage::Schema, "unknown_schema", "no such schema")));
    }

    fn open(&self, cut: Cut, basis: Basis) -> OpenFlush {
        OpenFlush::new(FlushId(1), Offset::ZERO, cut, basis, &self.settings, NOW.tick)
    }

    fn take(&mut self, flush: &mut OpenFlush, records: Vec<OwnedRecord>) -> Result<Taken, Failure> {
        let partitioner = Partitioner::new(self.settings.partition_by.clone(), name_overhead_bytes(&self.tp));
        let taken = flush.take(
            &RecordBlock::from_owned(records),
            &mut 0,
            &mut FlushContext {
                tp: &self.tp,
                topic_id: None,
                settings: &self.settings,
                partitioner: &partitioner,
                schemas: &mut self.schemas,
                letters: &self.letters,
                effects: &mut self.effects,
            },
            NOW,
        );
        match taken {
            Ok(Taken::Stop(failure)) => Err(failure),
            taken => taken,
        }
    }

    /// Seals; gives the files, in the order of their names, and the basis that the intent carries.
    fn seal(&mut self, flush: OpenFlush) -> (Vec<SealedFile>, Basis) {
        let partitioner = Partitioner::new(Vec::new(), 0);
        let mut context = FlushContext {
            tp: &self.tp,
            topic_id: None,
            settings: &self.settings,
            partitioner: &partitioner,
            schemas: &mut self.schemas,
            letters: &self.letters,
            effects: &mut self.effects,
        };
        let sealed = flush.seal(&mut context).unwrap();
        let mut files = sealed.files;
        files.sort_by(|one, other| one.name.cmp(&other.name));
        (files, Intent::from_metadata(&sealed.intent).unwrap().unwrap().basis)
    }

    /// One flush of these records, all of which it takes.
    fn flush(&mut self, basis: Basis, records: Vec<OwnedRecord>) -> (Vec<SealedFile>, Basis) {
        let mut flush = self.open(Cut::None, basis);
        assert_eq!(self.take(&mut flush, records), Ok(Taken::All));
        self.seal(flush)
    }

    /// The same records again, as an intent with this basis asks.
    fn replay(&mut self, basis: &Basis, records: Vec<OwnedRecord>) -> Result<Vec<SealedFile>, Failure> {
        let end = records.last().unwrap().offset.next();
        let mut flush = self.open(Cut::Replay(end), basis.clone());
        self.take(&mut flush, records)?;
        Ok(self.seal(flush).0)
    }

    fn refused(&mut self) -> Vec<&'static str> {
        let kinds = self.effects.drain(..).filter_map(|effect| match effect {
            Effect::Report(Event::Refused { kind, .. }) => Some(kind),
            _ => None,
        });
        kinds.collect()
    }
}

fn framed(schema: u32, numbers: &[i64]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&schema.to_be_bytes());
    bytes.extend(numbers.iter().map(|number| (number << 1) as u8));
    bytes
}

/// Values one after the other, without keys.
fn records(values: Vec<Option<Vec<u8>>>) -> Vec<OwnedRecord> {
    keyed(values.into_iter().map(|value| (None, value)).collect())
}

type Bytes = Option<Vec<u8>>;

fn keyed(pairs: Vec<(Bytes, Bytes)>) -> Vec<OwnedRecord> {
    let record = |(at, (key, value))| OwnedRecord {
        offset: Offset::new(at as i64).unwrap(),
        key,
        value,
        ..OwnedRecord::default()
    };
    pairs.into_iter().enumerate().map(record).collect()
}

fn rows(files: &[SealedFile]) -> Vec<u64> {
    files.iter().map(|file| file.rows).collect()
}

#[test]
fn fault_33_a_schema_that_turns_up_later_changes_nothing_in_a_flush_that_is_made_again() {
    let mut bench = Bench::new("errors: { on_poison: skip }", &[(1, LONG)]);
    bench.unknown(2);
    let values = || records(vec![Some(framed(1, &[1])), Some(framed(2, &[2])), Some(framed(1, &[3]))]);
    let (files, basis) = bench.flush(Basis::default(), values());
    assert_eq!((rows(&files), &basis.refused), (vec![2], &vec![SchemaId::Number(2)]));
    assert_eq!(bench.refused(), ["unknown_schema"]);

    let mut later = Bench::new("errors: { on_poison: skip }", &[(1, LONG), (2, LONG)]);
    assert_eq!(later.replay(&basis, values()).unwrap(), files);
    assert_eq!(later.refused(), ["refused_schema"]);
    let (own, _) = later.flush(Basis::default(), values());
    assert_eq!(rows(&own), [3], "a flush of its own reads what can be read");
}

#[test]
fn fault_39_a_schema_that_is_gone_when_a_flush_is_made_again_stops_it() {
    let values = || records(vec![Some(framed(1, &[1]))]);
    let mut bench = Bench::new("errors: { on_poison: skip }", &[(1, LONG)]);
    let (_, basis) = bench.flush(Basis::default(), values());
    let mut later = Bench::new("errors: { on_poison: skip }", &[]);
    later.unknown(1);
    let failure = later.replay(&basis, values()).unwrap_err();
    assert!(matches!(failure, Failure::Fatal { .. }), "{failure:?}");
    assert!(failure.to_string().contains("restore it in the registry"), "{failure}");
}

#[test]
fn fault_33_within_a_flush_a_verdict_does_not_change() {
    let mut bench = Bench::new("errors: { on_poison: skip }", &[(1, LONG)]);
    bench.unknown(2);
    let mut flush = bench.open(Cut::None, Basis::default());
    let mut values = records(vec![
        Some(framed(1, &[1])),
        Some(framed(2, &[2])),
        Some(framed(2, &[3])),
        Some(framed(1, &[4])),
    ]);
    let rest = values.split_off(2);
    assert_eq!(bench.take(&mut flush, values), Ok(Taken::All));
    bench.answer(2, Ok(LONG));
    assert_eq!(bench.take(&mut flush, rest), Ok(Taken::All));
    assert_eq!(rows(&bench.seal(flush).0), [2], "still refused");
    assert_eq!(bench.refused(), ["unknown_schema", "refused_schema"]);

    // The other way round the flush ends: its first records are rows already.
    let mut flush = bench.open(Cut::None, Basis::default());
    let mut values = records(vec![Some(framed(2, &[1])), Some(framed(1, &[2])), Some(framed(2, &[3]))]);
    let rest = values.split_off(2);
    assert_eq!(bench.take(&mut flush, values), Ok(Taken::All));
    bench.unknown(2);
    flush.ways.clear();
    assert_eq!(bench.take(&mut flush, rest), Ok(Taken::Rotate(RotationReason::Schemas)));
    assert_eq!(rows(&bench.seal(flush).0), [2]);
}

#[test]
fn fault_39_an_id_that_means_another_schema_when_a_flush_is_made_again_stops_it() {
    let values = || records(vec![Some(framed(1, &[1])), Some(framed(2, &[2, 0]))]);
    let known = Basis { prints: Some(Vec::new()), ..Basis::default() };
    let (files, basis) = Bench::new("", &[(1, LONG), (2, WIDER)]).flush(known, values());
    assert_eq!(basis.prints.as_ref().map(Vec::len), Some(2));
    assert_eq!(Bench::new("", &[(1, LONG), (2, WIDER)]).replay(&basis, values()).unwrap(), files);
    let other = WIDER.replace("a.N", "b.N");
    let moved = || Bench::new("", &[(1, LONG), (2, &other)]);
    let failure = moved().replay(&basis, values()).unwrap_err();
    assert!(matches!(failure, Failure::Fatal { .. }) && failure.to_string().contains("schema 2 is not what"));
    // Of records that compaction took away nothing is asked.
    moved().replay(&basis, records(vec![Some(framed(1, &[1]))])).unwrap();
    // An intent of a version without prints is followed as it was then.
    moved().replay(&Basis { prints: None, ..basis }, values()).unwrap();
}

#[test]
fn fault_39_a_reader_that_means_another_schema_when_a_flush_is_made_again_stops_it() {
    let readers = Readers { value: Some(SchemaId::Number(2)), ..Readers::default() };
    let known = Basis { readers, prints: Some(Vec::new()), ..Basis::default() };
    let values = || records(vec![Some(framed(1, &[1]))]);
    let (_, basis) = Bench::new("", &[(1, LONG), (2, WIDER)]).flush(known, values());
    let failure = Bench::new("", &[(1, LONG), (2, LONG)]).replay(&basis, values()).unwrap_err();
    assert!(failure.to_string().contains("schema 2 is not what"), "{failure}");
}

#[test]
fn an_intent_keeps_the_prints_of_all_schemas_or_of_none() {
    let all: Vec<(u32, &str)> = (1..=SCHEMA_PRINTS as u32 + 1).map(|id| (id, LONG)).collect();
    for (count, kept) in [(SCHEMA_PRINTS, Some(SCHEMA_PRINTS)), (SCHEMA_PRINTS + 1, None)] {
        let mut bench = Bench::new("", &all);
        let values = records(all[..count].iter().map(|(id, _)| Some(framed(*id, &[1]))).collect());
        let (_, basis) = bench.flush(Basis { prints: Some(Vec::new()), ..Basis::default() }, values);
        assert_eq!(basis.prints.map(|prints| prints.len()), kept);
    }
}

#[test]
fn fault_33_a_schema_that_made_no_row_but_moved_a_reader_is_not_refused_later_in_the_flush() {
    let lines = "key: { format: avro }\n    errors: { on_poison: skip }";
    let mut bench = Bench::new(lines, &[(1, LONG), (2, KEY), (3, WIDER_KEY), (4, OWN_TAIL)]);
    let mut flush = bench.open(Cut::None, Basis::default());
    let mut pairs = keyed(vec![
        (Some(framed(2, &[8])), Some(framed(1, &[1]))),
        (Some(framed(3, &[7, 1])), Some(framed(4, &[1, 0]))),
        (Some(framed(2, &[8])), Some(framed(4, &[1, 0]))),
    ]);
    let rest = pairs.split_off(2);
    assert_eq!(bench.take(&mut flush, pairs), Ok(Taken::All));
    assert_eq!(bench.refused().len(), 1, "it has no columns");
    assert_eq!(flush.readers().key, Some(SchemaId::Number(3)), "its key had a say");
    bench.unknown(4);
    assert_eq!(bench.take(&mut flush, rest), Ok(Taken::Rotate(RotationReason::Schemas)));
    assert_eq!(bench.seal(flush).1.refused, []);
}

#[test]
fn a_reader_that_is_gone_ends_the_flush_and_stops_only_one_that_is_made_again() {
    let readers = Readers { value: Some(SchemaId::Number(2)), ..Readers::default() };
    let basis = Basis { readers, ..Basis::default() };
    let values = || records(vec![Some(framed(1, &[1]))]);
    let mut bench = Bench::new("", &[(1, LONG)]);
    bench.unknown(2);
    let mut flush = bench.open(Cut::None, basis.clone());
    assert_eq!(bench.take(&mut flush, values()), Ok(Taken::Rotate(RotationReason::Schemas)));
    let failure = bench.replay(&basis, values()).unwrap_err();
    assert!(matches!(failure, Failure::Fatal { .. }) && failure.to_string().contains("restore it"));
}

#[test]
fn an_intent_names_only_so_many_refused_schemas() {
    let mut bench = Bench::new("errors: { on_poison: skip }", &[]);
    let ids = 1..=REFUSED_SCHEMAS as u32 + 1;
    for id in ids.clone() {
        bench.unknown(id);
    }
    let mut flush = bench.open(Cut::None, Basis::default());
    let values = records(ids.map(|id| Some(framed(id, &[1]))).collect());
    assert_eq!(bench.take(&mut flush, values), Ok(Taken::Rotate(RotationReason::Schemas)));
    assert_eq!(flush.range().end.as_i64(), REFUSED_SCHEMAS as i64);
}

/// It contains itself, so it has no columns.
const OWN_TAIL: &str = r#"{"type":"record","name":"T","fields":[{"name":"n","type":"long"},{"name":"next","type":["null","T"]}]}"#;
const KEY: &str = r#"{"type":"record","name":"K","fields":[{"name":"id","type":"long"}]}"#;
const WIDER_KEY: &str = r#"{"type":"record","name":"K","fields":[{"name":"id","type":"long"},{"name":"x","type":"long","default":0}]}"#;
const OTHER_KEY: &str = r#""string""#;

#[test]
fn keys_evolve_and_one_that_cannot_be_absorbed_has_a_file_of_its_own() {
    let schemas = [(1, LONG), (2, KEY), (3, WIDER_KEY), (4, OTHER_KEY)];
    let mut bench = Bench::new("key: { format: avro }", &schemas);
    let value = || Some(framed(1, &[1]));
    let pairs = || {
        keyed(vec![
            (Some(framed(3, &[7, 1])), value()),
            (Some(framed(2, &[8])), value()),
            (None, value()),
            (Some([&[0, 0, 0, 0, 4, 2], b"k".as_slice()].concat()), value()),
            (Some(framed(2, &[9])), value()),
        ])
    };
    let (files, basis) = bench.flush(Basis::default(), pairs());
    assert_eq!(rows(&files), [1, 4], "the string has its own, whose name comes first");
    assert_eq!(bench.replay(&basis, pairs()).unwrap(), files);

    // The reader of keys in force at the end is the one the next flush begins with, and its intent carries it.
    let mut flush = bench.open(Cut::None, Basis::default());
    bench.take(&mut flush, pairs()).unwrap();
    let readers = flush.readers();
    assert_eq!((readers.value, readers.key), (Some(SchemaId::Number(1)), Some(SchemaId::Number(3))));
    let next = || keyed(vec![(None, value()), (Some(framed(2, &[1])), value())]);
    let (files, _) = bench.flush(Basis { readers, ..Basis::default() }, next());
    assert_eq!(rows(&files), [2], "null and older keys join the reader in force");
}

#[test]
fn fault_62_each_of_several_types_settles_on_its_newest_version_across_flushes() {
    const OTHER: &str = r#"{"type":"record","name":"O","fields":[{"name":"t","type":"boolean"}]}"#;
    let mut bench = Bench::new("", &[(1, OTHER), (2, LONG), (3, WIDER)]);
    let values = |ids: &[u32]| {
        let value = |id: &u32| Some(framed(*id, if *id == 3 { &[0, 0] } else { &[0] }));
        records(ids.iter().map(value).collect())
    };
    let mut flush = bench.open(Cut::None, Basis::default());
    bench.take(&mut flush, values(&[1, 2, 3])).unwrap();
    let readers = flush.readers();
    assert_eq!(
        (readers.value, readers.others.clone()),
        (Some(SchemaId::Number(1)), vec![SchemaId::Number(3)])
    );

    let basis = Basis { readers, ..Basis::default() };
    let (files, basis) = bench.flush(basis, values(&[2, 1, 3, 2]));
    assert_eq!(rows(&files), [1, 3], "the older version does not begin a file of its own");
    // Made again by a process that knows no schema yet: every reader is asked for before anything is decided.
    let mut later = Bench::new("", &[(2, LONG)]);
    let mut flush = later.open(Cut::Replay(Offset::new(4).unwrap()), basis.clone());
    assert_eq!(later.take(&mut flush, values(&[2, 1, 3, 2])), Ok(Taken::NeedSchema(SchemaId::Number(1))));
    later.answer(1, Ok(OTHER));
    assert_eq!(later.take(&mut flush, values(&[2, 1, 3, 2])), Ok(Taken::NeedSchema(SchemaId::Number(3))));
    later.answer(3, Ok(WIDER));
    assert_eq!(later.replay(&basis, values(&[2, 1, 3, 2])).unwrap(), files);
}

#[test]
fn fault_46_a_poison_key_or_value_leaves_no_half_row() {
    let mut bench =
        Bench::new("key: { format: avro }\n    errors: { on_poison: skip }", &[(1, LONG), (2, KEY)]);
    let (key, value) = (framed(2, &[1]), framed(1, &[1]));
    let cut = |bytes: &[u8]| Some(bytes[..bytes.len() - 1].to_vec());
    let pairs = vec![
        (Some(key.clone()), Some(value.clone())),
        (cut(&key), Some(value.clone())),
        (Some(key.clone()), cut(&value)),
        (Some(b"{}".to_vec()), Some(value.clone())),
        (Some(key), Some(value)),
    ];
    let (files, _) = bench.flush(Basis::default(), keyed(pairs));
    assert_eq!(rows(&files), [2]);
    assert_eq!(bench.refused(), ["truncated", "truncated", "bad_magic"]);
}

#[test]
fn a_poison_record_that_stops_the_connector_is_counted_too() {
    let mut bench = Bench::new("", &[(1, LONG)]);
    let mut flush = bench.open(Cut::None, Basis::default());
    let failure = bench.take(&mut flush, records(vec![Some(framed(1, &[]))])).unwrap_err();
    assert!(failure.to_string().contains("errors.on_poison"), "{failure}");
    assert_eq!(bench.refused(), ["truncated"]);
}

#[test]
fn a_poison_record_becomes_a_letter_as_it_was() {
    let errors = "errors: { on_poison: dead_letter, dead_letter_topic: dead }\n    key: { format: avro }";
    let mut bench = Bench::new(errors, &[(1, LONG), (2, KEY)]);
    let pairs = vec![(Some(b"bad key".to_vec()), Some(framed(1, &[1])))];
    bench.flush(Basis::default(), keyed(pairs));
    let letters: Vec<DeadLetter> = bench
        .effects
        .drain(..)
        .filter_map(
            |effect| if let Effect::DeadLetter { letters, .. } = effect { Some(letters) } else { None },
        )
        .flatten()
        .collect();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].key.as_deref(), letters[0].stage), (Some(&b"bad key"[..]), Stage::Wire));
    assert_eq!(letters[0].schema, Some(SchemaId::Number(1)));
    assert!(letters[0].reason.contains("the key"), "{}", letters[0].reason);
}

#[test]
fn types_of_records_that_share_a_topic_have_directories_and_schemas_of_their_own() {
    let lines = "partition_by: [{ record: full_name }]\n    errors: { on_tombstone: row }";
    let mut bench = Bench::new(lines, &[(1, LONG), (2, NAMESAKE), (3, WIDER)]);
    let values = || {
        let values = [framed(1, &[1]), framed(2, &[2]), framed(3, &[3, 0]), framed(2, &[4]), framed(1, &[5])];
        records(values.into_iter().map(Some).collect())
    };
    let (files, basis) = bench.flush(Basis::default(), values());
    let places: Vec<(&str, u64)> =
        files.iter().map(|file| (file.name.split('/').nth(1).unwrap(), file.rows)).collect();
    assert_eq!(places, [("record=a.N", 2), ("record=a.N", 1), ("record=b.N", 2)]);
    assert_eq!(bench.replay(&basis, values()).unwrap(), files);
}

#[test]
fn fault_72_the_cap_on_open_files_ends_a_flush_in_the_middle_of_a_block() {
    let mut bench = Bench::new("partition_by: [{ field: n }]", &[(1, LONG)]);
    bench.settings.open_files = 20;
    let values = || records((0..60).map(|number| Some(framed(1, &[number]))).collect());
    let mut flush = bench.open(Cut::None, Basis::default());
    assert_eq!(bench.take(&mut flush, values()), Ok(Taken::Rotate(RotationReason::OpenFiles)));
    let end = flush.range().end;
    let (files, basis) = bench.seal(flush);
    assert!((20..=22).contains(&files.len()), "{} files", files.len());
    // The cap of an intent is its end alone.
    let upto = usize::try_from(end.as_i64()).unwrap();
    bench.settings.open_files = 1;
    assert_eq!(bench.replay(&basis, values().drain(..upto).collect()).unwrap(), files);
}

#[test]
fn fault_72_rows_of_tombstones_do_not_pass_the_cap_on_open_files_either() {
    let lines =
        "partition_by: [{ field: _key.id }]\n    key: { format: avro }\n    errors: { on_tombstone: row }";
    let mut bench = Bench::new(lines, &[(2, KEY)]);
    bench.settings.open_files = 20;
    let mut flush = bench.open(Cut::None, Basis::default());
    let pairs = keyed((0..60).map(|number| (Some(framed(2, &[number])), None)).collect());
    assert_eq!(bench.take(&mut flush, pairs), Ok(Taken::Rotate(RotationReason::OpenFiles)));
    let files = bench.seal(flush).0.len();
    assert!((20..=22).contains(&files), "{files} files");
}

const NODE: &str = r#"{"type":"record","name":"a.N","fields":[{"name":"n","type":"long"},{"name":"next","type":["null","N"]}]}"#;

#[test]
fn fault_57_a_type_that_contains_itself_never_becomes_a_reader() {
    let values = || records(vec![Some(framed(1, &[7, 0])), Some(framed(2, &[3])), Some(framed(1, &[8, 0]))]);
    for evolution in ["lossless", "per_version", "latest"] {
        let lines = format!("schema: {{ evolution: {evolution} }}\n    errors: {{ on_poison: skip }}");
        let mut bench = Bench::new(&lines, &[(1, NODE), (2, LONG)]);
        let (files, basis) = bench.flush(Basis::default(), values());
        assert_eq!(rows(&files), [1], "{evolution}");
        assert_eq!(bench.refused(), ["unsupported_schema"; 2], "{evolution}");
        assert_ne!(basis.readers.value, Some(SchemaId::Number(1)), "{evolution}");
        assert!(basis.refused.is_empty(), "the schema itself says so, whenever it is asked");
        assert_eq!(bench.replay(&basis, values()).unwrap(), files, "{evolution}");
    }
    let reader = tempfile::NamedTempFile::new().unwrap();
    let fixed = format!("schema: {{ evolution: fixed, reader_schema_file: '{}' }}", reader.path().display());
    let mut bench = Bench::new(&fixed, &[(1, NODE), (2, LONG)]);
    bench.schemas.pin(SchemaId::ReaderFile, LONG, true).unwrap();
    let (files, _) = bench.flush(Basis::default(), values());
    assert_eq!(rows(&files), [3], "a reader schema leaves the field out");
}

#[test]
fn fault_60_a_partition_does_not_hide_a_column_of_the_same_name() {
    let nested = r#"{"type":"record","name":"a.O","fields":[{"name":"n","type":"long"},
        {"name":"shipping","type":{"type":"record","name":"S","fields":[{"name":"n","type":"long"}]}}]}"#;
    let mut bench = Bench::new("partition_by: [{ field: shipping.n }]", &[(1, nested)]);
    let (files, _) = bench.flush(Basis::default(), records(vec![Some(framed(1, &[7, 8]))]));
    assert!(files[0].name.contains("/n=8/"), "{}", files[0].name);
    let mut bytes = Vec::new();
    for effect in bench.effects.drain(..) {
        if let Effect::Append { bytes: piece, .. } = effect {
            bytes.extend_from_slice(&piece);
        }
    }
    let read = parquet::file::metadata::ParquetMetaDataReader::new();
    let footer = read.parse_and_finish(&bytes::Bytes::from(bytes)).unwrap();
    let columns: Vec<String> =
        footer.row_group(0).columns().iter().map(|column| column.column_path().string()).collect();
    assert_eq!(columns[..2], ["n_2", "shipping.n"]);
}

#[test]
fn fault_49_tiny_values_that_stand_for_much_leave_a_batch_before_it_is_large() {
    const LIST: &str = r#"{"type":"record","name":"a.L","fields":[{"name":"l","type":{"type":"array","items":{"type":"fixed","name":"Z","size":0}}}]}"#;
    // A list of 900,000 items of no bytes each.
    let list = || Some([framed(1, &[]), crate::decode::tests::varint(900_000), vec![0]].concat());
    let lines = "key: { format: avro }\n    errors: { on_tombstone: row }";
    let plain = Some(framed(2, &[1]));
    for pair in [(None, list()), (list(), plain), (list(), None)] {
        let bench = Bench::new(lines, &[(1, LIST), (2, LONG)]);
        leaves_after_three(bench, &RecordBlock::from_owned(keyed(vec![pair; 3])));
    }
}

/// Sixteen mebibytes of memory are three of them, which came in fewer than fifty bytes.
fn leaves_after_three(mut bench: Bench, block: &RecordBlock) {
    let mut flush = bench.open(Cut::None, Basis::default());
    let partitioner = Partitioner::new(Vec::new(), 0);
    let mut wires = Wires::new(&bench.settings);
    let mut context = FlushContext {
        tp: &bench.tp,
        topic_id: None,
        settings: &bench.settings,
        partitioner: &partitioner,
        schemas: &mut bench.schemas,
        letters: &bench.letters,
        effects: &mut bench.effects,
    };
    for (at, full) in [false, false, true].into_iter().enumerate() {
        let record = block.get(at).unwrap();
        flush.take_record(&record, at as u32, &mut wires, &mut 0, &mut context, NOW).unwrap();
        assert_eq!(flush.shelves_full(usize::MAX, &context), full, "{at}");
    }
    flush.clear_shelves(block, &mut context).unwrap();
    assert!(!flush.shelves_full(usize::MAX, &context));
}

#[test]
fn settings_that_are_no_part_of_the_plan_may_change_before_a_flush_is_made_again() {
    let values = || records((0..60).map(|n| Some(framed(1, &[n % 3]))).collect());
    let bench =
        |lines: &str| Bench::new(&format!("partition_by: [{{ field: n }}]\n    {lines}"), &[(1, LONG)]);
    let mut first = bench("parquet: { sort_by: [n] }");
    let (files, basis) = first.flush(Basis::default(), values());
    let identities = |files: &[SealedFile]| -> Vec<(String, u64, u64)> {
        files.iter().map(|file| (file.name.clone(), file.rows, file.checksum)).collect()
    };
    assert_eq!(files.len(), 3);
    for lines in
        ["rotate: { rows: 7 }", "parquet: { compression: zstd, row_group: { rows: 11 } }", "tasks: 3"]
    {
        let mut later = bench(lines);
        assert_eq!(later.settings.plan, first.settings.plan, "{lines}");
        assert_eq!(identities(&later.replay(&basis, values()).unwrap()), identities(&files), "{lines}");
    }
}
