//! Owns whether a topic is still the one whose partitions were taken over, asked before every commit. The client goes on at
//! its offset in a topic that was deleted and made again, where that has other records, and tells nobody. An id that has not
//! changed after the records were fetched says that they are of the old topic.

use super::commands::Asked;
use super::reading::DESCRIBE_TIMEOUT;
use super::{ConsumerThread, commit_error};
use crate::error::{Failure, Stage};
use crate::kafka::native::{Described, Description};
use crate::task::claim::Claim;
use crate::task::message::{CommitError, Input};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataBroker;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long an answer is waited for at one go.
const WAIT_SLICE: Duration = Duration::from_millis(200);

/// How long the brokers may take to tell who they are, when none is known that answers.
const FIND_TIMEOUT: Duration = Duration::from_secs(1);

/// What a commit comes to whose topic is not known to be the same.
enum Doubted {
    Commit(CommitError),
    Topic(Failure),
}

impl ConsumerThread {
    /// Gives those of `commits` whose topics are the ones that they were; of the others the tasks hear at once.
    pub(super) fn hold_against_topics(
        &mut self,
        commits: Vec<Asked>,
        errors: &mut Vec<KafkaError>,
    ) -> Vec<Asked> {
        let with_id = |(tp, ..): &&Asked| self.lanes.get(tp).is_some_and(|lane| lane.topic_id.is_some());
        let topics: BTreeSet<&str> = commits.iter().filter(with_id).map(|(tp, ..)| &*tp.topic).collect();
        if topics.is_empty() {
            return commits;
        }
        let described = self.describe_now(&topics, errors);
        let mut same = Vec::new();
        for commit in commits {
            let Err(doubted) = self.same_topic(&commit, &described) else {
                same.push(commit);
                continue;
            };
            let (tp, epoch, id, ..) = commit;
            let Some(lane) = self.lanes.get(&tp) else { continue };
            let input = match doubted {
                Doubted::Commit(error) => Input::CommitDone { tp, commit: id, result: Err(error) },
                Doubted::Topic(failure) => Input::ReadFailed { tp, epoch, failure },
            };
            self.tell(lane.task, input);
        }
        same
    }

    /// Waits for the answer, as for that of a commit: the client stays polled meanwhile.
    fn describe_now(
        &mut self,
        topics: &BTreeSet<&str>,
        errors: &mut Vec<KafkaError>,
    ) -> Result<Described, RDKafkaErrorCode> {
        if self.brokers.is_empty()
            && let Some(topic) = topics.first()
            && let Ok(metadata) = self.consumer.fetch_metadata(Some(topic), FIND_TIMEOUT)
        {
            // All of them: a leader that we cannot reach, and others can, would come back here for ever.
            self.brokers = metadata.brokers().iter().map(MetadataBroker::id).collect();
        }
        let Some(broker) = self.next_broker() else { return Err(RDKafkaErrorCode::BrokerNotAvailable) };
        let description = Description::ask(&self.consumer, topics, broker, DESCRIBE_TIMEOUT)
            .ok_or(RDKafkaErrorCode::BrokerNotAvailable)?;
        let deadline = Instant::now() + DESCRIBE_TIMEOUT + WAIT_SLICE;
        let described = loop {
            if let Some(described) = description.answer(WAIT_SLICE) {
                break described;
            }
            if Instant::now() >= deadline {
                break Err(RDKafkaErrorCode::OperationTimedOut);
            }
            self.serve(errors);
        };
        if described.is_err() {
            // One that is away for long must not be waited for again and again while others are there.
            self.brokers.retain(|known| *known != broker);
        }
        described
    }

    fn same_topic(
        &self,
        (tp, ..): &Asked,
        described: &Result<Described, RDKafkaErrorCode>,
    ) -> Result<(), Doubted> {
        let Some(was) = self.lanes.get(tp).and_then(|lane| lane.topic_id.as_deref()) else { return Ok(()) };
        let unknown = Err(RDKafkaErrorCode::UnknownTopicOrPartition);
        let told = match described {
            Ok(described) => described.get(&*tp.topic).unwrap_or(&unknown).as_ref(),
            Err(code) => Err(code),
        };
        match told {
            Ok(description) => match description.id.as_deref() {
                Some(is) if is != was => {
                    let (topic, claim) = (&tp.topic, Claim::path(&tp.topic));
                    Err(Doubted::Topic(Failure::fatal(
                        Stage::Consume,
                        format!(
                            "{tp}: topic {topic} was deleted and made again while it was read (id {was}, now {is}); nothing was written of what came since; use a new storage.url, or move the old files away and remove {claim} there, and delete the group's offsets of the topic, which are those of the old one"
                        ),
                    )))
                }
                _ => Ok(()),
            },
            // Whether there is such a topic the commit says: a broker that has just started may not know it yet.
            Err(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnsupportedVersion
                | RDKafkaErrorCode::UnsupportedFeature,
            ) => Ok(()),
            Err(code) => Err(Doubted::Commit(commit_error(*code, &self.settings.kafka))),
        }
    }
}
