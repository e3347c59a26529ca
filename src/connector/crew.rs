//! Owns the threads of a connector together: none outlives the others, also when not all of them could be started.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::error::{Failure, Stage};
use crate::kafka::{Command, CommandSender, ConsumerEnd, TaskSender};
use crate::task::message::Input;

/// What the consumer thread ends with.
type Consumer = JoinHandle<Result<ConsumerEnd, Failure>>;

/// The consumer thread and the workers started so far. Dropping it ends them all, and waits for that.
pub(super) struct Crew {
    commands: CommandSender,
    /// `None` once it has ended.
    consumer: Option<Consumer>,
    pub(super) workers: Vec<JoinHandle<()>>,
    /// Where each worker takes its inputs.
    pub(super) tasks: Vec<TaskSender>,
    /// Says to the workers that it is over.
    pub(super) stop: Arc<AtomicBool>,
}

impl Crew {
    pub(super) fn new(commands: CommandSender, consumer: Consumer, tasks: Vec<TaskSender>) -> Self {
        let (workers, stop) = (Vec::new(), Arc::new(AtomicBool::new(false)));
        Self { commands, consumer: Some(consumer), workers, tasks, stop }
    }

    /// Waits for the consumer thread to end, then ends the workers.
    pub(super) fn supervise(mut self) -> Result<ConsumerEnd, Failure> {
        let panicked = || {
            let reason = "the consumer thread panicked while it ended; please report this";
            Err(Failure::retriable(Stage::Consume, reason))
        };
        let end = self.consumer.take().map(JoinHandle::join);
        end.and_then(Result::ok).unwrap_or_else(panicked)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        if self.consumer.is_some() {
            let reason = "the connector could not be started whole";
            self.commands.send(Command::Fail(Failure::retriable(Stage::Consume, reason)));
        }
        self.stop.store(true, Ordering::SeqCst);
        for task in &self.tasks {
            let _ = task.send(Input::Tick);
        }
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        // Last: it waits until the workers have dropped every record.
        if let Some(consumer) = self.consumer.take() {
            let _ = consumer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_crew_that_is_not_complete_ends_whole() {
        let (commands, heard) = CommandSender::detached();
        let (said, ends) = channel();
        let consumer = std::thread::spawn({
            let said = said.clone();
            move || {
                let Ok(Command::Fail(failure)) = heard.recv() else { panic!("told something else") };
                said.send("consumer").unwrap();
                Err(failure)
            }
        });
        let (task, inputs) = channel();
        let mut crew = Crew::new(commands, consumer, vec![task]);
        let stop = crew.stop.clone();
        crew.workers.push(std::thread::spawn(move || {
            while inputs.recv().is_ok() && !stop.load(Ordering::SeqCst) {}
            said.send("worker").unwrap();
        }));
        drop(crew);
        let mut ended: Vec<&str> = ends.try_iter().collect();
        ended.sort_unstable();
        assert_eq!(ended, ["consumer", "worker"]);
    }

    #[test]
    fn the_end_of_the_consumer_is_the_end_of_the_crew() {
        let (commands, heard) = CommandSender::detached();
        let consumer = std::thread::spawn(|| Ok(ConsumerEnd::Drained));
        assert_eq!(Crew::new(commands, consumer, Vec::new()).supervise(), Ok(ConsumerEnd::Drained));
        assert!(heard.try_recv().is_err(), "nothing is left to be told");
    }
}
