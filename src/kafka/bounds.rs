//! Owns the end offsets of a bounded run: noted once at its beginning, and whether the group has committed them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use crate::config::settings::TopicSelection;
use crate::error::{Failure, Stage};
use crate::kafka::context::Context;
use crate::kafka::trouble::heard;
use crate::kafka::watermarks::watermarks;
use crate::position::{Offset, TopicPartition};

/// How often a bounded run that waits looks whether what it waits for is still there.
const TOPICS_LOOK: Duration = Duration::from_secs(5);
/// How soon it looks again when something is missing.
const SECOND_LOOK: Duration = Duration::from_secs(2);
/// How long it waits for others before it says so.
const TELL_AFTER: Duration = Duration::from_secs(3);
/// How often it says it again.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// Partitions named in that.
const MAX_NAMED: usize = 5;

/// How long a bounded run waits for the brokers at its beginning.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits when the trouble is one that only an operator ends.
const PATIENCE_WITH_REFUSAL: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The end of every partition when the run began. Partitions that were empty are not in it.
#[derive(Debug)]
pub(super) struct Bounds {
    ends: BTreeMap<TopicPartition, Offset>,
    next_topics_look: Instant,
    /// Partitions that were not there at the last look. One look is not enough: a broker that has just started may know
    /// little.
    missed: BTreeSet<TopicPartition>,
    /// When to say what is waited for; `None` until it has nothing to do but wait.
    next_tell: Option<Instant>,
}

/// A partition whose end is not committed, and how far the group is.
struct Awaited {
    tp: TopicPartition,
    committed: Option<Offset>,
    end: Offset,
}

impl Bounds {
    /// Asks the brokers for the ends.
    ///
    /// # Errors
    /// Fatal when they cannot be reached within half a minute, or a topic does not exist.
    pub(super) fn note(consumer: &BaseConsumer<Context>, topics: &TopicSelection) -> Result<Self, Failure> {
        let began = Instant::now();
        loop {
            match Self::ask(consumer, topics) {
                Ok(bounds) => return Ok(bounds),
                Err(failure @ Failure::Fatal { .. }) => return Err(failure),
                Err(failure) => {
                    let heard = heard(consumer, failure.reason());
                    let refused =
                        consumer.context().last_trouble().is_some_and(|trouble| trouble.is_refusal());
                    let waited = began.elapsed();
                    if waited >= PATIENCE || refused && waited >= PATIENCE_WITH_REFUSAL {
                        let reason =
                            format!("cannot reach the brokers within {} s: {heard}", waited.as_secs());
                        return Err(Failure::fatal(Stage::Consume, reason));
                    }
                }
            }
        }
    }

    /// Where to stop in `tp`: offset 0, that is at once, for a partition that was empty or not there.
    pub(super) fn stop(&self, tp: &TopicPartition) -> Offset {
        self.ends.get(tp).copied().unwrap_or(Offset::ZERO)
    }

    /// It has something to do itself: others are not what it waits for.
    pub(super) fn busy(&mut self) {
        self.next_tell = None;
    }

    /// Whether the group has committed every end. Says after a few seconds, and then now and then, which it has not;
    /// `assigned`: whether the group has let us in.
    ///
    /// # Errors
    /// Retriable when the brokers do not answer; fatal when a partition whose end is not committed is there no more.
    pub(super) fn reached(
        &mut self,
        consumer: &BaseConsumer<Context>,
        connector: &str,
        assigned: bool,
    ) -> Result<bool, Failure> {
        if self.ends.is_empty() {
            return Ok(true);
        }
        let mut list = TopicPartitionList::with_capacity(self.ends.len());
        for tp in self.ends.keys() {
            list.add_partition(&tp.topic, tp.partition);
        }
        let committed =
            consumer.committed_offsets(list, REQUEST_TIMEOUT).map_err(|error| retriable(&error))?;
        let mut waited_for: Vec<Awaited> = Vec::new();
        for element in committed.elements() {
            let tp = TopicPartition::new(element.topic(), element.partition());
            let at = if let KafkaOffset::Offset(raw) = element.offset() { Offset::new(raw) } else { None };
            let end = self.stop(&tp);
            if at.is_none_or(|at| at < end) {
                waited_for.push(Awaited { tp, committed: at, end });
            }
        }
        if waited_for.is_empty() {
            return Ok(true);
        }
        if Instant::now() >= self.next_topics_look {
            self.next_topics_look = Instant::now() + TOPICS_LOOK;
            self.look_for(&waited_for, consumer)?;
        }
        self.tell(&waited_for, connector, assigned);
        Ok(false)
    }

