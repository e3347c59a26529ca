//! Avro schemas: parsing, resolution of a writer against a reader schema, and their Arrow form. Computes; no I/O.

pub mod evolution;
