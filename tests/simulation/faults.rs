//! Owns what goes wrong in a run, besides single requests that fail: crashes, stops, rebalances, outages, and all that
//! operators and brokers do in the midst of it.

use std::sync::Arc;

use sluice::config::settings::{OnPoison, OnTombstone};
use sluice::task::intent::Intent;
use sluice::task::message::Input;

use crate::outside::Service;
use crate::settings;
use crate::world::{MOST_PROCESSES, World};

/// How long the coordinator believes in a silent member.
const SESSION_MS: u64 = 2_000;

impl World {
    pub(crate) fn strike(&mut self) {
        match self.outside.rng.below(100) {
            0..45 => self.rebalance(),
            45..57 => self.crash(),
            57..66 => self.stall(),
            66..70 => self.cut_off(),
            70..77 => self.shut_down(),
            77..82 => self.outage(),
            82..90 => self.whim(),
            90..93 => self.reconfigure(),
            93..96 => self.compact(),
            96 => self.expire(),
            97..99 => self.add_partition(),
            _ => self.forget_offsets(),
        }
    }

    /// Asks a member for some of its partitions, as in a cooperative rebalance.
    fn rebalance(&mut self) {
        let Some(at) = self.pick_awake() else { return };
        let outside = &mut self.outside;
        let process = &mut self.processes[at];
        let mut partitions = outside.coordinator.settled_with(process.id);
        partitions.retain(|_| outside.rng.chance(60));
        if partitions.is_empty() {
            return;
        }
        for tp in &partitions {
            outside.coordinator.ask_back(tp);
        }
        outside.tally.count("rebalances");
        process.consumer.revoke(partitions);
    }

    /// kill -9: what is not published or committed is gone. The coordinator learns of it when the session ends.
    fn crash(&mut self) {
        if self.processes.is_empty() {
            return;
        }
        let at = self.outside.rng.below(self.processes.len());
        self.processes.swap_remove(at);
        self.outside.tally.count("crashes");
        self.replace();
    }

    /// SIGSTOP: it does nothing for a while, and does not know of it when it wakes. Others may be started meanwhile.
    fn stall(&mut self) {
        let Some(at) = self.pick_awake() else { return };
        let outside = &mut self.outside;
        self.processes[at].stalled_until = outside.now + 500 + outside.rng.below(12_000) as u64;
        outside.tally.count("stalls");
        if outside.rng.chance(50) && self.processes.len() < MOST_PROCESSES {
            self.start_process();
        }
    }

    /// The network between one member and the broker breaks: its store goes on to be reached.
    fn cut_off(&mut self) {
        let Some(at) = self.pick_awake() else { return };
        let outside = &mut self.outside;
        self.processes[at].consumer.cut_off_until = outside.now + 500 + outside.rng.below(12_000) as u64;
        outside.tally.count("members cut off");
    }

    /// SIGTERM: it may finish, unless it is killed on the way.
    fn shut_down(&mut self) {
        if let Some(at) = self.pick_awake() {
            self.processes[at].consumer.drain();
            self.outside.tally.count("shutdowns begun");
        }
    }

    fn outage(&mut self) {
        let outside = &mut self.outside;
        let service =
            [Service::Broker, Service::Store, Service::Registry, Service::DeadLetters][outside.rng.below(4)];
        outside.away.insert(service, outside.now + outside.rng.below(10_000) as u64);
        outside.tally.count("outages");
    }

    /// What an operator asks of a running daemon.
    fn whim(&mut self) {
        let Some(at) = self.pick_awake() else { return };
        let input = match self.outside.rng.below(4) {
            0 => Input::SetPaused(true),
            1 | 2 => Input::SetPaused(false),
            _ => Input::FlushNow,
        };
        self.processes[at].interrupt(input);
    }

    /// The next processes start with other settings: mostly of the kind that may change at any time.
    fn reconfigure(&mut self) {
        let outside = &mut self.outside;
        let settings = if outside.rng.chance(60) {
            settings::tuned(&self.settings, &mut outside.rng)
        } else {
            settings::replanned(&self.settings, &mut outside.rng)
        };
        let other_plan = settings.plan != self.settings.plan;
        self.settings = Arc::new(settings);
        if other_plan {
            outside.tally.count("changes of plan");
            self.restart_all();
        } else {
            outside.tally.count("changes of rotation");
        }
    }

    fn compact(&mut self) {
        let tp = self.pick_partition();
        let gone = self.outside.logs.compact(&tp, &mut self.outside.rng);
        for offset in &gone {
            self.outside.ledger.compacted(&tp, *offset);
        }
        self.outside.tally.add("records compacted", gone.len() as u64);
    }

    /// Retention, whether or not anybody has read the records. Those that were there before the group began are not its.
    fn expire(&mut self) {
        let tp = self.pick_partition();
        let outside = &mut self.outside;
        let begun = outside.store.has_note(&tp);
        for offset in outside.logs.expire(&tp, &mut outside.rng) {
            outside.tally.count("records expired");
            if !begun {
                outside.ledger.compacted(&tp, offset);
            }
        }
    }

    /// While everything is down, the group loses its offsets. Dead letters of a pending flush would be lost with them, so
    /// with such a policy only offsets that announce nothing go.
    fn forget_offsets(&mut self) {
        let errors = &self.settings.errors;
        let letters =
            errors.on_poison == OnPoison::DeadLetter || errors.on_tombstone == OnTombstone::DeadLetter;
        self.restart_all();
        for tp in self.outside.logs.names() {
            let Some((_, metadata)) = self.outside.coordinator.committed(&tp) else { continue };
            // Letters of a flush that is announced would go with the offset.
            if !letters || matches!(Intent::from_metadata(&metadata), Ok(None)) {
                self.outside.coordinator.set_committed(&tp, None);
                self.outside.ledger.set_back(&tp, 0);
                self.outside.tally.count("offsets forgotten");
            }
        }
    }

    /// The coordinator takes the partitions of members it has not heard of.
    pub(crate) fn expire_sessions(&mut self) {
        let silent_from = self.outside.now + SESSION_MS;
        for member in self.outside.coordinator.members() {
            let alive = self.processes.iter().any(|process| {
                let silent_until = process.stalled_until.max(process.consumer.cut_off_until);
                process.id == member && silent_until <= silent_from
            });
            if !alive {
                self.outside.coordinator.leave(member);
                self.outside.tally.count("members put out");
            }
        }
    }

    pub(crate) fn restart_all(&mut self) {
        let count = self.processes.len();
        for process in std::mem::take(&mut self.processes) {
            self.outside.coordinator.leave(process.id);
        }
        for _ in 0..count.max(1) {
            self.start_process();
        }
    }

    /// Sees to it that somebody is there, and not too many.
    pub(crate) fn replace(&mut self) {
        if self.processes.len() < 2 || (self.processes.len() < 3 && self.outside.rng.chance(70)) {
            self.start_process();
        }
    }
}
