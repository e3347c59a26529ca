//! Owns the names of columns in files under partition directories. Does not own the directories ([`super::partitioner`]).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::config::{left_sides, settings::PartitionRule};
use crate::task::partition_fields::FieldPlaces;

/// The schema of files whose rows have `schema`. Engines make a column of each directory `name=value` and hide the
/// file's own column of that name, whatever its case. So a column that would be hidden gets a number behind its name, as
/// columns do whose names collide; not the very field that makes the directories, whose values are in both: that one has its
/// name of Avro, also where a field before it has the same but for its case.
#[must_use]
pub(super) fn file_schema(rules: &[PartitionRule], schema: &SchemaRef, places: &FieldPlaces) -> SchemaRef {
    let directories: HashSet<String> =
        rules.iter().flat_map(left_sides).map(|name| name.to_lowercase()).collect();
    let own: HashMap<usize, &String> = rules.iter().zip(places.iter()).filter_map(makes_its_own).collect();
    let named = |(at, field): (usize, &FieldRef)| match own.get(&at) {
        Some(name) if *name != field.name() => Arc::new(field.as_ref().clone().with_name(name.as_str())),
        _ => field.clone(),
    };
    let named: Vec<FieldRef> = schema.fields().iter().enumerate().map(named).collect();
    let mut taken: HashSet<String> = named.iter().map(|field| field.name().to_lowercase()).collect();
    taken.extend(directories.iter().cloned());
    let mut renamed = |(at, field): (usize, &FieldRef)| {
        if own.contains_key(&at) || !directories.contains(&field.name().to_lowercase()) {
            return field.clone();
        }
        let mut number = 2;
        loop {
            let name = format!("{}_{number}", field.name());
            if taken.insert(name.to_lowercase()) {
                return Arc::new(field.as_ref().clone().with_name(name));
            }
            number += 1;
        }
    };
    Arc::new(Schema::new(named.iter().enumerate().map(&mut renamed).collect::<Vec<_>>()))
}

/// The column whose own name and values the directories of this rule have, if there is one, and the name.
fn makes_its_own<'r>((rule, place): (&'r PartitionRule, Option<&[usize]>)) -> Option<(usize, &'r String)> {
    match (rule, place) {
        (PartitionRule::Field { path, name }, Some([column])) => {
            (path[0].to_lowercase() == name.to_lowercase()).then_some((*column, &path[0]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::config::settings::TimeSource;

    fn names(rules: &[PartitionRule], columns: &[&str]) -> Vec<String> {
        let field = |name: &&str| Field::new(*name, DataType::Int64, true);
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let places = FieldPlaces::of(rules, &schema, None, None);
        file_schema(rules, &schema, &places).fields().iter().map(|field| field.name().clone()).collect()
    }

    fn field(path: &[&str], name: &str) -> PartitionRule {
        PartitionRule::Field {
            path: path.iter().map(|name| (*name).to_owned()).collect(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn fault_60_a_column_that_a_directory_would_hide_gets_another_name() {
        let nested = [field(&["shipping", "country"], "country")];
        assert_eq!(names(&nested, &["country", "shipping"]), ["country_2", "shipping"]);
        assert_eq!(
            names(&nested, &["Country", "country_2", "COUNTRY_3"]),
            ["Country_4", "country_2", "COUNTRY_3"]
        );
        assert_eq!(names(&nested, &["id", "shipping"]), ["id", "shipping"]);
        let time = [PartitionRule::Time {
            source: TimeSource::Record,
            pattern: "dt=%Y-%m-%d/hour=%H".to_owned(),
            timezone: chrono_tz::Tz::UTC,
        }];
        assert_eq!(names(&time, &["DT", "hour", "d"]), ["DT_2", "hour_2", "d"]);
        let record = [PartitionRule::Record { full: true, name: "record".to_owned() }];
        assert_eq!(names(&record, &["record"]), ["record_2"]);
    }

    #[test]
    fn a_field_that_makes_its_own_directories_keeps_its_name() {
        assert_eq!(names(&[field(&["country"], "country")], &["country"]), ["country"]);
        assert_eq!(names(&[field(&["Country"], "country")], &["Country"]), ["Country"]);
        let swapped = [field(&["a"], "b"), field(&["b"], "a")];
        assert_eq!(names(&swapped, &["a", "b"]), ["a_2", "b_2"]);
        // Another column of that name but for its case is not the one the rule names.
        assert_eq!(names(&[field(&["country"], "country")], &["Country"]), ["Country_2"]);
    }

    #[test]
    fn a_field_that_makes_its_own_directories_keeps_its_name_beside_others_of_another_case() {
        let id = |name: &str| format!(r#"{{"name":"{name}","type":"long"}}"#);
        let text =
            format!(r#"{{"type":"record","name":"R","fields":[{},{},{}]}}"#, id("Id"), id("id"), id("ID"));
        let avro = Arc::new(crate::schema::AvroSchema::parse(&text, &[]).unwrap());
        let layout = crate::decode::ColumnLayout::new(avro, crate::schema::ColumnOptions::default()).unwrap();
        let names = |rule: PartitionRule| -> Vec<String> {
            let places = FieldPlaces::of(std::slice::from_ref(&rule), layout.schema(), Some(&layout), None);
            let files = file_schema(&[rule], layout.schema(), &places);
            files.fields().iter().map(|field| field.name().clone()).collect()
        };
        assert_eq!(names(field(&["id"], "id")), ["Id_2", "id", "ID_3"]);
        assert_eq!(names(field(&["Id"], "Id")), ["Id", "id_2", "ID_3"]);
        assert_eq!(names(field(&["ID"], "id")), ["Id_3", "id_2", "ID"]);
        assert_eq!(names(field(&["id"], "day")), ["Id", "id_2", "ID_3"]);
    }
}
