//! Owns the storage partition of a row: the `k=v` directories that `partition_by` makes of it.
//! Does not own what is written there.

mod times;

use std::collections::HashMap;
use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use self::times::{instants, time_parts};
use crate::config::settings::PartitionRule;
use crate::error::{Failure, Stage};
use crate::task::file_schema::file_schema;
use crate::task::names::{LONGEST_KEY_BYTES, LONGEST_SEGMENT_BYTES, NULL_PARTITION, escape_partition_value};

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

    /// The schema of the files of batches with this one: a column that a directory would hide has another name there.
    #[must_use]
    pub fn file_schema(&self, schema: &SchemaRef) -> SchemaRef {
        file_schema(&self.rules, schema)
    }

    /// Whether every row goes to the same, empty directory.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.rules.is_empty()
    }

    /// The directory of every row of `batch`. A row whose value cannot be a directory (a time outside the
    /// calendar, a name too long) is poison; a null or missing field is the null partition.
    #[must_use]
    pub fn partition(&self, batch: &RecordBatch, context: &RowContext<'_>) -> Partitioned {
        let rows = batch.num_rows();
        let mut combined: Vec<Result<u32, Failure>> = vec![Ok(0); rows];
        let mut directories = vec![String::new()];
        for rule in &self.rules {
            let parts = rule_parts(rule, batch, context);
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

fn rule_parts(rule: &PartitionRule, batch: &RecordBatch, context: &RowContext<'_>) -> Partitioned {
    match rule {
        PartitionRule::Field { path, name } => field_parts(path, name, batch),
        PartitionRule::Time { source, pattern, timezone } => {
            let instants = instants(source, batch, context);
            time_parts(&instants, pattern, *timezone)
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

fn field_parts(path: &[String], name: &str, batch: &RecordBatch) -> Partitioned {
    let name = escape_partition_value(name);
    let mut interner = Interner::default();
    let rows = batch.num_rows();
    let mut text = String::new();
    let Some((array, is_null)) = find_column(batch, path) else {
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

/// Follows field names into nested records. The second result says where the value or one of its parents is null.
fn find_column(batch: &RecordBatch, path: &[String]) -> Option<(ArrayRef, IsNull)> {
    let (first, rest) = path.split_first()?;
    let mut array = batch.column_by_name(first)?.clone();
    let mut chain = vec![array.clone()];
    for name in rest {
        let child = array.as_struct_opt()?.column_by_name(name)?.clone();
        chain.push(child.clone());
        array = child;
    }
    Some((array, Box::new(move |row| chain.iter().any(|level| level.is_null(row)))))
}

type WriteValue<'a> = Box<dyn Fn(usize, &mut String) -> Result<(), Failure> + 'a>;

fn value_writer(array: &ArrayRef) -> WriteValue<'_> {
    match array.data_type() {
        DataType::Utf8 => {
            let values: &StringArray = array.as_string();
            Box::new(|row, text| {
                text.push_str(values.value(row));
                Ok(())
            })
        }
        DataType::Int64 => {
            let values = array.as_primitive::<Int64Type>();
            Box::new(|row, text| {
                write_text(text, values.value(row));
                Ok(())
            })
        }
        DataType::Int32 => {
            let values = array.as_primitive::<Int32Type>();
            Box::new(|row, text| {
                write_text(text, values.value(row));
                Ok(())
            })
        }
        DataType::Binary => {
            let values: &BinaryArray = array.as_binary();
            Box::new(|row, text| {
                write_hex(text, values.value(row));
                Ok(())
            })
        }
        DataType::FixedSizeBinary(_) => match array.as_any().downcast_ref::<FixedSizeBinaryArray>() {
            Some(values) => Box::new(|row, text| {
                write_hex(text, values.value(row));
                Ok(())
            }),
            None => Box::new(|_, _| Err(not_scalar(&DataType::Null))),
        },
        other if other.is_nested() => Box::new(move |_, _| Err(not_scalar(other))),
        other => formatted(array, other),
    }
}

fn formatted<'a>(array: &'a ArrayRef, data_type: &'a DataType) -> WriteValue<'a> {
    const OPTIONS: FormatOptions<'static> = FormatOptions::new();
    match ArrayFormatter::try_new(array.as_ref(), &OPTIONS) {
        Ok(formatter) => Box::new(move |row, text| {
            formatter.value(row).write(text).map_err(|error| {
                Failure::poison(
                    Stage::Partition,
                    "partition_value",
                    format!("the partition value of type {data_type} has no text: {error}"),
                )
            })
        }),
        Err(_) => Box::new(move |_, _| Err(not_scalar(data_type))),
    }
}

fn write_text(text: &mut String, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{value}");
}

fn write_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

fn not_scalar(data_type: &DataType) -> Failure {
    Failure::fatal(
        Stage::Partition,
        format!(
            "partition_by names a field of type {data_type}, which has no single value; name a field inside it or another one"
        ),
    )
}

#[cfg(test)]
mod tests;
