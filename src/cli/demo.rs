//! `sluice demo`: the real pipeline on an in-process broker and registry. Owns the show; everything shown is the
//! product's own code, but for the broker, which is librdkafka's mock cluster.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::cli::output::{complain, thousands, to_stdout};
use crate::cli::{DemoArguments, EXIT_DONE, EXIT_FAILED, EXIT_USAGE, runtime};
use crate::config;
use crate::config::settings::Settings;
use crate::connector::{FileWritten, Process};
use crate::daemon::{self, DaemonEnd, Signals, Surroundings};
use crate::demo::orders::{ORDER_SCHEMA, OrderGenerator};
use crate::metrics::{ConnectorMetrics, Metrics};
use crate::registry::local::LocalRegistry;
use crate::storage::UploadRoom;
use crate::task::budget::MemoryBudget;

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 8;
/// The mock broker keeps only a few megabytes of a partition: production waits for consumption.
const MOST_AHEAD: u64 = 100_000;
const SEED: u64 = 42;

/// Runs the demo.
///
/// # Errors
/// When the in-process services cannot be set up or the output directory is not usable.
pub fn demo(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    let output = output_directory(arguments)?;
    if std::fs::read_dir(&output)?.next().is_some() {
        complain(format_args!(
            "sluice: {} is not empty; name another directory with --output",
            output.display()
        ));
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let runtime = runtime()?;
    let cluster = MockCluster::new(1).context("cannot start the in-process broker")?;
    cluster.create_topic(TOPIC, PARTITIONS, 1).context("cannot create the topic")?;
    let registry =
        runtime.block_on(LocalRegistry::start()).context("cannot start the in-process registry")?;
    let schema = registry.register("orders-value", ORDER_SCHEMA)?;
    let settings = settings(&cluster.bootstrap_servers(), registry.url().as_str(), &output)?;

    to_stdout(|out| {
        let records = thousands(arguments.records);
        writeln!(out, "sluice demo: {records} orders, Kafka (in process) -> {}", output.display())
    })?;
    let (sender, files) = channel();
    let budget = MemoryBudget::new(settings.daemon.memory.0);
    let process = Process {
        runtime: runtime.handle().clone(),
        uploads: UploadRoom::of(&budget, settings.connectors.len()),
        budget,
        connectors: settings.connectors.len(),
        scratch_dir: settings.daemon.scratch_dir.clone(),
        until_end: false,
        files: Some(sender),
    };
    let (metrics, signals) = (Metrics::new(), Arc::new(Signals::default()));
    let began = Instant::now();
    let daemon = {
        let (settings, metrics, signals) = (settings.clone(), metrics.clone(), signals.clone());
        std::thread::Builder::new()
            .name("daemon".to_owned())
            .spawn(move || daemon::run(&settings, &process, &metrics, &signals, Surroundings::default()))?
    };
    let show = Show { metrics: metrics.connector("demo"), daemon: &daemon, records: arguments.records };
    let produced = show.run(&cluster.bootstrap_servers(), schema);
    signals.shutdown.store(true, Ordering::SeqCst);
    let end = daemon.join().map_err(|_| anyhow::anyhow!("the daemon panicked"))?;
    let took = began.elapsed();
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    if let DaemonEnd::Failed(failures) | DaemonEnd::DoneWithout(failures) = &end {
        for (_, failure) in failures {
            complain(format_args!("sluice: {failure}"));
        }
    }
    let avro_bytes = produced?;
    report(&files, &output, avro_bytes, took, arguments.records)?;
    Ok(ExitCode::from(if end == DaemonEnd::Done { EXIT_DONE } else { EXIT_FAILED }))
}

fn output_directory(arguments: &DemoArguments) -> anyhow::Result<PathBuf> {
    let directory = match &arguments.output {
        Some(directory) => directory.clone(),
        None => std::env::temp_dir().join(format!("sluice-demo-{}", std::process::id())),
    };
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory.canonicalize()?)
}

fn settings(brokers: &str, registry: &str, output: &Path) -> anyhow::Result<Settings> {
    let url = url::Url::from_directory_path(output)
        .map_err(|()| anyhow::anyhow!("{} is not an absolute path", output.display()))?;
    // A URL leaves `'` and `$` as they are; in the configuration each is written twice.
    let url = url.as_str().replace('\'', "''").replace('$', "$$");
    let text = format!(
        "version: 1
daemon: {{ listen: 127.0.0.1:0, memory: 512MiB }}
connectors:
  - name: demo
    kafka:
      topics: [{TOPIC}]
      properties: {{ bootstrap.servers: '{brokers}', topic.metadata.refresh.interval.ms: 1000 }}
    value: {{ format: avro }}
    registry: {{ url: '{registry}' }}
    rotate: {{ rows: 125000, every: 1m }}
    storage: {{ url: '{url}' }}
"
    );
    config::load_str(&text, &|_| None).map_err(|errors| anyhow::anyhow!("demo configuration: {errors}"))
}

