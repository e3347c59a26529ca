//! Owns the certificate of the endpoints and its change while they are served. Does not own connections.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::settings::TlsFiles;

/// TLS for the endpoints. Clones share the certificate.
#[derive(Clone)]
pub struct TlsListener {
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

impl TlsListener {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// What is wrong with the files, without their content.
    pub fn load(files: &TlsFiles) -> Result<Self, String> {
        Ok(Self { config: Arc::new(Mutex::new(read(files)?)) })
    }

    /// Reads them again, for connections that come from now on.
    ///
    /// # Errors
    /// As [`Self::load`]; what was there before stays in force.
    pub fn reload(&self, files: &TlsFiles) -> Result<(), String> {
        let config = read(files)?;
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{certificate} holds no PEM certificates: {error}"))?;
    if chain.is_empty() {
        return Err(format!("{certificate} holds no PEM certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| format!("{key} holds no PEM private key: {error}"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| format!("{certificate} and {key} do not go together: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
