//! Owns the life of one connector: starting, running, failing, starting again, giving way to other settings. Does not own
//! what the connector does, nor which connectors there are.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ending::ConnectorSummary;
use super::reload::InForce;
use super::restart::{RestartBackoff, may_help};
use crate::admin::ConnectorAction;
use crate::admin::snapshot::ConnectorState;
use crate::config::settings::{ConnectorSettings, TopicSelection};
use crate::connector::{Connector, ConnectorStatus};
use crate::error::{Failure, Stage};
use crate::kafka::ConsumerEnd;
use crate::metrics::ConnectorMetrics;

/// Starts a connector; blocks until it runs or cannot. The flag ends the wait for services early.
pub(super) type Start = Arc<
    dyn Fn(
            &ConnectorSettings,
            &Arc<ConnectorMetrics>,
            &Arc<ConnectorStatus>,
            &AtomicBool,
        ) -> Result<Connector, Failure>
        + Send
        + Sync,
>;

/// What a look at a connector needs to know of the process.
pub(super) struct Circumstances {
    pub(super) now: Instant,
    /// The process is on its way out.
    pub(super) draining: bool,
    /// Failed connectors are started again; not in a bounded run.
    pub(super) restarts: bool,
    pub(super) shutdown_timeout: Duration,
}

pub(super) struct Supervised {
    pub(super) in_force: InForce,
    pub(super) status: Arc<ConnectorStatus>,
    metrics: Arc<ConnectorMetrics>,
    start: Start,
    life: Life,
    /// What comes when the life at hand has ended.
    then: Then,
    /// Tells the life at hand to give up waiting for services.
    give_up: Arc<AtomicBool>,
    /// An operator's wish, which lasts until it is taken back.
    paused: bool,
    backoff: RestartBackoff,
    rebalances_seen: u64,
    reached_end: bool,
    /// It had failed when the process was asked to end.
    was_down: bool,
    /// When it was first started.
    began: Option<Instant>,
    /// When its last life ended.
    ended: Option<Instant>,
}

enum Life {
    /// Waits until connectors that give way have ended.
    Held,
    Starting(JoinHandle<Result<Connector, Failure>>, Instant),
    Running {
        connector: Connector,
        since: Instant,
        drain: Option<Drain>,
    },
    /// Failed, and to be started again.
    BackingOff {
        until: Instant,
        failure: Failure,
    },
    Done,
    Failed(Failure),
}

/// A drain under way.
struct Drain {
    since: Instant,
    abandoned: bool,
}

enum Then {
    /// Nothing: it is done, or failed.
    Rest,
    /// It starts again, with these settings.
    Start(InForce),
    /// It is no longer configured.
    Leave,
}

impl Supervised {
    /// A connector that waits to be started.
    pub(super) fn new(in_force: InForce, metrics: Arc<ConnectorMetrics>, start: Start) -> Self {
        let settings = &in_force.settings;
        let status = Arc::new(ConnectorStatus::new(&settings.name, topics_of(settings)));
        Self {
            in_force,
            status,
            metrics,
            start,
            life: Life::Held,
            then: Then::Rest,
            give_up: Arc::default(),
            paused: false,
            backoff: RestartBackoff::default(),
            rebalances_seen: 0,
            reached_end: false,
            was_down: false,
            began: None,
            ended: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.in_force.settings.name
    }

    /// What it will run with once all that was asked for is done; `None`: it leaves.
    pub(super) fn target(&self) -> Option<&InForce> {
        match &self.then {
            Then::Rest => Some(&self.in_force),
            Then::Start(next) => Some(next),
            Then::Leave => None,
        }
    }

    /// Whether others have to wait with their start: it may still write.
    pub(super) fn gives_way(&self) -> bool {
        !matches!(self.then, Then::Rest)
    }

    pub(super) fn has_left(&self) -> bool {
        matches!(self.then, Then::Leave) && self.has_ended()
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.life, Life::Done | Life::Failed(_))
    }

    /// Whether it delivered all that a bounded run asks for.
    pub(super) fn has_reached_end(&self) -> bool {
        self.reached_end
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure().is_some()
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        match &self.life {
            Life::Failed(failure) | Life::BackingOff { failure, .. } => Some(failure),
            _ => None,
        }
    }

    /// Whether it had failed, or waited to be started again, when [`Self::drain`] was called.
    pub(super) fn was_down_when_drained(&self) -> bool {
        self.was_down
    }

    /// What it did until now.
    pub(super) fn summary(&self) -> ConnectorSummary {
        let outcome = match (self.has_failed(), self.reached_end) {
            (true, _) => "failed",
            (false, true) => "done",
            (false, false) => "stopped",
        };
        let until = self.ended.unwrap_or_else(Instant::now);
        let took = self.began.map_or(Duration::ZERO, |began| until.saturating_duration_since(began));
        ConnectorSummary { connector: self.name().to_owned(), outcome, totals: self.metrics.totals(), took }
    }

