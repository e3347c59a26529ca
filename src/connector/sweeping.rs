//! Owns when uploads of killed processes are swept: beside everything else, at the start of a connector and every day
//! after. Does not own how they are found, nor local leftovers, which go before a connector starts.

use std::time::Duration;

use regex::Regex;
use tokio::task::JoinHandle;

use crate::config::settings::TopicSelection;
use crate::connector::containment::Containment;
use crate::error::Stage;
use crate::failpoint::failpoint;
use crate::storage::Store;
use crate::task::names::parse_object_name;

/// An upload begins when its flush has ended, so a living one is far younger, unless its store was away for long. Then it
/// is made once more.
const LEAST_AGE: Duration = Duration::from_secs(24 * 60 * 60);
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Sweeps while it lives.
pub(super) struct Sweeper(JoinHandle<()>);

impl Sweeper {
    pub(super) fn start(
        connector: &str,
        topics: &TopicSelection,
        store: Store,
        containment: &Containment,
    ) -> Self {
        let (connector, topics) = (connector.to_owned(), Topics::new(topics));
        Self(containment.spawn(Stage::Seal, async move {
            let mut told = false;
            loop {
                match store.sweep_uploads(least_age(), &|path| topics.own(path)).await {
                    Ok(0) => {}
                    Ok(aborted) => {
                        tracing::info!(connector, aborted, "unfinished uploads of ended processes aborted");
                    }
                    Err(error) if told => tracing::debug!(connector, "unfinished uploads not swept: {error}"),
                    Err(error) => {
                        told = true;
                        tracing::warn!(
                            connector,
                            "unfinished uploads of ended processes are not swept: {error}; allow \
                             s3:ListBucketMultipartUploads and s3:AbortMultipartUpload, or let a lifecycle rule of \
                             the bucket abort them; delivery goes on without"
                        );
                    }
                }
                tokio::time::sleep(SWEEP_EVERY).await;
            }
        }))
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whose uploads are ours.
enum Topics {
    Names(Vec<String>),
    /// `None` where the pattern cannot be read here: then nothing is ours.
    Pattern(Option<Regex>),
}

impl Topics {
    fn new(topics: &TopicSelection) -> Self {
        match topics {
            TopicSelection::Names(names) => Self::Names(names.clone()),
            TopicSelection::Regex(pattern) => Self::Pattern(Regex::new(pattern).ok()),
        }
    }

    /// Whether a path has the form of our files, in the directory of a topic of this connector.
    fn own(&self, path: &str) -> bool {
        let Some((tp, _, _)) = parse_object_name(path) else { return false };
        let topic = &*tp.topic;
        let selected = match self {
            Self::Names(names) => names.iter().any(|name| name == topic),
            Self::Pattern(pattern) => pattern.as_ref().is_some_and(|pattern| pattern.is_match(topic)),
        };
        selected && path.strip_prefix(topic).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn least_age() -> Duration {
    failpoint!("sweep.uploads", return Duration::ZERO);
    LEAST_AGE
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "orders+0+000000000000+000000000010.parquet";

    fn own(topics: &TopicSelection, path: &str) -> bool {
        Topics::new(topics).own(path)
    }

    #[test]
    fn fault_85_only_files_of_our_form_below_our_topics_are_ours() {
        let names = TopicSelection::Names(vec!["orders".to_owned()]);
        let pattern = TopicSelection::Regex("^ord.*".to_owned());
        for topics in [&names, &pattern] {
            assert!(own(topics, &format!("orders/{FILE}")));
            assert!(own(topics, &format!("orders/dt=2026-01-01/{FILE}")));
            for foreign in [
                format!("users/{FILE}"),
                FILE.to_owned(),
                "orders/backup.parquet".to_owned(),
                "orders/".into(),
            ] {
                assert!(!own(topics, &foreign), "{foreign}");
            }
            assert!(!own(topics, "users/users+0+000000000000+000000000010.parquet"));
        }
        assert!(!own(&TopicSelection::Regex("^(".to_owned()), &format!("orders/{FILE}")));
    }
}
