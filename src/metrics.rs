//! Owns every metric name, and the page that shows them all. Does not own counting ([`ConnectorMetrics`]) or the HTTP
//! endpoint ([`crate::admin`]).
//!
//! Counters live in [`ConnectorMetrics`]; gauges are read off the [`DaemonSnapshot`] that the page is made for, so
//! that there is one truth about lag and open flushes.

mod connector;
mod exposition;
mod instruments;
mod process;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub use connector::{ConnectorMetrics, ConnectorTotals};
pub use instruments::{Counter, CounterBy, Histogram};

use crate::admin::snapshot::{ConnectorSnapshot, ConnectorState, DaemonSnapshot};
use crate::registry::RegistryCounts;
use exposition::{Exposition, Family, Kind};
use instruments::HistogramReading;
use process::ProcessReading;

macro_rules! families {
    ($($id:ident = $kind:ident $name:literal, $help:literal;)*) => {
        $(const $id: Family = Family { name: $name, kind: Kind::$kind, help: $help };)*
    };
}

families! {
    RECORDS = Counter "sluice_records_total", "Records consumed.";
    RECORD_BYTES = Counter "sluice_record_bytes_total", "Bytes of keys and values of consumed records.";
    ROWS = Counter "sluice_rows_total", "Rows in published files.";
    FILES = Counter "sluice_files_total", "Files published.";
    FILE_BYTES = Counter "sluice_file_bytes_total", "Bytes of published files.";
    ROTATIONS = Counter "sluice_rotations_total", "Flushes ended, by the rule that ended them.";
    POISON = Counter "sluice_poison_total", "Poison records, by the stage and kind of their trouble.";
    TOMBSTONES = Counter "sluice_tombstones_total", "Records with a null value.";
    SKIPPED = Counter "sluice_skipped_total", "Records skipped by policy.";
    DEAD_LETTERS = Counter "sluice_dead_letters_total", "Records acknowledged by the dead-letter topic.";
    RETRIES = Counter "sluice_retries_total", "Steps tried again after retriable trouble, by stage.";
    INTENTS_REPLAYED = Counter "sluice_intents_replayed_total",
        "Flushes finished from an intent that an earlier owner left.";
    REBALANCES = Counter "sluice_rebalances_total", "Changes of the partition assignment.";
    COMMIT_SECONDS = Histogram "sluice_commit_seconds", "Time until an offset commit was answered.";
    PUBLISH_SECONDS = Histogram "sluice_publish_seconds", "Time until a file was visible.";

    STATE = Gauge "sluice_connector_state", "1 for the state the connector is in.";
    SNAPSHOT_AGE = Gauge "sluice_snapshot_age_seconds",
        "Time since the connector last told how it is; grows when it is stuck.";
    ASSIGNED = Gauge "sluice_assigned_partitions", "Partitions assigned to the connector.";
    PAUSED = Gauge "sluice_paused_partitions", "Assigned partitions that are not being consumed for now.";
    BUFFERED_BYTES = Gauge "sluice_buffered_bytes", "Memory held by records and rows that are not yet in a file.";
    OLDEST_UNFLUSHED = Gauge "sluice_oldest_unflushed_age_seconds",
        "Age of the oldest open flush; 0 without an open flush.";
    LAG_RECORDS = Gauge "sluice_lag_records", "Offsets between the committed offset and the end of the partition.";
    LAG_SECONDS = Gauge "sluice_lag_seconds", "Age of the oldest record that is not yet committed.";

    REGISTRY_REQUESTS = Counter "sluice_registry_requests_total", "Requests to the schema registry.";
    REGISTRY_FAILURES = Counter "sluice_registry_failures_total",
        "Requests to the schema registry without a usable answer.";
    REGISTRY_FETCHES = Counter "sluice_registry_fetches_total", "Schemas asked for over the network.";
    REGISTRY_HITS = Counter "sluice_registry_cache_hits_total", "Schemas taken from the cache.";
    REGISTRY_NEGATIVE_HITS = Counter "sluice_registry_negative_hits_total",
        "Schema ids known to be of no use, and not asked for again.";
    REGISTRY_CHANGED = Counter "sluice_registry_changed_schemas_total",
        "Schema ids that came back with another schema than before.";

    BUILD_INFO = Gauge "sluice_build_info", "Always 1; the version is a label.";
    START_TIME = Gauge "process_start_time_seconds", "When the process started, in seconds since the epoch.";
    CPU_SECONDS = Counter "process_cpu_seconds_total", "User and system time of the process.";
    RESIDENT_BYTES = Gauge "process_resident_memory_bytes", "Resident memory of the process.";
    OPEN_FILES = Gauge "process_open_fds", "Open file descriptors of the process.";
}

/// The metrics of the whole process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    connectors: Arc<Mutex<BTreeMap<String, Arc<ConnectorMetrics>>>>,
    started: SystemTime,
}

