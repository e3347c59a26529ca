//! `sluice check`: validates a configuration and tries every service it names, before any group is joined. Owns the questions,
//! their deadlines and the table; does not own how each service is reached.

mod fields;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::join_all;

use crate::admin::TlsListener;
use crate::cli::output::{Align, Table, complain, count_of, printable, to_stdout};
use crate::cli::{CheckArguments, EXIT_DONE, EXIT_USAGE, environment, reason_of, runtime};
use crate::config::settings::{
    ConnectorSettings, Evolution, RegistrySettings, Settings, TopicSelection, ValueFormat,
};
use crate::config::{self, ConfigError};
use crate::kafka::{self, TopicProbe};
use crate::registry::{Registry, RegistryError};
use crate::schema::{AvroSchema, ColumnOptions, columns};
use crate::storage::{self, StorageError, Store, UploadRoom};
use crate::task::names::topic_fault;

/// How long the brokers may take to answer.
const KAFKA_PATIENCE: Duration = Duration::from_secs(10);
/// How long anything may take, also what hangs beyond its own deadline.
const DEADLINE: Duration = Duration::from_secs(15);
/// Topics named in the table.
const MAX_TOPICS: usize = 5;

/// Checks the configuration, and unless offline the services. Exit code 2 for any problem.
///
/// # Errors
/// When standard output cannot be written, or the process cannot be set up.
pub fn check(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let settings = match config::load(&arguments.config, &environment) {
        Ok(settings) => settings,
        Err(errors) => {
            complain(errors);
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let mut findings = warnings(&settings);
    findings.extend(if arguments.offline {
        unconnected(&settings)
    } else {
        let runtime = runtime()?;
        let findings = runtime.block_on(reach(&settings, DEADLINE));
        // What did not answer in time may hang for longer.
        runtime.shutdown_background();
        findings
    });
    to_stdout(|out| write_good(out, &settings, &findings, arguments.offline))?;
    let problems: Vec<&Finding> = findings.iter().filter(|finding| finding.outcome.is_err()).collect();
    for problem in &problems {
        complain(problem_line(problem));
    }
    if problems.is_empty() {
        return Ok(ExitCode::from(EXIT_DONE));
    }
    complain(format_args!("sluice: {}", count_of(problems.len() as u64, "problem")));
    Ok(ExitCode::from(EXIT_USAGE))
}

/// What `--offline` would find in a configuration that reads well, a line a problem.
pub(super) fn offline_problems(settings: &Settings) -> Vec<String> {
    let findings = unconnected(settings).into_iter();
    findings.filter(|finding| finding.outcome.is_err()).map(|finding| problem_line(&finding)).collect()
}

/// What the configuration itself warns of.
fn warnings(settings: &Settings) -> Vec<Finding> {
    let warning = |warning: &ConfigError| Finding {
        connector: "configuration".to_owned(),
        what: "setting",
        place: String::new(),
        outcome: Ok(warning.to_string()),
        warns: true,
    };
    settings.warnings.iter().map(warning).collect()
}

/// Everything that can be asked without reaching a service.
fn unconnected(settings: &Settings) -> Vec<Finding> {
    let of_connector = |connector: &ConnectorSettings| {
        let options = storage::check_options(&connector.storage).err();
        let options = options.map(|error| Finding::new(connector, "storage", Err(error.to_string())));
        let files = schema_files(connector).into_iter().chain(fields::of_files(connector));
        options.into_iter().chain(files).collect::<Vec<_>>()
    };
    endpoints(settings).into_iter().chain(settings.connectors.iter().flat_map(of_connector)).collect()
}

/// What would keep the endpoints from being served as configured, a line a problem.
pub(super) fn endpoint_problems(settings: &Settings) -> Vec<String> {
    let findings = endpoints(settings).into_iter();
    findings.filter(|finding| finding.outcome.is_err()).map(|finding| problem_line(&finding)).collect()
}

/// Certificate and key of the endpoints.
fn endpoints(settings: &Settings) -> Option<Finding> {
    let files = settings.daemon.http.tls.as_ref()?;
    let found = format!("certificate {} with its key", files.certificate.display());
    Some(Finding::of_daemon("http.tls", TlsListener::load(files).map(|_| found)))
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    /// Connector, or `daemon`.
    connector: String,
    /// What was asked for.
    what: &'static str,
    /// Where it is configured, `file:line:column`; empty where it has no one place.
    place: String,
    /// What was found, or what is wrong and what to do.
    outcome: Result<String, String>,
    /// What was found may not be what is meant.
    warns: bool,
}

impl Finding {
    fn of_daemon(what: &'static str, outcome: Result<String, String>) -> Self {
        Self { connector: "daemon".to_owned(), what, place: String::new(), outcome, warns: false }
    }

    fn new(connector: &ConnectorSettings, what: &'static str, outcome: Result<String, String>) -> Self {
        let written_at = &connector.written_at;
        let place = match what {
            "kafka" => &written_at.kafka,
            "registry" => &written_at.registry,
            "storage" => &written_at.storage,
            _ => &written_at.connector,
        };
        let place = outcome.as_ref().err().and_then(|reason| written_at.of_key_in(reason)).unwrap_or(place);
        Self { connector: connector.name.clone(), what, place: place.to_owned(), outcome, warns: false }
    }

    fn warning(connector: &ConnectorSettings, what: &'static str, text: String) -> Self {
        Self { warns: true, ..Self::new(connector, what, Ok(text)) }
    }
}

/// Asks everything at the same time; the findings come in the order of the configuration.
async fn reach(settings: &Settings, deadline: Duration) -> Vec<Finding> {
    let scratch_dir = &settings.daemon.scratch_dir;
    let mut findings: Vec<Finding> = endpoints(settings).into_iter().collect();
    // Local files are made where they belong; only uploads wait in the scratch directory.
    if settings.connectors.iter().any(|connector| connector.storage.url.scheme() != "file") {
        findings.push(Finding::of_daemon("scratch_dir", try_scratch_dir(scratch_dir)));
    }
    let connectors =
        settings.connectors.iter().map(|connector| reach_connector(connector, scratch_dir, deadline));
    findings.extend(join_all(connectors).await.into_iter().flatten());
    findings
}

async fn reach_connector(
    connector: &ConnectorSettings,
    scratch_dir: &Path,
    deadline: Duration,
) -> Vec<Finding> {
    let registry = async {
        match &connector.registry {
            Some(settings) => Some(within(deadline, "registry.url", reach_registry(settings)).await),
            None => None,
        }
    };
    let (kafka, registry, storage) = tokio::join!(
        within(deadline, "kafka.properties", reach_kafka(connector)),
        registry,
        within(deadline, "storage.url and storage.options", reach_storage(connector, scratch_dir)),
    );
    let topics = match (&connector.kafka.topics, &kafka) {
        (TopicSelection::Names(names), _) => names.clone(),
        (TopicSelection::Regex(_), Ok(probe)) => {
            probe.topics.iter().map(|(topic, _)| topic.clone()).collect()
        }
        (TopicSelection::Regex(_), Err(_)) => Vec::new(),
    };
    let schemas = if matches!(registry, Some(Ok(_))) {
        let looked_up = async { Ok(fields::of_registry(connector, &topics).await) };
        let late = |reason| vec![Finding::warning(connector, "schemas", reason)];
        within(deadline, "registry.url", looked_up).await.unwrap_or_else(late)
    } else {
        Vec::new()
    };
    let mut findings = match kafka {
        Ok(probe) => kafka_findings(connector, &probe),
        Err(reason) => vec![Finding::new(connector, "kafka", Err(reason))],
    };
    findings.extend(registry.map(|outcome| Finding::new(connector, "registry", outcome)));
    findings.extend(schemas);
    findings.push(Finding::new(connector, "storage", storage));
    findings.extend(schema_files(connector));
    findings.extend(fields::of_files(connector));
    findings
}

async fn within<T>(
    deadline: Duration,
    setting: &str,
    question: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let late = || format!("no answer within {} s; check {setting} and the network", deadline.as_secs());
    tokio::time::timeout(deadline, question).await.unwrap_or_else(|_| Err(late()))
}

async fn reach_kafka(connector: &ConnectorSettings) -> Result<TopicProbe, String> {
    let (name, settings) = (connector.name.clone(), connector.kafka.clone());
    let dead_letters = connector.errors.dead_letter_topic.clone();
    let probe = tokio::task::spawn_blocking(move || {
        kafka::probe(&name, &settings, dead_letters.as_deref(), KAFKA_PATIENCE)
    });
    match probe.await {
        Ok(outcome) => outcome.map_err(reason_of),
        Err(_) => Err("the kafka client panicked; please report this".to_owned()),
    }
}

fn kafka_findings(connector: &ConnectorSettings, probe: &TopicProbe) -> Vec<Finding> {
    let mut findings = vec![Finding::new(connector, "kafka", Ok(kafka_summary(connector, probe)))];
    findings.extend(probe.missing.iter().map(|topic| {
        let of_records = matches!(&connector.kafka.topics, TopicSelection::Names(names) if names.contains(topic));
        let (kind, setting) =
            if of_records { ("topic", "kafka.topics") } else { ("dead-letter topic", "errors.dead_letter_topic") };
        let reason = format!(
            "{kind} {topic} does not exist, or the credentials may not describe it; create it, allow it, or mend {setting}"
        );
        Finding::new(connector, "kafka", Err(reason))
    }));
    // Of topics by name, the configuration says so without a broker, but for partitions of many digits.
    findings.extend(probe.topics.iter().filter_map(|(topic, partitions)| {
        let last = i32::try_from(partitions.saturating_sub(1)).unwrap_or(i32::MAX);
        let fault = topic_fault(topic, last)?;
        let advice = "take it out of kafka.topics, or copy it to one of another name";
        Some(Finding::new(connector, "kafka", Err(format!("topic {topic}: {fault}; {advice}"))))
    }));
    findings
}

fn kafka_summary(connector: &ConnectorSettings, probe: &TopicProbe) -> String {
    let brokers = count_of(probe.brokers as u64, "broker");
    let topic = |(name, partitions): &(String, usize)| {
        format!("topic {} with {}", printable(name), count_of(*partitions as u64, "partition"))
    };
    let mut topics: Vec<String> = probe.topics.iter().take(MAX_TOPICS).map(topic).collect();
    if probe.topics.len() > MAX_TOPICS {
        topics.push(format!("and {} more", count_of((probe.topics.len() - MAX_TOPICS) as u64, "topic")));
    }
    if topics.is_empty()
        && let TopicSelection::Regex(pattern) = &connector.kafka.topics
    {
        topics.push(format!("no topic matches {pattern} yet"));
    }
    std::iter::once(brokers).chain(topics).collect::<Vec<_>>().join(", ")
}

async fn reach_registry(settings: &RegistrySettings) -> Result<String, String> {
    let registry = Registry::new(settings).map_err(|error| error.to_string())?;
    registry.probe().await.map_err(|error| match error {
        RegistryError::Unavailable { ref reason, .. } if !reason.contains("registry.ca_file") => {
            format!("{error}; check registry.url, the network, and that the registry is up")
        }
        error => error.to_string(),
    })?;
    let urls: Vec<&str> = settings.urls.iter().map(url::Url::as_str).collect();
    Ok(urls.join(", "))
}

async fn reach_storage(connector: &ConnectorSettings, scratch_dir: &Path) -> Result<String, String> {
    let store = Store::open(&connector.storage, &connector.name, scratch_dir, &UploadRoom::default())
        .await
        .map_err(|error| error.to_string())?;
    let told = |error| match error {
        StorageError::Retriable { .. } => {
            format!(
                "{}: {error}; check storage.url, storage.options, the network, and that the storage is up",
                connector.storage.place()
            )
        }
        error => error.to_string(),
    };
    store.probe().await.map_err(told)?;
    let place = store.display_url("");
    Ok(if store.probe_completion().await.map_err(told)? {
        format!("{place} takes files and never replaces one")
    } else {
        format!(
            "{place} takes files; large ones are looked for before they are made visible, as it completes uploads without a condition"
        )
    })
}

/// The schema files a connector names: there, readable, Avro schemas, with columns where they may be read with, and told
/// apart by their fingerprints where records name them so.
fn schema_files(connector: &ConnectorSettings) -> Vec<Finding> {
    let values: Vec<_> = match &connector.value {
        ValueFormat::AvroSchemaFile(path) => vec![("schema_file", path)],
        ValueFormat::AvroSchemaFiles(paths) => paths.iter().map(|path| ("schema_files", path)).collect(),
        ValueFormat::AvroRegistry(_) => Vec::new(),
    };
    let reader = match &connector.schema.evolution {
        Evolution::Fixed(path) => Some(("reader_schema_file", path)),
        Evolution::Lossless | Evolution::PerVersion | Evolution::Latest => None,
    };
    let writers_may_read = reader.is_none();
    let mut known: BTreeMap<u64, &Path> = BTreeMap::new();
    let files =
        values.into_iter().map(|file| (file, writers_may_read)).chain(reader.map(|file| (file, true)));
    let mut findings = Vec::new();
    for ((what, path), reads) in files {
        let outcome = read_schema(path, reads).and_then(|schema| {
            let shown = path.display();
            let first = *known.entry(schema.fingerprint()).or_insert(path);
            if what == "schema_files" && first != path {
                return Err(format!(
                    "{shown} has the fingerprint of {}: records cannot tell the two apart; keep one of them",
                    first.display()
                ));
            }
            Ok(shown.to_string())
        });
        findings.push(Finding::new(connector, what, outcome));
    }
    findings
}

fn read_schema(path: &Path, reads: bool) -> Result<AvroSchema, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let schema = AvroSchema::parse(&text, &[]).and_then(|schema| {
        if reads {
            columns(&schema, ColumnOptions::default())?;
        }
        Ok(schema)
    });
    schema.map_err(|error| format!("{shown}: {}", reason_of(error.into())))
}

/// Writes and removes a file.
fn try_scratch_dir(directory: &Path) -> Result<String, String> {
    let shown = directory.display();
    let path = directory.join(format!(".sluice-check-{}", std::process::id()));
    let attempt = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let written = file.write_all(b"sluice check");
        drop(file);
        fs::remove_file(&path).and(written)
    };
    match attempt() {
        Ok(()) => Ok(format!("{shown} takes files")),
        Err(error) => Err(format!(
            "cannot write to {shown}: {error}; make it writable, or set daemon.scratch_dir to a directory that is"
        )),
    }
}