    fn tell(&mut self, waited_for: &[Awaited], connector: &str, assigned: bool) {
        let now = Instant::now();
        if now < *self.next_tell.get_or_insert(now + TELL_AFTER) {
            return;
        }
        self.next_tell = Some(now + TELL_EVERY);
        if assigned {
            tracing::info!(
                connector,
                partitions = waited_for.len(),
                "waiting for others: {}; other members of the group have these partitions, and this run ends when they \
                 have committed so much, which a flush there brings sooner; or the group gives them to nobody because it \
                 may not read the topic",
                named(waited_for.iter().map(ToString::to_string))
            );
        } else {
            tracing::info!(
                connector,
                "waiting to be let into the group: members that it has give up partitions first, which may take them 20 s"
            );
        }
    }

    /// Makes sure that `waited_for` are there: nobody commits the end of a partition that was deleted.
    fn look_for(&mut self, waited_for: &[Awaited], consumer: &BaseConsumer<Context>) -> Result<(), Failure> {
        let metadata = consumer.fetch_metadata(None, REQUEST_TIMEOUT).map_err(|error| retriable(&error))?;
        let is_there = |tp: &TopicPartition| {
            let topic = metadata.topics().iter().find(|topic| topic.name() == &*tp.topic);
            topic.is_some_and(|topic| topic.partitions().iter().any(|known| known.id() == tp.partition))
        };
        let missing: BTreeSet<TopicPartition> =
            waited_for.iter().map(|one| &one.tp).filter(|tp| !is_there(tp)).cloned().collect();
        let gone: Vec<TopicPartition> = missing.intersection(&self.missed).cloned().collect();
        if !missing.is_empty() {
            self.next_topics_look = Instant::now() + SECOND_LOOK;
        }
        self.missed = missing;
        if gone.is_empty() {
            return Ok(());
        }
        Err(Failure::fatal(
            Stage::Consume,
            format!(
                "{} vanished before its end was reached: the topic was deleted during the run, or the credentials may \
                 no longer describe it; what was committed is in the lake; run again",
                named(gone.iter().map(ToString::to_string))
            ),
        ))
    }

    fn of(ends: BTreeMap<TopicPartition, Offset>) -> Self {
        let now = Instant::now();
        Self { ends, next_topics_look: now, missed: BTreeSet::new(), next_tell: None }
    }

