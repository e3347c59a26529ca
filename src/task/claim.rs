//! Owns the statement of whose a topic's directory is: one consumer group, one topic of one cluster. Two groups that write
//! the same topic under one prefix would both deliver every record, and a topic made again would mix its offsets with the
//! old ones; neither shows in file names. Does not own where the statement is kept.

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Stage};

const VERSION: u64 = 1;

/// Who writes a topic under an output prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    v: u64,
    /// The consumer group.
    pub group: String,
    /// Id that the broker gave the topic when it was made; `None` where it does not tell.
    #[serde(default)]
    pub topic_id: Option<String>,
    /// The connector that made the claim, for people.
    pub connector: String,
    /// Partitions of the topic when the claim was made: those of higher numbers came later. `None` where nobody told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Tells this claim from one that was made before it was removed: beginnings are noted under it. `None` in claims of
    /// versions that noted none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Claim {
    /// The claim of a connector; `id` is a number that no other claim has.
    #[must_use]
    pub fn new(
        group: &str,
        topic_id: Option<&str>,
        partitions: Option<i32>,
        connector: &str,
        id: u64,
    ) -> Self {
        Self {
            v: VERSION,
            id: Some(format!("{id:016x}")),
            group: group.to_owned(),
            topic_id: topic_id.map(ToOwned::to_owned),
            connector: connector.to_owned(),
            partitions,
        }
    }

    /// Its form as a small JSON file.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Where the claim of a topic is kept, relative to the output prefix; hidden from readers.
    #[must_use]
    pub fn path(topic: &str) -> String {
        format!(".sluice/claims/{topic}.json")
    }

    /// Compares ours with the one that stands, and gives that one. A topic id counts where both know one.
    ///
    /// # Errors
    /// Fatal when another group or another topic of this name has the directory, or the claim cannot be read.
    pub fn hold_against(&self, standing: &str, topic: &str) -> Result<Self, Failure> {
        let path = Self::path(topic);
        let refuse = |reason: String| Err(Failure::fatal(Stage::Recover, reason));
        let standing: Self = match serde_json::from_str::<Self>(standing) {
            Ok(claim) if claim.v == VERSION => claim,
            Ok(claim) => {
                return refuse(format!(
                    "the claim {path} under storage.url is of version {}, which this version does not know",
                    claim.v
                ));
            }
            Err(error) => {
                return refuse(format!(
                    "the claim {path} under storage.url cannot be read ({error}); remove it if only this connector writes topic {topic} there"
                ));
            }
        };
        // It becomes part of a path.
        if standing.id.as_ref().is_some_and(|id| !id.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            return refuse(format!("the claim {path} under storage.url has an id that is none of ours"));
        }
        if standing.group != self.group {
            return refuse(format!(
                "topic {topic} under this storage.url belongs to group {} (connector {}), and this connector is of group {}: two groups would deliver every record twice; give each its own storage.url, or, if {} has ended for good, remove {path} there",
                standing.group, standing.connector, self.group, standing.group
            ));
        }
        if let (Some(theirs), Some(ours)) = (&standing.topic_id, &self.topic_id)
            && theirs != ours
        {
            return refuse(format!(
                "the files of topic {topic} under this storage.url come from another topic of that name (id {theirs}, now {ours}): it was deleted and made again, or is of another cluster; nothing was written: use a new storage.url, or move the old files away and remove {path} there"
            ));
        }
        Ok(standing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(group: &str, topic_id: Option<&str>) -> Claim {
        Claim::new(group, topic_id, Some(2), "orders", 7)
    }

    #[test]
    fn the_same_group_and_topic_may_go_on() {
        let ours = claim("g", Some("id-1"));
        assert_eq!(ours.hold_against(&ours.to_json(), "t"), Ok(ours.clone()));
        // A broker that tells no id is no other topic.
        assert_eq!(ours.hold_against(&claim("g", None).to_json(), "t"), Ok(claim("g", None)));
        assert_eq!(claim("g", None).hold_against(&ours.to_json(), "t"), Ok(ours));
    }

    #[test]
    fn a_claim_that_does_not_count_partitions_still_stands() {
        let old = "{\"v\":1,\"group\":\"g\",\"topic_id\":null,\"connector\":\"orders\"}";
        let standing = claim("g", None).hold_against(old, "t").unwrap();
        assert_eq!((standing.partitions, standing.id), (None, None));
    }

    #[test]
    fn fault_103_another_group_is_refused() {
        let failure = claim("g", None).hold_against(&claim("h", None).to_json(), "t").unwrap_err();
        assert!(failure.to_string().contains("belongs to group h (connector orders)"), "{failure}");
        assert!(matches!(failure, Failure::Fatal { .. }));
    }

    #[test]
    fn fault_7_a_topic_made_again_is_refused() {
        let old = claim("g", Some("id-1")).to_json();
        let failure = claim("g", Some("id-2")).hold_against(&old, "t").unwrap_err();
        assert!(failure.to_string().contains("(id id-1, now id-2)"), "{failure}");
    }

    #[test]
    fn an_unreadable_claim_is_refused() {
        for standing in [
            "",
            "{}",
            "{\"v\":2,\"group\":\"g\",\"connector\":\"c\"}",
            "{\"v\":1,\"group\":\"g\",\"connector\":\"c\",\"id\":\"../x\"}",
        ] {
            assert!(claim("g", None).hold_against(standing, "t").is_err(), "{standing}");
        }
    }
}
