//! Owns the page that shows all metrics. Does not own their names (`families`), counting ([`ConnectorMetrics`]) or the HTTP
//! endpoint ([`crate::admin`]).
//!
//! Counters live in [`ConnectorMetrics`]; gauges are read off the [`DaemonSnapshot`] that the page is made for, so
//! that there is one truth about lag and open flushes.

mod connector;
mod exposition;
mod families;
mod instruments;
mod process;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub use connector::{ConnectorMetrics, ConnectorTotals};
pub use instruments::{Bytes, Counter, CounterBy, Histogram, Scale, Seconds};

use crate::admin::snapshot::{ConnectorSnapshot, ConnectorState, DaemonSnapshot};
use crate::error::Stage;
use crate::logging::LogControl;
use crate::registry::RegistryCounts;
use crate::task::budget::MemoryBudget;
use exposition::{Exposition, Family};
use families as family;
use instruments::HistogramReading;
use process::ProcessReading;

/// The metrics of the whole process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    connectors: Arc<Mutex<BTreeMap<String, Arc<ConnectorMetrics>>>>,
    whole: Arc<Mutex<Whole>>,
    started: SystemTime,
}

/// What is counted for the process and not for a connector.
struct Whole {
    budget: Option<MemoryBudget>,
    logs: Option<LogControl>,
    reloads: [u64; 2],
    last_reload_ok: bool,
    loaded: SystemTime,
}

impl Metrics {
    /// Nothing counted yet; the process counts as started now.
    #[must_use]
    pub fn new() -> Self {
        let started = SystemTime::now();
        let whole =
            Whole { budget: None, logs: None, reloads: [0; 2], last_reload_ok: true, loaded: started };
        Self { connectors: Arc::default(), whole: Arc::new(Mutex::new(whole)), started }
    }

    /// Shows this budget and this log from now on.
    pub fn watch_process(&self, budget: MemoryBudget, logs: Option<LogControl>) {
        let mut whole = self.whole();
        whole.budget = Some(budget);
        whole.logs = logs;
    }

    /// Counts a reload of the configuration.
    pub fn note_reload(&self, taken_up: bool) {
        let mut whole = self.whole();
        whole.reloads[usize::from(taken_up)] += 1;
        whole.last_reload_ok = taken_up;
        if taken_up {
            whole.loaded = SystemTime::now();
        }
    }

    /// The counters of the connector with this name, made at the first call. Keep them: this takes a lock.
    #[must_use]
    pub fn connector(&self, name: &str) -> Arc<ConnectorMetrics> {
        Arc::clone(self.lock().entry(name.to_owned()).or_default())
    }

    /// What the counters of the connector say; zeros when there are none with this name.
    #[must_use]
    pub fn totals(&self, name: &str) -> ConnectorTotals {
        self.lock().get(name).map(|connector| connector.totals()).unwrap_or_default()
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
        put_store_counters(&mut page, &connectors);
        self.put_whole(&mut page);
        self.put_process(&mut page);
        page.into_text()
    }

    fn put_whole(&self, page: &mut Exposition) {
        let whole = self.whole();
        if let Some(budget) = &whole.budget {
            page.begin(&family::MEMORY_BUDGET);
            page.count(&[], budget.limit_bytes());
            page.begin(&family::MEMORY_USED);
            page.count(&[], budget.used_bytes());
        }
        page.begin(&family::LOG_LINES_DROPPED);
        page.count(&[], whole.logs.as_ref().map_or(0, LogControl::dropped_lines));
        page.begin(&family::RELOADS);
        for (result, count) in ["refused", "ok"].into_iter().zip(whole.reloads) {
            page.count(&[("result", result)], count);
        }
        page.begin(&family::RELOAD_OK);
        page.count(&[], u64::from(whole.last_reload_ok));
        page.begin(&family::RELOADED_AT);
        page.number(&[], seconds_since_epoch(whole.loaded));
    }

