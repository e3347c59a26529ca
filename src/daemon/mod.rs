//! Supervises connectors: start, restart, pause, reload, drain on shutdown. Owns which connectors there are; does not own
//! what a connector does.

mod ending;
mod notify;
mod reload;
mod restart;
mod supervised;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::admin::history::History;
use crate::admin::snapshot::{ConnectorState, DaemonSnapshot};
use crate::admin::{Access, AdminCommand, AdminState, Footers, TlsListener};
use crate::config::settings::{ConnectorSettings, DaemonSettings, Settings, StorageSettings};
use crate::connector::{Connector, ConnectorStatus, Process};
use crate::logging::LogControl;
use crate::metrics::Metrics;
pub use ending::{ConnectorSummary, DaemonEnd};
use notify::Notifier;
pub use reload::ReloadReport;
use reload::{InForce, fixed_until_restart};
use supervised::{Circumstances, Start, Supervised};
use watch::FileWatch;

/// How often an address that is taken is tried.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);
/// How often the supervisor looks at its connectors.
const LOOK: Duration = Duration::from_millis(50);
/// How often the service manager may hear a new status line.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What the outside tells a running daemon.
#[derive(Default)]
pub struct Signals {
    /// Drain and end.
    pub shutdown: AtomicBool,
    /// End at once.
    pub abort: AtomicBool,
    /// Take up a changed configuration.
    pub reload: AtomicBool,
}

/// Reads the configuration anew. The error is what `check` would say, a line a problem.
pub type Reread = Box<dyn Fn() -> Result<Settings, Vec<String>> + Send>;

/// What a daemon is given by the command that runs it; without it a reload, levels or footers are not to be had.
#[derive(Default)]
pub struct Surroundings {
    /// Reads the configuration anew.
    pub reread: Option<Reread>,
    /// The log of the process.
    pub logs: Option<LogControl>,
    /// Reads footers of published files.
    pub footers: Option<Footers>,
    /// Hears what each connector of a bounded run did, when all have ended.
    pub summaries: Option<Sender<ConnectorSummary>>,
}

/// Runs every connector of `settings` until the end: of the bounded run, of the drain after `signals.shutdown`, or, in
/// a bounded run, of the last connector. A failed connector does not stop the others.
#[must_use]
pub fn run(
    settings: &Settings,
    process: &Process,
    metrics: &Metrics,
    signals: &Arc<Signals>,
    surroundings: Surroundings,
) -> DaemonEnd {
    let starting = process.clone();
    let start: Start = Arc::new(move |settings, metrics, status, give_up| {
        Connector::start(settings, &starting, metrics, status, give_up)
    });
    metrics.watch_process(process.budget.clone(), surroundings.logs.clone());
    let mut daemon = Daemon::new(settings, metrics, surroundings, start);
    daemon.bounded = process.until_end;
    let inbox = daemon.serve_admin(&process.runtime);
    let end = daemon.supervise(signals, inbox);
    tracing::info!("ended");
    end
}

