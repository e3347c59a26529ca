//! Owns the Parquet schema of a file: the converter's, and UUIDs where a column is one, of which the converter knows
//! nothing without features that nothing else needs.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{LogicalType, Type as PhysicalType};
use parquet::errors::Result;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use crate::schema::UUID_EXTENSION;

/// The Parquet form of `schema`.
///
/// # Errors
/// When a type has none.
pub(crate) fn parquet_schema(schema: &Schema) -> Result<SchemaDescriptor> {
    let converted = ArrowSchemaConverter::new().convert(schema)?;
    let mut leaves = Vec::new();
    schema.fields().iter().for_each(|field| add_leaves(field, &mut leaves));
    if !leaves.contains(&true) {
        return Ok(converted);
    }
    let mut leaves = leaves.into_iter();
    let marked = marked(&converted.root_schema_ptr(), &mut leaves)?;
    Ok(SchemaDescriptor::new(marked))
}

/// For each leaf, in order, whether it is a UUID.
fn add_leaves(field: &Field, leaves: &mut Vec<bool>) {
    let (key, name) = UUID_EXTENSION;
    match field.data_type() {
        DataType::Struct(members) => members.iter().for_each(|member| add_leaves(member, leaves)),
        DataType::List(inside) | DataType::Map(inside, _) => add_leaves(inside, leaves),
        _ => leaves.push(field.metadata().get(key).is_some_and(|found| found == name)),
    }
}

fn marked(node: &TypePtr, leaves: &mut impl Iterator<Item = bool>) -> Result<TypePtr> {
    let info = node.get_basic_info();
    if node.is_primitive() {
        if leaves.next() != Some(true) {
            return Ok(Arc::clone(node));
        }
        let uuid = Type::primitive_type_builder(node.name(), PhysicalType::FIXED_LEN_BYTE_ARRAY)
            .with_repetition(info.repetition())
            .with_length(16)
            .with_logical_type(Some(LogicalType::Uuid));
        return Ok(Arc::new(uuid.build()?));
    }
    let fields = node.get_fields().iter().map(|field| marked(field, leaves)).collect::<Result<_>>()?;
    let group = Type::group_type_builder(node.name())
        .with_fields(fields)
        .with_logical_type(info.logical_type_ref().cloned())
        .with_converted_type(info.converted_type());
    // The root has no repetition.
    let group = if info.has_repetition() { group.with_repetition(info.repetition()) } else { group };
    Ok(Arc::new(group.build()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{ColumnTypes, UuidAs};
    use crate::schema::{AvroSchema, ColumnOptions, arrow_schema};

    #[test]
    fn only_what_is_a_uuid_is_marked_and_all_else_is_the_converters() {
        let text = r#"{"type":"record","name":"R","fields":[
            {"name":"a","type":{"type":"fixed","name":"F","size":16}},
            {"name":"b","type":{"type":"array","items":["null",{"type":"string","logicalType":"uuid"}]}},
            {"name":"c","type":{"type":"map","values":{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}}},
            {"name":"d","type":["null",{"type":"record","name":"S","fields":[{"name":"e","type":"U"},{"name":"f","type":"F"}]}]}]}"#;
        let avro = AvroSchema::parse(text, &[]).unwrap();
        let types = ColumnTypes { uuid: UuidAs::Uuid, ..ColumnTypes::default() };
        let arrow = arrow_schema(&avro, ColumnOptions { types, ..ColumnOptions::default() }).unwrap();
        let (plain, found) =
            (ArrowSchemaConverter::new().convert(&arrow).unwrap(), parquet_schema(&arrow).unwrap());
        let printed = |schema: &SchemaDescriptor| {
            let mut text = Vec::new();
            parquet::schema::printer::print_schema(&mut text, schema.root_schema());
            String::from_utf8(text).unwrap()
        };
        assert_eq!(printed(&found).replace(" (UUID)", ""), printed(&plain));
        let uuids: Vec<String> = found
            .columns()
            .iter()
            .filter(|column| column.logical_type_ref() == Some(&LogicalType::Uuid))
            .map(|column| column.path().string())
            .collect();
        assert_eq!(uuids, ["b.list.element", "c.key_value.value", "d.e"]);
    }
}
