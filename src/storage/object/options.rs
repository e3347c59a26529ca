//! Owns how a URL and options become a client of an object store: schemes, option keys, the credential chain, timeouts
//! and retries. Does not own what is done with the client.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};

use super::faults::boolean;
use super::sanity::{check_each, check_plain};
use super::transport::{ServiceSignals, SignalingConnector};
use super::uploads::UploadLister;
use crate::config::settings::StorageSettings;
use crate::storage::error::StorageError;

/// Whole of one request with its answer; an upload of one part must fit. The library's own default is shorter.
const REQUEST_TIMEOUT: &str = "60s";

/// Clients of one bucket.
pub(super) struct Clients {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) multipart: Arc<dyn MultipartStore>,
    /// The output prefix; may be empty.
    pub(super) prefix: Path,
    pub(super) signals: Arc<ServiceSignals>,
    /// `None` where the store's protocol has no such list, or requests are not signed as usual.
    pub(super) upload_lister: Option<UploadLister>,
}

/// Short retries: enough for a hiccup. Longer trouble belongs to the caller, who keeps its group membership meanwhile.
pub(super) fn short_retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(3),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(20),
    }
}

/// Reads environment, URL and options, in this order; the later wins.
pub(super) fn connect(settings: &StorageSettings, retry: RetryConfig) -> Result<Clients, StorageError> {
    check_each(settings)?;
    let signals = Arc::new(ServiceSignals::default());
    let connector = SignalingConnector::new(Arc::clone(&signals), settings.url.scheme() == "s3");
    let prefix = Path::from_url_path(settings.url.path()).map_err(|error| {
        StorageError::invalid(format!(
            "the path of storage.url {} is not a valid prefix: {error}",
            settings.url
        ))
    })?;
    macro_rules! build {
        ($builder:ty, $key:ty) => {{
            let mut builder = <$builder>::from_env().with_url(settings.url.as_str());
            let timeout = <$key>::Client(ClientConfigKey::Timeout);
            if builder.get_config_value(&timeout) == <$builder>::new().get_config_value(&timeout) {
                builder = builder.with_config(timeout, REQUEST_TIMEOUT);
            }
            for (name, value) in &settings.options {
                builder = builder.with_config(parse_key::<$key>(name)?, value.expose());
            }
            builder
        }};
    }
    macro_rules! finish {
        ($builder:expr) => {{
            let built = $builder.with_retry(retry).with_http_connector(connector).build();
            Arc::new(built.map_err(|error| StorageError::invalid(format!("storage: {error}")))?)
        }};
    }
    let mut upload_lister = None;
    let (store, multipart): (Arc<dyn ObjectStore>, Arc<dyn MultipartStore>) = match settings.url.scheme() {
        "s3" => {
            let builder = build!(AmazonS3Builder, AmazonS3ConfigKey);
            let value = |key| builder.get_config_value(&key);
            let plain = plain_allowed(value(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)));
            // The address of metadata is plain as a rule.
            for key in
                [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint, AmazonS3ConfigKey::StsEndpoint]
            {
                check_plain(settings, key.as_ref(), value(key), plain)?;
            }
            let (id, secret) =
                (value(AmazonS3ConfigKey::AccessKeyId), value(AmazonS3ConfigKey::SecretAccessKey));
            if id.is_some() != secret.is_some() {
                let (there, missing) = if id.is_some() {
                    ("access_key_id", "secret_access_key")
                } else {
                    ("secret_access_key", "access_key_id")
                };
                return Err(StorageError::invalid(format!(
                    "there is storage.options.{there}, here or in the environment, and no {missing}; give both or none"
                )));
            }
            let signed_as_usual = signs_as_usual(&builder);
            let http = connector.last_client();
            let built = finish!(builder);
            upload_lister = http
                .get()
                .filter(|_| signed_as_usual)
                .map(|http| UploadLister::new(Arc::clone(&built) as Arc<dyn Signer>, http));
            (Arc::clone(&built) as _, built)
        }
        "gs" => {
            let builder = build!(GoogleCloudStorageBuilder, GoogleConfigKey);
            let value = |key| builder.get_config_value(&key);
            let plain = plain_allowed(value(GoogleConfigKey::Client(ClientConfigKey::AllowHttp)));
            check_plain(settings, GoogleConfigKey::BaseUrl.as_ref(), value(GoogleConfigKey::BaseUrl), plain)?;
            let built = finish!(builder);
            (Arc::clone(&built) as _, built)
        }
        "az" => {
            let builder = build!(MicrosoftAzureBuilder, AzureConfigKey);
            let value = |key| builder.get_config_value(&key);
            let plain = plain_allowed(value(AzureConfigKey::Client(ClientConfigKey::AllowHttp)))
                || plain_allowed(value(AzureConfigKey::UseEmulator));
            check_plain(settings, AzureConfigKey::Endpoint.as_ref(), value(AzureConfigKey::Endpoint), plain)?;
            let built = finish!(builder);
            (Arc::clone(&built) as _, built)
        }
        other => {
            return Err(StorageError::invalid(format!(
                "storage.url has the scheme `{other}`; use file, s3, gs or az"
            )));
        }
    };
    Ok(Clients { store, multipart, prefix, signals, upload_lister })
}