    fn ask(consumer: &BaseConsumer<Context>, topics: &TopicSelection) -> Result<Self, Failure> {
        // Callbacks, which say why a broker cannot be reached, come with a poll.
        let _ = consumer.poll(Duration::ZERO);
        let metadata = consumer.fetch_metadata(None, REQUEST_TIMEOUT).map_err(|error| retriable(&error))?;
        let pattern = match topics {
            TopicSelection::Regex(pattern) => Some(regex::Regex::new(pattern).map_err(|error| {
                Failure::fatal(
                    Stage::Consume,
                    format!("kafka.topics_regex is no regular expression: {error}"),
                )
            })?),
            TopicSelection::Names(_) => None,
        };
        let mut bounds = BTreeMap::new();
        let mut wanted_partitions = Vec::new();
        for topic in metadata.topics() {
            let wanted = match (topics, &pattern) {
                (TopicSelection::Names(names), _) => names.iter().any(|name| name == topic.name()),
                (_, Some(pattern)) => pattern.is_match(topic.name()),
                _ => false,
            };
            if !wanted {
                continue;
            }
            wanted_partitions.extend(
                topic.partitions().iter().map(|partition| TopicPartition::new(topic.name(), partition.id())),
            );
        }
        for (tp, ends) in watermarks(consumer, wanted_partitions.iter(), REQUEST_TIMEOUT)
            .map_err(|error| retriable(&error))?
        {
            let (low, high) = ends.map_err(|error| retriable(&error))?;
            if high > low {
                bounds.insert(tp, high);
            }
        }
        if let TopicSelection::Names(names) = topics
            && let Some(missing) =
                names.iter().find(|name| !metadata.topics().iter().any(|topic| topic.name() == name.as_str()))
        {
            return Err(Failure::fatal(
                Stage::Consume,
                format!(
                    "topic {missing} does not exist, or the credentials may not describe it; create it, allow READ on the topic, or mend kafka.topics"
                ),
            ));
        }
        Ok(Self::of(bounds))
    }
}

fn retriable(error: &KafkaError) -> Failure {
    Failure::retriable(Stage::Consume, error.to_string())
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.committed {
            Some(at) => write!(f, "{} is committed up to {at} of {}", self.tp, self.end),
            None => write!(f, "{} is not committed yet, up to {}", self.tp, self.end),
        }
    }
}

/// The first few of these.
fn named(partitions: impl ExactSizeIterator<Item = String>) -> String {
    let count = partitions.len();
    let first: Vec<String> = partitions.take(MAX_NAMED).collect();
    match count - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::config::settings::{KafkaSettings, Secret, StartPosition};
    use crate::kafka::properties::consumer_config;

    fn consumer(brokers: &str) -> BaseConsumer<Context> {
        let settings = KafkaSettings {
            topics: TopicSelection::Names(vec!["t".to_owned()]),
            group: "g".to_owned(),
            start: StartPosition::Earliest,
            properties: [("bootstrap.servers".to_owned(), Secret::new(brokers))].into(),
        };
        consumer_config(&settings, 1 << 20).create_with_context(Context::new("a", &settings)).unwrap()
    }

    #[test]
    fn fault_6_a_bounded_run_does_not_wait_for_a_topic_that_is_gone() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let consumer = consumer(&cluster.bootstrap_servers());
        let end = Offset::new(5).unwrap();
        let ends =
            |topics: &[&str]| topics.iter().map(|topic| (TopicPartition::new(*topic, 0), end)).collect();
        let mut there = Bounds::of(ends(&["t"]));
        let mut gone = Bounds::of(ends(&["t", "deleted"]));
        for look in 0..3 {
            assert_eq!(there.reached(&consumer, "a", true), Ok(false));
            there.next_topics_look = Instant::now();
            let reached = gone.reached(&consumer, "a", true);
            gone.next_topics_look = Instant::now();
            if look == 0 {
                assert_eq!(reached, Ok(false), "one look is not enough");
            } else {
                let failure = reached.unwrap_err();
                assert!(matches!(failure, Failure::Fatal { .. }), "{failure}");
                let told = failure.to_string();
                assert!(told.contains("deleted[0] vanished") && !told.contains("t[0],"), "{told}");
            }
        }
    }

    #[test]
    fn what_is_waited_for_is_named_within_bounds() {
        let named_of = |count| named((0..count).map(|number| TopicPartition::new("t", number).to_string()));
        assert_eq!(named_of(2), "t[0], t[1]");
        assert!(named_of(7).ends_with("t[4] and 2 more"));
        let at = |committed| {
            let (tp, end) = (TopicPartition::new("t", 0), Offset::new(9).unwrap());
            Awaited { tp, committed, end }.to_string()
        };
        assert_eq!(at(Offset::new(4)), "t[0] is committed up to 4 of 9");
        assert_eq!(at(None), "t[0] is not committed yet, up to 9");
    }
}
