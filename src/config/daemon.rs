//! Owns the form and defaults of `daemon:`. Does not own measuring the machine ([`super::machine`]).

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::machine;
use super::quantity::ByteSize;
use super::section::Section;
use super::settings::{DaemonSettings, LogFormat, LogLevel};
use super::tree::Scalar;
use super::value;

pub(super) const KEYS: &[&str] = &["listen", "log", "memory", "shutdown_timeout", "scratch_dir"];

const LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 9464);
const MEMORY_PERCENT: u64 = 60;
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads `daemon:`; an empty section gives the defaults.
pub(super) fn read(section: &Section<'_>) -> DaemonSettings {
    let log = section.section("log", &["format", "level"]);
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    DaemonSettings {
        listen: section.read("listen", listen).unwrap_or_else(|| SocketAddr::from(LISTEN)),
        log_format: log.read("format", value::choice(&formats)).unwrap_or(LogFormat::Json),
        log_level: log.read("level", value::choice(&levels)).unwrap_or(LogLevel::Info),
        memory: section.read("memory", memory).unwrap_or_else(|| share_of_memory(MEMORY_PERCENT)),
        shutdown_timeout: section.read("shutdown_timeout", value::time).unwrap_or(SHUTDOWN_TIMEOUT),
        scratch_dir: section
            .read("scratch_dir", value::text)
            .map_or_else(std::env::temp_dir, |path| section.resolve_path("scratch_dir", &path)),
    }
}

fn listen(scalar: &Scalar) -> Result<SocketAddr, String> {
    scalar.text.parse().map_err(|_| {
        format!("must be an IP address and a port, such as `127.0.0.1:9464`; found {}", scalar.shown())
    })
}

/// A size, or a share of what the process may use: `50%`.
fn memory(scalar: &Scalar) -> Result<ByteSize, String> {
    let Some(percent) = scalar.text.strip_suffix('%') else { return value::size(scalar) };
    match super::quantity::whole(percent) {
        Some(percent @ 1..=100) => Ok(share_of_memory(percent)),
        _ => Err(format!("must be from `1%` to `100%`, or a size; found {}", scalar.shown())),
    }
}

fn share_of_memory(percent: u64) -> ByteSize {
    ByteSize(machine::memory_bytes(Path::new("/")) / 100 * percent)
}
