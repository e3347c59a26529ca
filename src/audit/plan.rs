//! Owns the order of an audit: which listed files are ours by their names, by topic-partition and range. Does not own
//! what is in them.

use crate::position::{OffsetRange, TopicPartition};
use crate::task::names::parse_object_name;

/// A listed file that has a name of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedFile {
    /// Path relative to the prefix.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Topic-partition of the name.
    pub tp: TopicPartition,
    /// Offset range of the name.
    pub range: OffsetRange,
}

/// What to read, in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPlan {
    /// By topic-partition, then start, end and path: files of one flush are neighbours.
    pub files: Vec<AuditedFile>,
    /// Paths whose names are not ours, in order.
    pub foreign: Vec<String>,
    /// Files of ours in the directory of another topic, in order of their paths.
    pub astray: Vec<AuditedFile>,
}

impl AuditPlan {
    /// Sorts listed files (path and size in bytes) into a plan; with `topic`, other topics' files are left out.
    #[must_use]
    pub fn of(listed: impl IntoIterator<Item = (String, u64)>, topic: Option<&str>) -> Self {
        let mut plan = Self::default();
        for (path, size_bytes) in listed {
            let directory = path.split_once('/').map(|(directory, _)| directory.to_owned());
            match parse_object_name(&path) {
                Some((tp, range, _)) if directory.is_some_and(|directory| *directory != *tp.topic) => {
                    plan.astray.push(AuditedFile { path, size_bytes, tp, range });
                }
                Some((tp, range, _)) if topic.is_none_or(|topic| *tp.topic == *topic) => {
                    plan.files.push(AuditedFile { path, size_bytes, tp, range });
                }
                Some(_) => {}
                None => plan.foreign.push(path),
            }
        }
        plan.files.sort_by(|one, other| {
            (&one.tp, one.range, &one.path).cmp(&(&other.tp, other.range, &other.path))
        });
        plan.foreign.sort_unstable();
        plan.astray.sort_by(|one, other| one.path.cmp(&other.path));
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_flush_are_neighbours_in_order() {
        let names = [
            "t/b/t+0+000000000010+000000000020.parquet",
            "t/t+1+000000000000+000000000005.parquet",
            "t/c/t+0+000000000000+000000000010.parquet",
            "t/_SUCCESS",
            "t/a/t+0+000000000010+000000000020.parquet",
            "t/u+0+000000000000+000000000001.parquet",
            "u/u+0+000000000000+000000000001.parquet",
        ];
        let plan = AuditPlan::of(names.map(|name| (name.to_owned(), 1)), Some("t"));
        let paths: Vec<&str> = plan.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [names[2], names[4], names[0], names[1]]);
        assert_eq!(plan.foreign, ["t/_SUCCESS"]);
        let astray: Vec<&str> = plan.astray.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(astray, [names[5]], "a file of another topic is never passed over");
    }
}
