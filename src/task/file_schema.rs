//! Owns the names of columns in files under partition directories. Does not own the directories ([`super::partitioner`]).

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::config::{left_sides, settings::PartitionRule};

/// The schema of files whose rows have `schema`. Engines make a column of each directory `name=value` and hide the
/// file's own column of that name, whatever its case. So a column that would be hidden gets a number behind its name, as
/// columns do whose names collide; not the very field that makes the directories, whose values are in both.
#[must_use]
pub(super) fn file_schema(rules: &[PartitionRule], schema: &SchemaRef) -> SchemaRef {
    let directories: HashSet<String> =
        rules.iter().flat_map(left_sides).map(|name| name.to_lowercase()).collect();
    let hidden = |name: &String| directories.contains(&name.to_lowercase()) && !makes_its_own(rules, name);
    if !schema.fields().iter().any(|field| hidden(field.name())) {
        return schema.clone();
    }
    let mut taken: HashSet<String> =
        schema.fields().iter().map(|field| field.name().to_lowercase()).collect();
    taken.extend(directories.iter().cloned());
    let mut renamed = |field: &FieldRef| {
        if !hidden(field.name()) {
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
    Arc::new(Schema::new(schema.fields().iter().map(&mut renamed).collect::<Vec<_>>()))
}

/// Whether a rule makes directories of this column's name and of its values.
fn makes_its_own(rules: &[PartitionRule], column: &str) -> bool {
    rules.iter().any(|rule| match rule {
        PartitionRule::Field { path, name } => {
            path.len() == 1 && path[0] == column && name.to_lowercase() == column.to_lowercase()
        }
        PartitionRule::Time { .. } | PartitionRule::Record { .. } => false,
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::config::settings::TimeSource;

    fn names(rules: &[PartitionRule], columns: &[&str]) -> Vec<String> {
        let field = |name: &&str| Field::new(*name, DataType::Int64, true);
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        file_schema(rules, &schema).fields().iter().map(|field| field.name().clone()).collect()
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
        // Another column of that name but for its case was renamed before; it is not the one the rule names.
        assert_eq!(names(&[field(&["country"], "country")], &["Country"]), ["Country_2"]);
    }
}
