//! Owns the storage partition of a row: the `k=v` directories that `partition_by` makes of it.
//! Does not own what is written there.

mod times;

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;

use self::times::{time_instants, time_parts};
use crate::config::settings::PartitionRule;
use crate::decode::ColumnLayout;
use crate::error::{Failure, Stage};
use crate::task::file_schema::file_schema;
use crate::task::names::{LONGEST_KEY_BYTES, LONGEST_SEGMENT_BYTES, NULL_PARTITION, escape_partition_value};
use crate::task::partition_fields::FieldPlaces;
use crate::task::partition_value::{Instants, value_writer};

/// Applies the rules of `partition_by` to batches.
pub struct Partitioner {
    rules: Vec<PartitionRule>,
    /// Longest directory that leaves room for the file's name in a key.
    longest_directory_bytes: usize,
}

/// What of a row is not in its columns.
pub struct RowContext<'a> {
    /// Kafka timestamp of each row, ms.
    pub timestamps_ms: &'a [Option<i64>],
    /// Wall clock when the flush began, ms.
    pub flush_wall_ms: i64,
    /// Full name of the type of record that a row was written as; `None` where it had no value.
    pub record_name: &'a dyn Fn(usize) -> Option<&'a str>,
}

/// The directories of a batch's rows.
pub struct Partitioned {
    /// Distinct directories, in order of first appearance.
    pub directories: Vec<String>,
    /// For each row the index of its directory, or why it has none.
    pub rows: Vec<Result<u32, Failure>>,
}

impl Partitioner {
    /// `name_bytes` is the longest that all else of a key can be: output prefix, topic directory and file name.
    #[must_use]
    pub fn new(rules: Vec<PartitionRule>, name_bytes: usize) -> Self {
        Self { rules, longest_directory_bytes: LONGEST_KEY_BYTES.saturating_sub(name_bytes) }
    }

    /// Which columns the rules' fields are, for batches of `schema`: columns of `value`, then those of metadata, where
    /// that of Avro keys is laid out by `key`.
    #[must_use]
    pub fn place_fields(
        &self,
        schema: &SchemaRef,
        value: Option<&ColumnLayout>,
        key: Option<&ColumnLayout>,
    ) -> FieldPlaces {
        FieldPlaces::of(&self.rules, schema, value, key)
    }

    /// The schema of the files of batches with this one: a column that a directory would hide has another name there.
    #[must_use]
    pub fn file_schema(&self, schema: &SchemaRef, places: &FieldPlaces) -> SchemaRef {
        file_schema(&self.rules, schema, places)
    }

    /// The field paths of the rules that `places` has no column for.
    pub fn missing_fields<'p>(&'p self, places: &'p FieldPlaces) -> impl Iterator<Item = &'p [String]> {
        let rules = self.rules.iter().zip(places.iter());
        rules.filter(|(_, place)| place.is_none()).filter_map(|(rule, _)| rule.field_path())
    }

    /// Those that it has one for.
    pub fn found_fields<'p>(&'p self, places: &'p FieldPlaces) -> impl Iterator<Item = &'p [String]> {
        let rules = self.rules.iter().zip(places.iter());
        rules.filter(|(_, place)| place.is_some()).filter_map(|(rule, _)| rule.field_path())
    }

    /// Whether every row goes to the same, empty directory.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.rules.is_empty()
    }

    /// The directory of every row of `batch`, whose fields are at `places`. A row whose value cannot be a directory (a time
    /// outside the calendar, a name too long) is poison; a null or missing field is the null partition.
    #[must_use]
    pub fn partition(
        &self,
        batch: &RecordBatch,
        places: &FieldPlaces,
        context: &RowContext<'_>,
    ) -> Partitioned {
        let rows = batch.num_rows();
        let mut combined: Vec<Result<u32, Failure>> = vec![Ok(0); rows];
        let mut directories = vec![String::new()];
        for (rule, place) in self.rules.iter().zip(places.iter()) {
            let parts = rule_parts(rule, place, batch, context);
            let mut joined = Joined::new(directories.len(), parts.directories.len());
            let mut next: Vec<String> = Vec::new();
            for (combined, part) in combined.iter_mut().zip(parts.rows) {
                let Ok(base) = *combined else { continue };
                *combined = part.map(|part| {
                    joined.number(base, part, || {
                        next.push(join(&directories[base as usize], &parts.directories[part as usize]));
                        next.len() as u32 - 1
                    })
                });
            }
            directories = next;
        }
        let too_long: Vec<bool> =
            directories.iter().map(|directory| directory.len() > self.longest_directory_bytes).collect();
        for row in &mut combined {
            if let Ok(index) = row
                && too_long[*index as usize]
            {
                *row = Err(too_long_failure(directories[*index as usize].len()));
            }
        }
        Partitioned { directories, rows: combined }
    }
}

/// Numbers of the pairs that directories make with those of the next rule.
enum Joined {
    /// One place for each pair; `u32::MAX` where there is none yet.
    Table { numbers: Vec<u32>, width: usize },
    /// Too many pairs for that.
    Map(HashMap<(u32, u32), u32>),
}

impl Joined {
    const LARGEST_TABLE: usize = 1 << 16;

    fn new(bases: usize, parts: usize) -> Self {
        if bases.saturating_mul(parts) <= Self::LARGEST_TABLE {
            Self::Table { numbers: vec![u32::MAX; bases * parts], width: parts }
        } else {
            Self::Map(HashMap::new())
        }
    }