fn write_good(
    out: &mut dyn Write,
    settings: &Settings,
    findings: &[Finding],
    offline: bool,
) -> io::Result<()> {
    let mut table = Table::new(&[Align::Left; 4]);
    for connector in &settings.connectors {
        table.push([connector.name.as_str(), "configuration", "ok", &shape(connector)]);
    }
    for finding in findings {
        if let Ok(found) = &finding.outcome {
            let verdict = if finding.warns { "warning" } else { "ok" };
            table.push([finding.connector.as_str(), finding.what, verdict, &printable(found)]);
        }
    }
    table.write(out, "")?;
    if offline {
        writeln!(out, "no service was tried; leave out --offline to do so")?;
    }
    Ok(())
}

/// What a connector moves, in few words.
fn shape(connector: &ConnectorSettings) -> String {
    let topics = match &connector.kafka.topics {
        TopicSelection::Names(names) => names.join(", "),
        TopicSelection::Regex(pattern) => pattern.clone(),
    };
    format!("{topics} -> {} as group {}", connector.storage.url, connector.kafka.group)
}

fn problem_line(finding: &Finding) -> String {
    let reason = finding.outcome.as_ref().err().map_or("", String::as_str);
    let place = if finding.place.is_empty() { String::new() } else { format!("{}: ", finding.place) };
    format!("{place}{}: {}: {}", finding.connector, finding.what, printable(reason))
}
