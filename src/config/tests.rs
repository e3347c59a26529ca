//! Proves the configuration as a whole: what a user writes, and what is said about it.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::settings::*;
use super::{ConfigErrors, load, load_str};

mod directory;
mod faults;
mod formats;
mod mutation;

/// A configuration with everything that is required and nothing else; a test adds to it.
const SMALLEST: &str = "\
version: 1
connectors:
  - name: a
    kafka:
      topics: [t]
      properties:
        bootstrap.servers: localhost:9092
    value: { format: avro }
    registry: { url: 'http://localhost:8081' }
    storage: { url: 'file:///lake' }
";

fn nothing(_: &str) -> Option<String> {
    None
}

fn loaded(text: &str) -> Settings {
    load_str(text, &nothing).unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> String {
    load_str(text, &nothing).map(|_| ()).unwrap_err().to_string()
}

/// `SMALLEST` with lines of the connector added.
fn with(lines: &str) -> String {
    format!("{SMALLEST}{}\n", indented(lines, 4))
}

/// `SMALLEST` with lines of the connector's properties added.
fn with_properties(lines: &str) -> String {
    let (head, tail) = SMALLEST.split_at(SMALLEST.find("    value:").unwrap());
    format!("{head}{}\n{tail}", indented(lines, 8))
}

fn indented(lines: &str, columns: usize) -> String {
    let margin = " ".repeat(columns);
    format!("{margin}{}", lines.replace('\n', &format!("\n{margin}")))
}

fn connector(text: &str) -> ConnectorSettings {
    loaded(text).connectors.remove(0)
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let found = errors(text);
    assert!(found.contains(expected), "expected {expected:?} in:\n{found}");
    assert_eq!(found.lines().count(), 1, "one problem, one message:\n{found}");
}

#[test]
fn the_smallest_configuration_gets_the_defaults() {
    let settings = loaded(SMALLEST);
    assert_eq!(settings.daemon.listen.to_string(), "127.0.0.1:9464");
    assert_eq!((settings.daemon.log_format, settings.daemon.log_level), (LogFormat::Json, LogLevel::Info));
    assert_eq!(settings.daemon.shutdown_timeout, Duration::from_secs(60));
    assert_eq!(settings.daemon.scratch_dir, std::env::temp_dir());
    assert!(settings.daemon.memory.0 > 0);
    let a = &settings.connectors[0];
    assert_eq!((a.name.as_str(), a.kafka.group.as_str()), ("a", "sluice-a"));
    assert_eq!(a.kafka.topics, TopicSelection::Names(vec!["t".to_owned()]));
    assert_eq!(a.kafka.start, StartPosition::Earliest);
    assert_eq!(a.kafka.properties["bootstrap.servers"].expose(), "localhost:9092");
    assert_eq!((&a.value, a.key), (&ValueFormat::AvroRegistry(WireFormat::Confluent), KeyFormat::None));
    assert_eq!(a.registry.as_ref().unwrap().timeout, Duration::from_secs(10));
    assert!(matches!(a.registry.as_ref().unwrap().auth, RegistryAuth::None));
    assert_eq!(a.schema.evolution, Evolution::Lossless);
    assert_eq!(a.columns, MetadataColumns { position: true, key: false, headers: false });
    assert_eq!(a.types, ColumnTypes::default());
    assert!(a.partition_by.is_empty());
    let every = Some(Duration::from_secs(300));
    assert_eq!(a.rotate, RotateSettings { bytes: Some(ByteSize(128 << 20)), rows: None, every, idle: None });
    assert_eq!(a.parquet.compression, Compression::Snappy);
    assert_eq!(a.parquet.row_group_bytes, ByteSize(64 << 20));
    assert_eq!((a.parquet.row_group_rows.get(), a.parquet.dictionary), (1_000_000, Dictionary::Auto));
    let fail =
        ErrorSettings { on_poison: OnPoison::Fail, dead_letter_topic: None, on_tombstone: OnTombstone::Skip };
    assert_eq!(a.errors, fail);
    assert!(a.tasks.get() >= 1);
}

#[test]
fn everything_can_be_set() {
    let text = "\
version: 1
daemon:
  listen: 0.0.0.0:80
  log: { format: text, level: debug }
  memory: 512MiB
  shutdown_timeout: 2m
  scratch_dir: /scratch
connectors:
  - name: orders
    kafka:
      topics_regex: '^shop\\..*$'
      group: g
      start: error
      properties: { bootstrap.servers: 'k:9092', fetch.min.bytes: 1, check.crcs: true, client.id: 007 }
    value: { format: avro }
    key: { format: avro }
    registry: { url: ['http://r1:8081', 'https://r2/path'], username: u, password: p, timeout: 3s }
    schema: { evolution: per_version }
    columns: { metadata: [key, headers], timestamp_nanos: micros, time: number, wide_decimal: string, uuid: uuid }
    partition_by:
      - { field: shipping.country }
      - { field: a\\.b, name: ab }
      - { time: created_at, path: 'dt=%Y-%m-%d/hour=%H', timezone: Europe/Berlin }
    rotate: { rows: 5000000, idle: 30s }
    parquet:
      compression: zstd(19)
      row_group: { bytes: 1MiB, rows: 10 }
      dictionary: always
      columns: { order.id: { dictionary: never, bloom_filter: true } }
      sort_by: [a, b]
    storage: { url: s3://lake/raw, options: { endpoint: 'http://localhost:9000', allow_http: true } }
    errors: { on_poison: dead_letter, dead_letter_topic: dead, on_tombstone: row }
    tasks: 2
";
    let settings = loaded(text);
    assert_eq!(settings.daemon.listen.port(), 80);
    assert_eq!((settings.daemon.log_format, settings.daemon.log_level), (LogFormat::Text, LogLevel::Debug));
    assert_eq!(settings.daemon.memory, ByteSize(512 << 20));
    assert_eq!(settings.daemon.scratch_dir, Path::new("/scratch"));
    let c = &settings.connectors[0];
    assert_eq!(c.kafka.topics, TopicSelection::Regex("^shop\\..*$".to_owned()));
    assert_eq!((c.kafka.group.as_str(), c.kafka.start), ("g", StartPosition::Error));
    let property = |key: &str| c.kafka.properties[key].expose();
    assert_eq!(
        (property("fetch.min.bytes"), property("check.crcs"), property("client.id")),
        ("1", "true", "007")
    );
    let registry = c.registry.as_ref().unwrap();
    assert_eq!(registry.urls.len(), 2);
    assert!(matches!(&registry.auth, RegistryAuth::Basic { username, password }
        if username == "u" && password.expose() == "p"));
    assert_eq!(
        (c.key, &c.schema.evolution),
        (KeyFormat::Avro(WireFormat::Confluent), &Evolution::PerVersion)
    );
    assert_eq!(c.columns, MetadataColumns { position: true, key: true, headers: true });
    let types = ColumnTypes {
        timestamp_nanos: NanosAs::Micros,
        time: TimeAs::Number,
        wide_decimal: WideDecimalAs::Text,
        uuid: UuidAs::Uuid,
    };
    assert_eq!(c.types, types);
    let field = |path: &[&str], name: &str| PartitionRule::Field {
        path: path.iter().map(|&name| name.to_owned()).collect(),
        name: name.to_owned(),
    };
    assert_eq!(c.partition_by[0], field(&["shipping", "country"], "country"));
    assert_eq!(c.partition_by[1], field(&["a.b"], "ab"));
    let time = PartitionRule::Time {
        source: TimeSource::Field(vec!["created_at".to_owned()]),
        pattern: "dt=%Y-%m-%d/hour=%H".to_owned(),
        timezone: chrono_tz::Europe::Berlin,
    };
    assert_eq!(c.partition_by[2], time);
    let idle = Some(Duration::from_secs(30));
    assert_eq!(c.rotate, RotateSettings { bytes: None, rows: NonZeroU64::new(5_000_000), every: None, idle });
    assert_eq!((c.parquet.compression, c.parquet.dictionary), (Compression::Zstd(19), Dictionary::Always));
    assert_eq!((c.parquet.row_group_bytes, c.parquet.row_group_rows.get()), (ByteSize(1 << 20), 10));
    let column = ColumnSettings { dictionary: Some(Dictionary::Never), bloom_filter: true };
    assert_eq!(c.parquet.columns["order.id"], column);
    assert_eq!(c.parquet.sort_by, ["a", "b"]);
    assert_eq!((c.storage.url.as_str(), c.storage.options["allow_http"].expose()), ("s3://lake/raw", "true"));
    assert_eq!(c.errors.dead_letter_topic.as_deref(), Some("dead"));
    assert_eq!((c.errors.on_poison, c.errors.on_tombstone), (OnPoison::DeadLetter, OnTombstone::Row));
    assert_eq!(c.tasks, NonZeroUsize::new(2).unwrap());
}

#[test]
fn the_configuration_that_comes_with_sluice_needs_no_environment() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors.yaml");
    let settings = load(&path, &nothing).unwrap_or_else(|errors| panic!("{errors}"));
    let [orders, shop] = &settings.connectors[..] else { panic!("two connectors") };
    assert_eq!(orders.kafka.properties["bootstrap.servers"].expose(), "localhost:9092");
    assert_eq!(orders.registry.as_ref().unwrap().urls[0].as_str(), "http://localhost:8081/");
    assert_eq!(orders.storage.url.as_str(), "file:///var/lib/sluice/lake");
    assert_eq!(shop.storage.url.as_str(), "s3://lake/raw");
    assert_eq!(shop.rotate.rows, NonZeroU64::new(5_000_000));
    assert_eq!(shop.columns, MetadataColumns { position: true, key: true, headers: true });

    let shell = |name: &str| (name == "PWD").then(|| "/home/me".to_owned());
    let settings = load(&path, &shell).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(settings.connectors[0].storage.url.as_str(), "file:///home/me/lake");
}

#[test]
fn defaults_go_under_every_connector() {
    let text = "\
version: 1
defaults:
  kafka: { start: latest, properties: { bootstrap.servers: 'k:1', client.id: x } }
  value: { format: avro }
  registry: { url: 'http://r:1' }
  rotate: { bytes: 1MiB, every: 1m }
  storage: { url: 's3://lake' }
connectors:
  - name: a
    kafka: { topics: [a], properties: { client.id: y } }
    rotate: { rows: 7, every: ~ }
  - name: b
    kafka: { topics: [b], start: error }
";
    let settings = loaded(text);
    let [a, b] = &settings.connectors[..] else { panic!("two connectors") };
    assert_eq!((a.kafka.start, b.kafka.start), (StartPosition::Latest, StartPosition::Error));
    assert_eq!(a.kafka.properties["bootstrap.servers"].expose(), "k:1");
    assert_eq!(
        (a.kafka.properties["client.id"].expose(), b.kafka.properties["client.id"].expose()),
        ("y", "x")
    );
    // Maps merge; `~` takes a default away.
    let merged =
        RotateSettings { bytes: Some(ByteSize(1 << 20)), rows: NonZeroU64::new(7), every: None, idle: None };
    assert_eq!(a.rotate, merged);
}

#[test]
fn a_problem_in_the_defaults_is_told_once() {
    let defaults = "defaults: { rotate: { bites: 1MiB, rows: 1 } }\nconnectors:";
    let twice = SMALLEST.replace("connectors:", defaults)
        + &SMALLEST[SMALLEST.find("  - name").unwrap()..].replace("name: a", "name: b").replace("[t]", "[u]");
    refused(&twice, "connectors.yaml:2:23: unknown key `rotate.bites`; did you mean `bytes`?");
}

#[test]
fn what_cannot_be_read_is_an_error_with_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let messages = |path: &Path| load(path, &nothing).unwrap_err().to_string();
    assert!(messages(directory.path()).contains("holds no `*.yaml` file"));
    assert!(messages(&directory.path().join("none.yaml")).contains("none.yaml:1:1: cannot read"));
    let binary = directory.path().join("binary.yaml");
    std::fs::write(&binary, [b'a', 0xff]).unwrap();
    assert!(messages(&binary).contains("not UTF-8"));
    std::fs::write(&binary, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(messages(&binary).contains("larger than 1 MiB"));
}

#[test]
fn relative_paths_start_at_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("order.avsc"), "\"string\"").unwrap();
    let file = directory.path().join("c.yaml");
    let text = SMALLEST
        .replace("{ format: avro }", "{ format: avro, schema_file: order.avsc }")
        .replace("    registry: { url: 'http://localhost:8081' }\n", "");
    std::fs::write(&file, &text).unwrap();
    let settings = load(&file, &nothing).unwrap_or_else(|errors| panic!("{errors}"));
    let schema_file: PathBuf = directory.path().join("order.avsc");
    assert_eq!(settings.connectors[0].value, ValueFormat::AvroSchemaFile(schema_file));
    assert!(settings.connectors[0].registry.is_none());
    refused(&text, "8:41: `value.schema_file` must be a file that exists; found `order.avsc`");
}

