//! Owns looking now and then whether the place of the files is as it must be: between two flushes nobody else would notice for
//! as long as `rotate` lets them be open. Does not own what is wrong there, nor what a flush does about it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::connector::containment::Containment;
use crate::connector::status::ConnectorStatus;
use crate::error::Stage;
use crate::storage::Store;

const LOOK_EVERY: Duration = Duration::from_secs(4);

/// Looks while it lives.
pub(super) struct Watcher(JoinHandle<()>);

impl Watcher {
    pub(super) fn start(
        connector: &str,
        store: Store,
        status: Arc<ConnectorStatus>,
        containment: &Containment,
    ) -> Self {
        let connector = connector.to_owned();
        Self(containment.spawn(Stage::Seal, async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let found = store.look().await.map_err(|error| error.into_failure(Stage::Seal)).err();
                if !status.set_place(found.clone()) {
                    continue;
                }
                if let Some(failure) = found {
                    let reason = failure.reason();
                    tracing::warn!(
                        connector,
                        "{reason}; what is open is kept, and written when that is mended"
                    );
                } else {
                    tracing::info!(connector, "the output directory can be written again");
                }
            }
        }))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}
