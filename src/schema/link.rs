//! Owns what can be done only when all texts are read: types mentioned before their definition, and second definitions.

use std::collections::{HashMap, HashSet};

use super::error::SchemaError;
use super::model::{AvroSchema, Name, Node, NodeId, Shape};

/// The mention of a type that was not known where it stood.
pub(super) struct Mention {
    /// Stands for it until then.
    pub(super) node: NodeId,
    /// Full names it may have, the likeliest first.
    pub(super) names: [String; 2],
    /// Where it stands.
    pub(super) path: Vec<String>,
}

/// A second definition of a name, with the first.
pub(super) struct Repetition {
    pub(super) second: NodeId,
    pub(super) first: NodeId,
    pub(super) name: Name,
}

/// Puts the definition in place of each mention.
///
/// # Errors
/// [`SchemaError::Invalid`] when there is none, or when two branches of a union turn out to be the same type.
pub(super) fn link(
    schema: &mut AvroSchema,
    mentions: Vec<Mention>,
    definition: impl Fn(&str) -> Option<NodeId>,
) -> Result<(), SchemaError> {
    if mentions.is_empty() {
        return Ok(());
    }
    let mut meant = HashMap::with_capacity(mentions.len());
    for Mention { node, names, path } in mentions {
        let found = names.iter().find_map(|name| definition(name)).ok_or_else(|| {
            SchemaError::invalid(&path, format!("type {} is neither built in nor defined", names[0]))
        })?;
        meant.insert(node, found);
    }
    let put = |id: &mut NodeId| *id = meant.get(id).copied().unwrap_or(*id);
    put(&mut schema.root);
    for node in &mut schema.nodes {
        match &mut node.shape {
            Shape::Array(inside) | Shape::Map(inside) => put(inside),
            Shape::Record(record) => record.fields.iter_mut().for_each(|field| put(&mut field.node)),
            Shape::Union(branches) => {
                branches.iter_mut().for_each(put);
                let distinct: HashSet<&NodeId> = branches.iter().collect();
                if distinct.len() < branches.len() {
                    return Err(SchemaError::invalid(&[], "a named type is twice in a union"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses second definitions that differ from the first.
///
/// # Errors
/// [`SchemaError::Invalid`] with the name.
pub(super) fn compare(schema: &AvroSchema, repetitions: &[Repetition]) -> Result<(), SchemaError> {
    let differs = |repetition: &&Repetition| !same(schema, repetition.second, repetition.first, 0);
    match repetitions.iter().find(differs) {
        Some(Repetition { name, .. }) => {
            Err(SchemaError::invalid(&[], format!("type {name} is defined twice, differently")))
        }
        None => Ok(()),
    }
}

/// Whether two types are the same. Named parts are compared by id: they were made one by name, and second
/// definitions among them are compared on their own.
fn same(schema: &AvroSchema, left: NodeId, right: NodeId, depth: usize) -> bool {
    if left == right {
        return true;
    }
    let (a, b): (&Node, &Node) = (schema.node(left), schema.node(right));
    if a.logical != b.logical || (depth > 0 && a.names().is_some()) {
        return false;
    }
    let same = |a: NodeId, b: NodeId| same(schema, a, b, depth + 1);
    match (&a.shape, &b.shape) {
        (Shape::Array(a), Shape::Array(b)) | (Shape::Map(a), Shape::Map(b)) => same(*a, *b),
        (Shape::Union(a), Shape::Union(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(*a, *b))
        }
        (Shape::Record(a), Shape::Record(b)) => {
            let fields = a.fields.iter().zip(&b.fields);
            a.fields.len() == b.fields.len()
                && fields.into_iter().all(|(a, b)| a.name == b.name && same(a.node, b.node))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a schema that defines `X` once as the one and once as the other.
    fn twice(one: &str, other: &str) -> Result<(), String> {
        let json = format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{one}}},{{"name":"b","type":{other}}}]}}"#
        );
        AvroSchema::parse(&json, &[]).map(|_| ()).map_err(|error| error.to_string())
    }

    fn record(fields: &[(&str, &str)]) -> String {
        let field = |(name, ty): &(&str, &str)| format!(r#"{{"name":"{name}","type":{ty}}}"#);
        let fields: Vec<String> = fields.iter().map(field).collect();
        format!(r#"{{"type":"record","name":"X","fields":[{}]}}"#, fields.join(","))
    }

    #[test]
    fn second_definitions_that_differ_anywhere_are_refused() {
        let int = r#""int""#;
        let days = r#"{"type":"int","logicalType":"date"}"#;
        let fixed = |name: &str| format!(r#"{{"type":"fixed","name":"{name}","size":2}}"#);
        let first = record(&[("f", int)]);
        assert_eq!(twice(&first, &first), Ok(()));
        for other in [
            record(&[("f", days)]),
            record(&[("g", int)]),
            record(&[("f", int), ("g", int)]),
            record(&[]),
            record(&[("f", r#"["int"]"#)]),
        ] {
            assert!(
                twice(&first, &other).unwrap_err().contains("X is defined twice, differently"),
                "{other}"
            );
            assert!(twice(&other, &first).is_err(), "{other}");
        }
        let with = |ty: &str| record(&[("f", ty)]);
        assert!(twice(&with(r#"["null","int"]"#), &with(r#"["null","int","long"]"#)).is_err());
        assert!(twice(&with(r#"["null","int"]"#), &with(r#"["int","null"]"#)).is_err());
        assert!(twice(&with(&fixed("A")), &with(&fixed("B"))).is_err(), "alike but for their names");
        let inner = |name: &str| {
            format!(r#"{{"type":"record","name":"{name}","fields":[{{"name":"f","type":"int"}}]}}"#)
        };
        assert!(twice(&with(&inner("A")), &with(&inner("B"))).is_err(), "records that are alike, too");
        assert_eq!(twice(&with(&fixed("A")), &with(r#""A""#)), Ok(()));
    }
}
