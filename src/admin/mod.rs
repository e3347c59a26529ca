//! The HTTP endpoints of the daemon: health, readiness, metrics, status, commands. Reads snapshots and hands on
//! commands; touches no connector itself.

mod access;
mod files;
pub mod history;
mod own_words;
mod page;
mod plot;
mod routes;
mod server;
pub mod snapshot;
#[cfg(test)]
mod testing;
mod tls;

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

pub use access::Access;
pub use server::serve;
pub use tls::TlsListener;

use crate::config::settings::StorageSettings;
use crate::daemon::ReloadReport;
use crate::logging::LogControl;
use crate::metrics::Metrics;
use history::History;
use snapshot::DaemonSnapshot;

/// What the endpoints show and where commands go. Clones share it.
#[derive(Clone)]
pub struct AdminState {
    /// Tells how the daemon is; called for each request, so it must neither block nor wait.
    pub snapshot: Arc<dyn Fn() -> DaemonSnapshot + Send + Sync>,
    /// Where the connector of this name writes.
    pub storage: Places,
    /// Where commands go; when it is full or closed the client is told to come back.
    pub commands: mpsc::Sender<AdminCommand>,
    /// The counters.
    pub metrics: Metrics,
    /// The last hour.
    pub history: History,
    /// Who may do what; a reload may change it.
    pub access: Arc<Mutex<Access>>,
    /// The log of the process, where it has one.
    pub logs: Option<LogControl>,
    /// Reads footers of published files, where somebody can.
    pub footers: Option<Footers>,
}

/// Tells where a connector writes, by its name.
pub type Places = Arc<dyn Fn(&str) -> Option<StorageSettings> + Send + Sync>;

/// Reads the footer of a published file, by its path below the output prefix, as `sluice inspect --json` shows it.
pub type Footers = Arc<dyn Fn(StorageSettings, String) -> FooterFuture + Send + Sync>;

/// A footer on its way.
pub type FooterFuture = BoxFuture<'static, Result<serde_json::Value, FooterError>>;

/// Why there is no footer to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FooterError {
    /// There is no such file.
    Missing(String),
    /// It cannot be read.
    Unreadable(String),
}

/// What an operator asks for.
#[derive(Debug)]
pub enum AdminCommand {
    /// Of a connector that exists.
    Connector {
        /// Its name.
        connector: String,
        /// What it is asked to do.
        action: ConnectorAction,
        /// Whether it is done, or why it cannot be and what can.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Take up the configuration as it is now.
    Reload {
        /// What became of it, or every problem of the file.
        reply: oneshot::Sender<Result<ReloadReport, Vec<String>>>,
    },
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
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Pause, Self::Resume, Self::Flush, Self::Restart];

    /// The word of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Flush => "flush",
            Self::Restart => "restart",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}
