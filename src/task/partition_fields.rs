//! Owns which columns the fields of `partition_by` are, by the names that Avro gives them, and who has been told of fields that
//! are not there. Does not own their values (`partition_value`).

use std::collections::HashSet;

use arrow::datatypes::{DataType, SchemaRef};

use crate::config::settings::PartitionRule;
use crate::decode::ColumnLayout;
use crate::position::SchemaId;

/// Schemas that people are told of; beyond it they know.
const TOLD_MAX: usize = 1_000;

/// For each rule where its field is in batches of one schema: the index of the column, then that of the member of each struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPlaces(Vec<Option<Vec<usize>>>);

impl FieldPlaces {
    /// Of batches of `schema`: first the columns of `value`, then those of metadata, of which that of Avro keys is laid out by
    /// `key`. A column of metadata goes before a field of its name.
    #[must_use]
    pub fn of(
        rules: &[PartitionRule],
        schema: &SchemaRef,
        value: Option<&ColumnLayout>,
        key: Option<&ColumnLayout>,
    ) -> Self {
        let of_value = value.map_or(0, |layout| layout.schema().fields().len());
        let place = |path: &[String]| {
            let first = path.first()?;
            let metadata = schema.fields().iter().skip(of_value).position(|field| field.name() == first);
            let Some(column) = metadata.map(|at| of_value + at) else { return value?.place_of(path) };
            let of_key = key.and_then(|layout| layout.place_of(path));
            let mut place = of_key.or_else(|| by_column_names(schema.field(column).data_type(), path))?;
            place[0] = column;
            Some(place)
        };
        Self(rules.iter().map(|rule| rule.field_path().and_then(place)).collect())
    }

    /// The places in the order of the rules; `None` for rules without a field, and where it is not there.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[usize]>> {
        self.0.iter().map(Option::as_deref)
    }
}

/// The place of `path` below a column of this type, which counts as the first.
fn by_column_names(column: &DataType, path: &[String]) -> Option<Vec<usize>> {
    let (mut data_type, mut place) = (column, vec![0]);
    for name in &path[1..] {
        let DataType::Struct(members) = data_type else { return None };
        let (at, member) = members.find(name)?;
        place.push(at);
        data_type = member.data_type();
    }
    Some(place)
}

/// Which fields of `partition_by` some schema had, and whom people were told of.
#[derive(Debug, Default)]
pub struct MissingFields {
    found: HashSet<Vec<String>>,
    told: HashSet<(Vec<String>, SchemaId)>,
}

impl MissingFields {
    /// A schema has the field.
    pub fn note_found(&mut self, path: &[String]) {
        if !self.found.contains(path) {
            self.found.insert(path.to_vec());
        }
    }

    /// `schema` lacks the field; whether to tell people so. Not again, and not when another schema had it: a topic may well hold
    /// records without it.
    pub fn is_news(&mut self, path: &[String], schema: SchemaId) -> bool {
        !self.found.contains(path) && self.told.len() < TOLD_MAX && self.told.insert((path.to_vec(), schema))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::schema::{AvroSchema, ColumnOptions};

    fn layout(fields: &str) -> Arc<ColumnLayout> {
        let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
        let schema = AvroSchema::parse(&text, &[]).unwrap();
        ColumnLayout::new(Arc::new(schema), ColumnOptions::default()).unwrap()
    }

    fn place(layout: &ColumnLayout, path: &[&str]) -> Option<Vec<usize>> {
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        let rule = PartitionRule::Field { path, name: "n".to_owned() };
        FieldPlaces::of(&[rule], layout.schema(), Some(layout), None).0.remove(0)
    }

    #[test]
    fn fields_that_differ_by_case_alone_are_told_apart() {
        let field = |name: &str| format!(r#"{{"name":"{name}","type":"long"}}"#);
        let pair = layout(&[field("Id"), field("id"), field("ID")].join(","));
        assert_eq!(["Id", "id", "ID"].map(|name| place(&pair, &[name])), [0, 1, 2].map(|at| Some(vec![at])));
        assert_eq!(place(&pair, &["id_2"]), Some(vec![1]), "the column's name will do");
        assert_eq!((place(&pair, &["iD"]), place(&pair, &["id", "x"])), (None, None));
        let inner = format!(r#"{{"type":"record","name":"S","fields":[{},{}]}}"#, field("A"), field("a"));
        let nested = layout(&format!(r#"{{"name":"s","type":["null",{inner}]}}"#));
        assert_eq!(place(&nested, &["s", "a"]), Some(vec![0, 1]));
        let taken = layout(&[field("id"), field("Id"), field("Id_2")].join(","));
        assert_eq!(place(&taken, &["Id_2"]), Some(vec![2]), "the field of that name goes before the column");
        assert_eq!(place(&layout(&field("_offset")), &["_offset"]), Some(vec![0]));
    }

    #[test]
    fn a_missing_field_is_told_once_for_each_schema_unless_another_had_it() {
        let mut missing = MissingFields::default();
        let (path, ids) = (["countri".to_owned()], [1, 2, 3].map(SchemaId::Number));
        assert!(missing.is_news(&path, ids[0]) && !missing.is_news(&path, ids[0]));
        assert!(missing.is_news(&path, ids[1]));
        missing.note_found(&path);
        assert!(!missing.is_news(&path, ids[2]));
    }

    #[test]
    fn people_are_told_of_so_many_schemas_and_of_no_more() {
        let mut missing = MissingFields::default();
        let path = ["countri".to_owned()];
        let told = (0..2 * TOLD_MAX as u64).filter(|id| missing.is_news(&path, SchemaId::Number(*id)));
        assert_eq!(told.count(), TOLD_MAX);
    }
}
