//! Owns which files the settings name whose content counts. Does not own reading them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::settings::{ConnectorSettings, Evolution, KafkaSettings, Settings, StorageSettings, ValueFormat};

/// How names of librdkafka's properties end whose values are files.
const KAFKA_FILES: [&str; 3] = [".location", ".keytab", ".file"];
/// Options of a store whose values are files, without `google_`.
const STORAGE_FILES: [&str; 3] = ["service_account", "service_account_path", "application_credentials"];

impl Settings {
    /// Every file beside the configuration whose content is in force: secrets, schemas, certificates, keys.
    #[must_use]
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let tls = self.daemon.http.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
        let named = self.connectors.iter().flat_map(ConnectorSettings::files);
        self.referenced.iter().chain(tls).map(PathBuf::as_path).chain(named).map(Path::to_path_buf).collect()
    }
}

impl ConnectorSettings {
    /// Files it names whose content counts: a reload looks whether they have changed.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        let values = match &self.value {
            ValueFormat::AvroSchemaFile(path) => std::slice::from_ref(path),
            ValueFormat::AvroSchemaFiles(paths) => paths,
            ValueFormat::AvroRegistry(_) => &[],
        };
        let reader = match &self.schema.evolution {
            Evolution::Fixed(path) => Some(path),
            _ => None,
        };
        let registry = self.registry.as_ref().and_then(|registry| registry.ca_file.as_ref());
        let own = values.iter().chain(reader).chain(registry).map(PathBuf::as_path);
        own.chain(self.kafka.files()).chain(self.storage.files()).collect()
    }
}

impl KafkaSettings {
    /// Certificates, keys and their like, which librdkafka reads once a start.
    fn files(&self) -> impl Iterator<Item = &Path> {
        let is_file = |name: &str| KAFKA_FILES.iter().any(|end| name.ends_with(end));
        let named = self.properties.iter().filter(move |(name, _)| is_file(name));
        named.map(|(_, path)| Path::new(path.expose()))
    }
}

impl StorageSettings {
    /// Credentials that are read once a start. Those of the usual chain are renewed where they are used.
    fn files(&self) -> impl Iterator<Item = &Path> {
        let is_file = |name: &str| STORAGE_FILES.contains(&name.strip_prefix("google_").unwrap_or(name));
        let named = self.options.iter().filter(move |(name, _)| is_file(name));
        named.map(|(_, path)| Path::new(path.expose()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::config;

    #[test]
    fn every_file_of_a_configuration_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(folder.path().join(name), "a-secret-of-some-length").unwrap();
        let files = [
            "ca.pem",
            "client.key",
            "client.pem",
            "google.json",
            "password",
            "reader.avsc",
            "registry.pem",
            "server.key",
            "server.pem",
            "token",
        ];
        for file in files {
            write(file);
        }
        let text = "version: 1
daemon:
  http: { token: '${file:DIR/token}', tls: { certificate_file: DIR/server.pem, key_file: DIR/server.key } }
connectors:
  - name: a
    kafka:
      topics: [t]
      properties:
        bootstrap.servers: b:1
        sasl.password: '${file:DIR/password}'
        ssl.ca.location: DIR/ca.pem
        ssl.certificate.location: DIR/client.pem
        ssl.key.location: DIR/client.key
    value: { format: avro }
    registry: { url: 'http://r', ca_file: DIR/registry.pem }
    schema: { evolution: fixed, reader_schema_file: DIR/reader.avsc }
    storage: { url: 'gs://lake', options: { google_service_account: DIR/google.json } }
";
        let settings =
            config::load_str(&text.replace("DIR", &folder.path().display().to_string()), &|_| None);
        let found = settings.unwrap_or_else(|errors| panic!("{errors}")).files();
        let wanted: Vec<PathBuf> = files.iter().map(|file| folder.path().join(file)).collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), wanted);
    }
}
