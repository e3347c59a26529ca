//! The rows 108 to 114 of the list of faults, each through the whole configuration.

use super::super::load_str;
use super::{SMALLEST, connector, errors, loaded, nothing, refused, with, with_properties};

#[test]
fn fault_108_an_unknown_key_has_its_place_and_the_nearest_key() {
    refused(
        &with("parquet:\n  compresion: gzip"),
        "connectors.yaml:12:7: unknown key `parquet.compresion`; did you mean `compression`?",
    );
    refused(&with("Tasks: 1"), "unknown key `Tasks`; did you mean `tasks`?");
    refused(&with("rotate: { rows: 1, size: 1 }"), "unknown key `rotate.size`; the keys here are `bytes`");
    refused(&format!("{SMALLEST}demon: {{}}\n"), "11:1: unknown key `demon`; did you mean `daemon`?");
    refused(
        &SMALLEST.replace("topics: [t]", "topics: [t]\n      client.id: x"),
        "belong under `kafka.properties`",
    );
    refused(&format!("{SMALLEST}defaults: {{ tusks: 1 }}\n"), "unknown key `tusks`; did you mean `tasks`?");
}

#[test]
fn fault_108_all_problems_are_named_at_once() {
    let text = with("tusks: 1\nrotate: { rows: 1e3, bytes: -1 }\nkey: { format: no }\nstorage: 5")
        .replace("    storage: { url: 'file:///lake' }\n", "")
        .replace("[t]", "[t, 't t', '${NONE}']");
    let found = errors(&text);
    let places: Vec<_> = found.lines().map(|line| line.split(": ").next().unwrap()).collect();
    let expected = ["5:19", "5:26", "10:5", "11:21", "11:33", "12:20", "13:14"];
    assert_eq!(places, expected.map(|place| format!("connectors.yaml:{place}")), "{found}");
}

#[test]
fn fault_109_nothing_is_coerced_silently() {
    for (lines, expected) in [
        ("tasks: '2'", "must be a whole number without quotes"),
        ("tasks: 2.0", "plain digits"),
        ("tasks: 0o2", "plain digits"),
        ("tasks: 02", "plain digits"),
        ("tasks: 1e1", "plain digits"),
        ("tasks: [2]", "must be a single value, not a list"),
        ("rotate: { bytes: -1 }", "must be a size such as"),
        ("rotate: { bytes: 1e3 }", "must be a size such as"),
        ("rotate: { bytes: 017 }", "must be a size such as"),
        ("rotate: { bytes: 1.5 }", "a fraction needs a unit"),
        ("rotate: { rows: 1_000 }", "plain digits"),
        ("rotate: { every: 30 }", "write the unit after the number"),
        ("rotate: [1]", "`rotate` must be a mapping (`key: value`), not a list"),
        ("parquet: { columns: { a: { bloom_filter: yes } } }", "must be `true` or `false` (in YAML 1.2"),
        ("columns: { metadata: no }", "must be `true` or `false` (in YAML 1.2"),
        ("parquet: { dictionary: true }", "must be one of `auto`, `always`, `never`"),
        ("parquet: { compression: zstd(23) }", "from `zstd(1)` to `zstd(22)`"),
        ("partition_by: a", "must be a list"),
        ("partition_by: [a]", "must be a mapping"),
    ] {
        refused(&with(lines), expected);
    }
    refused(&SMALLEST.replace("name: a", "name: 12"), "must be a string, not a number; put it in quotes");
    refused(&SMALLEST.replace("name: a", "name: true"), "must be a string, not a boolean");
    refused(&SMALLEST.replace("[t]", "[2024]"), "must be a string, not a number");
    refused("- version: 1\n", "this must be a mapping");
}

#[test]
fn fault_109_no_is_a_name_and_units_differ() {
    assert_eq!(connector(&SMALLEST.replace("name: a", "name: no")).name, "no");
    let bytes =
        |size: &str| connector(&with(&format!("rotate: {{ bytes: {size} }}"))).rotate.bytes.unwrap().0;
    assert_eq!((bytes("1GB"), bytes("1GiB")), (1_000_000_000, 1 << 30));
}

