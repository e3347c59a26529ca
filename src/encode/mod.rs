//! From Arrow record batches to the bytes of a Parquet file. Computes; no I/O.
