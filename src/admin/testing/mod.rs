//! Owns an [`AdminState`] for tests: a daemon that can be set, and commands that can be read.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::history::History;
use super::snapshot::{DaemonSnapshot, sample};
use super::{Access, AdminCommand, AdminState, ConnectorAction, FooterError};
use crate::config;
use crate::metrics::Metrics;

/// What stands behind an [`AdminState`].
pub(super) struct Behind {
    pub(super) daemon: Arc<Mutex<DaemonSnapshot>>,
    pub(super) commands: mpsc::Receiver<AdminCommand>,
    pub(super) metrics: Metrics,
}

impl Behind {
    /// Waits for a command to a connector and answers it. Gives the connector's name and what was asked.
    pub(super) async fn answer(&mut self, outcome: Result<(), String>) -> (String, ConnectorAction) {
        let Some(AdminCommand::Connector { connector, action, reply }) = self.commands.recv().await else {
            panic!("no command to a connector")
        };
        reply.send(outcome).unwrap();
        (connector, action)
    }
}

/// A daemon with the connector `orders`; `http` is what the configuration says there. Takes `queue` commands.
pub(super) fn state(http: &str, queue: usize) -> (AdminState, Behind) {
    let text = format!(
        "version: 1
daemon: {{ http: {http} }}
connectors:
  - name: orders
    kafka: {{ topics: [shop], properties: {{ bootstrap.servers: 'localhost:9092' }} }}
    value: {{ format: avro }}
    registry: {{ url: 'http://localhost:8081' }}
    storage: {{ url: 'file:///lake' }}
"
    );
    let settings = config::load_str(&text, &|_| None).unwrap();
    let (sender, commands) = mpsc::channel(queue);
    let daemon = Arc::new(Mutex::new(sample("orders")));
    let (shown, storage) = (daemon.clone(), settings.connectors[0].storage.clone());
    let metrics = Metrics::new();
    let state = AdminState {
        snapshot: Arc::new(move || shown.lock().unwrap().clone()),
        storage: Arc::new(move |name| (name == "orders").then(|| storage.clone())),
        commands: sender,
        metrics: metrics.clone(),
        history: History::default(),
        access: Arc::new(Mutex::new(Access::new(&settings.daemon))),
        logs: None,
        footers: Some(Arc::new(|_, path| {
            Box::pin(async move {
                match path.as_str() {
                    "shop/broken.parquet" => Err(FooterError::Unreadable("broken".to_owned())),
                    path if path.contains("shop+0+") => Ok(serde_json::json!({ "file": path, "rows": 10 })),
                    path => Err(FooterError::Missing(format!("{path} does not exist"))),
                }
            })
        })),
    };
    (state, Behind { daemon, commands, metrics })
}