#[test]
fn missing_keys_are_named_where_they_belong() {
    refused("connectors: []\nversion: 1\n", "1:13: `connectors` must hold at least one connector");
    refused("version: 1\n", "missing required key `connectors`");
    refused(&SMALLEST.replace("version: 1\n", ""), "missing required key `version`");
    refused(&SMALLEST.replace("version: 1", "version: 2"), "1:10: `version` must be 1");
    refused(&SMALLEST.replace("topics: [t]", "start: latest"), "4:5: missing required key `kafka.topics`");
    refused(
        &SMALLEST.replace("bootstrap", "bootstap"),
        "7:9: `kafka.properties.bootstap.servers` is no property of librdkafka; did you mean `bootstrap.servers`?",
    );
    refused(&SMALLEST.replace("{ url: 'file:///lake' }", "{}"), "missing required key `storage.url`");
    refused(&SMALLEST.replace("value: { format: avro }", "tasks: 1"), "missing required key `value.format`");
    let no_registry = SMALLEST.replace("    registry: { url: 'http://localhost:8081' }\n", "");
    refused(&no_registry, "3:5: missing required key `registry`: `value.format: avro`");
    refused(&SMALLEST.replace("topics: [t]", "topics: []"), "must name at least one topic");
}

#[test]
fn formats_that_come_later_are_told_so() {
    refused(&SMALLEST.replace("format: avro", "format: protobuf"), "comes later");
    refused(&SMALLEST.replace("format: avro", "format: arvo"), "did you mean `avro`?");
}

