//! Owns what a panic does: it ends its connector, visibly and whole, and nothing else. Half of a connector would be worse
//! than none; the daemon starts it again.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;

use crate::error::{Failure, Stage, panic_text};
use crate::kafka::{Command, CommandSender};

/// Runs the asynchronous work of one connector. Cheap to clone.
#[derive(Clone)]
pub(super) struct Containment {
    runtime: Handle,
    commands: CommandSender,
}

impl Containment {
    pub(super) fn new(runtime: Handle, commands: CommandSender) -> Self {
        Self { runtime, commands }
    }

    /// Runs `work` beside the caller. If it panics nobody will hear its answer, so the connector ends.
    pub(super) fn spawn(
        &self,
        stage: Stage,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let commands = self.commands.clone();
        self.runtime.spawn(async move {
            if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                commands.send(Command::Fail(panicked(stage, "work for the connector", &*panic)));
            }
        })
    }
}

/// Runs `work` on a thread of this name. If it panics the connector ends.
///
/// # Errors
/// Retriable when there is no thread to be had.
pub(super) fn spawn_contained(
    name: String,
    commands: CommandSender,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Failure> {
    std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
                commands.send(Command::Fail(panicked(Stage::Encode, "a task", &*panic)));
            }
        })
        .map_err(|error| Failure::retriable(Stage::Consume, format!("cannot start a thread: {error}")))
}

fn panicked(stage: Stage, who: &str, panic: &(dyn std::any::Any + Send)) -> Failure {
    let text = panic_text(panic);
    Failure::retriable(stage, format!("{who} panicked: {text}; the offsets are held; please report this"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_105_a_panic_ends_its_connector() {
        let (commands, heard) = CommandSender::detached();
        spawn_contained("task".to_owned(), commands.clone(), || panic!("of the thread"))
            .unwrap()
            .join()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let containment = Containment::new(runtime.handle().clone(), commands);
        containment.spawn(Stage::Publish, async { panic!("of the {}", "future") });
        runtime.block_on(tokio::task::yield_now());
        for (stage, text) in [(Stage::Encode, "of the thread"), (Stage::Publish, "of the future")] {
            let Ok(Command::Fail(failure @ Failure::Retriable { .. })) = heard.try_recv() else { panic!() };
            assert_eq!(failure.stage(), stage);
            assert!(failure.to_string().contains(text), "{failure}");
        }
    }
}