    fn number(&mut self, base: u32, part: u32, next: impl FnOnce() -> u32) -> u32 {
        let number = match self {
            Self::Table { numbers, width } => &mut numbers[base as usize * *width + part as usize],
            Self::Map(numbers) => numbers.entry((base, part)).or_insert(u32::MAX),
        };
        if *number == u32::MAX {
            *number = next();
        }
        *number
    }
}

fn rule_parts(
    rule: &PartitionRule,
    place: Option<&[usize]>,
    batch: &RecordBatch,
    context: &RowContext<'_>,
) -> Partitioned {
    match rule {
        PartitionRule::Field { name, .. } => field_parts(place, name, batch),
        PartitionRule::Time { source, pattern, timezone } => {
            let Instants { ms, zoned } = time_instants(source, place, batch, context);
            time_parts(&ms, pattern, if zoned { *timezone } else { Tz::UTC })
        }
        PartitionRule::Record { full, name } => record_parts(*full, name, batch.num_rows(), context),
    }
}

fn record_parts(full: bool, name: &str, rows: usize, context: &RowContext<'_>) -> Partitioned {
    let name = escape_partition_value(name);
    let mut interner = Interner::default();
    // Rows of one type come in runs.
    let mut last: Option<(Option<&str>, Result<u32, Failure>)> = None;
    let rows = (0..rows)
        .map(|row| {
            let record = (context.record_name)(row);
            match &last {
                Some((known, part)) if *known == record => part.clone(),
                _ => {
                    let value = match record {
                        None => NULL_PARTITION.to_owned(),
                        Some(record) if full => escape_partition_value(record),
                        Some(record) => escape_partition_value(record.rsplit('.').next().unwrap_or(record)),
                    };
                    let part = interner.intern(&format!("{name}={value}"));
                    last = Some((record, part.clone()));
                    part
                }
            }
        })
        .collect();
    Partitioned { directories: interner.directories, rows }
}

fn join(base: &str, part: &str) -> String {
    if base.is_empty() { part.to_owned() } else { format!("{base}/{part}") }
}

fn too_long_failure(bytes: usize) -> Failure {
    Failure::poison(
        Stage::Partition,
        "partition_too_long",
        format!(
            "the partition directory would be {bytes} bytes long; a path segment holds {LONGEST_SEGMENT_BYTES}, a whole key {LONGEST_KEY_BYTES}"
        ),
    )
}

/// Interns the directory text of each row.
#[derive(Default)]
struct Interner {
    known: HashMap<String, u32>,
    directories: Vec<String>,
}

impl Interner {
    fn intern(&mut self, text: &str) -> Result<u32, Failure> {
        if let Some(index) = self.known.get(text) {
            return Ok(*index);
        }
        if let Some(long) = text.split('/').find(|segment| segment.len() > LONGEST_SEGMENT_BYTES) {
            return Err(too_long_failure(long.len()));
        }
        let index = self.directories.len() as u32;
        self.known.insert(text.to_owned(), index);
        self.directories.push(text.to_owned());
        Ok(index)
    }
}

fn field_parts(place: Option<&[usize]>, name: &str, batch: &RecordBatch) -> Partitioned {
    let name = escape_partition_value(name);
    let mut interner = Interner::default();
    let rows = batch.num_rows();
    let mut text = String::new();
    let Some((array, is_null)) = place.and_then(|place| find_column(batch, place)) else {
        let all_null = interner.intern(&format!("{name}={NULL_PARTITION}"));
        return Partitioned { directories: interner.directories, rows: vec![all_null; rows] };
    };
    let value_of = value_writer(&array);
    // By the value as it is: what it is escaped to and interned as is asked once.
    let mut known: HashMap<String, Result<u32, Failure>> = HashMap::new();
    let mut last: Option<(String, u32)> = None;
    let rows = (0..rows)
        .map(|row| {
            if is_null(row) {
                return interner.intern(&format!("{name}={NULL_PARTITION}"));
            }
            text.clear();
            value_of(row, &mut text)?;
            if let Some((last, index)) = &last
                && *last == text
            {
                return Ok(*index);
            }
            let part = if let Some(part) = known.get(&text) {
                part.clone()
            } else {
                let part = interner.intern(&format!("{name}={}", escape_partition_value(&text)));
                known.insert(text.clone(), part.clone());
                part
            };
            if let Ok(index) = part {
                let (last, number) = last.get_or_insert_default();
                last.clone_from(&text);
                *number = index;
            }
            part
        })
        .collect();
    Partitioned { directories: interner.directories, rows }
}

type IsNull = Box<dyn Fn(usize) -> bool>;

/// Follows a place into nested records. The second result says where the value or one of its parents is null.
fn find_column(batch: &RecordBatch, place: &[usize]) -> Option<(ArrayRef, IsNull)> {
    let (first, rest) = place.split_first()?;
    let mut array = batch.columns().get(*first)?.clone();
    let mut chain = vec![array.clone()];
    for member in rest {
        let child = array.as_struct_opt()?.columns().get(*member)?.clone();
        chain.push(child.clone());
        array = child;
    }
    Some((array, Box::new(move |row| chain.iter().any(|level| level.is_null(row)))))
}

#[cfg(test)]
mod tests;
