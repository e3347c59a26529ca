//! Avro schemas: parsing, resolution of a writer against a reader schema, and their Arrow form. Computes; no I/O.
//!
//! The parser is our own, as the plan compiler needs a model it can walk by number, with recursion, aliases and
//! defaults kept, and as real registries hold schemas that stricter parsers refuse. The `apache-avro` crate serves
//! as the oracle of the tests.

mod columns;
mod default;
mod error;
pub mod evolution;
mod fingerprint;
mod json;
mod link;
mod logical;
mod model;
mod names;
mod parse;
mod resolve;
#[cfg(test)]
mod tests;
mod text;

pub use columns::{
    Column, ColumnKind, ColumnOptions, PLACEHOLDER, RESERVED, UUID_EXTENSION, VALUE_COLUMN, arrow_schema,
    columns, place_of, whole_column,
};
pub(crate) use default::encode_default;
pub use error::SchemaError;
pub(crate) use json::is_json;
pub use model::{
    AvroSchema, EnumType, FixedType, Logical, Name, Node, NodeId, RecordField, RecordType, Shape, TimeUnit,
};
pub use resolve::{Absorption, absorbs};
pub(crate) use resolve::{best_branch, match_fields, mismatch};
