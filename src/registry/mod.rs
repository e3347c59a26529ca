//! The schema registry: a client for Confluent's Schema Registry API with its cache, and a small registry of our own
//! for the demo and for tests. Does I/O, decides nothing about records; parsing schemas belongs to [`crate::schema`].

mod cache;
mod client;
mod counters;
mod endpoints;
mod error;
pub mod local;
mod references;
mod wire;

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod scripted;

pub use client::Registry;
pub use counters::RegistryCounts;
pub use error::RegistryError;
pub use references::{ReferencedSchema, RegisteredSchema};
pub use wire::Reference;