#[test]
fn fault_110_nothing_is_there_twice() {
    refused(&with("tasks: 1\ntasks: 2"), "12:5: duplicate key `tasks`; first on line 11");
    refused(&SMALLEST.replace("[t]", "[t, u, t]"), "5:22: the topic `t` twice; first on line 5");
    let (head, entry) = SMALLEST.split_at(SMALLEST.find("  - name").unwrap());
    refused(&format!("{head}{entry}{entry}"), "11:11: duplicate connector name `a`; first on line 3");
    let broken = entry.replace("    storage: { url: 'file:///lake' }\n", "");
    let found = errors(&format!("{head}{entry}{broken}"));
    assert!(found.contains("duplicate connector name"), "also beside another problem: {found}");
    refused(&with("parquet: { sort_by: [a, a] }"), "holds this twice");
}

#[test]
fn fault_111_variables_are_named_and_dollars_escaped() {
    let text = with("errors: { dead_letter_topic: '${DEAD}' }");
    refused(&text, "11:34: the environment variable `DEAD` is not set");
    let empty = |_: &str| Some(String::new());
    let found = load_str(&text, &empty).map(|_| ()).unwrap_err().to_string();
    assert!(found.contains("the environment variable `DEAD` is empty"), "{found}");
    let defaulted = text.replace("${DEAD}", "${DEAD:-dead}");
    for environment in [&empty as &dyn Fn(&str) -> Option<String>, &nothing] {
        let settings = load_str(&defaulted, environment).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(settings.connectors[0].errors.dead_letter_topic.as_deref(), Some("dead"));
    }
    let connector = connector(&with_properties("sasl.password: a$$b$${C}$"));
    assert_eq!(connector.kafka.properties["sasl.password"].expose(), "a$b${C}$");
}

#[test]
fn fault_112_no_secret_in_debug_output() {
    let text = with_properties("sasl.password: hunter2")
        .replace("8081' }", "8081', username: u, password: hunter2 }")
        .replace("lake' }", "lake', options: { secret_access_key: hunter2 } }");
    let debug = format!("{:?}", loaded(&text));
    assert!(!debug.contains("hunter2") && debug.contains("***"), "{debug}");
}

#[test]
fn fault_112_no_secret_in_an_error() {
    let environment = |_: &str| Some("hunter2".to_owned());
    let registry = |keys: &str| SMALLEST.replace("8081' }", &format!("8081', {keys} }}"));
    let options = |keys: &str| SMALLEST.replace("lake' }", &format!("lake', options: {keys} }}"));
    let mut texts = vec![
        with_properties("enable.auto.commit: hunter2"),
        with_properties("isolation.level: hunter2"),
        with_properties("sasl.password: [hunter2]"),
        with_properties("sasl.password: { x: hunter2 }"),
        with_properties("sasl.password:hunter2"),
        with_properties("sasl.password: \"hunter2"),
        with_properties("sasl.password: !hunter2 hunter2"),
        with_properties("sasl.password: hunter2\nsasl.password: hunter2"),
        SMALLEST.replace("http://localhost", "http://hunter2:hunter2@localhost"),
        SMALLEST.replace("http://localhost", "hunter2://localhost"),
        SMALLEST.replace("file:///lake", "s3://hunter2:hunter2@lake"),
        SMALLEST.replace("file:///lake", "s3://lake?x=hunter2"),
        registry("password: hunter2"),
        registry("username: u, password: [hunter2]"),
        registry("username: u, password:hunter2"),
        registry("token: [hunter2]"),
        options("hunter2"),
        options("{ secret_access_key: [hunter2] }"),
        options("{ secret_access_key:hunter2 }"),
    ];
    // A reference may give a secret to any key, also to one where none belongs.
    for key in
        ["name: a", "topics: [t]", "format: avro", "url: 'http://localhost:8081'", "url: 'file:///lake'"]
    {
        let name = key.split(':').next().unwrap();
        texts.push(SMALLEST.replace(key, &format!("{name}: '${{X}}/%'")));
    }
    texts.push(SMALLEST.replace("[t]", "['${X}', '${X}']"));
    let (head, entry) = SMALLEST.split_at(SMALLEST.find("  - name").unwrap());
    let entry = entry.replace("name: a", "name: ${X}").replace("[t]", "['${X}']");
    texts.push(format!("{head}{entry}{entry}"));
    let renamed = entry.replace("name: ${X}", "name: b");
    texts.push(format!("{head}{entry}{renamed}"));
    for lines in [
        "tasks: ${X}",
        "rotate: { bytes: '${X}', rows: '${X}', every: '${X}' }",
        "parquet: { compression: 'zstd(${X})', dictionary: '${X}', sort_by: ['${X}', '${X}'] }",
        "columns: { metadata: '${X}' }",
        "columns: { metadata: ['${X}'] }",
        "partition_by: [{ field: '${X}..a' }, { time: '${X}..a', path: '${X}', timezone: '${X}' }]",
        "schema: { evolution: fixed, reader_schema_file: '${X}' }",
        "errors: { on_poison: '${X}', dead_letter_topic: '${X} ' }",
        "key: { format: '${X}' }",
    ] {
        texts.push(with(lines));
    }
    texts.push(format!(
        "{SMALLEST}daemon: {{ listen: '${{X}}', memory: '${{X}}%', log: {{ level: '${{X}}' }} }}\n"
    ));
    texts.push(SMALLEST.replace("version: 1", "version: ${X}"));
    for text in texts {
        let found = load_str(&text, &environment).map(|_| ()).expect_err(&text);
        let shown = format!("{found}{found:?}");
        assert!(!shown.contains("hunter2"), "{text}\n{found}");
    }
}

