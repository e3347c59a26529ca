//! Owns what an error of an object store means. Does not own what was asked, nor secrets: messages carry the store's error
//! code and text, never URLs or headers.

use std::error::Error as _;

use object_store::Error;

use super::transport::ServiceSignals;
use crate::storage::error::StorageError;

/// What an answer says about the object asked for.
#[derive(Debug)]
pub(super) enum Refusal {
    /// An object of that name exists, or another writer is at it just now.
    NameTaken,
    /// No such object, or no such upload.
    Absent,
    /// The upload cannot be completed of its parts, however often it is asked for: what the store said.
    PartsRefused(String),
    /// Nothing was done, for a reason that has nothing to do with the object.
    Certain(StorageError),
    /// It failed, and perhaps was done nevertheless.
    Unknown(StorageError),
}

impl Refusal {
    /// The meaning where existence or absence of an object is itself unexpected.
    pub(super) fn into_error(self, doing: &str) -> StorageError {
        match self {
            Self::NameTaken => StorageError::retriable(format!("cannot {doing}: another writer is at it")),
            Self::Absent => StorageError::retriable(format!("cannot {doing}: it is not there")),
            Self::PartsRefused(told) => StorageError::retriable(format!("cannot {doing}: {told}")),
            Self::Certain(error) | Self::Unknown(error) => error,
        }
    }
}

/// Error codes of the store that pass by themselves although their status says "refused".
const PASSING_CODES: [&str; 6] = [
    "RequestTimeTooSkewed",
    "ExpiredToken",
    "TokenRefreshRequired",
    "RequestExpired",
    "OperationAborted",
    "ServerBusy",
];
/// Error codes of status 400 that do not pass by themselves. Others of that status are broken connections and the like.
const LASTING_CODES: [&str; 8] = [
    "AuthorizationHeaderMalformed",
    "InvalidAccessKeyId",
    "InvalidArgument",
    "InvalidBucketName",
    "InvalidRequest",
    "InvalidToken",
    "KeyTooLongError",
    "IllegalLocationConstraintException",
];
/// Error codes about the parts of an upload: one is lost, altered or too small. `InvalidPart` begins `InvalidPartOrder` too.
pub(super) const PARTS_CODES: [&str; 3] = ["InvalidPart", "EntityTooSmall", "InvalidBlockList"];
const NO_BUCKET_CODES: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"];

/// Reads an error. `doing` says what was tried, with the object's URL: "write s3://…".
pub(super) fn read_refusal(error: &Error, doing: &str, signals: &ServiceSignals) -> Refusal {
    let told = Told::of(error);
    let passing = |hint: &str| StorageError::Retriable {
        reason: format!("cannot {doing}: {}{hint}", told.text),
        after: signals.take_retry_after(),
    };
    let denied =
        |hint: &str| Refusal::Certain(StorageError::denied(format!("cannot {doing}: {}{hint}", told.text)));
    if told.has_code(&NO_BUCKET_CODES) {
        return denied("; make the bucket or correct storage.url");
    }
    // The library has a kind of its own for these, but not where it lists.
    let not_let_in = matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
        || matches!(told.status, Some(401 | 403));
    match error {
        Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. } => {
            Refusal::NameTaken
        }
        Error::NotFound { .. } => Refusal::Absent,
        _ if not_let_in && told.has_code(&["RequestTimeTooSkewed"]) => {
            Refusal::Certain(passing("; the clock of this machine or of the store is wrong"))
        }
        _ if not_let_in && told.has_code(&PASSING_CODES) => {
            Refusal::Certain(passing("; waiting for new credentials"))
        }
        _ if not_let_in => denied(
            "; check the credentials and that they may list, read, write and delete objects below the prefix",
        ),
        Error::NotImplemented { .. } | Error::NotSupported { .. } => {
            Refusal::Certain(no_conditional_put(&told.text))
        }
        // Only a listing meets keys that are not ours to choose.
        Error::InvalidPath { .. } => Refusal::Certain(StorageError::invalid(format!(
            "cannot {doing}: {}; remove the object of that key, or give it another",
            told.text
        ))),
        Error::UnknownConfigurationKey { .. } => {
            Refusal::Certain(StorageError::invalid(format!("cannot {doing}: {}", told.text)))
        }
        _ if told.has_code(&PARTS_CODES) => Refusal::PartsRefused(told.text),
        _ => match told.status {
            Some(501) => Refusal::Certain(no_conditional_put(&told.text)),
            // So S3 answers for some hours after a bucket was made.
            Some(307) => Refusal::Unknown(passing(
                "; it passes if the bucket is young, otherwise the region is not that of the bucket",
            )),
            Some(300..=399) => denied("; the region or the endpoint is not that of the bucket"),
            Some(400) if told.has_code(&LASTING_CODES) => denied("; correct storage.url or storage.options"),
            Some(_) => Refusal::Unknown(passing("")),
            None => Refusal::Unknown(passing("; check storage.options.endpoint and the network")),
        },
    }
}

