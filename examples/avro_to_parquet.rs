//! Avro datums from a file to Parquet files, through the decoder and the encoder of the daemon and nothing else:
//! `cargo run --example avro_to_parquet CASES FOLDER [COLUMNS]`, COLUMNS being the setting `columns`.
//!
//! CASES holds cases one after the other. A case is a list of byte strings: writer schema, reader schema (empty: the
//! same), then datums; the list and every string have their count or length in front, 4 bytes, little endian. Case `n`
//! becomes `FOLDER/n.parquet` unless its schemas are refused. Each case is one line of JSON on standard output:
//! `refused` (stage and reason, or null), `absorbs` (how lossless the reader is) and `datums` (for each null, or why
//! it is poison).

use std::error::Error;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use sluice::config::load_str;
use sluice::config::settings::{ConnectorSettings, ParquetSettings};
use sluice::decode::{BatchBuilder, ColumnLayout, DecodeError, DecodePlan};
use sluice::encode::{Encoding, FileEncoder};
use sluice::schema::{Absorption, AvroSchema, ColumnOptions, absorbs};

/// For the Parquet settings alone, so that files are written as the daemon writes them unless told otherwise.
const CONFIGURATION: &str = "
version: 1
connectors:
  - name: example
    kafka: { topics: [t], properties: { bootstrap.servers: localhost } }
    value: { format: avro }
    registry: { url: http://localhost }
    rotate: { rows: 1 }
    storage: { url: file:///tmp/example }
    columns: ";

type Refusal = (&'static str, String);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ([cases, folder] | [cases, folder, _]) = &arguments[..] else {
        return Err("usage: avro_to_parquet CASES FOLDER [COLUMNS]".into());
    };
    let text = format!("{CONFIGURATION}{}\n", arguments.get(2).map_or("{}", String::as_str));
    let settings = load_str(&text, &|_| None).map_err(|problems| problems.to_string())?;
    let settings = settings.connectors.first().ok_or("no connector")?;
    let input = fs::read(cases)?;
    let mut rest = &input[..];
    let mut output = BufWriter::new(io::stdout().lock());
    for number in 0_u64.. {
        if rest.is_empty() {
            break;
        }
        let case = strings(&mut rest)?;
        let path = Path::new(folder).join(format!("{number}.parquet"));
        let answer = match convert(&case, settings, &path) {
            Ok((absorption, datums)) => json!({"refused": null, "absorbs": absorption, "datums": datums}),
            Err((stage, reason)) => json!({"refused": {"stage": stage, "reason": reason}}),
        };
        writeln!(output, "{answer}")?;
    }
    Ok(output.flush()?)
}

fn strings<'i>(rest: &mut &'i [u8]) -> Result<Vec<&'i [u8]>, Box<dyn Error>> {
    let count = number(rest)?;
    let string = |_| {
        let length = number(rest)?;
        let (string, after) = rest.split_at_checked(length).ok_or("the last case is cut off")?;
        *rest = after;
        Ok(string)
    };
    (0..count).map(string).collect()
}

fn number(rest: &mut &[u8]) -> Result<usize, Box<dyn Error>> {
    let (number, after) = rest.split_first_chunk().ok_or("the last case is cut off")?;
    *rest = after;
    Ok(u32::from_le_bytes(*number) as usize)
}

/// How lossless the reader is, and the fate of each datum.
fn convert(
    case: &[&[u8]],
    settings: &ConnectorSettings,
    path: &Path,
) -> Result<(&'static str, Vec<Value>), Refusal> {
    let [writer, reader, datums @ ..] = case else { return Err(("case", "two schemas are needed".into())) };
    let reader = if reader.is_empty() { writer } else { reader };
    let parse = |stage, json: &[u8]| -> Result<Arc<AvroSchema>, Refusal> {
        let schema = AvroSchema::parse(&String::from_utf8_lossy(json), &[]);
        schema.map(Arc::new).map_err(|error| (stage, error.to_string()))
    };
    let (writer, reader) = (parse("writer", writer)?, parse("reader", reader)?);
    let options = ColumnOptions { types: settings.types, ..ColumnOptions::default() };
    let layout =
        ColumnLayout::new(Arc::clone(&reader), options).map_err(|error| ("columns", error.to_string()))?;
    let plan = DecodePlan::compile(&writer, &layout).map_err(|error| ("plan", error.to_string()))?;
    let absorption = match absorbs(&reader, &writer) {
        Absorption::Lossless => "lossless",
        Absorption::Lossy { .. } => "lossy",
        Absorption::Incompatible { .. } => "incompatible",
    };
    let encoded = encode(&plan, datums, &settings.parquet).map_err(|error| ("encode", error.to_string()))?;
    fs::write(path, encoded.0).map_err(|error| ("write", error.to_string()))?;
    Ok((absorption, encoded.1))
}

/// The bytes of a Parquet file and the fate of each datum.
fn encode(
    plan: &DecodePlan,
    datums: &[&[u8]],
    settings: &ParquetSettings,
) -> Result<(Vec<u8>, Vec<Value>), Box<dyn Error>> {
    let schema = plan.layout().schema();
    let mut encoder = FileEncoder::new(&"cases".into(), Arc::clone(schema), &Encoding::new(settings), &[])
        .map_err(|failure| failure.to_string())?;
    let mut batch = BatchBuilder::new(plan.layout());
    let mut fates = Vec::with_capacity(datums.len());
    for datum in datums {
        let mut outcome = plan.decode(&mut batch, datum);
        if outcome == Err(DecodeError::BatchFull) {
            encoder.write(&batch.finish()).map_err(|failure| failure.to_string())?;
            outcome = plan.decode(&mut batch, datum);
        }
        fates.push(outcome.map_or_else(|error| json!(error.to_string()), |()| Value::Null));
    }
    encoder.write(&batch.finish()).map_err(|failure| failure.to_string())?;
    let mut pieces = encoder.take_bytes();
    pieces.extend(encoder.finish(Vec::new()).map_err(|failure| failure.to_string())?.tail);
    Ok((pieces.concat(), fates))
}