#[test]
fn sections_agree_with_one_another() {
    refused(&with("columns: { metadata: [key] }"), "needs a `key.format` other than `none`");
    refused(&with("columns: { timestamp_nanos: millis }"), "`nanos`, `micros`, `number`");
    refused(&with("columns: { uid: uuid }"), "did you mean `uuid`");
    refused(&with("columns: { metadata: [value] }"), "a list of `position`, `key` and `headers`");
    refused(&with("columns: { metadata: position }"), "a list of `position`, `key` and `headers`");
    refused(&with("schema: { evolution: fixed }"), "missing required key `schema.reader_schema_file`");
    refused(&with("errors: { on_poison: dead_letter }"), "missing required key `errors.dead_letter_topic`");
    refused(
        &with("errors: { on_tombstone: dead_letter }"),
        "missing required key `errors.dead_letter_topic`",
    );
    refused(&with("errors: { dead_letter_topic: t }"), "must not be a topic that the connector reads itself");
    let regex = SMALLEST.replace("topics: [t]", "topics_regex: '^t.*'");
    refused(&format!("{regex}    errors: {{ dead_letter_topic: t.dead }}\n"), "must not be a topic");
    refused(&SMALLEST.replace("topics: [t]", "topics: [t]\n      topics_regex: ^t"), "cannot stand beside");
    refused(&SMALLEST.replace("topics: [t]", "topics_regex: t"), "must begin with `^`");
    refused(
        &SMALLEST.replace("topics: [t]", "topics_regex: '^shop('"),
        "is not a regular expression: unclosed group",
    );
    refused(&SMALLEST.replace("topics: [t]", "topics_regex: '^\\d+$'"), "write `[0-9]`");
    refused(&with("partition_by: [{ field: a, time: record }]"), "cannot stand beside `field`");
    refused(&with("partition_by: [{ name: a }]"), "missing required key `partition_by.field` (or `time`)");
    refused(&with("partition_by: [{ time: record }]"), "missing required key `partition_by.path`");
    refused(&with("partition_by: [{ field: a }, { field: b.a }]"), "the same directories `a=…`");
    refused(&with("partition_by: [{ field: dt }, { time: record, path: 'dt=%F' }]"), "the same directories");
    refused(&with("partition_by: [{ field: 'a=b' }]"), "give the entry a `name`");
    refused(&with("partition_by: [{ field: a, timezone: UTC }]"), "belongs to a `time` entry");
    refused(&with("tasks: 1025"), "from 1 to 1024");
    refused(&with("tasks: 0"), "at least 1");
}

