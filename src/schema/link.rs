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
