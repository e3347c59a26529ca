//! Owns one simulated run: chance picks what happens next, faults stop at some point, and then lag must reach 0 and
//! nothing be missing. Does not own the promises ([`crate::promise`]) nor what goes wrong ([`crate::faults`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice::config::settings::StartPosition;
use sluice::position::TopicPartition;
use sluice::task::message::Input;
use sluice::task::settings::TaskSettings;

use crate::control::Control;
use crate::coordinator::{Coordinator, ProcessId};
use crate::logs::Logs;
use crate::outside::{Outside, Trace};
use crate::process::Process;
use crate::promise::{Broken, Ledger, Promise};
use crate::rng::Rng;
use crate::store::Store;
use crate::tally::Tally;
use crate::{records, settings};

/// Steps with faults, and steps that may follow without any until lag must be 0.
const FAULTY_STEPS: usize = 1_600;
const CALM_STEPS: usize = 300_000;
/// Steps after that, for zombies to finish what they are at.
const LAST_STEPS: usize = 300;
/// From next to nothing, so that memory is short, to plenty.
const BUDGETS: [u64; 3] = [96 << 10, 1 << 20, 8 << 20];
pub(crate) const MOST_PROCESSES: usize = 4;
const MOST_PARTITIONS: usize = 6;

pub(crate) struct World {
    pub outside: Outside,
    pub processes: Vec<Process>,
    /// What the next process starts with.
    pub settings: Arc<TaskSettings>,
    budget_bytes: u64,
    next_process: ProcessId,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub trace: u64,
    pub tally: Tally,
    pub broken: Option<Broken>,
}

impl World {
    pub(crate) fn new(seed: u64, control: Control, blind_to: &[Promise], trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let settings = Arc::new(settings::any(&mut rng));
        let budget_bytes = BUDGETS[rng.below(BUDGETS.len())];
        let partitions = 1 + rng.below(4);
        let outside = Outside {
            rng,
            control,
            logs: Logs::default(),
            coordinator: Coordinator::default(),
            store: Store::default(),
            ledger: Ledger::new(blind_to),
            tally: Tally::default(),
            now: 1_000,
            wall_offset: 1_700_000_000_000,
            calm: false,
            away: BTreeMap::new(),
            trace,
        };
        let mut world = Self { outside, processes: Vec::new(), settings, budget_bytes, next_process: 0 };
        for _ in 0..partitions {
            world.add_partition();
        }
        for _ in 0..1 + world.outside.rng.below(3) {
            world.start_process();
        }
        world
    }

    /// Runs until a promise is broken, or to the end.
    pub(crate) fn run(mut self) -> Ending {
        self.live();
        let files = self.outside.store.len() as u64;
        let Outside { trace, mut tally, ledger, .. } = self.outside;
        tally.add("flushes emptied by compaction", ledger.emptied);
        tally.add("files at the end", files);
        Ending { trace: trace.finish(), tally, broken: ledger.broken }
    }

    fn live(&mut self) {
        for _ in 0..FAULTY_STEPS {
            self.step();
            if self.outside.ledger.broken.is_some() {
                return;
            }
        }
        self.calm_down();
        let mut steps = 0;
        while self.outside.lag() > 0 && self.outside.ledger.broken.is_none() {
            self.step();
            steps += 1;
            if steps == CALM_STEPS {
                let what = format!("lag is {} without faults\n{}", self.outside.lag(), self.describe());
                self.outside.ledger.break_promise(Promise::K7, what);
                return;
            }
        }
        for _ in 0..LAST_STEPS {
            self.step();
        }
        self.outside.ledger.check_complete();
    }

    fn step(&mut self) {
        let calm = self.outside.calm;
        let action = self.outside.rng.below(1_000);
        self.outside.trace.chose((action, self.outside.now));
        match action {
            0..30 if !calm => self.produce(),
            30..50 if !calm => self.strike(),
            75..95 => self.expire_sessions(),
            95..190 => self.pass_time(),
            190..230 => self.heartbeat(),
            _ => self.let_work(),
        }
        self.assign_free_partitions();
        self.attend();
    }

    fn calm_down(&mut self) {
        self.outside.calm = true;
        self.outside.away.clear();
        for process in &mut self.processes {
            process.stalled_until = 0;
            process.consumer.cut_off_until = 0;
            process.interrupt(Input::SetPaused(false));
        }
    }

