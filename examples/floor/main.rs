//! What the parts of a run cost on their own, on the same topic and with the same settings: consuming alone, decoding alone,
//! encoding alone. `floor CONFIG SCHEMA TOPIC` prints one JSON object; `make bench` puts it beside a whole run.

#![allow(clippy::print_stdout)]

mod consume;
mod encode;
mod library;

use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use sluice::config;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, config, schema, topic] = arguments.as_slice() else {
        return Err("usage: floor CONFIG SCHEMA TOPIC".into());
    };
    let environment = |name: &str| std::env::var(name).ok();
    let settings = config::load(Path::new(config), &environment).map_err(|errors| errors.to_string())?;
    let connector = settings.connectors.first().ok_or("the configuration has no connector")?;
    let schema = std::fs::read_to_string(schema)?;

    let before = cpu_seconds(ClockId::ProcessCPUTime);
    let consumed = consume::consume(&connector.kafka, topic, |_| {})?;
    let consume_seconds = cpu_seconds(ClockId::ProcessCPUTime) - before;

    let mut values = vec![Vec::new(); consumed.partitions];
    consume::consume(&connector.kafka, topic, |message| values[message.partition].push(message.to_owned()))?;
    let encoded = encode::decode_and_encode(connector, &schema, topic, &values)?;
    println!(
        r#"{{"records": {}, "avro_bytes": {}, "consume_cpu_s": {consume_seconds:.4}, "decode_cpu_s": {:.4}, "encode_cpu_s": {:.4}, "library_encode_cpu_s": {:.4}, "parquet_bytes": {}}}"#,
        consumed.records,
        consumed.value_bytes,
        encoded.decode_seconds,
        encoded.encode_seconds,
        encoded.library_seconds,
        encoded.parquet_bytes
    );
    Ok(())
}

fn cpu_seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