    /// Starts it if it waits to be started.
    pub(super) fn start_if_held(&mut self) {
        if matches!(self.life, Life::Held) {
            self.begin();
        }
    }

    /// Drains it and starts it anew, whatever it is doing; also after a failure.
    pub(super) fn restart(&mut self, next: Option<InForce>) {
        let next = next.or_else(|| self.target().cloned()).unwrap_or_else(|| self.in_force.clone());
        self.then = Then::Start(next);
        self.stop();
    }

    /// Drains it for good.
    pub(super) fn leave(&mut self) {
        self.then = Then::Leave;
        self.stop();
    }

    /// Drains it: the process ends.
    pub(super) fn drain(&mut self) {
        self.was_down = self.has_failed();
        self.then = Then::Rest;
        self.stop();
    }

    /// Does what an operator asks for, or says why it cannot be done and what can.
    pub(super) fn act(&mut self, action: ConnectorAction) -> Result<(), String> {
        // What is no longer configured has no settings to come back with.
        if self.target().is_none() {
            let name = self.name();
            return Err(format!("connector {name} is being removed: it flushes, commits and ends by itself"));
        }
        match action {
            ConnectorAction::Pause => self.set_paused(true),
            ConnectorAction::Resume => self.set_paused(false),
            ConnectorAction::Restart => self.restart(None),
            ConnectorAction::Flush => match &self.life {
                Life::Running { connector, drain: None, .. } => connector.flush(),
                _ => return Err(self.nothing_to_flush()),
            },
        }
        Ok(())
    }

    fn nothing_to_flush(&self) -> String {
        let name = self.name();
        match &self.life {
            Life::Held | Life::Starting(..) => {
                format!("connector {name} is starting and has nothing open yet; ask again once it is running")
            }
            Life::Running { .. } => {
                format!("connector {name} is draining, which flushes everything; nothing is left to be done")
            }
            Life::BackingOff { .. } => format!(
                "connector {name} has failed and holds nothing that could be flushed: what was not committed is read \
                 again when it is started, which it is by itself; POST /api/connectors/{name}/restart does it now"
            ),
            Life::Failed(_) => format!(
                "connector {name} has failed and holds nothing that could be flushed: what was not committed is read \
                 again once it runs; mend what last_error names, then POST /api/connectors/{name}/restart"
            ),
            Life::Done => format!(
                "connector {name} has ended and holds nothing; POST /api/connectors/{name}/restart starts it again"
            ),
        }
    }

    /// Notes what has changed: started, ended, failed, waited long enough.
    pub(super) fn look(&mut self, around: &Circumstances) {
        self.life = match std::mem::replace(&mut self.life, Life::Held) {
            Life::Starting(handle, since) if handle.is_finished() => self.started(handle, since, around),
            Life::Running { connector, since, .. } if connector.has_ended() => match connector.join() {
                Ok(end) => {
                    self.reached_end = end == ConsumerEnd::ReachedEnd;
                    self.ended()
                }
                Err(failure) => self.fail(failure, since, around),
            },
            Life::Running { connector, since, drain: Some(drain) } => {
                Life::Running { drain: Some(hurry(&connector, &drain, around)), connector, since }
            }
            Life::BackingOff { until, .. } if around.now >= until && !around.draining => {
                self.begin();
                return self.count_rebalances();
            }
            Life::BackingOff { failure, .. } if around.draining => Life::Failed(failure),
            other => other,
        };
        if self.has_ended() && matches!(self.then, Then::Start(_)) {
            self.take_over();
        }
        self.count_rebalances();
    }

    fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        self.status.set_operator_paused(paused);
        if let Life::Running { connector, .. } = &self.life {
            connector.set_paused(paused);
            let state = if paused { ConnectorState::Paused } else { ConnectorState::Running };
            self.status.set_state(state);
        }
    }

    /// Starts the connector on a thread of its own: getting ready may take as long as its services do.
    fn begin(&mut self) {
        self.status.begin();
        self.began.get_or_insert_with(Instant::now);
        self.ended = None;
        self.give_up = Arc::default();
        let (settings, metrics, status) =
            (self.in_force.settings.clone(), self.metrics.clone(), self.status.clone());
        let (start, give_up) = (self.start.clone(), self.give_up.clone());
        let thread = std::thread::Builder::new()
            .name(format!("start-{}", settings.name))
            .spawn(move || start(&settings, &metrics, &status, &give_up));
        self.life = match thread {
            Ok(handle) => Life::Starting(handle, Instant::now()),
            Err(error) => {
                // Out of threads: told of and tried again like any other trouble of the machine.
                let failure = Failure::retriable(Stage::Consume, format!("cannot start a thread: {error}"));
                self.back_off(failure, Duration::ZERO, Instant::now())
            }
        };
    }

    /// Asks the life at hand to end.
    fn stop(&mut self) {
        self.give_up.store(true, Ordering::SeqCst);
        match &mut self.life {
            Life::Running { connector, drain, .. } => {
                if drain.is_none() {
                    tracing::info!(connector = self.in_force.settings.name, "connector draining");
                    connector.drain();
                    *drain = Some(Drain { since: Instant::now(), abandoned: false });
                }
            }
            Life::BackingOff { failure, .. } => self.life = Life::Failed(failure.clone()),
            Life::Held => self.life = Life::Done,
            Life::Starting(..) | Life::Done | Life::Failed(_) => {}
        }
    }

    /// Waits, with its next settings, for its turn to start.
    fn take_over(&mut self) {
        if let Then::Start(next) = std::mem::replace(&mut self.then, Then::Rest) {
            self.status.set_topics(topics_of(&next.settings));
            self.in_force = next;
            self.life = Life::Held;
            self.backoff = RestartBackoff::default();
            self.status.set_state(ConnectorState::Starting);
        }
    }

    fn started(
        &mut self,
        handle: JoinHandle<Result<Connector, Failure>>,
        since: Instant,
        around: &Circumstances,
    ) -> Life {
        let outcome = handle.join().unwrap_or_else(|_| {
            Err(Failure::retriable(Stage::Consume, "starting panicked; please report this"))
        });
        let asked_to_stop = self.give_up.load(Ordering::SeqCst);
        match outcome {
            Ok(connector) => {
                let took_ms = since.elapsed().as_millis() as u64;
                tracing::info!(connector = self.in_force.settings.name, took_ms, "connector running");
                self.status.set_state(ConnectorState::Running);
                let mut drain = None;
                if asked_to_stop {
                    connector.drain();
                    drain = Some(Drain { since: around.now, abandoned: false });
                } else if self.paused {
                    connector.set_paused(true);
                    self.status.set_state(ConnectorState::Paused);
                }
                Life::Running { connector, since: around.now, drain }
            }
            // Asked to stop while waiting for a service: nothing was begun.
            Err(_) if asked_to_stop => self.ended(),
            Err(failure) => self.fail(failure, since, around),
        }
    }

    fn ended(&mut self) -> Life {
        self.ended = Some(Instant::now());
        tracing::info!(connector = self.in_force.settings.name, "connector stopped");
        self.status.set_state(ConnectorState::Stopped);
        Life::Done
    }

    fn fail(&mut self, failure: Failure, since: Instant, around: &Circumstances) -> Life {
        let again = around.restarts && !around.draining && may_help(&failure);
        self.status.note_failure(&failure);
        self.status.set_state(ConnectorState::Failed);
        self.metrics.note_error(&failure);
        self.ended = Some(Instant::now());
        if again && matches!(self.then, Then::Rest) {
            return self.back_off(failure, around.now.duration_since(since), around.now);
        }
        self.tell_failure(&failure, None);
        Life::Failed(failure)
    }

    /// The one line of a failure.
    fn tell_failure(&self, failure: &Failure, again_in: Option<Duration>) {
        let culprit = self.status.culprit();
        tracing::error!(
            connector = self.in_force.settings.name,
            topic = culprit.as_ref().map(|tp| &*tp.topic),
            partition = culprit.as_ref().map(|tp| tp.partition),
            stage = failure.stage().as_str(),
            kind = failure.kind(),
            again_in_ms = again_in.map(|wait| wait.as_millis() as u64),
            "connector failed: {failure}"
        );
    }

    fn back_off(&mut self, failure: Failure, lived: Duration, now: Instant) -> Life {
        // Of the process's own random keys: replicas that fail together have the same names and process ids.
        let random = RandomState::new().hash_one(self.name());
        let wait = self.backoff.next(lived, random);
        self.metrics.restarts.add(1);
        self.status.set_restart(Some(now + wait));
        self.tell_failure(&failure, Some(wait));
        Life::BackingOff { until: now + wait, failure }
    }

    fn count_rebalances(&mut self) {
        let now = self.status.rebalances();
        self.metrics.rebalances.add(now - self.rebalances_seen);
        self.rebalances_seen = now;
    }
}

/// A drain that does not end in time is given up: its records are read again.
fn hurry(connector: &Connector, drain: &Drain, around: &Circumstances) -> Drain {
    let late = around.now.duration_since(drain.since) >= around.shutdown_timeout;
    if late && !drain.abandoned {
        connector.abandon();
    }
    Drain { since: drain.since, abandoned: drain.abandoned || late }
}

fn topics_of(connector: &ConnectorSettings) -> Vec<String> {
    match &connector.kafka.topics {
        TopicSelection::Names(names) => names.clone(),
        TopicSelection::Regex(_) => Vec::new(),
    }
}