#[test]
fn urls_are_checked_and_never_shown() {
    let registry = |url: &str| SMALLEST.replace("http://localhost:8081", url);
    refused(&registry("http://user:hunter2@r"), "write them as `username` and `password`");
    refused(&registry("r:8081"), "must begin with `http://`");
    refused(&registry("http://r?token=hunter2"), "must not have a `?`");
    assert_eq!(connector(&registry("http://a, http://b")).registry.unwrap().urls.len(), 2);
    let storage = |url: &str| SMALLEST.replace("file:///lake", url);
    refused(&storage("file://lake/raw"), "three slashes");
    refused(&storage("file:lake"), "three slashes");
    refused(&storage("file:///"), "below the root");
    refused(&storage("s3://key:hunter2@lake"), "credentials belong in `options`");
    refused(&storage("s4://lake"), "must be a URL such as");
    refused(&storage("s3:///raw"), "must name a bucket");
    refused(&storage("gs://lake?x=1"), "must not have a `?`");
    for url in ["gs://lake", "az://container/path", "s3://lake", "file:///a/b"] {
        assert_eq!(connector(&storage(url)).storage.url.as_str(), url);
    }
}

#[test]
fn registry_credentials_come_in_pairs() {
    let auth = |keys: &str| SMALLEST.replace("8081' }", &format!("8081', {keys} }}"));
    refused(&auth("username: u"), "needs `password` beside it");
    refused(&auth("password: p"), "needs `username` beside it");
    refused(&auth("username: u, password: p, token: t"), "cannot stand beside");
    let token = connector(&auth("token: t")).registry.unwrap().auth;
    assert!(matches!(token, RegistryAuth::Bearer(token) if token.expose() == "t"));
}