impl Metrics {
    /// Nothing counted yet; the process counts as started now.
    #[must_use]
    pub fn new() -> Self {
        Self { connectors: Arc::default(), started: SystemTime::now() }
    }

    /// The counters of the connector with this name, made at the first call. Keep them: this takes a lock.
    #[must_use]
    pub fn connector(&self, name: &str) -> Arc<ConnectorMetrics> {
        Arc::clone(self.lock().entry(name.to_owned()).or_default())
    }

    /// Forgets a connector that is no longer configured.
    pub fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    /// All metrics in Prometheus' text form 0.0.4; gauges are those of `daemon`.
    #[must_use]
    pub fn render(&self, daemon: &DaemonSnapshot) -> String {
        let connectors: Vec<_> = self.lock().iter().map(|(name, c)| (name.clone(), Arc::clone(c))).collect();
        let mut page = Exposition::default();
        put_counters(&mut page, &connectors);
        put_gauges(&mut page, &daemon.connectors);
        put_registry_counters(&mut page, &connectors);
        self.put_process(&mut page);
        page.into_text()
    }

    fn put_process(&self, page: &mut Exposition) {
        page.begin(&BUILD_INFO);
        page.count(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.begin(&START_TIME);
        page.number(&[], self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        let process = ProcessReading::take();
        if let Some(seconds) = process.cpu_seconds {
            page.begin(&CPU_SECONDS);
            page.number(&[], seconds);
        }
        for (family, reading) in
            [(&RESIDENT_BYTES, process.resident_bytes), (&OPEN_FILES, process.open_files)]
        {
            if let Some(value) = reading {
                page.begin(family);
                page.count(&[], value);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<ConnectorMetrics>>> {
        self.connectors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

type Named = [(String, Arc<ConnectorMetrics>)];
/// A family and how to read its value off what it is about.
type Shown<C, T> = (&'static Family, fn(&C) -> T);

fn put_counters(page: &mut Exposition, connectors: &Named) {
    let plain: [Shown<ConnectorMetrics, u64>; 10] = [
        (&RECORDS, |c| c.records.get()),
        (&RECORD_BYTES, |c| c.record_bytes.get()),
        (&ROWS, |c| c.rows.get()),
        (&FILES, |c| c.files.get()),
        (&FILE_BYTES, |c| c.file_bytes.get()),
        (&TOMBSTONES, |c| c.tombstones.get()),
        (&SKIPPED, |c| c.skipped.get()),
        (&DEAD_LETTERS, |c| c.dead_letters.get()),
        (&INTENTS_REPLAYED, |c| c.intents_replayed.get()),
        (&REBALANCES, |c| c.rebalances.get()),
    ];
    for (family, counter) in plain {
        page.begin(family);
        for (name, connector) in connectors {
            page.count(&[("connector", name)], counter(connector));
        }
    }
    page.begin(&ROTATIONS);
    for (name, connector) in connectors {
        for (reason, count) in connector.rotations.snapshot() {
            page.count(&[("connector", name), ("reason", reason)], count);
        }
    }
    page.begin(&POISON);
    for (name, connector) in connectors {
        for ((stage, kind), count) in connector.poison.snapshot() {
            page.count(&[("connector", name), ("stage", stage.as_str()), ("kind", kind)], count);
        }
    }
    page.begin(&RETRIES);
    for (name, connector) in connectors {
        for (stage, count) in connector.retries.snapshot() {
            page.count(&[("connector", name), ("stage", stage.as_str())], count);
        }
    }
    let timed: [Shown<ConnectorMetrics, HistogramReading>; 2] =
        [(&COMMIT_SECONDS, |c| c.commit_time.read()), (&PUBLISH_SECONDS, |c| c.publish_time.read())];
    for (family, histogram) in timed {
        page.begin(family);
        for (name, connector) in connectors {
            page.histogram(&[("connector", name)], &histogram(connector));
        }
    }
}

fn put_gauges(page: &mut Exposition, connectors: &[ConnectorSnapshot]) {
    page.begin(&STATE);
    for connector in connectors {
        for state in ConnectorState::ALL {
            let labels = [("connector", connector.name.as_str()), ("state", state.as_str())];
            page.count(&labels, u64::from(connector.state == state));
        }
    }
    let whole: [Shown<ConnectorSnapshot, f64>; 5] = [
        (&SNAPSHOT_AGE, |c| c.snapshot_age_seconds),
        (&ASSIGNED, |c| c.partitions.len() as f64),
        (&PAUSED, |c| c.partitions.iter().filter(|partition| partition.paused).count() as f64),
        (&BUFFERED_BYTES, |c| c.buffered_bytes as f64),
        (&OLDEST_UNFLUSHED, ConnectorSnapshot::oldest_unflushed_age_seconds),
    ];
    for (family, value) in whole {
        page.begin(family);
        for connector in connectors {
            page.number(&[("connector", &connector.name)], value(connector));
        }
    }
    page.begin(&LAG_RECORDS);
    put_by_partition(page, connectors, |partition| partition.lag_records.map(|lag| lag as f64));
    page.begin(&LAG_SECONDS);
    put_by_partition(page, connectors, |partition| partition.lag_seconds);
}

fn put_by_partition(
    page: &mut Exposition,
    connectors: &[ConnectorSnapshot],
    value: fn(&crate::admin::snapshot::PartitionSnapshot) -> Option<f64>,
) {
    for connector in connectors {
        for partition in &connector.partitions {
            let Some(value) = value(partition) else { continue };
            let number = partition.partition.to_string();
            page.number(
                &[("connector", &connector.name), ("topic", &partition.topic), ("partition", &number)],
                value,
            );
        }
    }
}

fn put_registry_counters(page: &mut Exposition, connectors: &Named) {
    let counts: Vec<(&str, RegistryCounts)> =
        connectors.iter().filter_map(|(name, c)| Some((name.as_str(), c.registry_counts()?))).collect();
    let families: [Shown<RegistryCounts, u64>; 6] = [
        (&REGISTRY_REQUESTS, |c| c.requests),
        (&REGISTRY_FAILURES, |c| c.failures),
        (&REGISTRY_FETCHES, |c| c.fetches),
        (&REGISTRY_HITS, |c| c.hits),
        (&REGISTRY_NEGATIVE_HITS, |c| c.negative_hits),
        (&REGISTRY_CHANGED, |c| c.changed),
    ];
    for (family, value) in families {
        page.begin(family);
        for (name, counts) in &counts {
            page.count(&[("connector", name)], value(counts));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::admin::snapshot::sample;
    use crate::error::Stage;

    /// Splits a page into series and values; panics at whatever the form does not allow.
    fn parse(page: &str) -> BTreeMap<String, f64> {
        let mut series = BTreeMap::new();
        let mut families = BTreeSet::new();
        let mut family = String::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(families.insert(family.clone()), "{family} comes twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, family);
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(name.starts_with(&family), "{name} stands under {family}");
                assert!(
                    series.insert(name.to_owned(), value.parse().unwrap()).is_none(),
                    "{name} comes twice"
                );
            }
        }
        series
    }

    #[test]
    fn the_page_shows_counters_gauges_and_the_process() {
        let metrics = Metrics::new();
        let orders = metrics.connector("orders");
        orders.records.add(5);
        metrics.connector("orders").records.add(2);
        orders.rotations.add("rows", 3);
        orders.poison.add((Stage::Decode, "truncated"), 1);
        orders.retries.add(Stage::Publish, 4);
        orders.publish_time.observe(Duration::from_millis(700));
        let series = parse(&metrics.render(&sample("orders")));

        for (name, value) in [
            (r#"sluice_records_total{connector="orders"}"#, 7.0),
            (r#"sluice_rotations_total{connector="orders",reason="rows"}"#, 3.0),
            (r#"sluice_poison_total{connector="orders",stage="decode",kind="truncated"}"#, 1.0),
            (r#"sluice_retries_total{connector="orders",stage="publish"}"#, 4.0),
            (r#"sluice_publish_seconds_bucket{connector="orders",le="0.5"}"#, 0.0),
            (r#"sluice_publish_seconds_bucket{connector="orders",le="1"}"#, 1.0),
            (r#"sluice_publish_seconds_bucket{connector="orders",le="+Inf"}"#, 1.0),
            (r#"sluice_publish_seconds_sum{connector="orders"}"#, 0.7),
            (r#"sluice_publish_seconds_count{connector="orders"}"#, 1.0),
            (r#"sluice_connector_state{connector="orders",state="running"}"#, 1.0),
            (r#"sluice_connector_state{connector="orders",state="failed"}"#, 0.0),
            (r#"sluice_assigned_partitions{connector="orders"}"#, 2.0),
            (r#"sluice_paused_partitions{connector="orders"}"#, 1.0),
            (r#"sluice_lag_records{connector="orders",topic="shop",partition="0"}"#, 30.0),
            (r#"sluice_oldest_unflushed_age_seconds{connector="orders"}"#, 12.5),
            (concat!("sluice_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
        ] {
            assert_eq!(series.get(name), Some(&value), "{name}");
        }
        assert!(!series.contains_key(r#"sluice_lag_records{connector="orders",topic="shop",partition="1"}"#));
        assert!(series["process_resident_memory_bytes"] > 0.0);
        assert!(series["process_open_fds"] > 0.0);
        assert!(series.contains_key("process_cpu_seconds_total"));
    }

    #[test]
    fn a_forgotten_connector_is_gone() {
        let metrics = Metrics::new();
        metrics.connector("orders").records.add(5);
        metrics.forget("orders");
        assert!(!metrics.render(&DaemonSnapshot::default()).contains("orders"));
    }
}
