//! Supervises connectors: start, restart, pause, drain on shutdown. Owns the life of each connector; does not own
//! what a connector does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::admin::snapshot::{ConnectorState, DaemonSnapshot};
use crate::admin::{AdminCommand, AdminState, ConnectorAction};
use crate::config::settings::{ConnectorSettings, Settings, TopicSelection};
use crate::connector::{Connector, ConnectorStatus, Process};
use crate::error::Failure;
use crate::metrics::{ConnectorMetrics, Metrics};

/// How often the supervisor looks at its connectors.
const LOOK: Duration = Duration::from_millis(50);

/// How a daemon ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DaemonEnd {
    /// Every connector drained, or reached its end in a bounded run.
    Done,
    /// Some connector failed; the names and failures.
    Failed(Vec<(String, Failure)>),
    /// The drain did not end in time; offsets are right, unsettled records will be read again.
    TimedOut,
}

/// What the outside tells a running daemon.
#[derive(Default)]
pub struct Signals {
    /// Drain and end.
    pub shutdown: AtomicBool,
    /// End at once.
    pub abort: AtomicBool,
}

/// Runs every connector of `settings` until the end: of the bounded run, of the drain after `signals.shutdown`, or, in
/// a bounded run, of the last connector. A failed connector does not stop the others.
#[must_use]
pub fn run(settings: &Settings, process: &Process, metrics: &Metrics, signals: &Arc<Signals>) -> DaemonEnd {
    let daemon = Daemon::new(settings, metrics);
    let admin = daemon.serve_admin(settings, process, metrics);
    let end = daemon.supervise(settings, process, signals, admin);
    tracing::info!("ended");
    end
}

struct Daemon {
    connectors: Vec<Supervised>,
}

struct Supervised {
    settings: Arc<ConnectorSettings>,
    metrics: Arc<ConnectorMetrics>,
    status: Arc<ConnectorStatus>,
    life: Mutex<Life>,
    give_up: Arc<AtomicBool>,
    rebalances_seen: Mutex<u64>,
}

enum Life {
    Stopped,
    Starting(JoinHandle<Result<Connector, Failure>>),
    Running(Connector),
    Done,
    Failed(Failure),
}

impl Daemon {
    fn new(settings: &Settings, metrics: &Metrics) -> Self {
        let connectors = settings
            .connectors
            .iter()
            .map(|connector| Supervised {
                settings: Arc::new(connector.clone()),
                metrics: metrics.connector(&connector.name),
                status: Arc::new(ConnectorStatus::new(&connector.name, topics_of(connector))),
                life: Mutex::new(Life::Stopped),
                give_up: Arc::default(),
                rebalances_seen: Mutex::new(0),
            })
            .collect();
        Self { connectors }
    }