#[test]
fn fault_113_a_flush_of_nothing_is_refused() {
    refused(&with("rotate: { rows: 0 }"), "`rotate.rows` must be at least 1");
    refused(&with("rotate: { bytes: 0 }"), "`rotate.bytes` must be larger than 0");
    refused(&with("rotate: { bytes: 0MiB }"), "`rotate.bytes` must be larger than 0");
    refused(&with("rotate: { every: 0s }"), "`rotate.every` must be longer than 0");
    refused(&with("rotate: { every: 1s, idle: 0ms }"), "`rotate.idle` must be longer than 0");
    refused(&with("rotate: { idle: 1s }"), "needs at least one of `bytes`, `rows` and `every`");
    refused(&with("parquet: { row_group: { rows: 0 } }"), "at least 1");
    refused(&with("parquet: { row_group: { bytes: 0 } }"), "larger than 0");
}

#[test]
fn fault_114_properties_that_break_delivery_are_refused_by_name() {
    for (line, expected) in [
        ("enable.auto.commit: true", "`kafka.properties.enable.auto.commit` is refused"),
        ("enable.auto.commit: false", "sluice does by itself"),
        ("auto.commit.enable: true", "is refused"),
        ("enable.auto.offset.store: false", "is refused"),
        ("auto.commit.interval.ms: 100", "is refused"),
        ("auto.offset.reset: latest", "use `kafka.start`"),
        ("group.id: x", "use `kafka.group`"),
        ("isolation.level: read_uncommitted", "may only be `read_committed`"),
        ("partition.assignment.strategy: range", "may only be `cooperative-sticky`"),
        ("group.protocol: other", "may only be `classic` or `consumer`"),
        ("enable.partition.eof: true", "is refused"),
        ("check.crcs: false", "may only be `true`"),
        ("metadata.broker.list: k:9092", "use that one"),
        (
            "group.protocol: consumer\nsession.timeout.ms: 100",
            "cannot stand beside `group.protocol: consumer`",
        ),
        ("group.protocol: consumer\nheartbeat.interval.ms: 100", "on the broker"),
        (
            "group.protocol: consumer\npartition.assignment.strategy: cooperative-sticky",
            "`group.remote.assignor`",
        ),
    ] {
        refused(&with_properties(line), expected);
    }
}

