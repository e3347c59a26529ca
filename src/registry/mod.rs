//! The schema registry: a client with its cache for the APIs of Confluent, Apicurio and AWS Glue, and a small registry
//! of our own for the demo and for tests. Does I/O, decides nothing about records; parsing schemas belongs to [`crate::schema`].

mod apicurio;
mod cache;
mod client;
mod confluent;
mod counters;
mod endpoints;
mod error;
mod glue;
pub mod local;
mod references;
mod refusal;
mod wire;

#[cfg(test)]
mod api_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod round_tests;
#[cfg(test)]
mod scripted;

pub use client::Registry;
pub use counters::RegistryCounts;
pub use error::RegistryError;
pub use references::{ReferencedSchema, RegisteredSchema};
pub use wire::Reference;
