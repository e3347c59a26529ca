//! Owns the storage partition of a row: the `k=v` directories that `partition_by` makes of it.
//! Does not own what is written there.

use std::collections::HashMap;
use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, TimeZone as _, Utc};
use chrono_tz::Tz;

use crate::config::settings::{PartitionRule, TimeSource};
use crate::decode::ColumnLayout;
use crate::error::{Failure, Stage};
use crate::task::file_schema::file_schema;
use crate::task::names::{LONGEST_KEY_BYTES, LONGEST_SEGMENT_BYTES, NULL_PARTITION, escape_partition_value};
use crate::task::partition_fields::FieldPlaces;
use crate::task::partition_value::{Instants, instants, outside_calendar, value_writer};

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
            let mut joined: HashMap<(u32, u32), u32> = HashMap::new();
            let mut next: Vec<String> = Vec::new();
            for (row, part) in parts.rows.into_iter().enumerate() {
                let Ok(base) = combined[row] else { continue };
                combined[row] = part.map(|part| {
                    *joined.entry((base, part)).or_insert_with(|| {
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
    let mut last: Option<(String, u32)> = None;
    let rows = (0..rows)
        .map(|row| {
            if is_null(row) {
                return interner.intern(&format!("{name}={NULL_PARTITION}"));
            }
            text.clear();
            value_of(row, &mut text)?;
            if let Some((known, index)) = &last
                && *known == text
            {
                return Ok(*index);
            }
            let index = interner.intern(&format!("{name}={}", escape_partition_value(&text)))?;
            last = Some((text.clone(), index));
            Ok(index)
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

fn time_instants(
    source: &TimeSource,
    place: Option<&[usize]>,
    batch: &RecordBatch,
    context: &RowContext<'_>,
) -> Instants {
    let zoned = |ms| Instants { ms, zoned: true };
    match source {
        TimeSource::Record => zoned(context.timestamps_ms.iter().map(|timestamp| Ok(*timestamp)).collect()),
        TimeSource::Wallclock => zoned(vec![Ok(Some(context.flush_wall_ms)); batch.num_rows()]),
        TimeSource::Field(path) => match place.and_then(|place| find_column(batch, place)) {
            None => zoned(vec![Ok(None); batch.num_rows()]),
            Some((array, is_null)) => instants(path, &array, &*is_null),
        },
    }
}

fn time_parts(instants: &[Result<Option<i64>, Failure>], pattern: &str, timezone: Tz) -> Partitioned {
    let mut interner = Interner::default();
    let mut by_second: HashMap<i64, Result<u32, Failure>> = HashMap::new();
    let rows = instants
        .iter()
        .map(|instant| match instant {
            Err(failure) => Err(failure.clone()),
            Ok(None) => interner.intern(&null_time_directory(pattern)),
            Ok(Some(ms)) => {
                let second = ms.div_euclid(1000);
                by_second
                    .entry(second)
                    .or_insert_with(|| {
                        let text = format_time(second, pattern, timezone)?;
                        interner.intern(&text)
                    })
                    .clone()
            }
        })
        .collect();
    Partitioned { directories: interner.directories, rows }
}

fn format_time(second: i64, pattern: &str, timezone: Tz) -> Result<String, Failure> {
    let outside = || outside_calendar(second);
    let utc: DateTime<Utc> = DateTime::from_timestamp(second, 0).ok_or_else(outside)?;
    // Years beyond four digits (or before 0) would break the pattern's order and some engines.
    if !(0..=9999).contains(&chrono::Datelike::year(&utc)) {
        return Err(outside());
    }
    let mut text = String::new();
    write!(text, "{}", timezone.from_utc_datetime(&utc.naive_utc()).format(pattern))
        .map_err(|_| outside())?;
    Ok(text)
}

/// The pattern with every value replaced by the null marker: `dt=%Y-%m-%d/hour=%H` becomes `dt=…/hour=…`.
fn null_time_directory(pattern: &str) -> String {
    let segments: Vec<String> = pattern
        .split('/')
        .map(|segment| match segment.split_once('=') {
            Some((name, value)) if value.contains('%') => format!("{name}={NULL_PARTITION}"),
            None if segment.contains('%') => NULL_PARTITION.to_owned(),
            _ => segment.to_owned(),
        })
        .collect();
    segments.join("/")
}

#[cfg(test)]
mod tests;