/// Refuses options that cannot be used, without a request. What credentials there are is looked at only for S3: those
/// of the others may lie where the daemon runs.
pub(super) fn check(settings: &StorageSettings) -> Result<(), StorageError> {
    match settings.url.scheme() {
        "gs" | "az" => check_each(settings),
        _ => connect(settings, short_retry()).map(drop),
    }
}

fn plain_allowed(value: Option<String>) -> bool {
    value.and_then(|value| boolean(&value)).unwrap_or(false)
}

/// Whether the bucket's own keys sign requests: not without any, nor where each session has keys of its own.
fn signs_as_usual(builder: &AmazonS3Builder) -> bool {
    let is_on = |key| builder.get_config_value(&key).and_then(|value| boolean(&value)).unwrap_or(false);
    !is_on(AmazonS3ConfigKey::SkipSignature) && !is_on(AmazonS3ConfigKey::S3Express)
}

fn parse_key<K: FromStr>(name: &str) -> Result<K, StorageError> {
    // Unknown ones have been refused.
    name.to_ascii_lowercase()
        .parse()
        .map_err(|_| StorageError::invalid(format!("storage.options: no option `{name}`")))
}

pub(super) const CLIENT_KEYS: &[&str] = &[
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "default_content_type",
    "disable_system_certificates",
    "http1_only",
    "http2_keep_alive_interval",
    "http2_keep_alive_timeout",
    "http2_keep_alive_while_idle",
    "http2_max_frame_size",
    "http2_only",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "randomize_addresses",
    "read_timeout",
    "timeout",
    "user_agent",
];

pub(super) const S3_KEYS: &[&str] = &[
    "access_key_id",
    "bucket",
    "checksum_algorithm",
    "conditional_put",
    "container_authorization_token_file",
    "container_credentials_full_uri",
    "container_credentials_relative_uri",
    "copy_if_not_exists",
    "default_region",
    "disable_bulk_delete",
    "disable_tagging",
    "endpoint",
    "endpoint_url_sts",
    "imdsv1_fallback",
    "metadata_endpoint",
    "region",
    "request_payer",
    "role_arn",
    "role_session_name",
    "s3_express",
    "secret_access_key",
    "server_side_encryption",
    "session_token",
    "skip_signature",
    "sse_bucket_key_enabled",
    "sse_customer_key_base64",
    "sse_kms_key_id",
    "unsigned_payload",
    "virtual_hosted_style_request",
    "web_identity_token_file",
];

pub(super) const GCS_KEYS: &[&str] = &[
    "application_credentials",
    "base_url",
    "bearer_token",
    "bucket",
    "service_account",
    "service_account_key",
    "skip_signature",
];