/// The error for a store on which two writers of one name could both succeed.
pub(super) fn no_conditional_put(told: &str) -> StorageError {
    StorageError::invalid(format!(
        "the store cannot create an object only where none exists ({told}), so exactly-once delivery is not possible \
         on it; use a store with conditional writes (`If-None-Match: *`), or set the option conditional_put to etag if \
         it was turned off"
    ))
}

/// What the store, or the connection to it, said.
struct Told {
    status: Option<u16>,
    /// The code of S3's, GCS's and Azure's XML error bodies.
    code: Option<String>,
    text: String,
}

impl Told {
    /// The library keeps status and body to itself and tells them only in its messages.
    fn of(error: &Error) -> Self {
        let whole = error.to_string();
        let status = between(&whole, "status code: ", " ")
            .and_then(|digits| digits.trim_end_matches(':').parse().ok());
        let status = status.or_else(|| whole.contains("redirect without LOCATION").then_some(301));
        let code = between(&whole, "<Code>", "</Code>").map(str::to_owned);
        let text = match (&code, between(&whole, "<Message>", "</Message>")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.clone(),
            _ => plain_text(error, &whole),
        };
        let text = match status {
            Some(status) if !text.starts_with(&status.to_string()) => format!("status {status}, {text}"),
            _ => text,
        };
        Self { status, code, text: text.chars().take(400).collect() }
    }

    fn has_code(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|code| codes.iter().any(|known| code.starts_with(known)))
    }
}

