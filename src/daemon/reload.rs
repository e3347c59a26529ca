//! Owns what a changed configuration means for the connectors that run: who stays, who goes, who changes. Does not own how
//! a configuration is read, nor the lives of connectors.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::config::settings::{ConnectorSettings, DaemonSettings};

/// What a reload did, by names of connectors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReloadReport {
    /// Started: they were not there before.
    pub added: Vec<String>,
    /// Drained and gone.
    pub removed: Vec<String>,
    /// Drained and started with their new settings.
    pub changed: Vec<String>,
    /// Started again with the same settings, because they had failed.
    pub restarted: Vec<String>,
    /// Not touched.
    pub unchanged: Vec<String>,
    /// Settings of `daemon` that have changed and take effect with the next start of the process.
    pub needs_restart: Vec<String>,
}

/// What is known of a connector whose configuration is in force.
#[derive(Clone)]
pub(super) struct InForce {
    pub(super) settings: Arc<ConnectorSettings>,
    /// Of the files the settings name.
    contents: u64,
}

impl InForce {
    /// Reads the files that the settings name.
    pub(super) fn new(settings: ConnectorSettings) -> Self {
        let contents = fingerprint(settings.files().into_iter());
        Self { settings: Arc::new(settings), contents }
    }

    /// Whether `other` asks for the same, down to the content of the files it names.
    pub(super) fn is_the_same_as(&self, other: &Self) -> bool {
        self.contents == other.contents && self.settings.says_the_same_as(&other.settings)
    }
}

/// Names of the settings that differ and cannot be changed while the process runs.
pub(super) fn fixed_until_restart(old: &DaemonSettings, new: &DaemonSettings) -> Vec<String> {
    [
        ("daemon.listen", old.listen != new.listen),
        ("daemon.http.tls", old.http.tls.is_some() != new.http.tls.is_some()),
        ("daemon.log.format", old.log_format != new.log_format),
        ("daemon.memory", old.memory != new.memory),
        ("daemon.scratch_dir", old.scratch_dir != new.scratch_dir),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(name, _)| name.to_owned())
    .collect()
}

fn fingerprint<'a>(files: impl Iterator<Item = &'a Path>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        // What cannot be read now is told of by the start that needs it.
        std::fs::read(file).ok().hash(&mut hasher);
    }
    hasher.finish()
}
