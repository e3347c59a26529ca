//! sluice moves Kafka topics into a data lake as Parquet, exactly once.
//!
//! `ARCHITECTURE.md` shows the rooms and the one-way flow between them; the rustdoc of [`config::settings`] is the
//! reference manual of `connectors.yaml`.

pub mod admin;
pub mod audit;
pub mod cli;
pub mod config;
pub mod connector;
pub mod daemon;
pub mod decode;
pub mod demo;
pub mod encode;
pub mod error;
mod failpoint;
pub mod kafka;
pub mod logging;
pub mod metrics;
pub mod position;
pub mod record;
pub mod registry;
pub mod schema;
pub mod storage;
pub mod task;
