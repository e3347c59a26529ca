//! Owns the form of one entry of `connectors:` and the rules between its sections. Does not own the rules between
//! connectors ([`super::conflict`]).

use std::num::NonZeroUsize;

use super::conflict::{self, Labelled};
use super::section::Section;
use super::settings::{
    ColumnTypes, ConnectorSettings, ErrorSettings, Evolution, KeyFormat, MetadataColumns, NanosAs, OnPoison,
    OnTombstone, RegistrySettings, SchemaSettings, TimeAs, TopicSelection, UuidAs, ValueFormat,
    WideDecimalAs, WireFormat, WrittenAt,
};
use super::tree::{Content, Node, Scalar};
use super::{files, formats, kafka, partition, properties, registry, storage, value};

pub(super) const KEYS: &[&str] = &[
    "name",
    "kafka",
    "value",
    "key",
    "registry",
    "schema",
    "columns",
    "partition_by",
    "rotate",
    "parquet",
    "storage",
    "errors",
    "tasks",
];

const METADATA_FORM: &str =
    "must be `true`, `false` or a list of `position`, `key` and `headers`, such as `[headers]`";
const COLUMN_KEYS: &[&str] = &["metadata", "timestamp_nanos", "time", "wide_decimal", "uuid"];

const TASKS_MAX: usize = 1024;

/// Reads one connector. Nothing if something required is missing or wrong, which has been reported.
pub(super) fn read(section: &Section<'_>) -> Option<Labelled> {
    let name = section.require("name", connector_name);
    let kafka_section = section.section("kafka", kafka::KEYS);
    // A connector without a right name still gets its other sections checked.
    let kafka = kafka::read(&kafka_section, name.as_deref().unwrap_or("unnamed"));
    let value = formats::value(&section.section("value", formats::VALUE_KEYS));
    let key = formats::key(&section.section("key", formats::KEY_KEYS), value.as_ref());
    let registry = registry(section, value.as_ref(), key);
    let evolution_section = section.section("schema", &["evolution", "reader_schema_file"]);
    let evolution = evolution(&evolution_section, value.as_ref());
    let columns_section = section.section("columns", COLUMN_KEYS);
    let columns = columns(&columns_section, key);
    let types = column_types(&columns_section);
    let partition_by = partition::read(section);
    let rotate = files::rotate(&section.section("rotate", files::ROTATE_KEYS));
    let parquet = files::parquet(&section.section("parquet", files::PARQUET_KEYS));
    let storage_section = section.section("storage", storage::KEYS);
    let storage = storage::read(&storage_section);
    let errors_section = section.section("errors", &["on_poison", "dead_letter_topic", "on_tombstone"]);
    let errors = errors(&errors_section, kafka.as_ref().map(|kafka| &kafka.topics));
    if errors.dead_letter_topic.is_some() {
        properties::refuse_before_dead_letters(&kafka_section.section("properties", &[]));
    }
    let tasks = section.read("tasks", tasks).unwrap_or_else(default_tasks);
    let settings = ConnectorSettings {
        name: name?,
        kafka: kafka?,
        value: value?,
        key,
        registry,
        schema: SchemaSettings { evolution: evolution? },
        columns,
        types,
        partition_by,
        rotate,
        parquet,
        storage: storage?,
        errors,
        tasks,
        written_at: WrittenAt::default(),
    };
    Some(Labelled {
        settings,
        shown_name: section.node("name")?.scalar()?.shown(),
        place: section.place_of("name"),
        kafka_place: kafka_section.place(),
        storage_place: storage_section.place_of("url"),
        registry_place: section.place_of("registry"),
        key_places: [kafka_section.section("properties", &[]), storage_section.section("options", &[])]
            .iter()
            .flat_map(Section::key_places)
            .collect(),
    })
}

fn connector_name(scalar: &Scalar) -> Result<String, String> {
    const NAME_CHARS_MAX: usize = 128;
    let name = value::text(scalar)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.chars().all(allowed) || name.len() > NAME_CHARS_MAX || matches!(name.as_str(), "." | "..") {
        return Err(format!(
            "must be at most {NAME_CHARS_MAX} ASCII letters, digits, `-`, `_` and `.`; found {}",
            scalar.shown()
        ));
    }
    Ok(name)
}

fn registry(
    connector: &Section<'_>,
    value: Option<&ValueFormat>,
    key: KeyFormat,
) -> Option<RegistrySettings> {
    let mut wires = Vec::new();
    if let Some(ValueFormat::AvroRegistry(wire)) = value {
        wires.push(*wire);
    }
    if let KeyFormat::Avro(wire) = key {
        wires.push(wire);
    }
    let section = connector.section("registry", registry::KEYS);
    if connector.has("registry") {
        return registry::read(&section, &wires);
    }
    let reason = match (value, key) {
        (_, KeyFormat::Avro(_)) => ": `key.format: avro` takes its schemas from there",
        (Some(ValueFormat::AvroRegistry(_)), _) => {
            ": `value.format: avro` takes its schemas from there, unless `value.schema_file` names one"
        }
        _ => return None,
    };
    connector.report_missing("registry", reason);
    None
}

