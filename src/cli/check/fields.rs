//! Owns what `check` says of the schemas that columns come from: whether they are there, and whether they have the fields
//! and columns that settings name. Does not own asking a registry, nor which column a field is.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{Finding, read_schema};
use crate::cli::output::count_of;
use crate::config::settings::{
    ConnectorSettings, Evolution, KeyFormat, OnTombstone, PartitionRule, TimeSource, ValueFormat,
};
use crate::config::{path_elements, suggestion};
use crate::decode::ColumnLayout;
use crate::decode::metadata::MetadataBuilder;
use crate::encode::parquet_schema;
use crate::position::TopicPartition;
use crate::registry::Registry;
use crate::schema::{AvroSchema, ColumnOptions};
use crate::task::partitioner::Partitioner;

/// Topics whose subjects are looked up.
const MAX_TOPICS: usize = 20;
const KEY_COLUMN: &str = "_key";
/// How subjects of topics end.
const VALUE: &str = "value";
const KEY: &str = "key";

/// Schemas that rows are read with, as far as can be told beforehand.
struct Source {
    /// What they are called: a subject, or a file.
    name: String,
    value: Arc<AvroSchema>,
    key: Option<Arc<AvroSchema>>,
}

/// What files with the columns of a [`Source`] look like.
struct Files {
    name: String,
    /// Where the field of each partition rule is, and its type.
    fields: Vec<Option<DataType>>,
    /// Paths of the columns of single values.
    leaves: Vec<Vec<String>>,
}

