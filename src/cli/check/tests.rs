//! Against a broker, a registry and storage inside the process, and against ones that are not there.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use rdkafka::mocking::MockCluster;
use tempfile::TempDir;

use super::*;
use crate::registry::local::LocalRegistry;

fn settings(text: &str) -> Settings {
    config::load_str(text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

fn connector(name: &str, brokers: &str, registry: &str, storage: &str) -> String {
    format!(
        "  - name: {name}\n    kafka: {{ topics: [orders], properties: {{ bootstrap.servers: '{brokers}' }} }}\n    \
         value: {{ format: avro }}\n    registry: {{ url: '{registry}' }}\n    storage: {{ url: '{storage}' }}\n"
    )
}

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn shown(settings: &Settings, findings: &[Finding]) -> String {
    let mut out = Vec::new();
    write_good(&mut out, settings, findings, false).unwrap();
    let problems = findings.iter().filter(|finding| finding.outcome.is_err()).map(problem_line);
    String::from_utf8(out).unwrap() + &problems.collect::<Vec<_>>().join("\n")
}

fn outcome<'a>(findings: &'a [Finding], connector: &str, what: &str) -> Vec<&'a Result<String, String>> {
    let wanted =
        findings.iter().filter(|finding| (finding.connector.as_str(), finding.what) == (connector, what));
    wanted.map(|finding| &finding.outcome).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_order_is_a_table_of_ok() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", 4, 1).unwrap();
    let registry = LocalRegistry::start().await.unwrap();
    registry.register("orders-value", "\"string\"").unwrap();
    let directory = TempDir::new().unwrap();
    let storage = format!("file://{}", directory.path().join("lake").display());
    let text = connector("orders", &cluster.bootstrap_servers(), registry.url().as_str(), &storage);
    let settings = settings(&format!("version: 1\nconnectors:\n{text}"));
    let findings = reach(&settings, DEADLINE).await;
    let shown = shown(&settings, &findings);
    assert!(findings.iter().all(|finding| finding.outcome.is_ok()), "{shown}");
    assert_eq!(findings.len(), 4, "{shown}");
    assert!(!shown.contains("warning") && shown.contains("orders-value"), "{shown}");
    assert!(shown.contains("1 broker, topic orders with 4 partitions"), "{shown}");
    let left: Vec<_> = fs::read_dir(directory.path().join("lake")).unwrap().collect();
    assert!(left.iter().all(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_115_every_problem_of_every_connector_is_told_in_one_go() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("other", 1, 1).unwrap();
    let directory = TempDir::new().unwrap();
    let blocked = directory.path().join("blocked");
    fs::write(&blocked, "a file where a directory should be").unwrap();
    let lake = format!("file://{}", directory.path().join("lake").display());
    let registry = format!("http://{}", nowhere());
    let text =
        connector("first", &cluster.bootstrap_servers(), &registry, &format!("file://{}", blocked.display()))
            + &connector("second", &nowhere(), &registry, &lake);
    let settings = settings(&format!("version: 1\nconnectors:\n{text}"));
    let began = Instant::now();
    let findings = reach(&settings, DEADLINE).await;
    let shown = shown(&settings, &findings);
    let failed = |connector, what| outcome(&findings, connector, what).iter().any(|outcome| outcome.is_err());
    assert!(failed("first", "kafka") && shown.contains("topic orders does not exist"), "{shown}");
    assert!(failed("first", "storage") && failed("first", "registry"), "{shown}");
    assert!(failed("second", "kafka") && failed("second", "registry"), "{shown}");
    assert!(!failed("second", "storage"), "{shown}");
    assert!(began.elapsed() < 3 * DEADLINE, "connectors are asked at the same time");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_and_columns_that_the_newest_schema_lacks_are_told() {
    let registry = LocalRegistry::start().await.unwrap();
    let schema = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"country","type":"string"},
        {"name":"items","type":{"type":"array","items":"long"}},{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}]}"#;
    registry.register("orders-value", schema).unwrap();
    registry
        .register("orders-key", r#"{"type":"record","name":"Key","fields":[{"name":"shop","type":"long"}]}"#)
        .unwrap();
    let of = async |topics: &[&str], lines: &str| {
        let text = connector("orders", "localhost:1", registry.url().as_str(), "file:///lake");
        let settings =
            settings(&format!("version: 1\nconnectors:\n{text}    key: {{ format: avro }}\n    {lines}\n"));
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        fields::of_registry(&settings.connectors[0], &topics).await
    };
    let told = |findings: &[Finding], warns: bool| -> Vec<String> {
        let of_kind =
            findings.iter().filter(|finding| if warns { finding.warns } else { finding.outcome.is_err() });
        of_kind.map(|finding| format!("{}: {:?}", finding.what, finding.outcome)).collect()
    };
    let right = "partition_by: [{ field: country }, { time: at, path: 'dt=%F' }, { field: _key.shop }, { field: _partition, name: p }]\n    parquet: { columns: { items.list.element: { dictionary: never } }, sort_by: [id, _key.shop] }";
    let findings = of(&["orders"], right).await;
    assert!(told(&findings, true).is_empty() && told(&findings, false).is_empty(), "{findings:?}");

    let wrong = "partition_by: [{ field: countri }, { time: created, path: 'dt=%F' }, { field: _key.sop }]\n    parquet: { columns: { idd: { dictionary: never } }, sort_by: [items] }";
    let warnings = told(&of(&["orders"], wrong).await, true);
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    assert!(
        warnings[0].contains("countri") && warnings[0].contains("did you mean `country`"),
        "{warnings:?}"
    );
    for (warning, named) in warnings.iter().zip(["countri", "created", "_key.sop", "idd", "items"]) {
        assert!(warning.contains(named), "{warnings:?}");
    }

    let no_value = "partition_by: [{ field: items }, { time: id, path: 'dt=%F' }]";
    let findings = of(&["orders"], no_value).await;
    assert_eq!((told(&findings, true).len(), told(&findings, false).len()), (0, 2), "{findings:?}");

    let findings = of(&["other"], wrong).await;
    let warnings = told(&findings, true);
    assert!(
        matches!(&warnings[..], [one] if one.contains("no subject other-value, other-key")),
        "{warnings:?}"
    );
    let findings = of(&["other", "orders"], wrong).await;
    assert_eq!(told(&findings, true).len(), 6, "{findings:?}");
}

#[test]
fn fields_that_a_schema_file_lacks_are_told_without_a_service() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("order.avsc");
    fs::write(&file, r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"}]}"#).unwrap();
    let text = connector("orders", "localhost:1", "http://localhost:1", "file:///lake");
    let fixed = format!(
        "    schema: {{ evolution: fixed, reader_schema_file: {} }}\n    partition_by: [{{ field: id }}, {{ field: ID, name: n }}]\n",
        file.display()
    );
    let settings = settings(&format!("version: 1\nconnectors:\n{text}{fixed}"));
    let findings = unconnected(&settings);
    let warnings: Vec<_> = findings.iter().filter(|finding| finding.warns).collect();
    assert!(
        matches!(&warnings[..], [one] if one.outcome.as_ref().unwrap().contains("names ID")),
        "{findings:?}"
    );
}

#[tokio::test]
async fn a_service_that_never_answers_is_given_up() {
    let never = std::future::pending::<Result<(), String>>();
    let error = within(Duration::from_millis(1), "kafka.properties", never).await.unwrap_err();
    assert!(error.contains("kafka.properties"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_112_a_refused_property_does_not_show_its_value() {
    let directory = TempDir::new().unwrap();
    let text = format!(
        "version: 1\nconnectors:\n  - name: orders\n    kafka: {{ topics: [orders], properties: {{ \
         bootstrap.servers: 'localhost:1', security.protocol: ssl, ssl.key.password: hunter2, \
         ssl.key.pem: hunter2 }} }}\n    value: {{ format: avro }}\n    registry: {{ url: \
         'http://{}', username: me, password: hunter2 }}\n    storage: {{ url: 'file://{}' }}\n",
        nowhere(),
        directory.path().display()
    );
    let settings = settings(&text);
    let findings = reach(&settings, DEADLINE).await;
    assert!(outcome(&findings, "orders", "kafka")[0].is_err());
    let shown = shown(&settings, &findings);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn missing_dead_letter_topics_are_told_from_topics() {
    let text = connector("orders", "localhost:1", "http://localhost:1", "file:///lake");
    let settings = settings(&format!("version: 1\nconnectors:\n{text}"));
    let probe =
        TopicProbe { brokers: 3, topics: vec![], missing: vec!["orders".into(), "orders.dead".into()] };
    let findings = kafka_findings(&settings.connectors[0], &probe);
    let lines: Vec<String> = findings[1..].iter().map(problem_line).collect();
    assert!(
        lines[0].contains("mend kafka.topics") && lines[1].contains("mend errors.dead_letter_topic"),
        "{lines:?}"
    );
}

#[test]
fn topics_that_a_pattern_finds_and_whose_files_can_have_no_name_are_told() {
    let text = connector("orders", "localhost:1", "http://localhost:1", "file:///lake");
    let settings = settings(&format!("version: 1\nconnectors:\n{text}"));
    let topics = [("t".repeat(199), 10), ("u".repeat(199), 11), (".hidden".into(), 1), ("empty".into(), 0)];
    let probe = TopicProbe { brokers: 3, topics: topics.into(), missing: vec![] };
    let findings = kafka_findings(&settings.connectors[0], &probe);
    let lines: Vec<String> = findings[1..].iter().map(problem_line).collect();
    assert!(lines.len() == 2 && lines[0].contains("partition 10") && lines[1].contains("dot"), "{lines:?}");
}

#[test]
fn a_scratch_directory_must_take_files() {
    let directory = TempDir::new().unwrap();
    assert!(try_scratch_dir(directory.path()).is_ok());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing stays behind");
    let error = try_scratch_dir(&directory.path().join("missing")).unwrap_err();
    assert!(error.contains("daemon.scratch_dir"), "{error}");
    let locked = directory.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write anywhere.
    assert!(try_scratch_dir(&locked).is_err() || runs_as_root());
}

fn runs_as_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0)
}

#[test]
fn a_schema_file_that_is_not_there_is_named() {
    let error = read_schema(Path::new("/nonexistent/order.avsc"), true).unwrap_err();
    assert!(error.contains("/nonexistent/order.avsc"), "{error}");
}

#[test]
fn schema_files_that_a_run_would_refuse_are_named() {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let node = r#"{"type":"record","name":"Node","fields":[{"name":"next","type":["null","Node"]}]}"#;
    let (node, int) = (file("node.avsc", node), file("int.avsc", "\"int\""));
    let date = file("date.avsc", r#"{"type":"int","logicalType":"date"}"#);
    let problems = |files: &[&String], more: &str| {
        let files = files.iter().map(|file| file.as_str()).collect::<Vec<_>>().join(", ");
        let text = format!(
            "version: 1\nconnectors:\n  - name: a\n    kafka: {{ topics: [t], properties: {{ bootstrap.servers: b }} }}\n    value: {{ format: avro, wire: single_object, schema_files: [{files}] }}\n    storage: {{ url: file:///s }}\n{more}"
        );
        let settings = config::load_str(&text, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        let findings = schema_files(&settings.connectors[0]);
        findings.into_iter().filter_map(|finding| finding.outcome.err()).collect::<Vec<_>>()
    };
    assert!(problems(&[&int], "").is_empty());
    let found = problems(&[&node, &int, &date], "");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("node.avsc") && found[0].contains("contains itself"), "{found:?}");
    assert!(
        found[1].contains("date.avsc has the fingerprint of") && found[1].contains("int.avsc"),
        "{found:?}"
    );
    let fixed = format!("    schema: {{ evolution: fixed, reader_schema_file: {int} }}\n");
    assert!(problems(&[&node], &fixed).is_empty(), "it is not read with its own schema");
    let fixed = format!("    schema: {{ evolution: fixed, reader_schema_file: {node} }}\n");
    assert_eq!(problems(&[&int], &fixed).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_108_what_the_client_refuses_when_it_is_made_is_told_at_the_line_of_the_property() {
    let text = connector("shop", &nowhere(), "http://localhost:8081", "file:///lake");
    let text = text.replace(
        "properties: {",
        "properties: { message.max.bytes: 2000000,\n      fetch.max.bytes: 1000000,",
    );
    let settings = settings(&format!("version: 1\nconnectors:\n{text}"));
    let reason = reach_kafka(&settings.connectors[0]).await.unwrap_err();
    let line = problem_line(&Finding::new(&settings.connectors[0], "kafka", Err(reason)));
    assert!(
        line.starts_with("connectors.yaml:5:7: shop: kafka: ") && line.contains("fetch.max.bytes"),
        "{line}"
    );
}

#[test]
fn fault_108_an_option_that_cannot_stand_beside_others_is_told_at_its_line() {
    let text = connector("shop", "b:1", "http://localhost:8081", "s3://lake");
    let text =
        text.replace("storage: { ", "storage: { options: { region: eu,\n      endpoint: 'http://x' }, ");
    let problems = offline_problems(&settings(&format!("version: 1\nconnectors:\n{text}")));
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    let expected = "connectors.yaml:8:7: shop: storage: storage.options.endpoint is http, without TLS";
    assert!(problem.starts_with(expected), "{problem}");
}

#[test]
fn what_the_configuration_warns_of_is_a_row_and_no_problem() {
    let text = connector("shop", "b:1", "http://localhost:8081", "file:///lake");
    let settings = settings(&format!("version: 1\ndaemon: {{ memory: 1000TB }}\nconnectors:\n{text}"));
    let findings = warnings(&settings);
    assert!(findings.iter().all(|finding| finding.outcome.is_ok()));
    let shown = shown(&settings, &findings);
    assert!(
        shown.contains("warning") && shown.contains("connectors.yaml:2:19: `daemon.memory` is"),
        "{shown}"
    );
}
