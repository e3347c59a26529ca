//! What is fuzzed: a function a target, from bytes to a panic or nothing. Owns the properties that must hold for any
//! bytes. Does not own where the bytes come from: libfuzzer (`fuzz_targets/`) or the seeded mutator of `tests/fuzz`.

use std::sync::{Arc, OnceLock};

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use arrow::array::RecordBatch;
use sluice::config::load_str;
use sluice::config::settings::WireFormat;
use sluice::decode::{BatchBuilder, ColumnLayout, DecodeError, DecodePlan, wire};
use sluice::position::{Offset, OffsetRange, TopicPartition};
use sluice::schema::{Absorption, AvroSchema, ColumnOptions, absorbs};
use sluice::schema_id::SchemaId;
use sluice::task::intent::Intent;
use sluice::task::names;

/// A target takes any bytes; it panics when a promise is broken.
type Target = fn(&[u8]);

/// Every target by name.
pub(crate) const TARGETS: [(&str, Target); 6] = [
    ("wire", wire),
    ("decode", decode),
    ("schema", schema),
    ("names", object_names),
    ("intent", intent),
    ("configuration", configuration),
];

/// Schemas of the decode target; the first byte of its input picks one. Without logical types, as the oracle would
/// check and change what they mean.
const SCHEMAS: [&str; 8] = [
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"b","type":["null","string"]},{"name":"c","type":"boolean"},{"name":"d","type":"double"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":["null","int"]}},{"name":"b","type":"bytes"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"m","type":{"type":"map","values":{"type":"array","items":"string"}}},{"name":"f","type":"float"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"u","type":["null","int","string",{"type":"record","name":"S","fields":[{"name":"x","type":"int"}]},{"type":"enum","name":"E","symbols":["A","B","C"]}]},{"name":"t","type":"S"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":"null"}},{"name":"e","type":{"type":"array","items":{"type":"record","name":"Empty","fields":[]}}}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"k","type":"string"},{"name":"v","type":["null",{"type":"fixed","name":"F","size":3}]},{"name":"w","type":["long"]}]}}}]}"#,
    r#"["null","long",{"type":"array","items":{"type":"map","values":"boolean"}}]"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":{"type":"array","items":{"type":"array","items":"int"}}}},{"name":"n","type":"null"}]}"#,
];
/// Faults that the oracle knows nothing of: it passes over the sizes of blocks, whether too long or negative, believes
/// wide varints and many items of no bytes, and takes the end of a datum for a null.
const STRICTER: [&str; 6] = [
    "block_size_mismatch",
    "length_beyond_datum",
    "negative_length",
    "overlong_varint",
    "too_many_items",
    "truncated",
];

/// A value splits into an id and a datum that make the value again.
pub(crate) fn wire(data: &[u8]) {
    let formats = [WireFormat::Confluent, WireFormat::Apicurio, WireFormat::SingleObject, WireFormat::Glue];
    for format in formats {
        let mut reader = wire::WireReader::new(format, wire::Side::Value);
        let Ok((id, datum)) = reader.split(data, &[]) else { continue };
        let rebuilt = match (format, id) {
            (WireFormat::Confluent, SchemaId::Number(id)) => {
                [&[0][..], &u32::try_from(id).expect("four bytes").to_be_bytes(), datum].concat()
            }
            (WireFormat::Apicurio, SchemaId::Number(id)) => [&[0][..], &id.to_be_bytes(), datum].concat(),
            (WireFormat::SingleObject, SchemaId::Fingerprint(hash)) => {
                [&[0xc3, 0x01][..], &hash.to_le_bytes(), datum].concat()
            }
            // Compressed: what comes out need not come from these bytes alone.
            _ => continue,
        };
        assert_eq!(rebuilt, data, "{format:?}");
    }
}

/// The oracle takes what we take, with the same value; what we refuse leaves the batch as it was.
pub(crate) fn decode(data: &[u8]) {
    let Some((pick, datum)) = data.split_first() else { return };
    let case = &cases()[usize::from(*pick) % SCHEMAS.len()];
    let good = case.plan.decode(&mut case.batch(), datum);
    let mut batch = case.batch();
    let alone = |datums: &[&[u8]]| -> RecordBatch {
        let mut batch = case.batch();
        for datum in datums {
            assert_eq!(case.plan.decode(&mut batch, datum), Ok(()));
        }
        batch.finish()
    };
    // Between rows that are good: those stay, whatever comes.
    let _ = case.plan.decode(&mut batch, &case.sample);
    let before = batch.bytes();
    let outcome = case.plan.decode(&mut batch, datum);
    assert_eq!(outcome, good, "an error does not depend on the rows before");
    if outcome.is_err() {
        assert_eq!(batch.bytes(), before, "what is refused takes no memory");
    }
    let _ = case.plan.decode(&mut batch, &case.sample);
    let batch = batch.finish();
    let oracle = case.oracle(datum);
    match outcome {
        Ok(()) => {
            assert_eq!(batch, alone(&[&case.sample, datum, &case.sample]));
            let value =
                oracle.unwrap_or_else(|why| panic!("we alone take {datum:?} of {}: {why}", case.json));
            if !has_many_keys(&value) {
                let canonical = case.encode(value);
                assert_eq!(alone(&[datum]), alone(&[&canonical]), "{datum:?} of {}", case.json);
            }
        }
        Err(DecodeError::Datum { .. }) => {
            assert_eq!(batch, alone(&[&case.sample, &case.sample]));
            let kind = outcome.map_err(|error| error.kind()).unwrap_err();
            assert!(
                oracle.is_err() || STRICTER.contains(&kind),
                "we alone refuse {datum:?} of {}: {kind}",
                case.json
            );
        }
        Err(DecodeError::BatchFull) => panic!("a batch of three rows is full"),
    }
}