#[test]
fn fault_114_other_properties_pass_through() {
    let lines = "isolation.level: read_committed\ncheck.crcs: true\ngroup.protocol: consumer\n\
                 consume.callback.max.messages: 7\nqueued.min.messages: 100000\nssl.ca.location: ''";
    let properties = connector(&with_properties(lines)).kafka.properties;
    assert_eq!(properties.len(), 7);
    assert_eq!(properties["queued.min.messages"].expose(), "100000");
    loaded(&with_properties("session.timeout.ms: 1000\npartition.assignment.strategy: cooperative-sticky"));
}

#[test]
fn fault_114_no_other_name_gives_what_is_refused_to_the_client() {
    // The client takes `topic.` away.
    for line in [
        "topic.auto.offset.reset: latest",
        "topic.auto.commit.enable: true",
        "topic.offset.store.method: none",
    ] {
        refused(&with_properties(line), "is refused: ");
    }
    loaded(&with_properties("topic.metadata.refresh.interval.ms: 1000\ntopic.blacklist: ^x"));
    refused(&with_properties("transactional.id: x"), "makes no transactions");
    refused(
        &with_properties("sasl.mechanisms: PLAIN\nsasl.mechanism: SCRAM-SHA-256"),
        "9:9: `kafka.properties.sasl.mechanism` is another name of `sasl.mechanisms`, on line 8; keep one",
    );
}

#[test]
fn fault_114_what_would_break_the_producer_of_dead_letters_is_refused_beside_them_alone() {
    for line in [
        "acks: 0",
        "topic.acks: 0",
        "request.required.acks: 1",
        "retries: 0",
        "message.send.max.retries: 0",
        "max.in.flight: 6",
        "topic.queuing.strategy: lifo",
        "queue.buffering.backpressure.threshold: 2",
    ] {
        let text = with_properties(line);
        loaded(&text);
        let key = line.split(':').next().unwrap();
        let found = errors(&format!("{text}    errors: {{ dead_letter_topic: dead }}\n"));
        assert!(found.starts_with(&format!("connectors.yaml:8:9: `kafka.properties.{key}` m")), "{found}");
        assert!(found.contains("beside `errors.dead_letter_topic`") && found.lines().count() == 1, "{found}");
    }
    let text = with_properties("acks: all\nretries: 3\nmax.in.flight: 5");
    loaded(&format!("{text}    errors: {{ dead_letter_topic: dead }}\n"));
}

#[test]
fn a_mechanism_is_judged_beside_sasl_alone() {
    for line in ["sasl.mechanism: ${MECH:-}", "security.protocol: plaintext\nsasl.mechanism: NTLM"] {
        loaded(&with_properties(line));
    }
    refused(
        &with_properties("sasl.mechanism: ''\nsecurity.protocol: SASL_SSL"),
        "sasl.mechanism` must be one of `",
    );
}

#[test]
fn a_long_name_of_the_clients_is_shown_whole() {
    let name = "sasl.oauthbearer.metadata.authentication.type";
    refused(&with_properties(&format!("{name}: hunter2")), &format!("`kafka.properties.{name}` "));
    let other = "a".repeat(100);
    assert!(errors(&with_properties(&format!("{other}: 1"))).contains("aaa…`"));
}