/// A listener at an address, as soon as nobody else has it; that it is not free is told once.
async fn bound(address: SocketAddr, first: io::Result<TcpListener>) -> TcpListener {
    let mut outcome = first;
    let mut told = false;
    loop {
        match outcome {
            Ok(listener) => return listener,
            Err(error) if !told => {
                tracing::warn!(
                    listen = %address,
                    "the endpoints are not served yet: {error}; tried again until the address is free, or set \
                     daemon.listen to another"
                );
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
        outcome = TcpListener::bind(address);
    }
}

/// What the endpoints may see of a connector.
struct Shown {
    status: Arc<ConnectorStatus>,
    storage: StorageSettings,
}

struct Daemon {
    settings: Settings,
    /// What the process started with: some of it stays in force until it ends.
    started_with: DaemonSettings,
    metrics: Metrics,
    surroundings: Surroundings,
    start: Start,
    bounded: bool,
    connectors: Vec<Supervised>,
    shown: Arc<Mutex<Vec<Shown>>>,
    history: History,
    access: Arc<Mutex<Access>>,
    tls: Option<TlsListener>,
    notifier: Notifier,
    watch: FileWatch,
    told_at: Option<Instant>,
}

impl Daemon {
    fn new(settings: &Settings, metrics: &Metrics, surroundings: Surroundings, start: Start) -> Self {
        let mut daemon = Self {
            settings: settings.clone(),
            started_with: settings.daemon.clone(),
            metrics: metrics.clone(),
            surroundings,
            start,
            bounded: false,
            connectors: Vec::new(),
            shown: Arc::default(),
            history: History::default(),
            access: Arc::new(Mutex::new(Access::new(&settings.daemon))),
            tls: None,
            notifier: Notifier::of_environment(),
            watch: FileWatch::new(settings, Instant::now()),
            told_at: None,
        };
        for connector in &settings.connectors {
            daemon.add(InForce::new(connector.clone()));
        }
        daemon.show();
        daemon
    }

    fn add(&mut self, in_force: InForce) {
        let metrics = self.metrics.connector(&in_force.settings.name);
        self.connectors.push(Supervised::new(in_force, metrics, self.start.clone()));
    }

    /// Lets the endpoints see the connectors there are now.
    fn show(&self) {
        let shown = self.connectors.iter().map(|connector| Shown {
            status: connector.status.clone(),
            storage: connector.in_force.settings.storage.clone(),
        });
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown.collect();
    }

    /// Starts the endpoints; trouble with them is logged and does not keep records from being delivered.
    fn serve_admin(&mut self, runtime: &tokio::runtime::Handle) -> Option<mpsc::Receiver<AdminCommand>> {
        let daemon = &self.settings.daemon;
        if let Some(files) = &daemon.http.tls {
            match TlsListener::load(files) {
                Ok(tls) => self.tls = Some(tls),
                Err(reason) => {
                    tracing::warn!("the endpoints are not served: daemon.http.tls: {reason}");
                    return None;
                }
            }
        }
        let (commands, inbox) = mpsc::channel(64);
        let (shown, footers) = (self.shown.clone(), self.shown.clone());
        let state = AdminState {
            snapshot: Arc::new(move || snapshot(&shown)),
            storage: Arc::new(move |name| storage_of(&footers, name)),
            commands,
            metrics: self.metrics.clone(),
            history: self.history.clone(),
            access: self.access.clone(),
            logs: self.surroundings.logs.clone(),
            footers: self.surroundings.footers.clone(),
        };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let (wanted, open) = (daemon.listen, daemon.http.token.is_none() && !daemon.http.read_only);
        // Bound at once where the address is free: readiness is told soon after.
        let first = TcpListener::bind(wanted);
        let tls = self.tls.clone();
        runtime.spawn(async move {
            let listener = bound(wanted, first).await;
            let listen = listener.local_addr().unwrap_or(wanted);
            tracing::info!(%listen, scheme, "endpoints served");
            if !listen.ip().is_loopback() && open {
                tracing::warn!(
                    %listen,
                    "whoever reaches this address may pause and restart connectors; set daemon.http.token or \
                     daemon.http.read_only"
                );
            }
            if let Err(error) = crate::admin::serve(listener, state, tls, std::future::pending()).await {
                tracing::warn!("the endpoints ended: {error}");
            }
        });
        Some(inbox)
    }

    fn supervise(
        &mut self,
        signals: &Arc<Signals>,
        mut inbox: Option<mpsc::Receiver<AdminCommand>>,
    ) -> DaemonEnd {
        self.notifier.ready();
        let mut draining: Option<Instant> = None;
        loop {
            if signals.abort.load(Ordering::SeqCst) {
                return DaemonEnd::TimedOut;
            }
            if signals.shutdown.load(Ordering::SeqCst) && draining.is_none() {
                draining = Some(Instant::now());
                // Whoever asks for something now, or has asked, is told that it is too late.
                inbox = None;
                self.begin_shutdown();
            }
            if signals.reload.swap(false, Ordering::SeqCst) && draining.is_none() {
                // Told in the log; a signal has nobody to answer to.
                let _ = self.reload();
            }
            if draining.is_none() {
                self.reload_if_files_changed();
            }
            while let Some(command) = inbox.as_mut().and_then(|inbox| inbox.try_recv().ok()) {
                self.obey(command);
            }
            self.look(draining.is_some());
            let ended = self.connectors.iter().all(Supervised::has_ended);
            if ended && (draining.is_some() || self.bounded) {
                return self.end();
            }
            if draining.is_some_and(|began| began.elapsed() >= self.settings.daemon.shutdown_timeout) {
                tracing::error!(
                    timeout_s = self.settings.daemon.shutdown_timeout.as_secs(),
                    "the drain did not end in time; what is not committed will be read again"
                );
                return DaemonEnd::TimedOut;
            }
            self.tell_manager();
            std::thread::sleep(LOOK);
        }
    }

    fn begin_shutdown(&mut self) {
        tracing::info!("shutting down: flushing and committing what is buffered");
        self.notifier.stopping();
        for connector in &mut self.connectors {
            connector.drain();
        }
    }

    /// Looks at every connector. Those that wait to be started begin once none gives way any more: two lives of a
    /// connector, or two connectors that exchange topics, must not write at the same time.
    fn look(&mut self, draining: bool) {
        let around = Circumstances {
            now: Instant::now(),
            draining,
            restarts: !self.bounded,
            shutdown_timeout: self.settings.daemon.shutdown_timeout,
        };
        for connector in &mut self.connectors {
            connector.look(&around);
        }
        if self.connectors.iter().any(Supervised::has_left) {
            let left: Vec<Supervised> =
                self.connectors.extract_if(.., |connector| connector.has_left()).collect();
            self.show();
            for connector in left {
                tracing::info!(connector = connector.name(), "connector removed");
                self.metrics.forget(connector.name());
                self.history.forget(connector.name());
            }
        }
        if !draining && !self.connectors.iter().any(Supervised::gives_way) {
            for connector in &mut self.connectors {
                connector.start_if_held();
            }
        }
        self.history.sample_when_due(around.now, || (snapshot(&self.shown), self.metrics.clone()));
    }

    fn obey(&mut self, command: AdminCommand) {
        match command {
            AdminCommand::Connector { connector: name, action, reply } => {
                let found = self.connectors.iter_mut().find(|one| one.name() == name);
                let outcome = match found {
                    Some(connector) => connector.act(action),
                    None => Err(format!("connector {name} is not configured any more")),
                };
                let refused = outcome.as_ref().err();
                tracing::info!(connector = name, action = action.as_str(), refused, "operator command");
                // Who asked may have gone.
                let _ = reply.send(outcome);
            }
            AdminCommand::Reload { reply } => {
                let _ = reply.send(self.reload());
            }
        }
    }

    /// A bounded run ends with what it began with.
    fn reload_if_files_changed(&mut self) {
        if self.bounded {
            return;
        }
        let changed = self.watch.look(Instant::now());
        if !changed.is_empty() {
            let files: Vec<_> = changed.iter().map(|file| file.display().to_string()).collect();
            tracing::info!(files = files.join(" "), "files of the configuration have changed: reloading");
            let _ = self.reload();
        }
    }

    /// Takes up the configuration as it is now: whole, or not at all.
    fn reload(&mut self) -> Result<ReloadReport, Vec<String>> {
        self.notifier.reloading();
        let marks = self.watch.marks();
        let outcome = self.reread().map(|settings| self.take_up(settings));
        self.watch = FileWatch::new(&self.settings, Instant::now()).since(&marks);
        self.metrics.note_reload(outcome.is_ok());
        match &outcome {
            Ok(report) => tracing::info!(
                added = report.added.join(" "),
                removed = report.removed.join(" "),
                changed = report.changed.join(" "),
                restarted = report.restarted.join(" "),
                unchanged = report.unchanged.len(),
                needs_restart = report.needs_restart.join(" "),
                "configuration reloaded"
            ),
            Err(problems) => {
                for problem in problems {
                    tracing::error!("configuration: {problem}");
                }
                tracing::error!(
                    problems = problems.len(),
                    "configuration not reloaded: everything goes on as before; mend the file and reload again"
                );
            }
        }
        self.notifier.ready();
        outcome
    }

    fn reread(&self) -> Result<Settings, Vec<String>> {
        let reread = self.surroundings.reread.as_ref();
        let settings = reread.ok_or_else(|| vec!["this process cannot reload".to_owned()])?()?;
        if let (Some(tls), Some(files)) = (&self.tls, &settings.daemon.http.tls) {
            tls.reload(files).map_err(|reason| vec![format!("daemon.http.tls: {reason}")])?;
        }
        Ok(settings)
    }

    fn take_up(&mut self, settings: Settings) -> ReloadReport {
        let mut report = ReloadReport {
            needs_restart: fixed_until_restart(&self.started_with, &settings.daemon),
            ..ReloadReport::default()
        };
        self.take_up_daemon(&settings);
        for connector in &mut self.connectors {
            let gone = !settings.connectors.iter().any(|new| new.name == connector.name());
            if gone && connector.target().is_some() {
                report.removed.push(connector.name().to_owned());
                connector.leave();
            }
        }
        for new in &settings.connectors {
            self.take_up_connector(new, &mut report);
        }
        let order: BTreeMap<&str, usize> =
            settings.connectors.iter().enumerate().map(|(at, new)| (new.name.as_str(), at)).collect();
        self.connectors.sort_by_key(|one| order.get(one.name()).copied().unwrap_or(usize::MAX));
        self.settings = settings;
        self.show();
        report
    }

    fn take_up_connector(&mut self, new: &ConnectorSettings, report: &mut ReloadReport) {
        let next = InForce::new(new.clone());
        let name = new.name.clone();
        let Some(connector) = self.connectors.iter_mut().find(|one| one.name() == name) else {
            report.added.push(name);
            self.add(next);
            return;
        };
        if connector.target().is_none_or(|target| !target.is_the_same_as(&next)) {
            report.changed.push(name);
            connector.restart(Some(next));
        } else if connector.has_failed() {
            report.restarted.push(name);
            connector.restart(None);
        } else {
            report.unchanged.push(name);
        }
    }

    fn take_up_daemon(&self, settings: &Settings) {
        self.access.lock().unwrap_or_else(PoisonError::into_inner).take_up(&settings.daemon.http);
        // A level set by hand stays until the file says something else than before.
        if settings.daemon.log_level != self.settings.daemon.log_level
            && let Some(logs) = &self.surroundings.logs
        {
            logs.set_level(settings.daemon.log_level);
        }
    }

    /// Feeds the watchdog while every connector that runs tells of itself.
    fn tell_manager(&mut self) {
        let now = Instant::now();
        if self.told_at.is_some_and(|told| now.duration_since(told) < TELL_EVERY) {
            return;
        }
        self.told_at = Some(now);
        let connectors = snapshot(&self.shown).connectors;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for connector in &connectors {
            *counts.entry(connector.state.as_str()).or_default() += 1;
        }
        let words: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
        self.notifier.status(&words.join(", "));
        let stuck = self.notifier.patience().is_some_and(|patience| {
            connectors.iter().any(|connector| {
                connector.state == ConnectorState::Running
                    && connector.snapshot_age_seconds > patience.as_secs_f64()
            })
        });
        if !stuck {
            self.notifier.alive(now);
        }
    }

    fn end(&self) -> DaemonEnd {
        let end = ending::judge(&self.connectors, self.bounded);
        if self.bounded {
            for summary in ending::summarize(&self.connectors) {
                if let Some(summaries) = &self.surroundings.summaries {
                    let _ = summaries.send(summary);
                }
            }
        }
        end
    }
}

fn snapshot(shown: &Mutex<Vec<Shown>>) -> DaemonSnapshot {
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
    DaemonSnapshot { connectors: shown.iter().map(|one| one.status.snapshot()).collect() }
}

fn storage_of(shown: &Mutex<Vec<Shown>>, name: &str) -> Option<StorageSettings> {
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
    shown.iter().find(|one| one.status.name() == name).map(|one| one.storage.clone())
}