    fn produce(&mut self) {
        let outside = &mut self.outside;
        let names = outside.logs.names();
        let tp = &names[outside.rng.below(names.len())];
        let rng = &mut outside.rng;
        let log = outside.logs.partitions.get_mut(tp).unwrap();
        for _ in 0..1 + rng.below(20) {
            let gap = if rng.chance(10) { 1 + rng.below(5) as i64 } else { 0 };
            let (value, fate) = records::value(rng, log.end + gap, &self.settings);
            let written = outside.wall_offset + outside.now as i64 + rng.below(7_200_000) as i64;
            let timestamp = rng.chance(95).then_some(written);
            let offset = log.append(gap, timestamp, value);
            outside.ledger.produced(tp, offset, fate);
        }
        if rng.chance(25) {
            log.append_markers(1 + rng.below(4) as i64);
            outside.tally.count("tails without a record");
        }
    }

    fn let_work(&mut self) {
        if self.outside.calm {
            self.processes.sort_by_key(|process| (process.is_idle(&self.outside), process.id));
            let busy = self.processes.iter().filter(|process| !process.is_idle(&self.outside)).count().max(1);
            let at = self.outside.rng.below(busy);
            self.processes[at].turn(&mut self.outside);
        } else if let Some(at) = self.pick_awake() {
            self.processes[at].turn(&mut self.outside);
        }
    }

    fn heartbeat(&mut self) {
        if let Some(at) = self.pick_awake() {
            self.processes[at].consumer.heartbeat(&self.outside);
        }
    }

    fn pass_time(&mut self) {
        let outside = &mut self.outside;
        outside.now += outside.rng.below(400) as u64;
        if outside.calm {
            // Nothing else may be left to do than to wait.
            let idle = self.processes.iter().all(|process| process.is_idle(outside));
            let next = self.processes.iter().filter_map(Process::deadline).min();
            if idle {
                outside.now = outside.now.max(next.unwrap_or(0)) + 1_000;
                // Nothing rotates by itself when a run has only row limits: an operator ends what is open.
                for process in &mut self.processes {
                    process.interrupt(Input::FlushNow);
                }
            }
        } else if outside.rng.chance(4) {
            let hours = [-3, -1, 1, 5, 48][outside.rng.below(5)];
            outside.wall_offset += 3_600_000 * hours;
            outside.tally.count(if hours < 0 { "clock set back" } else { "clock set forward" });
        }
    }

    /// Gives free partitions to members.
    fn assign_free_partitions(&mut self) {
        for tp in self.outside.coordinator.free_partitions() {
            let Some(at) = self.pick_awake() else { return };
            let process = &mut self.processes[at];
            if process.failure.is_none() && process.consumer.takes_partitions(&self.outside) {
                self.outside.coordinator.give(&tp, process.id);
                process.consumer.assign(tp);
                self.outside.tally.count("partitions assigned");
            }
        }
    }

    // For faults and operators

    pub(crate) fn start_process(&mut self) {
        let (id, settings) = (self.next_process, self.settings.clone());
        self.next_process += 1;
        self.processes.push(Process::new(id, settings, self.budget_bytes, &mut self.outside));
    }

    pub(crate) fn add_partition(&mut self) {
        if self.outside.logs.partitions.len() < MOST_PARTITIONS {
            let tp = self.outside.logs.add_partition();
            if self.settings.start != StartPosition::Latest || self.outside.store.has_claim(&tp) {
                self.outside.ledger.owe_all(&tp);
            }
            self.outside.coordinator.add_partition(tp);
            self.outside.tally.count("partitions added");
        }
    }

    pub(crate) fn pick_awake(&mut self) -> Option<usize> {
        let at = self.outside.rng.below(self.processes.len().max(1));
        self.processes.get(at).filter(|process| process.is_awake(&self.outside)).map(|_| at)
    }

    pub(crate) fn pick_partition(&mut self) -> TopicPartition {
        let names = self.outside.logs.names();
        names[self.outside.rng.below(names.len())].clone()
    }

    /// For a run that does not come to rest.
    fn describe(&self) -> String {
        let mut text = String::new();
        for (tp, log) in &self.outside.logs.partitions {
            let (committed, owner) =
                (self.outside.coordinator.committed(tp), self.outside.coordinator.owner(tp));
            text += &format!("{tp}: end {}, committed {committed:?}, owner {owner:?}\n", log.end);
        }
        for process in &self.processes {
            text += &process.describe();
        }
        text
    }
}