fn evolution(section: &Section<'_>, value: Option<&ValueFormat>) -> Option<Evolution> {
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        Lossless,
        PerVersion,
        Latest,
        Fixed,
    }
    let words = [
        ("lossless", Word::Lossless),
        ("per_version", Word::PerVersion),
        ("latest", Word::Latest),
        ("fixed", Word::Fixed),
    ];
    let word = if section.has("evolution") {
        section.read("evolution", value::choice(&words))
    } else {
        Some(Word::Lossless)
    };
    let file = section.read_file("reader_schema_file");
    if word.is_some_and(|word| word != Word::Fixed) && section.has("reader_schema_file") {
        section.report("reader_schema_file", "is read with `evolution: fixed` only");
    }
    let numbered = value.is_none_or(|value| {
        !matches!(value.wire(), WireFormat::SingleObject | WireFormat::Glue | WireFormat::Header)
    });
    if word == Some(Word::Latest) && !numbered {
        let message = "cannot be `latest` with this `value.wire`: only numbers tell which schema is newer";
        section.report("evolution", message);
    }
    match word? {
        Word::Lossless => Some(Evolution::Lossless),
        Word::PerVersion => Some(Evolution::PerVersion),
        Word::Latest => Some(Evolution::Latest),
        Word::Fixed => {
            section.report_missing(
                "reader_schema_file",
                ": `evolution: fixed` reads everything with that schema",
            );
            file.map(Evolution::Fixed)
        }
    }
}

fn columns(section: &Section<'_>, key: KeyFormat) -> MetadataColumns {
    let key = key != KeyFormat::None;
    let mut columns = MetadataColumns { position: true, key, headers: false };
    let Some(Node { content: Content::List(_), .. }) = section.node("metadata") else {
        let bare = |scalar: &Scalar| {
            value::boolean(scalar)
                .map_err(|reason| format!("{reason}; or a list of `position`, `key` and `headers`"))
        };
        columns.position = section.read("metadata", bare).unwrap_or(true);
        return columns;
    };
    for word in section.distinct_texts("metadata") {
        match word.as_str() {
            "position" => {}
            "headers" => columns.headers = true,
            "key" if key => {}
            "key" => section.report("metadata", "lists `key`, which needs a `key.format` other than `none`"),
            _ => section.report("metadata", METADATA_FORM),
        }
    }
    columns
}

fn column_types(section: &Section<'_>) -> ColumnTypes {
    let nanos = [("nanos", NanosAs::Nanos), ("micros", NanosAs::Micros), ("number", NanosAs::Number)];
    let times = [("time", TimeAs::Time), ("number", TimeAs::Number)];
    let decimals = [("decimal", WideDecimalAs::Decimal), ("string", WideDecimalAs::Text)];
    let uuids = [("string", UuidAs::Text), ("uuid", UuidAs::Uuid)];
    ColumnTypes {
        timestamp_nanos: section.read("timestamp_nanos", value::choice(&nanos)).unwrap_or_default(),
        time: section.read("time", value::choice(&times)).unwrap_or_default(),
        wide_decimal: section.read("wide_decimal", value::choice(&decimals)).unwrap_or_default(),
        uuid: section.read("uuid", value::choice(&uuids)).unwrap_or_default(),
    }
}

fn errors(section: &Section<'_>, topics: Option<&TopicSelection>) -> ErrorSettings {
    let poison = [("fail", OnPoison::Fail), ("skip", OnPoison::Skip), ("dead_letter", OnPoison::DeadLetter)];
    let tombstone = [
        ("skip", OnTombstone::Skip),
        ("fail", OnTombstone::Fail),
        ("dead_letter", OnTombstone::DeadLetter),
        ("row", OnTombstone::Row),
    ];
    let on_poison = section.read("on_poison", value::choice(&poison)).unwrap_or(OnPoison::Fail);
    let on_tombstone = section.read("on_tombstone", value::choice(&tombstone)).unwrap_or(OnTombstone::Skip);
    let dead_letter_topic = section.read("dead_letter_topic", kafka::topic);
    if on_poison == OnPoison::DeadLetter || on_tombstone == OnTombstone::DeadLetter {
        section.report_missing("dead_letter_topic", ": a policy here says `dead_letter`");
    }
    if let (Some(topics), Some(dead_letters)) = (topics, &dead_letter_topic) {
        let dead_letters = TopicSelection::Names(vec![dead_letters.clone()]);
        if conflict::may_share_a_topic(topics, &dead_letters) {
            let advice = "must not be a topic that the connector reads itself; choose a name outside of `kafka.topics` \
                          and of the beginning of `kafka.topics_regex`";
            section.report("dead_letter_topic", advice);
        }
    }
    ErrorSettings { on_poison, dead_letter_topic, on_tombstone }
}

fn tasks(scalar: &Scalar) -> Result<NonZeroUsize, String> {
    NonZeroUsize::try_from(value::positive(scalar)?)
        .ok()
        .filter(|tasks| tasks.get() <= TASKS_MAX)
        .ok_or_else(|| format!("must be from 1 to {TASKS_MAX}"))
}

fn default_tasks() -> NonZeroUsize {
    let most = NonZeroUsize::new(TASKS_MAX).expect("the limit is not zero");
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).min(most)
}
