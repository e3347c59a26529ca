//! Owns when a task's wish to be woken comes before what else it is told. Does not own the wish.

use crate::task::clock::Tick;

/// Keeps the earliest of the wishes since the last wake-up: a task that goes on hearing other things may wish a little later
/// each time, and would otherwise be woken only once nobody has anything to say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alarm {
    due: Option<Tick>,
    rang: bool,
}

impl Alarm {
    /// Takes what [`crate::task::SinkTask::poll_timeout`] says after each input.
    pub fn set(&mut self, wanted: Option<Tick>) {
        self.due = wanted.map(|tick| self.due.map_or(tick, |due| due.min(tick)));
    }

    /// When to stop waiting for inputs.
    #[must_use]
    pub fn due(&self) -> Option<Tick> {
        self.due
    }

    /// Whether the next input is to be [`crate::task::message::Input::Tick`], whatever else is there. Never twice in a row, so
    /// that neither keeps the other out.
    pub fn rings(&mut self, now: Tick) -> bool {
        let rings = !self.rang && self.due.is_some_and(|due| due <= now);
        self.rang = rings;
        if rings {
            self.due = None;
        }
        rings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_that_moves_with_every_input_is_heard_all_the_same() {
        let mut alarm = Alarm::default();
        let rung = (0..100)
            .filter(|at| {
                alarm.set(Some(Tick(at + 50)));
                alarm.rings(Tick(*at))
            })
            .count();
        assert_eq!(rung, 1);
    }

    #[test]
    fn neither_the_clock_nor_others_are_kept_waiting() {
        let mut alarm = Alarm::default();
        let rings: Vec<bool> = (0..4)
            .map(|_| {
                alarm.set(Some(Tick(5)));
                alarm.rings(Tick(7))
            })
            .collect();
        assert_eq!(rings, [true, false, true, false]);
        alarm.set(None);
        assert!(!alarm.rings(Tick(9)) && alarm.due().is_none());
    }
}
