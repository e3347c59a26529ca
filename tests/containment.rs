//! A panic in one task: its connector fails visibly and comes back, its records arrive once, and no other connector notices.
//!
//! The panic comes from where nobody in the product put it: from the log of this test, which the task calls on its own
//! thread.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sluice::connector::Process;
use sluice::daemon::{self, DaemonEnd, Signals, Surroundings};
use sluice::demo::orders::{ORDER_SCHEMA, OrderGenerator};
use sluice::metrics::Metrics;
use sluice::registry::local::LocalRegistry;
use sluice::storage::UploadRoom;
use sluice::task::budget::MemoryBudget;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

const RECORDS: u64 = 5_000;

/// Panics once, when the connector `a` tells of its first flush.
struct Bomb {
    armed: Arc<AtomicBool>,
}

#[derive(Default)]
struct Fields {
    connector: String,
    message: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "connector" {
            value.clone_into(&mut self.connector);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "connector" => text.trim_matches('"').clone_into(&mut self.connector),
            "message" => self.message = text,
            _ => {}
        }
    }
}

impl<S: Subscriber> Layer<S> for Bomb {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let hit = fields.connector == "a" && fields.message == "flush published";
        assert!(!(hit && self.armed.swap(false, Ordering::SeqCst)), "the test's own panic");
    }
}

#[test]
fn fault_105_a_panic_in_a_task_ends_its_connector_only_and_loses_nothing() {
    let armed = Arc::new(AtomicBool::new(true));
    let bomb = Bomb { armed: armed.clone() };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(bomb)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cluster = MockCluster::new(1).unwrap();
    let registry = runtime.block_on(LocalRegistry::start()).unwrap();
    let schema = registry.register("orders-value", ORDER_SCHEMA).unwrap();
    for topic in ["ta", "tb"] {
        cluster.create_topic(topic, 2, 1).unwrap();
        produce(&cluster.bootstrap_servers(), topic, schema);
    }
    let lake = tempfile::tempdir().unwrap();
    let settings = sluice::config::load_str(
        &configuration(&cluster.bootstrap_servers(), registry.url().as_str(), lake.path()),
        &|_| None,
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    let budget = MemoryBudget::new(256 << 20);
    let process = Process {
        runtime: runtime.handle().clone(),
        uploads: UploadRoom::of(&budget, 2),
        budget,
        connectors: 2,
        scratch_dir: std::env::temp_dir(),
        until_end: false,
        files: None,
    };
    let (metrics, signals) = (Metrics::new(), Arc::new(Signals::default()));
    let daemon = {
        let (metrics, signals, process) = (metrics.clone(), signals.clone(), process.clone());
        std::thread::spawn(move || {
            daemon::run(&settings, &process, &metrics, &signals, Surroundings::default())
        })
    };
    let published = |name: &str| metrics.connector(name).rows.get();
    until("both have published", || published("a") >= RECORDS && published("b") >= RECORDS);
    until("the offsets are committed", || metrics.connector("a").commits.total() >= 4);
    signals.shutdown.store(true, Ordering::SeqCst);
    assert_eq!(daemon.join().unwrap(), DaemonEnd::Done);

    assert!(!armed.load(Ordering::SeqCst), "the panic came");
    let (a, b) = (metrics.connector("a").totals(), metrics.connector("b").totals());
    assert_eq!((a.restarts, b.restarts), (1, 0));
    assert_eq!(b.rows, RECORDS);
    for topic in ["ta", "tb"] {
        assert_eq!(offsets(lake.path(), topic), RECORDS, "{topic}");
    }
    assert_eq!(process.budget.used_bytes(), 0, "a panic leaves nothing counted");
}

fn configuration(brokers: &str, registry: &str, lake: &Path) -> String {
    let connector = |name: &str| {
        format!(
            "  - name: {name}\n    kafka: {{ topics: [t{name}] }}\n    storage: {{ url: 'file://{}' }}\n",
            lake.display()
        )
    };
    format!(
        "version: 1
daemon: {{ listen: '127.0.0.1:0' }}
defaults:
  kafka: {{ properties: {{ bootstrap.servers: '{brokers}', session.timeout.ms: 6000 }} }}
  value: {{ format: avro }}
  registry: {{ url: '{registry}' }}
  rotate: {{ rows: 500, every: 500ms }}
  tasks: 2
connectors:
{}{}",
        connector("a"),
        connector("b")
    )
}

fn produce(brokers: &str, topic: &str, schema: u32) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let mut orders = OrderGenerator::new(7);
    for number in 0..RECORDS {
        let mut value = vec![0];
        value.extend_from_slice(&schema.to_be_bytes());
        orders.append_order(&mut value);
        let partition = i32::try_from(number % 2).unwrap();
        producer.send(BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(&value)).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// Offsets in the ranges of the files of a topic; none may be there twice.
fn offsets(lake: &Path, topic: &str) -> u64 {
    let mut ranges: Vec<(String, u64, u64)> = std::fs::read_dir(lake.join(topic))
        .unwrap()
        .map(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            let parts: Vec<&str> = name.trim_end_matches(".parquet").split('+').collect();
            (parts[1].to_owned(), parts[2].parse().unwrap(), parts[3].parse().unwrap())
        })
        .collect();
    ranges.sort();
    for pair in ranges.windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].2 == pair[1].1, "{pair:?}");
    }
    ranges.iter().map(|(_, start, end)| end - start).sum()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(120), "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
