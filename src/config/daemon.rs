//! Owns the form and defaults of `daemon:`. Does not own measuring the machine ([`super::machine`]).

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::machine;
use super::quantity::ByteSize;
use super::secret::Secret;
use super::section::Section;
use super::settings::{DaemonSettings, HttpSettings, LogFormat, LogLevel, TlsFiles};
use super::tree::Scalar;
use super::value;

const HTTP_KEYS: &[&str] = &["token", "read_only", "tls"];
const TLS_KEYS: &[&str] = &["certificate_file", "key_file"];
pub(super) const KEYS: &[&str] =
    &["listen", "http", "log", "memory", "shutdown_timeout", "reload_on_change", "scratch_dir"];

const LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 9464);
const MEMORY_PERCENT: u64 = 60;
/// With less it works, one batch at a time, and is hardly meant.
const MEMORY_LEAST: ByteSize = ByteSize(1 << 20);
/// A token is guessed at from outside, without limit.
const TOKEN_CHARS_MIN: usize = 16;
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads `daemon:`; an empty section gives the defaults.
pub(super) fn read(section: &Section<'_>) -> DaemonSettings {
    let log = section.section("log", &["format", "level"]);
    let levels = LogLevel::ALL.map(|level| (level.as_str(), level));
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    DaemonSettings {
        listen: section.read("listen", listen).unwrap_or_else(|| SocketAddr::from(LISTEN)),
        http: http(&section.section("http", HTTP_KEYS)),
        log_format: log.read("format", value::choice(&formats)).unwrap_or(LogFormat::Json),
        log_level: log.read("level", value::choice(&levels)).unwrap_or(LogLevel::Info),
        memory: memory(section),
        shutdown_timeout: section.read("shutdown_timeout", value::time).unwrap_or(SHUTDOWN_TIMEOUT),
        reload_on_change: section.read("reload_on_change", value::boolean).unwrap_or(true),
        scratch_dir: section
            .read("scratch_dir", value::text)
            .map_or_else(std::env::temp_dir, |path| section.resolve_path("scratch_dir", &path)),
    }
}

fn http(section: &Section<'_>) -> HttpSettings {
    let tls = section.section("tls", TLS_KEYS);
    if section.has("tls") {
        tls.report_missing("certificate_file", "");
        tls.report_missing("key_file", "");
    }
    let files = tls.read_file("certificate_file").zip(tls.read_file("key_file"));
    HttpSettings {
        token: section.read("token", token).map(Secret::new),
        read_only: section.read("read_only", value::boolean).unwrap_or(false),
        tls: files.map(|(certificate, key)| TlsFiles { certificate, key }),
    }
}

/// The message does not show the text.
fn token(scalar: &Scalar) -> Result<String, String> {
    let token = value::text(scalar)?;
    if token.chars().count() < TOKEN_CHARS_MIN || token.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(format!("must be at least {TOKEN_CHARS_MIN} printable ASCII characters without spaces"));
    }
    Ok(token)
}

fn listen(scalar: &Scalar) -> Result<SocketAddr, String> {
    scalar.text.parse().map_err(|_| {
        format!("must be an IP address and a port, such as `127.0.0.1:9464`; found {}", scalar.shown())
    })
}

/// A size that is there, or the default.
fn memory(section: &Section<'_>) -> ByteSize {
    let default = || share_of_memory(MEMORY_PERCENT);
    let Some(wanted) = section.read("memory", size_or_share) else { return default() };
    let there = ByteSize(machine::memory_bytes(Path::new("/")));
    if wanted < MEMORY_LEAST {
        let message = format!(
            "`{}` is {wanted}, in which not one batch of records fits; a number without a unit counts bytes",
            section.path_of("memory")
        );
        section.problems().warn(section.place_of("memory"), message);
    }
    if wanted <= there {
        return wanted;
    }
    // With a budget that never ends the kernel would kill the process, again and again.
    let message = format!(
        "`{}` is {wanted}, and this process may use {there} of memory here; {MEMORY_PERCENT}% of that are taken, which is {}",
        section.path_of("memory"),
        default()
    );
    section.problems().warn(section.place_of("memory"), message);
    default()
}

/// A size, or a share of what the process may use: `50%`.
fn size_or_share(scalar: &Scalar) -> Result<ByteSize, String> {
    let Some(percent) = scalar.text.strip_suffix('%') else { return value::size(scalar) };
    match super::quantity::whole(percent) {
        Some(percent @ 1..=100) => Ok(share_of_memory(percent)),
        _ => Err(format!("must be from `1%` to `100%`, or a size; found {}", scalar.shown())),
    }
}

fn share_of_memory(percent: u64) -> ByteSize {
    ByteSize(machine::memory_bytes(Path::new("/")) / 100 * percent)
}
