//! `sluice replay`: keeps the place of a command that is to come. Owns what is said until then.

use std::process::ExitCode;

use crate::cli::EXIT_USAGE;
use crate::cli::output::complain;

const ANSWER: &str = "\
sluice: replay, from Parquet files back into a topic, is not there yet: nothing was read and nothing produced. Until then:
  - records that Kafka still has come into the lake again when the group's offset is set back; docs/operations.md says how
    under \"Deliver a range again\"
  - records that only the lake has: read the files with a query engine, in the order of _partition and _offset, and produce
    them with a client of the schema registry";

/// Says that it is not there, and what does the work today.
pub(super) fn replay() -> ExitCode {
    complain(ANSWER);
    ExitCode::from(EXIT_USAGE)
}
