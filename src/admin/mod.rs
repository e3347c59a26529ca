//! The HTTP endpoints of the daemon: health, readiness, metrics, status, commands. Reads snapshots and hands on
//! commands; touches no connector itself.

mod page;
mod routes;
mod server;
pub mod snapshot;

use std::sync::Arc;

use tokio::sync::mpsc;

pub use server::serve;
use snapshot::DaemonSnapshot;

use crate::metrics::Metrics;

/// What the endpoints show and where commands go. Clones share it.
#[derive(Clone)]
pub struct AdminState {
    /// Tells how the daemon is; called for each request, so it must neither block nor wait.
    pub snapshot: Arc<dyn Fn() -> DaemonSnapshot + Send + Sync>,
    /// Where commands go; when it is full or closed the client is told to come back.
    pub commands: mpsc::Sender<AdminCommand>,
    /// The counters.
    pub metrics: Metrics,
}

/// What an operator asks of a connector that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminCommand {
    /// The connector's name.
    pub connector: String,
    /// What it is asked to do.
    pub action: ConnectorAction,
}

/// What can be asked of a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorAction {
    /// Stop consuming, keep the assignment.
    Pause,
    /// Consume again.
    Resume,
    /// End every open flush now.
    Flush,
    /// Stop and start, also after a fatal failure.
    Restart,
}

impl ConnectorAction {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "pause" => Some(Self::Pause),
            "resume" => Some(Self::Resume),
            "flush" => Some(Self::Flush),
            "restart" => Some(Self::Restart),
            _ => None,
        }
    }
}
