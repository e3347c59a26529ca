//! Owns the plan hash: what stands in an intent for every setting that maps records to files. Intents outlive the program
//! that wrote them, so the text that is hashed is spelled out here and changes with nothing else.

use serde_json::{Value, json};

use crate::config::settings::{
    ApicurioIds, ColumnTypes, ConnectorSettings, Evolution, KeyFormat, NanosAs, OnPoison, OnTombstone,
    PartitionRule, RegistryApi, TimeAs, TimeSource, UuidAs, WideDecimalAs, WireFormat,
};
use crate::task::intent::PlanHash;
use crate::task::zone::rules_hash;

/// Changes with the meaning of anything in the text, or with the files that the same settings make.
const FORM: u32 = 3;

/// Two configurations with the same hash map the same records to the same files with the same rows. Of files with schemas
/// the texts count, not where they lie.
pub(super) fn plan_hash(
    connector: &ConnectorSettings,
    value_schema: Option<&str>,
    reader_schema: Option<&str>,
) -> PlanHash {
    let text = canonical(connector, value_schema, reader_schema).to_string();
    PlanHash(xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

/// Lists only: the order is part of the form.
fn canonical(
    connector: &ConnectorSettings,
    value_schema: Option<&str>,
    reader_schema: Option<&str>,
) -> Value {
    let columns = &connector.columns;
    let mut text = json!([
        FORM,
        connector.storage.url.as_str(),
        wire(connector.value.wire()),
        connector.registry.as_ref().map(|registry| api(&registry.api)),
        key(connector.key),
        match connector.schema.evolution {
            Evolution::Lossless => "lossless",
            Evolution::PerVersion => "per_version",
            Evolution::Latest => "latest",
            Evolution::Fixed(_) => "fixed",
        },
        [columns.position, columns.key, columns.headers],
        connector.partition_by.iter().map(rule).collect::<Vec<_>>(),
        match connector.errors.on_poison {
            OnPoison::Fail => "fail",
            OnPoison::Skip => "skip",
            OnPoison::DeadLetter => "dead_letter",
        },
        match connector.errors.on_tombstone {
            OnTombstone::Skip => "skip",
            OnTombstone::Fail => "fail",
            OnTombstone::DeadLetter => "dead_letter",
            OnTombstone::Row => "row",
        },
        value_schema,
        reader_schema,
    ]);
    // Left out where it changes nothing, so that flushes begun before there were such settings are finished.
    if let Value::Array(parts) = &mut text
        && connector.types != ColumnTypes::default()
    {
        parts.push(types(connector.types));
    }
    text
}

fn types(types: ColumnTypes) -> Value {
    let nanos = match types.timestamp_nanos {
        NanosAs::Nanos => "nanos",
        NanosAs::Micros => "micros",
        NanosAs::Number => "number",
    };
    let time = match types.time {
        TimeAs::Time => "time",
        TimeAs::Number => "number",
    };
    let wide_decimal = match types.wide_decimal {
        WideDecimalAs::Decimal => "decimal",
        WideDecimalAs::Text => "string",
    };
    let uuid = match types.uuid {
        UuidAs::Text => "string",
        UuidAs::Uuid => "uuid",
    };
    json!(["types", nanos, time, wide_decimal, uuid])
}

fn wire(wire: WireFormat) -> &'static str {
    match wire {
        WireFormat::Confluent => "confluent",
        WireFormat::Apicurio => "apicurio",
        WireFormat::SingleObject => "single_object",
        WireFormat::Glue => "glue",
        WireFormat::Header => "header",
        WireFormat::None => "none",
    }
}

fn api(api: &RegistryApi) -> Value {
    match api {
        RegistryApi::Confluent { context } => json!(["confluent", context]),
        RegistryApi::Apicurio { ids: ApicurioIds::Global } => json!(["apicurio", "global"]),
        RegistryApi::Apicurio { ids: ApicurioIds::Content } => json!(["apicurio", "content"]),
        RegistryApi::Glue { region } => json!(["glue", region]),
    }
}

fn key(key: KeyFormat) -> Value {
    match key {
        KeyFormat::None => json!(["none"]),
        KeyFormat::Bytes => json!(["bytes"]),
        KeyFormat::String => json!(["string"]),
        KeyFormat::Avro(format) => json!(["avro", wire(format)]),
    }
}

fn rule(rule: &PartitionRule) -> Value {
    match rule {
        PartitionRule::Field { path, name } => json!(["field", path, name]),
        PartitionRule::Time { source, pattern, timezone } => {
            let source = match source {
                TimeSource::Record => json!(["record"]),
                TimeSource::Wallclock => json!(["wallclock"]),
                TimeSource::Field(path) => json!(["field", path]),
            };
            let mut text = json!(["time", source, pattern, timezone.name()]);
            if let Value::Array(parts) = &mut text
                && *timezone != chrono_tz::Tz::UTC
            {
                parts.push(format!("{:016x}", rules_hash(*timezone)).into());
            }
            text
        }
        PartitionRule::Record { full, name } => json!(["record", full, name]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(reader_schema_file: &str) -> ConnectorSettings {
        let text = "version: 1
connectors:
  - name: orders
    kafka: { topics: [orders], properties: { bootstrap.servers: 'k:1' } }
    value: { format: avro }
    registry: { url: 'http://r:1' }
    partition_by: [{ field: a.b }, { time: at, path: 'dt=%Y', timezone: Europe/Berlin }, { record: name }]
    storage: { url: 's3://lake/raw' }
";
        let mut connector = crate::config::load_str(text, &|_| None).unwrap().connectors.remove(0);
        connector.schema.evolution = Evolution::Fixed(reader_schema_file.into());
        connector
    }

    /// An intent is followed after an upgrade only while this text stays as it is.
    #[test]
    fn fault_107_the_text_of_a_plan_is_as_it_was() {
        let text = canonical(&connector("/a.avsc"), None, Some("\"string\"")).to_string();
        let expected = concat!(
            r#"[3,"s3://lake/raw","confluent",["confluent",null],["none"],"fixed",[true,false,false],"#,
            r#"[["field",["a","b"],"b"],["time",["field",["at"]],"dt=%Y","Europe/Berlin","adb7df8e19af0100"],["record",false,"record"]],"#,
            r#""fail","skip",null,"\"string\""]"#,
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn where_a_schema_file_lies_does_not_matter_what_it_says_does() {
        let plan = |file, schema| plan_hash(&connector(file), None, Some(schema));
        assert_eq!(plan("/a.avsc", "\"string\""), plan("/elsewhere/b.avsc", "\"string\""));
        assert_ne!(plan("/a.avsc", "\"string\""), plan("/a.avsc", "\"bytes\""));
    }

    fn of_lines(lines: &str) -> PlanHash {
        let text = format!(
            "version: 1
connectors:
  - name: a
    kafka: {{ topics: [t], properties: {{ bootstrap.servers: 'localhost:9092' }} }}
    value: {{ format: avro }}
    registry: {{ url: 'http://localhost:8081' }}
    storage: {{ url: 's3://lake/raw' }}
    {lines}
"
        );
        let settings = crate::config::load_str(&text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        plan_hash(&settings.connectors[0], None, None)
    }

    const TIMES: &str =
        "partition_by: [{ field: a.b }, { time: record, path: 'dt=%Y-%m-%d', timezone: Europe/Berlin }]";

    #[test]
    fn a_plan_holds_what_shapes_files_and_nothing_else() {
        let others = [
            TIMES,
            "partition_by: [{ field: a.c }]",
            "schema: { evolution: per_version }",
            "errors: { on_poison: skip }",
            "errors: { on_tombstone: row }",
            "key: { format: avro }",
            "columns: { metadata: [headers] }",
        ];
        let mut plans: Vec<u64> =
            others.iter().map(|lines| of_lines(lines).0).chain([of_lines("").0]).collect();
        plans.sort_unstable();
        plans.dedup();
        assert_eq!(plans.len(), others.len() + 1, "each is another plan");
        for same in
            ["rotate: { rows: 7, every: 1s }", "parquet: { compression: zstd, sort_by: [n] }", "tasks: 7"]
        {
            assert_eq!(of_lines(same), of_lines(""), "{same}");
        }
    }

    #[test]
    fn the_plan_changes_with_the_types_of_columns_and_not_with_their_defaults() {
        let defaults = "timestamp_nanos: nanos, time: time, wide_decimal: decimal, uuid: string";
        assert_eq!(of_lines(&format!("columns: {{ {defaults} }}")), of_lines(""));
        let choices = [
            "timestamp_nanos: micros",
            "timestamp_nanos: number",
            "time: number",
            "wide_decimal: string",
            "uuid: uuid",
        ];
        let mut plans: Vec<u64> =
            choices.iter().map(|choice| of_lines(&format!("columns: {{ {choice} }}")).0).collect();
        plans.push(of_lines("").0);
        plans.sort_unstable();
        plans.dedup();
        assert_eq!(plans.len(), choices.len() + 1);
    }
}
