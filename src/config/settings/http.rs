//! Owns the settings of the HTTP endpoints, as part of the reference manual.

use std::path::PathBuf;

use super::Secret;

/// `daemon.http`: who reaches the endpoints and what they may do. `/healthz` and `/readyz` are always open, so that probes
/// work.
///
/// ```yaml
/// daemon:
///   http:
///     token: ${file:/run/secrets/sluice-token}
///     read_only: true
///     tls: { certificate_file: tls/server.pem, key_file: tls/server.key }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// `token`: asked for by everything but the probes, as `Authorization: Bearer TOKEN`, or as the password of HTTP basic
    /// with any user name, which is what browsers can do. At least 16 characters. Default: nobody is asked.
    pub token: Option<Secret>,
    /// `read_only`: no commands (pause, resume, flush, restart, reload, log level). Default `false`.
    pub read_only: bool,
    /// `tls`: serve HTTPS instead of HTTP. Default: HTTP.
    pub tls: Option<TlsFiles>,
}

/// `daemon.http.tls`: both are required. A reload reads both again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// `certificate_file`: PEM, the server's certificate first, then those between it and the root; must exist.
    pub certificate: PathBuf,
    /// `key_file`: PEM, its private key; must exist.
    pub key: PathBuf,
}
