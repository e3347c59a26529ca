//! Owns what an audit asks the broker: the group's commits, and what is in a gap. Does not own what follows from the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::audit::{AuditPlan, Auditor, GapContent, GroupCommit, GroupCommits, PartitionReport};
use crate::cli::place::UsageError;
use crate::cli::reason_of;
use crate::config::number_fault;
use crate::config::settings::{KafkaSettings, Secret, StartPosition, TopicSelection};
use crate::kafka::{Between, ClusterReader, PropertyJudge};
use crate::position::{Offset, OffsetRange, TopicPartition};

/// How long each question may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Gaps asked about: with more of them something else is wrong.
const MAX_GAPS: usize = 200;
/// A group of its own for questions that need none.
const NO_GROUP: &str = "sluice-audit";

/// Commits by topic-partition.
pub(super) type Commits = BTreeMap<TopicPartition, GroupCommit>;
/// First offsets by topic-partition, or why the broker does not tell.
pub(super) type Beginnings = BTreeMap<TopicPartition, Result<Offset, String>>;

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
    /// When there is no broker among them, or a group without any.
    pub(super) fn of(
        properties: BTreeMap<String, Secret>,
        group: Option<&str>,
    ) -> Result<Option<Self>, UsageError> {
        if properties.is_empty() && group.is_none() {
            return Ok(None);
        }
        if !["bootstrap.servers", "metadata.broker.list"].iter().any(|key| properties.contains_key(*key)) {
            let asked = if properties.is_empty() { "--group needs a broker to ask: " } else { "" };
            let message = format!("{asked}--property bootstrap.servers=HOST:PORT is missing");
            return Err(UsageError::new(message));
        }
        let judge = PropertyJudge::new();
        let protocol = properties.get("security.protocol").map(Secret::expose);
        let fault = |(key, value): (&String, &Secret)| {
            let value = value.expose();
            // It may come from a file or a variable.
            let fault = number_fault(&judge, key, value, true).or_else(|| judge.fault(key, value, protocol));
            fault.map(|fault| format!("--property {key} {fault}"))
        };
        let faults: Vec<String> = properties.iter().filter_map(fault).collect();
        if !faults.is_empty() {
            return Err(UsageError::new(faults.join("\nsluice: ")));
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

    /// The group's commits of every partition of the plan's topics, and of `topic`: also of those without a file.
    ///
    /// # Errors
    /// When the coordinator does not answer; what to do.
    pub(super) async fn commits(&self, plan: &AuditPlan, topic: Option<&str>) -> Result<Commits, String> {
        let mut partitions: BTreeSet<TopicPartition> =
            plan.files.iter().map(|file| file.tp.clone()).collect();
        let mut topics: BTreeSet<String> = partitions.iter().map(|tp| tp.topic.to_string()).collect();
        topics.extend(topic.map(str::to_owned));
        if topics.is_empty() {
            return Ok(Commits::new());
        }
        let answer = self.ask(move |reader| {
            for topic in &topics {
                partitions.extend(reader.partitions(topic).map_err(reason_of)?);
            }
            let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
            reader.commits(&partitions).map_err(reason_of)
        });
        let answer = answer.await?;
        Ok(answer
            .into_iter()
            .map(|(tp, (offset, metadata))| (tp, GroupCommit { offset, metadata }))
            .collect())
    }

    /// The first offset that the broker has of each topic-partition of the plan and of `commits`.
    pub(super) async fn beginnings(&self, plan: &AuditPlan, commits: Option<&Commits>) -> Beginnings {
        let mut partitions: BTreeSet<TopicPartition> =
            plan.files.iter().map(|file| file.tp.clone()).collect();
        partitions.extend(commits.into_iter().flat_map(BTreeMap::keys).cloned());
        let asked = partitions.clone();
        let answer = self.ask(move |reader| reader.beginnings(&asked).map_err(reason_of)).await;
        answer.unwrap_or_else(|reason| partitions.into_iter().map(|tp| (tp, Err(reason.clone()))).collect())
    }

    /// Hands the first offsets of every topic-partition that has files, or has something committed, to the auditor.
    pub(super) fn front(
        auditor: &mut Auditor,
        plan: &AuditPlan,
        commits: Option<&Commits>,
        beginnings: &Beginnings,
    ) {
        let with_files: BTreeSet<&TopicPartition> = plan.files.iter().map(|file| &file.tp).collect();
        for (tp, begins) in beginnings {
            let commit = commits.and_then(|commits| commits.get(tp));
            match begins {
                Ok(begins) => auditor.broker_begins(tp, *begins),
                Err(reason) if with_files.contains(tp) || commit.is_some_and(has_settled) => {
                    auditor.broker_is_silent(tp, reason.as_str());
                }
                Err(_) => {}
            }
        }
    }

    /// Hands the commits of every topic-partition to the auditor.
    pub(super) fn compare(
        &self,
        auditor: &mut Auditor,
        plan: &AuditPlan,
        (before, after): (&Commits, Commits),
        beginnings: &Beginnings,
    ) {
        let Some(group) = &self.group else { return };
        let with_files: BTreeSet<&TopicPartition> = plan.files.iter().map(|file| &file.tp).collect();
        for (tp, after) in after {
            // Neither files nor anything settled: there is nothing to be said of it.
            if !with_files.contains(&tp) && !has_settled(&after) {
                continue;
            }
            // A topic-partition that got its first file in between has no tail to be judged.
            let before = before.get(&tp).cloned().unwrap_or_default();
            let begins = beginnings.get(&tp).cloned().and_then(Result::ok);
            auditor.commits(plan, &tp, group, &GroupCommits { before, after }, begins);
        }
    }

    /// Whether it is in order that there is no file: the broker has the topic, and of each of its partitions either no record
    /// ever, or the group says that nothing of what it has passed became a row.
    pub(super) async fn expects_no_file(&self, commits: &Commits, reports: &[PartitionReport]) -> bool {
        for (tp, commit) in commits {
            let of_tp =
                |report: &&PartitionReport| *report.topic == *tp.topic && report.partition == tp.partition;
            if commit.offset.is_some_and(|offset| offset > Offset::ZERO) {
                if !reports.iter().find(of_tp).is_some_and(|report| report.ok) {
                    return false;
                }
                continue;
            }
            let (asked, all) =
                (tp.clone(), OffsetRange::new(Offset::ZERO, Offset::new(i64::MAX).unwrap_or_default()));
            let answer = self.ask(move |reader| reader.look(&asked, all).map_err(reason_of)).await;
            if answer != Ok(Between::Beyond(Offset::ZERO)) {
                return false;
            }
        }
        !commits.is_empty()
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
            Ok(Between::Tombstones(offset)) => GapContent::Tombstones(offset.as_i64()),
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

fn has_settled(commit: &GroupCommit) -> bool {
    commit.offset.is_some_and(|offset| offset > Offset::ZERO)
}
