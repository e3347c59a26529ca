//! Generated orders, for the demo and for benchmarks.

pub mod orders;