/// What is taken for a schema has columns or an error, reads itself without loss, and decodes anything without panic.
pub(crate) fn schema(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(schema) = AvroSchema::parse(text, &[]) else { return };
    let schema = Arc::new(schema);
    let Ok(layout) = ColumnLayout::new(Arc::clone(&schema), ColumnOptions::default()) else { return };
    assert!(!matches!(absorbs(&schema, &schema), Absorption::Incompatible { .. }), "{text}");
    let Ok(plan) = DecodePlan::compile(&schema, &layout) else { return };
    let mut batch = BatchBuilder::new(&layout);
    let mut rows = 0;
    for datum in [&[][..], &[0; 64], &[2; 64], data] {
        rows += usize::from(plan.decode(&mut batch, datum).is_ok());
    }
    assert_eq!(batch.finish().num_rows(), rows);
}

/// Escaped values are one path segment and can be had back; names of objects are read as they were made.
pub(crate) fn object_names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let escaped = names::escape_partition_value(&text);
    assert!(!escaped.contains(['/', '\\', '\0', '=', '\n']), "{escaped:?}");
    assert_eq!(unescaped(&escaped).as_deref(), Some(text.as_bytes()));
    // Whatever else is in a bucket is no object of ours, or one whose name is made the same way.
    if let Some((tp, range, ordinal)) = names::parse_object_name(&text) {
        let directory = text.rsplit_once('/').map_or("", |(directory, _)| directory);
        let name = names::object_name(&tp, range, "", ordinal);
        let again = names::parse_object_name(&name);
        assert_eq!(again, Some((tp, range, ordinal)), "{text:?} in {directory:?}");
    }
    let number = |at: usize| data.get(at).copied().map_or(0, i64::from);
    let (start, length) = (number(0) << number(1).min(40), number(2));
    if let (Some(start), Some(end)) = (Offset::new(start), Offset::new(start + length)) {
        let tp = TopicPartition::new("topic.of-some_name", number(3) as i32);
        let directory = format!("k={escaped}");
        let name = names::object_name(&tp, OffsetRange::new(start, end), &directory, number(4) as usize);
        let read = names::parse_object_name(&name);
        assert_eq!(read, Some((tp, OffsetRange { start, end }, number(4) as usize)), "{name:?}");
    }
}

/// Metadata that somebody else wrote is refused or passed over; ours says again what it said.
pub(crate) fn intent(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(Some(intent)) = Intent::from_metadata(text) {
        assert_eq!(Intent::from_metadata(&intent.to_metadata()).ok().flatten(), Some(intent), "{text:?}");
    }
}

/// Any text is a configuration or a list of problems, with no secret in it.
pub(crate) fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let environment = |name: &str| (name == "SECRET").then(|| "hunter2-hunter2".to_owned());
    let said = match load_str(text, &environment) {
        Ok(settings) => format!("{settings:?}"),
        Err(problems) => problems.to_string(),
    };
    let plainly = text.contains("hunter2");
    // As a password only: elsewhere a variable is no secret.
    assert!(
        plainly
            || !text.contains("password: ${SECRET}\n")
            || text.matches("SECRET").count() > 1
            || !said.contains("hunter2-hunter2")
    );
}

struct Case {
    json: &'static str,
    plan: DecodePlan,
    oracle: apache_avro::Schema,
    sample: Vec<u8>,
}

fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| SCHEMAS.iter().map(|json| Case::new(json)).collect())
}

impl Case {
    fn new(json: &'static str) -> Self {
        // A hostile length must not take all memory; the items without bytes that we let pass take some.
        apache_avro::util::max_allocation_bytes(1 << 28);
        let schema = Arc::new(AvroSchema::parse(json, &[]).unwrap_or_else(|error| panic!("{error}")));
        let layout = ColumnLayout::new(Arc::clone(&schema), ColumnOptions::default())
            .unwrap_or_else(|error| panic!("{error}"));
        let plan = DecodePlan::compile(&schema, &layout).unwrap_or_else(|error| panic!("{error}"));
        let oracle = apache_avro::Schema::parse_str(json).unwrap_or_else(|error| panic!("{error}"));
        // Zeros are a value of any type whose unions begin with what is short, and whose texts may be empty.
        let fits = |bytes: &usize| plan.decode(&mut BatchBuilder::new(&layout), &vec![0; *bytes]).is_ok();
        let length = (0..64).find(fits).unwrap_or_else(|| panic!("no sample of {json}"));
        Self { json, plan, oracle, sample: vec![0; length] }
    }

    fn batch(&self) -> BatchBuilder {
        BatchBuilder::new(self.plan.layout())
    }

    fn oracle(&self, datum: &[u8]) -> Result<Value, String> {
        let mut rest = datum;
        let reader = GenericDatumReader::builder(&self.oracle).build().map_err(|error| error.to_string())?;
        let value = reader.read_value(&mut rest).map_err(|error| error.to_string())?;
        if rest.is_empty() { Ok(value) } else { Err("bytes are left".to_owned()) }
    }

    fn encode(&self, value: Value) -> Vec<u8> {
        let writer = GenericDatumWriter::builder(&self.oracle).build();
        let written = writer.and_then(|writer| writer.write_value_to_vec(value));
        written.unwrap_or_else(|error| panic!("the oracle cannot write what it read: {error}"))
    }
}

/// The oracle keeps maps in no order, and one of equal keys only.
fn has_many_keys(value: &Value) -> bool {
    match value {
        Value::Map(_) => true,
        Value::Array(items) => items.iter().any(has_many_keys),
        Value::Union(_, inner) => has_many_keys(inner),
        Value::Record(fields) => fields.iter().any(|(_, field)| has_many_keys(field)),
        _ => false,
    }
}

fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    Some(out)
}