    fn whole(&self) -> MutexGuard<'_, Whole> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_process(&self, page: &mut Exposition) {
        page.begin(&family::BUILD_INFO);
        page.count(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.begin(&family::START_TIME);
        page.number(&[], seconds_since_epoch(self.started));
        let process = ProcessReading::take();
        if let Some(seconds) = process.cpu_seconds {
            page.begin(&family::CPU_SECONDS);
            page.number(&[], seconds);
        }
        for (family, reading) in
            [(&family::RESIDENT_BYTES, process.resident_bytes), (&family::OPEN_FILES, process.open_files)]
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

fn seconds_since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

type Named = [(String, Arc<ConnectorMetrics>)];
/// A family and how to read its value off what it is about.
type Shown<C, T> = (&'static Family, fn(&C) -> T);

fn put_counters(page: &mut Exposition, connectors: &Named) {
    let plain: [Shown<ConnectorMetrics, u64>; 13] = [
        (&family::RECORDS, |c| c.records.get()),
        (&family::RECORD_BYTES, |c| c.record_bytes.get()),
        (&family::ROWS, |c| c.rows.get()),
        (&family::FILES, |c| c.files.get()),
        (&family::FILE_BYTES, |c| c.file_bytes.get()),
        (&family::TOMBSTONES, |c| c.tombstones.get()),
        (&family::SKIPPED, |c| c.skipped.get()),
        (&family::DEAD_LETTERS, |c| c.dead_letters.get()),
        (&family::INTENTS_REPLAYED, |c| c.intents_replayed.get()),
        (&family::REBALANCES, |c| c.rebalances.get()),
        (&family::DROPS, |c| c.drops.get()),
        (&family::ADOPTED_FILES, |c| c.adopted_files.get()),
        (&family::RESTARTS, |c| c.restarts.get()),
    ];
    for (family, counter) in plain {
        page.begin(family);
        for (name, connector) in connectors {
            page.count(&[("connector", name)], counter(connector));
        }
    }
    page.begin(&family::ROTATIONS);
    for (name, connector) in connectors {
        for (reason, count) in connector.rotations.snapshot() {
            page.count(&[("connector", name), ("reason", reason)], count);
        }
    }
    page.begin(&family::POISON);
    for (name, connector) in connectors {
        for ((stage, kind), count) in connector.poison.snapshot() {
            page.count(&[("connector", name), ("stage", stage.as_str()), ("kind", kind)], count);
        }
    }
    page.begin(&family::RETRIES);
    for (name, connector) in connectors {
        for (stage, count) in connector.retries.snapshot() {
            page.count(&[("connector", name), ("stage", stage.as_str())], count);
        }
    }
    page.begin(&family::ERRORS);
    for (name, connector) in connectors {
        for ((stage, kind), count) in connector.errors.snapshot() {
            page.count(&[("connector", name), ("stage", stage.as_str()), ("kind", kind)], count);
        }
    }
    page.begin(&family::COMMITS);
    for (name, connector) in connectors {
        for (outcome, count) in connector.commits.snapshot() {
            page.count(&[("connector", name), ("outcome", outcome)], count);
        }
    }
    page.begin(&family::LAST_PUBLISHED);
    for (name, connector) in connectors {
        let millis = connector.last_published_ms.load(Ordering::Relaxed);
        page.number(&[("connector", name)], millis as f64 / 1000.0);
    }
    put_histograms(page, connectors);
}

fn put_histograms(page: &mut Exposition, connectors: &Named) {
    let timed: [Shown<ConnectorMetrics, HistogramReading>; 5] = [
        (&family::COMMIT_SECONDS, |c| c.commit_time.read()),
        (&family::PUBLISH_SECONDS, |c| c.publish_time.read()),
        (&family::SEAL_SECONDS, |c| c.seal_time.read()),
        (&family::PUBLISH_STEP_SECONDS, |c| c.publish_step_time.read()),
        (&family::FILE_SIZE, |c| c.file_sizes.read()),
    ];
    for (family, histogram) in timed {
        page.begin(family);
        for (name, connector) in connectors {
            page.histogram(&[("connector", name)], &histogram(connector));
        }
    }
}

/// Stages that are tried again.
const TROUBLED_STAGES: [Stage; 8] = [
    Stage::Consume,
    Stage::Recover,
    Stage::Schema,
    Stage::Seal,
    Stage::Intend,
    Stage::Publish,
    Stage::Settle,
    Stage::DeadLetter,
];

fn put_gauges(page: &mut Exposition, connectors: &[ConnectorSnapshot]) {
    page.begin(&family::STATE);
    for connector in connectors {
        for state in ConnectorState::ALL {
            let labels = [("connector", connector.name.as_str()), ("state", state.as_str())];
            page.count(&labels, u64::from(connector.state == state));
        }
    }
    page.begin(&family::IN_TROUBLE);
    for connector in connectors {
        for stage in TROUBLED_STAGES.map(Stage::as_str) {
            let labels = [("connector", connector.name.as_str()), ("stage", stage)];
            page.count(&labels, u64::from(connector.troubles.iter().any(|trouble| trouble.stage == stage)));
        }
    }
    let whole: [Shown<ConnectorSnapshot, f64>; 7] = [
        (&family::SNAPSHOT_AGE, |c| c.snapshot_age_seconds),
        (&family::ASSIGNED, |c| c.partitions.len() as f64),
        (&family::PAUSED, |c| c.partitions.iter().filter(|partition| partition.paused).count() as f64),
        (&family::BUFFERED_BYTES, |c| c.buffered_bytes as f64),
        (&family::IN_FLIGHT_BYTES, |c| c.in_flight_bytes as f64),
        (&family::OPEN_ROWS, |c| {
            c.partitions.iter().filter_map(|p| Some(p.open_flush.as_ref()?.rows)).sum::<u64>() as f64
        }),
        (&family::OLDEST_UNFLUSHED, ConnectorSnapshot::oldest_unflushed_age_seconds),
    ];
    for (family, value) in whole {
        page.begin(family);
        for connector in connectors {
            page.number(&[("connector", &connector.name)], value(connector));
        }
    }
    page.begin(&family::LAG_RECORDS);
    put_by_partition(page, connectors, |partition| partition.lag_records.map(|lag| lag as f64));
    page.begin(&family::LAG_SECONDS);
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
        (&family::REGISTRY_REQUESTS, |c| c.requests),
        (&family::REGISTRY_FAILURES, |c| c.failures),
        (&family::REGISTRY_FETCHES, |c| c.fetches),
        (&family::REGISTRY_HITS, |c| c.hits),
        (&family::REGISTRY_NEGATIVE_HITS, |c| c.negative_hits),
        (&family::REGISTRY_CHANGED, |c| c.changed),
    ];
    for (family, value) in families {
        page.begin(family);
        for (name, counts) in &counts {
            page.count(&[("connector", name)], value(counts));
        }
    }
}

fn put_store_counters(page: &mut Exposition, connectors: &Named) {
    page.begin(&family::STORE_REQUESTS);
    for (name, connector) in connectors {
        for request in connector.store_requests() {
            let labels = [
                ("connector", name.as_str()),
                ("operation", request.operation),
                ("outcome", request.outcome),
            ];
            page.count(&labels, request.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::admin::snapshot::{TroubleSnapshot, sample};

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
        orders.note_error(&crate::error::Failure::retriable(Stage::Publish, "x"));
        orders.commits.add("ok", 2);
        orders.file_sizes.observe_bytes(5000);
        metrics.watch_process(MemoryBudget::new(1000), None);
        metrics.note_reload(false);
        orders.publish_time.observe_duration(Duration::from_millis(700));
        let mut daemon = sample("orders");
        daemon.connectors[0].troubles = vec![TroubleSnapshot { stage: "seal".into(), ..Default::default() }];
        let series = parse(&metrics.render(&daemon));

        for (name, value) in [
            (r#"sluice_records_total{connector="orders"}"#, 7.0),
            (r#"sluice_rotations_total{connector="orders",reason="rows"}"#, 3.0),
            (r#"sluice_poison_total{connector="orders",stage="decode",kind="truncated"}"#, 1.0),
            (r#"sluice_retries_total{connector="orders",stage="publish"}"#, 4.0),
            (r#"sluice_errors_total{connector="orders",stage="publish",kind="retriable"}"#, 1.0),
            (r#"sluice_commits_total{connector="orders",outcome="ok"}"#, 2.0),
            (r#"sluice_file_size_bytes_bucket{connector="orders",le="4096"}"#, 0.0),
            (r#"sluice_file_size_bytes_sum{connector="orders"}"#, 5000.0),
            ("sluice_memory_budget_bytes", 1000.0),
            (r#"sluice_config_reloads_total{result="refused"}"#, 1.0),
            ("sluice_config_last_reload_successful", 0.0),
            (r#"sluice_publish_seconds_bucket{connector="orders",le="0.5"}"#, 0.0),
            (r#"sluice_publish_seconds_bucket{connector="orders",le="1"}"#, 1.0),
            (r#"sluice_publish_seconds_bucket{connector="orders",le="+Inf"}"#, 1.0),
            (r#"sluice_publish_seconds_sum{connector="orders"}"#, 0.7),
            (r#"sluice_publish_seconds_count{connector="orders"}"#, 1.0),
            (r#"sluice_connector_state{connector="orders",state="running"}"#, 1.0),
            (r#"sluice_connector_state{connector="orders",state="failed"}"#, 0.0),
            (r#"sluice_in_trouble{connector="orders",stage="seal"}"#, 1.0),
            (r#"sluice_in_trouble{connector="orders",stage="schema"}"#, 0.0),
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
