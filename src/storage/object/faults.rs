//! Owns what is wrong with options one by one, and with variables of the environment: unknown names, values of the wrong form.
//! Does not own how they go together, which shows when the client is made ([`super::options`]). Nothing is asked of a store,
//! and no file is read.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{Error, StaticCredentialProvider};
use url::Url;

use super::options::{AZURE_KEYS, CLIENT_KEYS, GCS_KEYS, S3_KEYS};
use crate::config::settings::{Secret, StorageSettings};
use crate::config::suggestion;
use crate::storage::OptionFault;

/// Everything that is wrong with single options.
pub(super) fn of_options(settings: &StorageSettings) -> Vec<OptionFault> {
    let fault = |(name, value): (&String, &Secret)| {
        let reason = fault(&settings.url, &name.to_ascii_lowercase(), value)?;
        Some(OptionFault { option: name.clone(), reason })
    };
    let single = settings.options.iter().filter_map(fault);
    let mut keys = HashMap::new();
    let again = settings.options.keys().filter_map(|name| {
        let key = canonical(&settings.url, &name.to_ascii_lowercase())?;
        let first = *keys.entry(key).or_insert(name);
        let reason = format!("is another name of `{first}`; keep one of them");
        (first != name).then(|| OptionFault { option: name.clone(), reason })
    });
    single.chain(again).collect()
}

/// Everything that is wrong with single variables that the store's client reads, of `variables`; each by its name.
pub(super) fn of_environment(
    url: &Url,
    variables: impl Iterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let prefix = match url.scheme() {
        "s3" => "AWS_",
        "gs" => "GOOGLE_",
        _ => "AZURE_",
    };
    let own = variables.filter(|(name, _)| name.starts_with(prefix));
    let known = own.filter(|(name, _)| canonical(url, &name.to_ascii_lowercase()).is_some());
    let fault = |(name, value): (String, String)| {
        let reason = fault(url, &name.to_ascii_lowercase(), &Secret::new(value))?;
        Some((name, reason))
    };
    known.filter_map(fault).collect()
}

/// Whether an address is one that a request can have: with a scheme and a host.
fn is_address(value: &str) -> bool {
    let url = Url::parse(value).ok().filter(Url::has_host);
    url.is_some_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// What the library takes for true and false.
pub(super) fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" | "y" => Some(true),
        "0" | "false" | "off" | "no" | "n" => Some(false),
        _ => None,
    }
}

/// Why the option cannot be used: the rest of a sentence that begins with its name, without its value.
fn fault(url: &Url, name: &str, value: &Secret) -> Option<String> {
    if canonical(url, name).is_none() {
        return Some(unknown(url, name));
    }
    let text = value.expose();
    let bare = bare(name);
    if text.contains(char::is_control) && !OF_LINES.contains(&bare) {
        let advice = "look at the file or variable it comes from";
        return Some(format!("holds a line break or another control character; {advice}"));
    }
    if ADDRESSES.contains(&bare) && !is_address(text) {
        return Some("is no URL; write it with its scheme, as in https://storage.example:9000".to_owned());
    }
    if BOOLEANS.contains(&bare) {
        return boolean(text).is_none().then(|| "must be `true` or `false`".to_owned());
    }
    if !PARSED.contains(&bare) {
        return None;
    }
    // The library's own words would show the value, or a part of it.
    let reason = alone(url, name, text)?.to_string();
    let form = FORMS.iter().find(|(known, _)| *known == bare).map(|(_, form)| *form);
    Some(match form {
        Some(form) => format!("must be {form}"),
        None if reason.contains("as Duration") => "must be a time such as `30s`".to_owned(),
        None if reason.contains("as usize") || reason.contains("as u32") => {
            "must be a whole number".to_owned()
        }
        None => "cannot be used by the store's client".to_owned(),
    })
}

/// The library's own name of what it calls by several.
pub(super) fn canonical(url: &Url, name: &str) -> Option<String> {
    fn of<K: FromStr + AsRef<str>>(name: &str) -> Option<String> {
        name.parse().ok().map(|key: K| key.as_ref().to_owned())
    }
    match url.scheme() {
        "s3" => of::<AmazonS3ConfigKey>(name),
        "gs" => of::<GoogleConfigKey>(name),
        _ => of::<AzureConfigKey>(name),
    }
}

fn unknown(url: &Url, name: &str) -> String {
    let keys = match url.scheme() {
        "s3" => S3_KEYS,
        "gs" => GCS_KEYS,
        _ => AZURE_KEYS,
    };
    let meant = suggestion(bare(name), keys.iter().chain(CLIENT_KEYS).copied());
    let advice = if meant.is_empty() { format!("; known ones are {}", keys.join(", ")) } else { meant };
    format!("is no option of {}://{advice}", url.scheme())
}