    /// Starts the endpoints; trouble with them is logged and does not keep records from being delivered, except that
    /// an address in use is told loudly.
    fn serve_admin(
        &self,
        settings: &Settings,
        process: &Process,
        metrics: &Metrics,
    ) -> Option<mpsc::Receiver<AdminCommand>> {
        let listener = match std::net::TcpListener::bind(settings.daemon.listen) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(
                    listen = %settings.daemon.listen,
                    "the endpoints are not served: {error}; set daemon.listen to a free address"
                );
                return None;
            }
        };
        let (commands, inbox) = mpsc::channel(64);
        let statuses: Vec<Arc<ConnectorStatus>> =
            self.connectors.iter().map(|connector| connector.status.clone()).collect();
        let snapshot =
            move || DaemonSnapshot { connectors: statuses.iter().map(|status| status.snapshot()).collect() };
        let state = AdminState { snapshot: Arc::new(snapshot), commands, metrics: metrics.clone() };
        let listen = listener.local_addr().unwrap_or(settings.daemon.listen);
        tracing::info!(%listen, "endpoints served");
        process.runtime.spawn(async move {
            if let Err(error) = crate::admin::serve(listener, state, std::future::pending()).await {
                tracing::warn!("the endpoints ended: {error}");
            }
        });
        Some(inbox)
    }

    fn supervise(
        &self,
        settings: &Settings,
        process: &Process,
        signals: &Arc<Signals>,
        mut admin: Option<mpsc::Receiver<AdminCommand>>,
    ) -> DaemonEnd {
        for connector in &self.connectors {
            connector.start(process);
        }
        let mut draining: Option<Instant> = None;
        loop {
            if signals.abort.load(Ordering::SeqCst) {
                return DaemonEnd::TimedOut;
            }
            if signals.shutdown.load(Ordering::SeqCst) && draining.is_none() {
                tracing::info!("shutting down: flushing and committing what is buffered");
                draining = Some(Instant::now());
                for connector in &self.connectors {
                    connector.drain();
                }
            }
            while let Some(command) = admin.as_mut().and_then(|inbox| inbox.try_recv().ok()) {
                self.obey(&command, process);
            }
            for connector in &self.connectors {
                connector.look(draining.is_some());
            }
            let ended = self.connectors.iter().all(Supervised::has_ended);
            if ended && (draining.is_some() || process.until_end) {
                return self.end();
            }
            if draining.is_some_and(|began| began.elapsed() >= settings.daemon.shutdown_timeout) {
                tracing::error!(
                    timeout_s = settings.daemon.shutdown_timeout.as_secs(),
                    "the drain did not end in time; what is not committed will be read again"
                );
                return DaemonEnd::TimedOut;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn obey(&self, command: &AdminCommand, process: &Process) {
        let Some(connector) = self.connectors.iter().find(|one| one.settings.name == command.connector)
        else {
            return;
        };
        tracing::info!(connector = command.connector, action = ?command.action, "operator command");
        match command.action {
            ConnectorAction::Restart => connector.restart(process),
            action => connector.act(action),
        }
    }

    fn end(&self) -> DaemonEnd {
        let failures: BTreeMap<String, Failure> = self
            .connectors
            .iter()
            .filter_map(|connector| match &*connector.life() {
                Life::Failed(failure) => Some((connector.settings.name.clone(), failure.clone())),
                _ => None,
            })
            .collect();
        if failures.is_empty() { DaemonEnd::Done } else { DaemonEnd::Failed(failures.into_iter().collect()) }
    }
}

impl Supervised {
    fn life(&self) -> std::sync::MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the connector on a thread of its own: getting ready may take as long as its services do.
    fn start(&self, process: &Process) {
        self.status.set_state(ConnectorState::Starting);
        let (settings, process, metrics) = (self.settings.clone(), process.clone(), self.metrics.clone());
        let (status, give_up) = (self.status.clone(), self.give_up.clone());
        let name = format!("start-{}", settings.name);
        let started = std::thread::Builder::new()
            .name(name)
            .spawn(move || Connector::start(&settings, &process, &metrics, &status, &give_up));
        *self.life() = match started {
            Ok(handle) => Life::Starting(handle),
            Err(error) => Life::Failed(Failure::fatal(
                crate::error::Stage::Consume,
                format!("cannot start a thread: {error}"),
            )),
        };
    }

    fn restart(&self, process: &Process) {
        let life = std::mem::replace(&mut *self.life(), Life::Stopped);
        if let Life::Running(connector) = life {
            connector.drain();
            *self.life() = Life::Running(connector);
            // The look that sees it ended starts it again.
            self.status.set_state(ConnectorState::Starting);
            return;
        }
        if let Life::Starting(handle) = life {
            *self.life() = Life::Starting(handle);
            return;
        }
        self.start(process);
    }

    fn act(&self, action: ConnectorAction) {
        let Life::Running(connector) = &*self.life() else { return };
        match action {
            ConnectorAction::Pause => {
                connector.set_paused(true);
                self.status.set_state(ConnectorState::Paused);
            }
            ConnectorAction::Resume => {
                connector.set_paused(false);
                self.status.set_state(ConnectorState::Running);
            }
            ConnectorAction::Flush => connector.flush(),
            ConnectorAction::Restart => {}
        }
    }

    fn drain(&self) {
        self.give_up.store(true, Ordering::SeqCst);
        if let Life::Running(connector) = &*self.life() {
            connector.drain();
        }
    }

    /// Notes what has changed: started, ended, failed.
    fn look(&self, draining: bool) {
        let mut life = self.life();
        *life = match std::mem::replace(&mut *life, Life::Stopped) {
            Life::Starting(handle) if handle.is_finished() => self.settle_start(handle, draining),
            Life::Running(connector) if connector.has_ended() => match connector.join() {
                Ok(_) => {
                    self.status.set_state(ConnectorState::Stopped);
                    Life::Done
                }
                Err(failure) => self.fail(failure),
            },
            other => other,
        };
        drop(life);
        let now = self.status.rebalances();
        let mut seen = self.rebalances_seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.metrics.rebalances.add(now - *seen);
        *seen = now;
    }

    fn settle_start(&self, handle: JoinHandle<Result<Connector, Failure>>, draining: bool) -> Life {
        let started = handle.join().unwrap_or_else(|_| {
            Err(Failure::fatal(crate::error::Stage::Consume, "starting panicked; please report this"))
        });
        match started {
            Ok(connector) => {
                tracing::info!(connector = self.settings.name, "connector running");
                self.status.set_state(ConnectorState::Running);
                if draining {
                    connector.drain();
                }
                Life::Running(connector)
            }
            // Asked to stop while waiting for a service: nothing was begun.
            Err(_) if draining => {
                self.status.set_state(ConnectorState::Stopped);
                Life::Done
            }
            Err(failure) => self.fail(failure),
        }
    }

    fn fail(&self, failure: Failure) -> Life {
        tracing::error!(
            connector = self.settings.name,
            stage = failure.stage().as_str(),
            "connector failed: {failure}"
        );
        self.status.note_failure(&failure);
        self.status.set_state(ConnectorState::Failed);
        Life::Failed(failure)
    }

    fn has_ended(&self) -> bool {
        matches!(&*self.life(), Life::Done | Life::Failed(_))
    }
}

fn topics_of(connector: &ConnectorSettings) -> Vec<String> {
    match &connector.kafka.topics {
        TopicSelection::Names(names) => names.clone(),
        TopicSelection::Regex(_) => Vec::new(),
    }
}