/// Produces orders as fast as they are consumed, and shows how far it is.
struct Show<'a> {
    metrics: Arc<ConnectorMetrics>,
    daemon: &'a std::thread::JoinHandle<DaemonEnd>,
    records: u64,
}

impl Show<'_> {
    /// Gives the bytes of Avro produced, once all of it is consumed.
    fn run(&self, brokers: &str, schema: u32) -> anyhow::Result<u64> {
        let bar = self.progress_bar();
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("linger.ms", "5")
            .set("batch.num.messages", "2000")
            .set("queue.buffering.max.messages", "100000")
            .create()
            .context("cannot create a producer")?;
        let mut generator = OrderGenerator::new(SEED);
        let mut bytes = 0;
        let mut value = Vec::with_capacity(512);
        for number in 0..self.records {
            self.wait_for_consumption(number, &producer, &bar)?;
            value.clear();
            value.push(0);
            value.extend_from_slice(&schema.to_be_bytes());
            generator.append_order(&mut value);
            bytes += value.len() as u64 - 5;
            let partition = (number % PARTITIONS as u64) as i32;
            let mut record = BaseRecord::<[u8], [u8]>::to(TOPIC).partition(partition).payload(&value);
            while let Err((error, back)) = producer.send(record) {
                if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                    bail!("cannot produce: {error}");
                }
                producer.poll(Duration::from_millis(5));
                record = back;
            }
        }
        producer.flush(Duration::from_secs(30)).context("cannot produce the last orders")?;
        while self.metrics.records.get() < self.records {
            self.check_alive()?;
            bar.set_position(self.metrics.records.get());
            std::thread::sleep(Duration::from_millis(5));
        }
        bar.finish_and_clear();
        Ok(bytes)
    }

    fn wait_for_consumption(
        &self,
        produced: u64,
        producer: &BaseProducer,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        if !produced.is_multiple_of(1_000) {
            return Ok(());
        }
        loop {
            let consumed = self.metrics.records.get();
            bar.set_position(consumed);
            producer.poll(Duration::ZERO);
            if produced < consumed + MOST_AHEAD {
                return Ok(());
            }
            self.check_alive()?;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn check_alive(&self) -> anyhow::Result<()> {
        if self.daemon.is_finished() {
            bail!("the daemon ended before all orders were consumed");
        }
        Ok(())
    }

    fn progress_bar(&self) -> ProgressBar {
        if !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style =
            ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} orders, {per_sec}, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(self.records).with_style(style)
    }
}

fn report(
    files: &Receiver<FileWritten>,
    output: &Path,
    avro_bytes: u64,
    took: Duration,
    records: u64,
) -> anyhow::Result<()> {
    let mut written: Vec<FileWritten> = files.try_iter().collect();
    written.sort_by(|a, b| a.names.cmp(&b.names));
    let width = written.iter().flat_map(|file| file.names.iter().map(String::len)).max().unwrap_or(4);
    let mut text = String::new();
    writeln!(text, "\n{:width$}  {:>10}  {:>10}", "file", "rows", "bytes")?;
    for file in &written {
        for name in &file.names {
            writeln!(text, "{name:width$}  {:>10}  {:>10}", thousands(file.rows), thousands(file.bytes))?;
        }
    }
    let rows: u64 = written.iter().map(|file| file.rows).sum();
    let bytes: u64 = written.iter().map(|file| file.bytes).sum();
    writeln!(text, "{:width$}  {:>10}  {:>10}", "total", thousands(rows), thousands(bytes))?;
    let seconds = took.as_secs_f64();
    writeln!(
        text,
        "\n{} orders, {:.1} MB of Avro, in {seconds:.1} s: {} records/s (the generator and the broker share the machine)",
        thousands(records),
        avro_bytes as f64 / 1e6,
        thousands((records as f64 / seconds) as u64),
    )?;
    writeln!(text, "\nLook at it with DuckDB:\n")?;
    writeln!(
        text,
        "  duckdb -c \"SELECT shipping.country, count(*) AS orders, sum(total) AS total FROM read_parquet('{}/orders/*.parquet') GROUP BY 1 ORDER BY 1\"",
        output.display().to_string().replace('\'', "''")
    )?;
    Ok(to_stdout(|out| out.write_all(text.as_bytes()))?)
}