/// A name without what the clouds put in front of it.
fn bare(name: &str) -> &str {
    let prefixes = ["aws_", "google_", "azure_storage_", "azure_"];
    prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

/// What the library says of one option beside nothing but what it cannot do without.
fn alone(url: &Url, name: &str, value: &str) -> Option<Error> {
    fn key<K: FromStr>(name: &str) -> Option<K> {
        name.parse().ok()
    }
    match url.scheme() {
        "s3" => {
            let base = AmazonS3Builder::new().with_access_key_id("x").with_secret_access_key("x");
            // `sse-c` does not go without.
            let base = base.with_config(key("sse_customer_key_base64")?, "eA==");
            base.with_url(url.as_str()).with_config(key(name)?, value).build().err()
        }
        "gs" => {
            let credential = StaticCredentialProvider::new(GcpCredential { bearer: String::new() });
            let base = GoogleCloudStorageBuilder::new().with_credentials(Arc::new(credential));
            base.with_url(url.as_str()).with_config(key(name)?, value).build().err()
        }
        _ => {
            let base = MicrosoftAzureBuilder::new().with_account("x");
            base.with_url(url.as_str()).with_config(key(name)?, value).build().err()
        }
    }
}

const ADDRESSES: &[&str] =
    &["base_url", "endpoint", "endpoint_url", "endpoint_url_s3", "endpoint_url_sts", "metadata_endpoint"];

const BOOLEANS: &[&str] = &[
    "allow_http",
    "allow_invalid_certificates",
    "disable_bulk_delete",
    "disable_system_certificates",
    "disable_tagging",
    "http1_only",
    "http2_keep_alive_while_idle",
    "http2_only",
    "imdsv1_fallback",
    "randomize_addresses",
    "request_payer",
    "s3_express",
    "skip_signature",
    "sse_bucket_key_enabled",
    "unsigned_payload",
    "use_azure_cli",
    "use_emulator",
    "use_fabric_endpoint",
    "virtual_hosted_style_request",
];

/// Options whose usual form is a text of several lines.
const OF_LINES: &[&str] = &["proxy_ca_certificate", "service_account_key"];

/// Options that the library parses when the client is made, beside [`BOOLEANS`].
const PARSED: &[&str] = &[
    "account_key",
    "checksum_algorithm",
    "conditional_put",
    "connect_timeout",
    "copy_if_not_exists",
    "default_content_type",
    "encryption_key",
    "http2_keep_alive_interval",
    "http2_keep_alive_timeout",
    "http2_max_frame_size",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_ca_certificate",
    "proxy_url",
    "read_timeout",
    "sas_token",
    "server_side_encryption",
    "service_account_key",
    "timeout",
    "user_agent",
];

/// What those take that take no number and no time.
const FORMS: &[(&str, &str)] = &[
    ("account_key", "a key in base64"),
    ("checksum_algorithm", "one of `sha256`, `crc64nvme`"),
    ("conditional_put", "one of `etag`, `disabled`"),
    ("copy_if_not_exists", "one of `multipart`, `header:NAME:VALUE`, `header-with-status:NAME:VALUE:STATUS`"),
    ("default_content_type", "a type such as `application/octet-stream`"),
    ("encryption_key", "a key in base64"),
    ("proxy_ca_certificate", "a certificate in PEM"),
    ("proxy_url", "a URL such as `http://proxy:3128`"),
    ("sas_token", "a token such as `sv=…&sig=…`"),
    ("server_side_encryption", "one of `AES256`, `aws:kms`, `aws:kms:dsse`, `sse-c`"),
    ("service_account_key", "the JSON of a service account's key"),
    ("user_agent", "printable ASCII"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const STORES: [(&str, &[&str]); 3] =
        [("s3://lake", S3_KEYS), ("gs://lake", GCS_KEYS), ("az://lake", AZURE_KEYS)];

    fn told(url: &str, name: &str, value: &str) -> Option<String> {
        fault(&url.parse().unwrap(), name, &Secret::new(value))
    }

    #[test]
    fn the_lists_are_those_of_the_library() {
        // What the library reads from a file, or refuses alone, is not ours to judge.
        let left_out = ["application_credentials", "service_account", "credential_type"];
        for (url, keys) in STORES {
            let url: Url = url.parse().unwrap();
            for key in keys.iter().chain(CLIENT_KEYS).filter(|key| !left_out.contains(key)) {
                let refused = alone(&url, key, "maybe").is_some();
                let listed = BOOLEANS.contains(key) || PARSED.contains(key) || ADDRESSES.contains(key);
                assert!(!refused || listed, "{url} {key}: {:?}", alone(&url, key, "maybe"));
                if BOOLEANS.contains(key) && *key != "s3_express" {
                    assert!(alone(&url, key, "yes").is_none(), "{url} {key}: {:?}", alone(&url, key, "yes"));
                }
            }
        }
    }

    #[test]
    fn every_word_that_is_listed_is_taken() {
        for (name, form) in FORMS {
            let Some(words) = form.strip_prefix("one of ") else { continue };
            for word in words.split(", ").map(|word| word.trim_matches('`')) {
                let word = word.replace(":NAME:VALUE", ":x:y").replace("STATUS", "412");
                assert_eq!(told("s3://lake", name, &word), None, "{name}: {word}");
            }
            let found = told("s3://lake", name, "hunter2").unwrap();
            assert!(found.starts_with("must be one of `") && !found.contains("hunter2"), "{found}");
        }
    }

    #[test]
    fn fault_108_each_option_has_its_own_fault() {
        for (url, name, value, expected) in [
            ("s3://lake", "acess_key_id", "AKIA", "is no option of s3://; did you mean `access_key_id`?"),
            ("s3://lake", "aws_regoin", "eu", "is no option of s3://; did you mean `region`?"),
            ("gs://lake", "conect_timeout", "1s", "is no option of gs://; did you mean `connect_timeout`?"),
            ("s3://lake", "allow_http", "hunter2", "must be `true` or `false`"),
            ("s3://lake", "timeout", "hunter2", "must be a time such as `30s`"),
            ("az://lake", "pool_max_idle_per_host", "hunter2", "must be a whole number"),
            ("s3://lake", "endpoint", "hunter2:9000", "is no URL; write it with its scheme"),
            ("gs://lake", "base_url", "storage:443", "is no URL"),
            ("s3://lake", "session_token", "hunter2\n", "holds a line break"),
            ("az://lake", "account_key", "hunter2", "must be a key in base64"),
            (
                "gs://lake",
                "service_account_key",
                "\"hunter2\"",
                "must be the JSON of a service account's key",
            ),
            ("gs://lake", "proxy_url", "hunter2:::", "must be a URL such as"),
        ] {
            let found = told(url, name, value).unwrap_or_default();
            assert!(found.contains(expected) && !found.contains("hunter2"), "{name}: {found}");
        }
        assert!(told("az://lake", "zzzzzzzzzzzz", "").unwrap().contains("known ones are account_key"));
        for (url, name, value) in
            [("s3://lake", "timeout", "5m"), ("s3://lake", "region", "eu"), ("gs://lake", "timeout", "1s")]
        {
            assert_eq!(told(url, name, value), None, "{name}");
        }
    }

    #[test]
    fn what_has_several_lines_by_nature_may_have_them() {
        let certificate = include_str!("../../admin/testing/first.pem");
        let key = "{\n  \"type\": \"service_account\",\n  \"client_email\": \"a@b.example\",\n  \
                   \"private_key_id\": \"x\",\n  \"private_key\": \"\",\n  \"disable_oauth\": true\n}\n";
        let gs: Url = "gs://lake".parse().unwrap();
        for (url, name, variable, value) in [
            (&gs, "service_account_key", "GOOGLE_SERVICE_ACCOUNT_KEY", key),
            (&gs, "proxy_ca_certificate", "GOOGLE_PROXY_CA_CERTIFICATE", certificate),
            (&"s3://lake".parse().unwrap(), "proxy_ca_certificate", "AWS_PROXY_CA_CERTIFICATE", certificate),
        ] {
            assert!(value.lines().count() > 3 && canonical(url, &variable.to_ascii_lowercase()).is_some());
            assert_eq!(fault(url, name, &Secret::new(value)), None, "{name}");
            let variables = [(variable.to_owned(), value.to_owned())];
            assert_eq!(of_environment(url, variables.into_iter()), [], "{variable}");
            let broken = fault(url, name, &Secret::new("hunter2\nhunter2")).unwrap_or_default();
            assert!(!broken.contains("hunter2") && !broken.contains("line break"), "{name}: {broken}");
        }
        assert!(told("gs://lake", "service_account_key", "{\n").unwrap().starts_with("must be the JSON"));
    }

    #[test]
    fn keys_of_the_customers_own_can_be_configured() {
        let customer_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let options = [
            ("region", "eu"),
            ("server_side_encryption", "sse-c"),
            ("sse_customer_key_base64", customer_key),
        ];
        let settings = StorageSettings {
            url: "s3://lake".parse().unwrap(),
            options: options.map(|(name, value)| (name.to_owned(), Secret::new(value))).into(),
        };
        assert!(of_options(&settings).is_empty());
    }

    #[test]
    fn variables_are_named() {
        let variables = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            of_environment(&"s3://lake".parse().unwrap(), pairs.collect::<Vec<_>>().into_iter())
        };
        let found = variables(&[
            ("AWS_ENDPOINT_URL", "hunter2:9000"),
            ("AWS_ALLOW_HTTP", "hunter2"),
            ("AWS_PROFILE", "x"),
            ("GOOGLE_BASE_URL", "hunter2"),
            ("AWS_REGION", "eu"),
        ]);
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"]);
        assert!(!format!("{found:?}").contains("hunter2"));
    }
}
