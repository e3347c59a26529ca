//! From bytes to Arrow record batches: wire formats, decode plans, column builders. Computes; no I/O.
//!
//! A [`ColumnLayout`] says what columns values of a reader schema make. A [`BatchBuilder`] holds such columns while
//! they grow. A [`DecodePlan`] is compiled once for each pair of writer schema and layout, and appends datums to a
//! builder: straight from bytes into column buffers, one row or nothing.

mod assemble;
mod batch;
mod buffers;
mod compile;
mod cursor;
mod error;
mod layout;
pub mod metadata;
mod number;
mod plan;
mod run;
mod skip;
pub mod wire;

#[cfg(test)]
pub(crate) mod tests;

pub use batch::BatchBuilder;
pub use error::{DecodeError, Fault};
pub use layout::ColumnLayout;
pub use plan::DecodePlan;
