//! One file a command. Owns arguments, exit codes and what is printed; does not own what is done.

pub mod audit;
pub mod check;
pub mod demo;
pub mod inspect;
mod output;
mod place;
mod replay;
pub mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::error::Failure;

/// Done.
pub const EXIT_DONE: u8 = 0;
/// Something failed.
pub const EXIT_FAILED: u8 = 1;
/// Bad configuration or usage.
pub const EXIT_USAGE: u8 = 2;

/// Moves Kafka topics into a data lake as Parquet, exactly once.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, about, propagate_version = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run every connector of a configuration.
    Run(RunArguments),
    /// Validate a configuration and reach every service it names.
    Check(CheckArguments),
    /// Show the whole pipeline on an in-process broker and registry, to local Parquet.
    Demo(DemoArguments),
    /// Show a Parquet file's footer for people.
    Inspect(InspectArguments),
    /// Prove delivery: every offset at most once, ranges contiguous, every file readable.
    Audit(AuditArguments),
    /// Not there yet: Parquet files back into a topic.
    #[command(hide = true)]
    Replay(ReplayArguments),
}

/// `sluice run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Configuration file, or a directory of *.yaml files.
    #[arg(long, value_name = "PATH")]
    pub config: PathBuf,
    /// Deliver everything below the end offsets noted at the start, then exit.
    #[arg(long)]
    pub until_end: bool,
}

/// `sluice check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Configuration file, or a directory of *.yaml files.
    #[arg(long, value_name = "PATH")]
    pub config: PathBuf,
    /// Validate the configuration only; reach no service.
    #[arg(long)]
    pub offline: bool,
}

/// `sluice demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Orders to generate.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub records: u64,
    /// Where to write; must be empty or absent. Default: a new directory below the system's temporary one.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// `sluice inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// Path or URL (file://, s3://, gs://, az://) of a Parquet file.
    #[arg(value_name = "FILE-or-URL")]
    pub file: String,
    /// One JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// An option of the object store, KEY=VALUE; may be repeated. Credentials come from the environment. A value may hold
    /// `${file:PATH}` and `${NAME}`.
    #[arg(long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
}

/// `sluice audit`.
#[derive(Debug, Args)]
pub struct AuditArguments {
    /// Output prefix: a path or URL (file://, s3://, gs://, az://), as in `storage.url`.
    #[arg(value_name = "URL")]
    pub url: String,
    /// Only this topic; only its directory is listed.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Also compare with the committed offsets of this group; needs --property bootstrap.servers=HOST:PORT.
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Read footers and offsets only, not every page: proves delivery, but not that the values can be read or are those that
    /// were written.
    #[arg(long)]
    pub fast: bool,
    /// A property of the Kafka client, KEY=VALUE; may be repeated. With `bootstrap.servers`, gaps are looked up at the
    /// broker: one without a record is none. A value may hold `${file:PATH}` and `${NAME}`.
    #[arg(long = "property", value_name = "KEY=VALUE")]
    pub properties: Vec<String>,
    /// One JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// An option of the object store, KEY=VALUE; may be repeated. Credentials come from the environment. A value may hold
    /// `${file:PATH}` and `${NAME}`.
    #[arg(long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
}

/// `sluice replay`.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// Whatever it is asked for.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "URL")]
    pub arguments: Vec<std::ffi::OsString>,
}

/// Runs the command of the process's arguments.
///
/// # Errors
/// What the command itself could not tell in its own words.
pub fn main() -> anyhow::Result<ExitCode> {
    // clap's own exit code for usage errors is 2, as ours.
    match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Audit(arguments) => audit::audit(&arguments),
        Command::Replay(_) => Ok(replay::replay()),
    }
}

/// Environment variables as the configuration sees them.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The runtime for storage, registry and endpoints: two threads, since they only wait.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("io").enable_all().build()
}

/// What a failure says without its stage, which means nothing to a command that runs no connector.
fn reason_of(failure: Failure) -> String {
    match failure {
        Failure::Poison { reason, .. }
        | Failure::Retriable { reason, .. }
        | Failure::Fatal { reason, .. } => reason,
    }
}
