//! Owns whether the files of a topic come from one topic: offsets of a topic that was deleted and made again begin anew, and
//! say nothing about the files of the earlier one. Does not own how ids come into footers.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::FooterFacts;
use super::plan::AuditedFile;
use crate::encode::FooterKey;
use crate::position::TopicPartition;

/// The topic ids met so far.
#[derive(Debug, Default)]
pub(super) struct Incarnations {
    /// By topic: the first id, and the file that has it.
    first: BTreeMap<String, (String, String)>,
    /// Other ids that were told of, each once for a partition.
    told: BTreeSet<(TopicPartition, String)>,
}

impl Incarnations {
    /// Takes the id that a footer has, if it has one; gives in words where another file of the topic has another.
    pub(super) fn hear(&mut self, file: &AuditedFile, footer: &FooterFacts) -> Option<String> {
        let id = footer.key_values.get(FooterKey::TopicId.as_str()).filter(|id| !id.is_empty())?;
        let topic = file.tp.topic.to_string();
        let (first, known) = self.first.entry(topic).or_insert_with(|| (id.clone(), file.path.clone()));
        if first == id || !self.told.insert((file.tp.clone(), id.clone())) {
            return None;
        }
        Some(format!(
            "its topic has the id {}, that of {known} has {}: the topic was deleted and made again, and their offsets say \
             nothing about each other; move the files of one of them away",
            id.escape_debug(),
            first.escape_debug()
        ))
    }
}
