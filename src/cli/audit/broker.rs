//! Owns what an audit asks the broker: the group's commits, and what is in a gap. Does not own what follows from the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::audit::{AuditPlan, Auditor, GapContent, GroupCommit, GroupCommits, PartitionReport};
use crate::cli::place::UsageError;
use crate::cli::reason_of;
use crate::config::settings::{KafkaSettings, Secret, StartPosition, TopicSelection};
use crate::kafka::{Between, ClusterReader};
use crate::position::{OffsetRange, TopicPartition};

/// How long each question may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Gaps asked about: with more of them something else is wrong.
const MAX_GAPS: usize = 200;
/// A group of its own for questions that need none.
const NO_GROUP: &str = "sluice-audit";

/// Commits by topic-partition.
pub(super) type Commits = BTreeMap<TopicPartition, GroupCommit>;

/// A cluster to ask.
pub(super) struct Broker {
    settings: KafkaSettings,
    group: Option<String>,
    /// Made with the first question; `None` again after one that panicked.
    reader: Arc<Mutex<Option<ClusterReader>>>,
}

impl Broker {
    /// Of the properties on the command line; `None` without any.
    ///
    /// # Errors
    /// When there is no broker among them.
    pub(super) fn of(
        properties: BTreeMap<String, Secret>,
        group: Option<&str>,
    ) -> Result<Option<Self>, UsageError> {
        if properties.is_empty() {
            return Ok(None);
        }
        if !["bootstrap.servers", "metadata.broker.list"].iter().any(|key| properties.contains_key(*key)) {
            return Err(UsageError::new("--property bootstrap.servers=HOST:PORT is missing"));
        }
        let settings = KafkaSettings {
            topics: TopicSelection::Names(Vec::new()),
            group: group.unwrap_or(NO_GROUP).to_owned(),
            start: StartPosition::Error,
            properties,
        };
        Ok(Some(Self { settings, group: group.map(str::to_owned), reader: Arc::default() }))
    }

    pub(super) fn has_group(&self) -> bool {
        self.group.is_some()
    }

    /// The group's commits of the plan's topic-partitions.
    ///
    /// # Errors
    /// When the coordinator does not answer; what to do.
    pub(super) async fn commits(&self, plan: &AuditPlan) -> Result<Commits, String> {
        let partitions: BTreeSet<TopicPartition> = plan.files.iter().map(|file| file.tp.clone()).collect();
        if partitions.is_empty() {
            return Ok(Commits::new());
        }
        let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
        let answer = self.ask(move |reader| reader.commits(&partitions).map_err(reason_of)).await?;
        Ok(answer
            .into_iter()
            .map(|(tp, (offset, metadata))| (tp, GroupCommit { offset, metadata }))
            .collect())
    }

    /// Hands the commits of every topic-partition to the auditor.
    pub(super) fn compare(&self, auditor: &mut Auditor, plan: &AuditPlan, before: &Commits, after: Commits) {
        let Some(group) = &self.group else { return };
        for (tp, after) in after {
            // A topic-partition that got its first file in between has no tail to be judged.
            let before = before.get(&tp).cloned().unwrap_or_default();
            auditor.commits(plan, &tp, group, &GroupCommits { before, after });
        }
    }

    /// Asks what is in each gap, and lets the reports decide anew.
    pub(super) async fn look_into_gaps(&self, reports: &mut [PartitionReport]) {
        let mut asked = 0;
        for report in reports {
            let tp = TopicPartition::new(report.topic.as_str(), report.partition);
            for gap in &mut report.gaps {
                if asked == MAX_GAPS {
                    break;
                }
                asked += 1;
                gap.broker = self.content(&tp, gap.range()).await;
            }
            report.judge();
        }
    }

    async fn content(&self, tp: &TopicPartition, range: OffsetRange) -> GapContent {
        let tp = tp.clone();
        let answer = self.ask(move |reader| reader.look(&tp, range).map_err(reason_of)).await;
        match answer {
            Ok(Between::Nothing) => GapContent::NoRecord,
            Ok(Between::Record(offset)) => GapContent::Record(offset.as_i64()),
            Ok(Between::Deleted) => GapContent::Deleted,
            Ok(Between::Beyond(end)) => GapContent::Unknown(format!(
                "its partition ends at {end}: it is another cluster, or the topic was made again"
            )),
            Err(reason) => GapContent::Unknown(reason),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&ClusterReader) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let (settings, reader) = (self.settings.clone(), Arc::clone(&self.reader));
        let answer = tokio::task::spawn_blocking(move || {
            let mut place = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let reader = match place.take() {
                Some(reader) => reader,
                None => ClusterReader::new(&settings, PATIENCE).map_err(reason_of)?,
            };
            question(place.insert(reader))
        });
        answer.await.unwrap_or_else(|_| Err("the kafka client panicked; please report this".to_owned()))
    }
}