#[test]
fn a_reference_may_give_a_value_of_any_type() {
    let text = with(
        "tasks: ${TASKS:-3}\nrotate: { rows: '${ROWS:-1000}', bytes: \"${SIZE}\", every: '${MINUTES}m' }",
    );
    let environment = |name: &str| match name {
        "SIZE" => Some("1MiB".to_owned()),
        "MINUTES" => Some("5".to_owned()),
        _ => None,
    };
    let settings = load_str(&text, &environment).unwrap_or_else(|errors| panic!("{errors}"));
    let connector = &settings.connectors[0];
    assert_eq!((connector.tasks.get(), connector.rotate.rows), (3, NonZeroU64::new(1000)));
    assert_eq!(connector.rotate.bytes, Some(ByteSize(1 << 20)));
    assert_eq!(connector.rotate.every, Some(Duration::from_secs(300)));
}

#[test]
fn two_connectors_share_no_topic_of_one_group_or_place() {
    let second = &SMALLEST[SMALLEST.find("  - name").unwrap()..].replace("name: a", "name: b");
    let pair = |second: &str| format!("{SMALLEST}{second}");
    refused(
        &pair(second),
        "18:21: the connectors `b` and `a` (line 3) may write the same topic under the same",
    );
    let elsewhere = second.replace("file:///lake", "file:///other");
    assert_eq!(loaded(&pair(&elsewhere)).connectors.len(), 2);
    let same_group = elsewhere.replace("topics: [t]", "topics: [u, t]\n      group: sluice-a");
    refused(&pair(&same_group), "12:5: the connectors `b` and `a` (line 3) have the same group");
    loaded(&pair(&same_group.replace("localhost:9092", "otherhost:9092")));
    loaded(&pair(&same_group.replace("[u, t]", "[u]")));
    let endpoint = second.replace("'file:///lake'", "'s3://lake', options: { endpoint: 'http://x' }");
    let first = SMALLEST.replace("file:///lake", "s3://lake");
    loaded(&format!("{first}{endpoint}"));
}

#[test]
fn memory_may_be_a_share() {
    let memory = |text: &str| format!("{SMALLEST}daemon: {{ memory: {text} }}\n");
    let (half, whole) = (loaded(&memory("50%")).daemon.memory.0, loaded(&memory("100%")).daemon.memory.0);
    assert_eq!(half * 2, whole);
    refused(&memory("0%"), "from `1%` to `100%`");
    refused(&memory("150%"), "from `1%` to `100%`");
    refused(&memory("0"), "larger than 0");
}

#[test]
fn a_key_without_a_value_is_no_default() {
    refused(&with("rotate:"), "11:5: `rotate` has no value");
    refused(&with("errors:\n  on_poison:"), "12:7: `errors.on_poison` has no value");
    assert_eq!(connector(&with("tasks: ~\nrotate: null")).rotate, connector(SMALLEST).rotate);
}

#[test]
fn errors_are_sorted_and_iterate() {
    let all: ConfigErrors =
        load_str(&with("tusks: 1\nrotate: { rows: 0 }"), &nothing).map(|_| ()).unwrap_err();
    let lines: Vec<_> = all.as_slice().iter().map(|error| (error.line, error.column)).collect();
    assert_eq!(lines, [(11, 5), (12, 21)]);
    assert_eq!(all.to_string().lines().count(), 2);
    assert!(all.into_iter().all(|error| error.file == Path::new("connectors.yaml")));
}
