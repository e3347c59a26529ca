//! The proof of delivery behind `sluice audit`: what the files below a prefix say about each topic-partition, and whether it
//! adds up. Computes; what is listed, read and asked is handed in.
//!
//! The names give the ranges (`plan`, `ranges`); each file's footer must agree with its name (`claims`), and come from the
//! same topic as the others (`incarnations`); the `_offset`
//! columns are compared flush by flush (`auditor`, `offset_set`), so that memory follows the largest flush and not the
//! lake; the group's committed offsets are held against the ends (`commits`). `report` is what comes out.

mod auditor;
mod claims;
mod commits;
mod incarnations;
mod offset_set;
mod plan;
mod ranges;
mod report;
#[cfg(test)]
mod tests;

pub use auditor::Auditor;
pub use claims::{FooterFacts, names_a_flush};
pub use commits::{GroupCommit, GroupCommits};
pub use plan::{AuditPlan, AuditedFile};
pub use report::{
    AuditReport, CommitReport, Gap, GapContent, Incomplete, Note, OffsetFindings, OffsetSighting, Overlap,
    PartitionReport, Span,
};