#[test]
fn fault_108_what_the_client_refuses_is_told_at_its_own_line() {
    let found = errors(&with_properties(
        "fetch.max.byte: 1\nsecurity.protocol: sasl_tls\nfetch.min.bytes: 0\nenable.ssl.certificate.verification: no\n\
         max.poll.records: ${NONE}\nisolation.level: none\nclient.id: [a]",
    ));
    let expected = [
        "connectors.yaml:8:9: `kafka.properties.fetch.max.byte` is no property of librdkafka; did you mean `fetch.max.bytes`?",
        "connectors.yaml:9:9: `kafka.properties.security.protocol` must be one of `plaintext`, `ssl`, `sasl_plaintext`, `sasl_ssl`",
        "connectors.yaml:10:9: `kafka.properties.fetch.min.bytes` must be a whole number from 1 to 100000000",
        "connectors.yaml:11:9: `kafka.properties.enable.ssl.certificate.verification` must be `true` or `false`",
        "connectors.yaml:12:9: `kafka.properties.max.poll.records` is a property of Java clients: sluice takes as many as there is memory for; remove the line",
        "connectors.yaml:12:27: the environment variable `NONE` is not set; set it, or give a default: `${NONE:-default}`",
        "connectors.yaml:13:9: `kafka.properties.isolation.level` may only be `read_committed`: records of aborted transactions must not reach the lake",
        "connectors.yaml:14:20: `kafka.properties.client.id` must be a single value, not a list",
    ];
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn fault_108_a_property_of_the_defaults_is_told_once_at_its_line() {
    let defaults =
        "defaults: { kafka: { properties: { sasl.pasword: hunter2, socket.timeout.ms: '${X:-10s}' } } }\n";
    let twice = SMALLEST.replace("connectors:\n", &format!("{defaults}connectors:\n"))
        + &SMALLEST[SMALLEST.find("  - name").unwrap()..].replace("name: a", "name: b").replace("[t]", "[u]");
    let found = errors(&twice);
    let expected = [
        "connectors.yaml:2:36: `kafka.properties.sasl.pasword` is no property of librdkafka; did you mean `sasl.password`?",
        "connectors.yaml:2:59: `kafka.properties.socket.timeout.ms` is librdkafka's own and takes a plain number of milliseconds: write it in plain digits, such as 1000",
    ];
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn fault_109_a_property_with_a_unit_is_told_which_number_it_takes() {
    for (line, expected) in [
        ("fetch.max.bytes: 10MiB", "takes a plain number of bytes: write 10485760"),
        ("fetch.max.bytes: 1.5MB", "write 1500000"),
        ("queued.max.messages.kbytes: 64MiB", "takes a plain number of kibibytes: write 65536"),
        ("session.timeout.ms: 45s", "takes a plain number of milliseconds: write 45000"),
        ("sasl.oauthbearer.assertion.claim.exp.seconds: 5m", "takes a plain number of seconds: write 300"),
        ("fetch.max.bytes: 1e5", "write it in plain digits"),
        ("fetch.wait.max.ms: 0500", "write it in plain digits"),
        ("fetch.wait.max.ms: 0x10", "write it in plain digits"),
        ("retries: 5 times", "takes a plain number: write it in plain digits"),
        ("fetch.max.bytes: 4294967306", "takes a plain number of bytes, at most 2147483647"),
        ("fetch.max.bytes: '${X:-10MiB}'", "write it in plain digits"),
        ("topic.metadata.refresh.interval.ms: -1s", "milliseconds: write it in plain digits"),
        ("queued.max.messages.kbytes: 500B", "kibibytes: write it in plain digits"),
        ("topic.request.timeout.ms: 5s", "takes a plain number of milliseconds: write 5000"),
        ("linger.ms: 10abc", "takes a plain number of milliseconds"),
        ("linger.ms: .5abc", "takes a plain number of milliseconds"),
        ("queue.buffering.max.ms: 5s", "write 5000"),
        ("fetch.wait.max.ms: 0.5", "write it in plain digits"),
    ] {
        refused(&with_properties(line), expected);
    }
    for line in ["linger.ms: 0.5", "linger.ms: 5.0", "queue.buffering.max.ms: '.5'", "linger.ms: 5"] {
        loaded(&with_properties(line));
    }
    loaded(&with_properties("acks: all\nclient.id: 10MiB\nfetch.max.bytes: ' 10485760 '\nretries: '5'"));
}

#[test]
fn fault_108_an_option_of_the_store_is_told_at_its_own_line() {
    let text = SMALLEST.replace(
        "'file:///lake' }",
        "'s3://lake',\n      options: { regoin: eu, allow_http: '${X:-perhaps}',\n      endpoint: 'minio:9000', timeout: 5 } }",
    );
    let twice =
        SMALLEST.replace("'file:///lake' }", "'s3://lake', options: { region: eu, AWS_REGION: us } }");
    refused(&twice, "`storage.options.region` is another name of `AWS_REGION`; keep one of them");
    let found = errors(&text);
    let expected = [
        "connectors.yaml:11:18: `storage.options.regoin` is no option of s3://; did you mean `region`?",
        "connectors.yaml:11:30: `storage.options.allow_http` must be `true` or `false`",
        "connectors.yaml:12:7: `storage.options.endpoint` is no URL; write it with its scheme, as in https://storage.example:9000",
        "connectors.yaml:12:31: `storage.options.timeout` must be a time such as `30s`",
    ];
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn more_memory_than_there_is_is_told_and_the_default_taken() {
    let settings = loaded(&format!("{SMALLEST}daemon: {{ memory: 1000TB }}\n"));
    let [warning] = &settings.warnings[..] else { panic!("{:?}", settings.warnings) };
    let shown = warning.to_string();
    assert!(
        shown.starts_with("connectors.yaml:11:19: `daemon.memory` is 909.5TiB, and this process may use "),
        "{shown}"
    );
    assert_eq!(settings.daemon.memory, loaded(SMALLEST).daemon.memory);
    assert!(
        shown.ends_with(&format!("60% of that are taken, which is {}", settings.daemon.memory)),
        "{shown}"
    );
    assert!(loaded(&format!("{SMALLEST}daemon: {{ memory: 1MiB }}\n")).warnings.is_empty());
    let bytes = loaded(&format!("{SMALLEST}daemon: {{ memory: 512 }}\n")).warnings;
    assert!(bytes.len() == 1 && bytes[0].message.contains("is 512B, in which not one batch"), "{bytes:?}");
}

#[test]
fn options_of_a_local_directory_are_warned_of() {
    let options =
        |url: &str| SMALLEST.replace("file:///lake' }", &format!("{url}', options: {{ region: eu }} }}"));
    let warnings = loaded(&options("file:///lake")).warnings;
    assert!(
        warnings.len() == 1 && warnings[0].message.contains("means nothing to a local directory"),
        "{warnings:?}"
    );
    assert!(loaded(&options("s3://lake")).warnings.is_empty());
}

#[test]
fn brokers_that_the_client_would_leave_out_are_told() {
    let servers = |text: &str| SMALLEST.replace("localhost:9092", &format!("\"{text}\""));
    for text in [
        "a",
        "a:1",
        "a:1,b:2",
        " a:1 , b:2 ",
        "a:1,,b:2,",
        "SASL_SSL://a:1",
        "[::1]:9092",
        "[::1]",
        "::1",
        "10.0.0.1:9092",
        "SASL_SSL://a:9092/",
        "ssl://[::1]:9092/path",
        "[fe80::1%eth0]:9092",
        "fe80::1%eth0",
        "a:",
    ] {
        loaded(&servers(text));
    }
    for text in [
        "::::",
        "[fe80::1%]:9092",
        "[fe80::1% ]:9092",
        "ssl:///a:1",
        "http://a:1",
        "a:1 b:2",
        "a:1\\nb:2",
        "a:0",
        "a:99999",
        "a:x",
        ":9092",
        "a/b:1",
        "[x]:1",
    ] {
        refused(
            &servers(text),
            "7:28: `kafka.properties.bootstrap.servers` must be brokers such as `kafka-1:9092`",
        );
    }
    refused(&servers("a:1,http://hunter2"), "; number 2 is none");
    let nested =
        SMALLEST.replace("bootstrap.servers: localhost:9092", "bootstrap: { servers: localhost:9092 }");
    refused(&nested, "7:9: `kafka.properties.bootstrap` must be one key with its points");
}

#[test]
fn a_bucket_is_no_address() {
    let storage = |url: &str| SMALLEST.replace("file:///lake", url);
    refused(&storage("s3://minio:9000/lake"), "without a port; where the store is, is said in `options`");
    refused(&storage("s3://l\u{e4}ke"), "must name a bucket of ASCII letters");
    refused(&storage("gs://la%2Fke"), "must name a bucket of ASCII letters");
    loaded(&storage("s3://my_old.bucket-1/raw"));
    assert_eq!(connector(&storage("az://$$web/x")).storage.url.as_str(), "az://$web/x");
    loaded(&storage("az://$$root"));
    for url in ["az://$$", "az://a$$b/x", "s3://$$web/x"] {
        refused(&storage(url), "must name a bucket of ASCII letters");
    }
}