/// The message from where it no longer speaks of URLs, and the cause at its bottom.
fn plain_text(error: &Error, whole: &str) -> String {
    let marks = ["status code: ", "Server returned error response", "HTTP error", "Received redirect"];
    let start = marks.iter().filter_map(|mark| whole.find(mark)).min();
    let text = start.map_or(whole, |start| &whole[start..]).trim_start_matches("status code: ");
    let text = text.trim_end_matches([':', ' ']);
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(|error| error.source()) {
        cause = Some(deeper);
    }
    match cause.map(ToString::to_string) {
        Some(cause) if !cause.contains(text) && !text.contains(&cause) && !cause.contains("://") => {
            format!("{text}: {cause}")
        }
        _ => text.to_owned(),
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(start)? + start.len()..];
    Some(&rest[..rest.find(end)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: &str, code: &str) -> Box<dyn std::error::Error + Send + Sync> {
        format!(
            "Error performing PUT http://h/b/k in 1ms - Server returned non-2xx status code: {status}: \
             <Error><Code>{code}</Code><Message>so it is</Message></Error>"
        )
        .into()
    }

    fn generic(status: &str, code: &str) -> Error {
        Error::Generic { store: "S3", source: answered(status, code) }
    }

    fn forbidden(code: &str) -> Error {
        Error::PermissionDenied { path: "k".into(), source: answered("403 Forbidden", code) }
    }

    fn meaning(error: &Error) -> Refusal {
        read_refusal(error, "write s3://b/k", &ServiceSignals::default())
    }

    #[test]
    fn fault_82_trouble_of_the_store_may_have_done_the_work() {
        for (status, code) in [
            ("503 Service Unavailable", "SlowDown"),
            ("500 Internal Server Error", "InternalError"),
            ("429 Too Many Requests", "TooManyRequests"),
            ("400 Bad Request", "RequestTimeout"),
        ] {
            let refusal = meaning(&generic(status, code));
            let Refusal::Unknown(error @ StorageError::Retriable { .. }) = refusal else {
                panic!("{refusal:?}")
            };
            assert!(error.to_string().contains(code), "{error}");
            assert!(!error.to_string().contains("http://"), "{error}");
        }
    }

    #[test]
    fn fault_89_expired_credentials_are_waited_for() {
        let expired = [forbidden("ExpiredToken"), generic("400 Bad Request", "ExpiredToken")];
        for error in expired {
            let error = meaning(&error).into_error("write");
            assert!(matches!(error, StorageError::Retriable { .. }), "{error:?}");
        }
    }

    #[test]
    fn fault_90_clock_skew_is_named_and_retried() {
        let error = meaning(&forbidden("RequestTimeTooSkewed")).into_error("write");
        assert!(matches!(error, StorageError::Retriable { .. }), "{error:?}");
        assert!(error.to_string().contains("clock"), "{error}");
    }

    #[test]
    fn fault_92_a_missing_bucket_and_missing_rights_are_lasting() {
        let no_bucket =
            Error::NotFound { path: "k".into(), source: answered("404 Not Found", "NoSuchBucket") };
        for error in
            [no_bucket, forbidden("AccessDenied"), generic("400 Bad Request", "AuthorizationHeaderMalformed")]
        {
            let refusal = meaning(&error);
            assert!(matches!(refusal, Refusal::Certain(StorageError::Denied { .. })), "{refusal:?}");
        }
    }

    #[test]
    fn fault_88_a_store_without_conditional_writes_is_refused() {
        let refusal = meaning(&generic("501 Not Implemented", "NotImplemented"));
        assert!(matches!(refusal, Refusal::Certain(StorageError::Invalid { .. })), "{refusal:?}");
    }

    #[test]
    fn fault_86_what_is_said_of_the_parts_is_told_apart() {
        for code in ["InvalidPart", "InvalidPartOrder", "EntityTooSmall", "InvalidBlockList"] {
            let refusal = meaning(&generic("400 Bad Request", code));
            assert!(matches!(&refusal, Refusal::PartsRefused(told) if told.contains(code)), "{refusal:?}");
        }
    }

    #[test]
    fn fault_92_a_young_bucket_is_waited_for_and_a_wrong_region_is_not() {
        let young = meaning(&generic("307 Temporary Redirect", "TemporaryRedirect"));
        assert!(matches!(young, Refusal::Unknown(StorageError::Retriable { .. })), "{young:?}");
        let elsewhere = meaning(&generic("301 Moved Permanently", "PermanentRedirect"));
        assert!(matches!(elsewhere, Refusal::Certain(StorageError::Denied { .. })), "{elsewhere:?}");
    }

    #[test]
    fn an_answer_without_a_body_is_told_shortly() {
        let source = "Error performing HEAD http://h/b/k in 1ms - Server returned non-2xx status code: 403 Forbidden: ";
        let error = Error::PermissionDenied { path: "k".into(), source: source.into() };
        let text = meaning(&error).into_error("write").to_string();
        assert!(text.starts_with("cannot write s3://b/k: 403 Forbidden; check the credentials"), "{text}");
    }

    #[test]
    fn absence_and_presence_are_told_apart() {
        let absent = Error::NotFound { path: "k".into(), source: answered("404 Not Found", "NoSuchUpload") };
        assert!(matches!(meaning(&absent), Refusal::Absent));
        let taken =
            Error::Precondition { path: "k".into(), source: answered("412 Precondition Failed", "x") };
        assert!(matches!(meaning(&taken), Refusal::NameTaken));
    }
}