/// Looks up the newest schemas of the topics' subjects, where the registry knows subjects, and what they have.
pub(super) async fn of_registry(connector: &ConnectorSettings, topics: &[String]) -> Vec<Finding> {
    let (ValueFormat::AvroRegistry(_), Some(settings)) = (&connector.value, &connector.registry) else {
        return Vec::new();
    };
    let Ok(registry) = Registry::new(settings) else { return Vec::new() };
    if !registry.has_subjects() {
        return Vec::new();
    }
    let (mut sources, mut findings, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    for topic in topics.iter().take(MAX_TOPICS) {
        let mut newest = async |side: &str| {
            let subject = format!("{topic}-{side}");
            let newest = latest(&registry, &subject).await;
            match newest
                .and_then(|found| found.map(|schema| with_columns(connector, side, schema)).transpose())
            {
                Ok(Some(schema)) => return Some(schema),
                Ok(None) => absent.push(subject),
                Err(reason) => {
                    let text = format!("the newest schema of subject {subject} is of no use here: {reason}");
                    findings.push(Finding::warning(connector, "schemas", text));
                }
            }
            None
        };
        let value = newest(VALUE).await;
        let key = if has_avro_keys(connector) { newest(KEY).await } else { None };
        sources.extend(value.map(|value| Source { name: format!("{topic}-value"), value, key }));
    }
    if !absent.is_empty() {
        let text = format!(
            "no subject {}: schemas under other names are found by their ids all the same, but what the settings name was not \
             looked up in them",
            absent.join(", ")
        );
        findings.push(Finding::warning(connector, "schemas", text));
    }
    let others = topics.len().saturating_sub(MAX_TOPICS);
    if !sources.is_empty() || others > 0 {
        let mut names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
        if others > 0 {
            names.push(format!("those of {} more were not looked at", count_of(others as u64, "topic")));
        }
        findings.push(Finding::new(connector, "schemas", Ok(names.join(", "))));
    }
    if !matches!(connector.schema.evolution, Evolution::Fixed(_)) {
        findings.extend(named_columns(connector, &sources));
    }
    findings
}

/// What the schema files have that columns come from.
pub(super) fn of_files(connector: &ConnectorSettings) -> Vec<Finding> {
    let paths = match (&connector.schema.evolution, &connector.value) {
        (Evolution::Fixed(path), _) | (_, ValueFormat::AvroSchemaFile(path)) => std::slice::from_ref(path),
        (_, ValueFormat::AvroSchemaFiles(paths)) => paths.as_slice(),
        (_, ValueFormat::AvroRegistry(_)) => return Vec::new(),
    };
    // Others have been reported.
    let readable = paths.iter().filter_map(|path| Some((path, read_schema(path, true).ok()?)));
    let source = readable.map(|(path, schema)| Source {
        name: path.display().to_string(),
        value: Arc::new(schema),
        key: None,
    });
    named_columns(connector, &source.collect::<Vec<_>>())
}

async fn latest(registry: &Registry, subject: &str) -> Result<Option<Arc<AvroSchema>>, String> {
    let Some(schema) = registry.latest(subject).await.map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let references: Vec<(String, String)> =
        schema.references.into_iter().map(|reference| (reference.name, reference.json)).collect();
    let schema = AvroSchema::parse(&schema.json, &references);
    schema.map(|schema| Some(Arc::new(schema))).map_err(|error| error.to_string())
}

/// The schema, where rows read with it have columns.
fn with_columns(
    connector: &ConnectorSettings,
    side: &str,
    schema: Arc<AvroSchema>,
) -> Result<Arc<AvroSchema>, String> {
    let laid_out = match side {
        KEY => ColumnLayout::whole(schema.clone(), KEY_COLUMN, column_options(connector)).map(drop),
        // Read with another one, it needs none.
        _ if matches!(connector.schema.evolution, Evolution::Fixed(_)) => Ok(()),
        _ => ColumnLayout::new(schema.clone(), column_options(connector)).map(drop),
    };
    laid_out.map(|()| schema).map_err(|error| format!("{error}; records with it are poison"))
}

fn column_options(connector: &ConnectorSettings) -> ColumnOptions {
    let nullable_top_level = connector.errors.on_tombstone == OnTombstone::Row;
    ColumnOptions { nullable_top_level, types: connector.types }
}

fn has_avro_keys(connector: &ConnectorSettings) -> bool {
    matches!(connector.key, KeyFormat::Avro(_)) && connector.columns.key
}

/// Fields and columns that settings name and no source has, or that are of a type of no use for it.
fn named_columns(connector: &ConnectorSettings, sources: &[Source]) -> Vec<Finding> {
    // Schemas without columns have been reported, or are met by a reader that has.
    let files: Vec<Files> = sources.iter().filter_map(|source| Files::of(connector, source)).collect();
    if files.is_empty() {
        return Vec::new();
    }
    // What is inside a key nobody knows without its schema.
    let known = |path: &[String]| {
        path[0] != KEY_COLUMN
            || !has_avro_keys(connector)
            || sources.iter().any(|source| source.key.is_some())
    };
    let seen = files.iter().map(|files| files.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut findings = Vec::new();
    for (at, rule) in connector.partition_by.iter().enumerate() {
        let Some(path) = rule.field_path().filter(|path| known(path)) else { continue };
        let types = || files.iter().filter_map(move |files| Some((&files.name, files.fields[at].as_ref()?)));
        if types().next().is_none() {
            let text = format!(
                "names {}, which {seen} does not have{}: rows go to the directory of null values",
                path.join("."),
                meant(&path.join("."), &files)
            );
            findings.push(Finding::warning(connector, "partition_by", text));
        }
        if let Some((name, found)) = types().find(|(_, found)| !suits(rule, found)) {
            let wanted = if matches!(rule, PartitionRule::Time { source: TimeSource::Field(_), .. }) {
                "a date or timestamp"
            } else {
                "a field of single values"
            };
            let reason =
                format!("names {}, which is of type {found} in {name}; name {wanted}", path.join("."));
            findings.push(Finding::new(connector, "partition_by", Err(reason)));
        }
    }
    let columns = connector.parquet.columns.keys().map(|path| ("parquet.columns", path));
    let sort_by = connector.parquet.sort_by.iter().map(|path| ("parquet.sort_by", path));
    for (setting, text) in columns.chain(sort_by) {
        let Ok(path) = path_elements(text) else { continue };
        if known(&path) && !files.iter().any(|files| files.leaves.contains(&path)) {
            let text = format!(
                "names {text}, which is no column of single values in files of {seen}{}; it has no effect there",
                meant(text, &files)
            );
            findings.push(Finding::warning(connector, setting, text));
        }
    }
    findings
}

fn suits(rule: &PartitionRule, found: &DataType) -> bool {
    match rule {
        PartitionRule::Time { .. } => matches!(found, DataType::Timestamp(..) | DataType::Date32),
        PartitionRule::Field { .. } | PartitionRule::Record { .. } => !found.is_nested(),
    }
}

fn meant(word: &str, files: &[Files]) -> String {
    let paths: Vec<String> =
        files.iter().flat_map(|files| files.leaves.iter().map(|leaf| leaf.join("."))).collect();
    suggestion(word, paths.iter().map(String::as_str))
}

impl Files {
    fn of(connector: &ConnectorSettings, source: &Source) -> Option<Self> {
        let options = column_options(connector);
        let value = ColumnLayout::new(source.value.clone(), options).ok()?;
        let key = source.key.as_ref();
        let key = key.and_then(|key| ColumnLayout::whole(key.clone(), KEY_COLUMN, options).ok());
        let metadata = MetadataBuilder::new(connector.columns, connector.key, TopicPartition::new("", 0))
            .with_avro_keys(key.as_ref());
        let of_value = value.schema().fields().iter().map(|field| field.as_ref().clone());
        let rows: SchemaRef =
            Arc::new(Schema::new(of_value.chain(metadata.fields()).collect::<Vec<Field>>()));
        let partitioner = Partitioner::new(connector.partition_by.clone(), 0);
        let places = partitioner.place_fields(&rows, Some(&value), key.as_deref());
        let parquet = parquet_schema(&partitioner.file_schema(&rows, &places)).ok()?;
        Some(Self {
            name: source.name.clone(),
            fields: places.iter().map(|place| type_at(&rows, place?)).collect(),
            leaves: parquet.columns().iter().map(|leaf| leaf.path().parts().to_vec()).collect(),
        })
    }
}

fn type_at(schema: &Schema, place: &[usize]) -> Option<DataType> {
    let (first, rest) = place.split_first()?;
    let mut found = schema.fields().get(*first)?.data_type();
    for member in rest {
        let DataType::Struct(members) = found else { return None };
        found = members.get(*member)?.data_type();
    }
    Some(found.clone())
}
