//! From bytes to Arrow record batches: wire formats, decode plans, column builders. Computes; no I/O.

pub mod metadata;