pub(super) const AZURE_KEYS: &[&str] = &[
    "account_key",
    "account_name",
    "authority_host",
    "bearer_token",
    "client_id",
    "client_secret",
    "container_name",
    "credential_type",
    "disable_tagging",
    "encryption_key",
    "endpoint",
    "fabric_cluster_identifier",
    "fabric_session_token",
    "fabric_token_service_url",
    "fabric_workload_host",
    "federated_token_file",
    "msi_endpoint",
    "msi_resource_id",
    "object_id",
    "sas_token",
    "skip_signature",
    "tenant_id",
    "use_azure_cli",
    "use_emulator",
    "use_fabric_endpoint",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Secret;

    fn settings(url: &str, options: &[(&str, &str)]) -> StorageSettings {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), Secret::new(*value))).collect();
        StorageSettings { url: url.parse().unwrap(), options }
    }

    fn refusal(url: &str, options: &[(&str, &str)]) -> String {
        match connect(&settings(url, options), short_retry()) {
            Err(StorageError::Invalid { reason }) => reason,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("{options:?} was taken"),
        }
    }

    #[test]
    fn fault_71_the_bytes_of_a_prefix_are_those_of_the_keys() {
        for url in [
            "s3://b",
            "s3://b/",
            "s3://b/raw",
            "s3://b/raw/x%20y/",
            "s3://b/%C5%BD",
            "gs://b/a",
            "az://c/a%2Fb",
        ] {
            let settings = settings(url, &[]);
            let prefix = Path::from_url_path(settings.url.path()).unwrap();
            let before = if prefix.as_ref().is_empty() { 0 } else { prefix.as_ref().len() + 1 };
            assert_eq!(settings.prefix_bytes(), before, "{url}");
        }
        assert_eq!(settings("file:///data/lake", &[]).prefix_bytes(), 0);
    }

    #[test]
    fn every_suggested_key_is_one_that_the_library_knows() {
        for key in CLIENT_KEYS {
            assert!(key.parse::<AmazonS3ConfigKey>().is_ok(), "{key}");
            assert!(key.parse::<GoogleConfigKey>().is_ok(), "{key}");
            assert!(key.parse::<AzureConfigKey>().is_ok(), "{key}");
        }
        assert!(S3_KEYS.iter().all(|key| key.parse::<AmazonS3ConfigKey>().is_ok()));
        assert!(GCS_KEYS.iter().all(|key| key.parse::<GoogleConfigKey>().is_ok()));
        assert!(AZURE_KEYS.iter().all(|key| key.parse::<AzureConfigKey>().is_ok()));
    }

    #[test]
    fn fault_108_an_unknown_option_names_the_nearest_right_one() {
        let reason = refusal("s3://lake/raw", &[("acess_key_id", "AKIA-SECRET")]);
        assert!(reason.contains("did you mean `access_key_id`?"), "{reason}");
        assert!(!reason.contains("AKIA-SECRET"), "{reason}");
        let reason = refusal("gs://lake", &[("conect_timeout", "1s")]);
        assert!(reason.contains("did you mean `connect_timeout`?"), "{reason}");
        let reason = refusal("az://lake", &[("zzzzzzzzzzzz", "")]);
        assert!(reason.contains("known ones are account_key"), "{reason}");
    }

    #[test]
    fn addresses_and_texts_that_no_request_can_have_are_refused_in_words() {
        for endpoint in ["localhost:9000", "http://local host:9000", "not a url", "", "https://"] {
            let options = [("endpoint", endpoint), ("allow_http", "true"), ("region", "us-east-1")];
            let reason = refusal("s3://lake/raw", &options);
            assert!(
                reason.contains("storage.options.endpoint is") && reason.contains("https://"),
                "{reason}"
            );
        }
        let reason = refusal("gs://lake", &[("base_url", "storage:443"), ("skip_signature", "true")]);
        assert!(reason.contains("storage.options.base_url is"), "{reason}");
        for key in ["access_key_id", "secret_access_key", "session_token"] {
            let reason = refusal("s3://lake/raw", &[(key, "AKIA\n"), ("region", "us-east-1")]);
            assert!(
                reason.contains(key) && reason.contains("line break") && !reason.contains("AKIA"),
                "{reason}"
            );
        }
    }

    #[test]
    fn options_are_checked_without_a_request() {
        assert!(check(&settings("gs://lake", &[("bearer_token", "x")])).is_ok());
        assert!(check(&settings("gs://lake", &[("bearer_tokn", "x")])).is_err());
        assert!(check(&settings("az://lake", &[("acount_name", "x")])).is_err());
        assert!(check(&settings("s3://lake", &[("endpont", "http://localhost")])).is_err());
        assert!(check(&settings("s3://lake", &[("region", "us-east-1"), ("allow_http", "maybe")])).is_err());
        assert!(check(&settings("s3://lake", &[("region", "us-east-1")])).is_ok());
    }

    #[test]
    fn plain_http_has_to_be_asked_for() {
        let endpoint = ("endpoint", "http://localhost:9000");
        let reason = refusal("s3://lake/raw", &[endpoint, ("region", "us-east-1")]);
        assert!(reason.contains("allow_http"), "{reason}");
        assert!(
            connect(&settings("s3://lake/raw", &[endpoint, ("allow_http", "true")]), short_retry()).is_ok()
        );
    }

    #[test]
    fn each_scheme_has_a_client_and_its_path_is_the_prefix() {
        let cases: [(&str, &[(&str, &str)]); 3] = [
            ("s3://lake/raw/x", &[("Region", "eu-west-1"), ("timeout", "5s")]),
            ("gs://lake/raw/x/", &[("skip_signature", "true")]),
            ("az://lake/raw/x", &[("account_name", "a"), ("skip_signature", "true")]),
        ];
        for (url, options) in cases {
            let clients = connect(&settings(url, options), short_retry()).map_err(|error| error.to_string());
            assert_eq!(clients.map(|clients| clients.prefix.to_string()), Ok("raw/x".to_owned()), "{url}");
        }
        assert!(refusal("ftp://lake/raw", &[]).contains("file, s3, gs or az"));
    }
}
