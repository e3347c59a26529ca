//! Wire formats, keys, registries other than Confluent's, and the rules between them.

use super::super::{load, load_str};
use super::{SMALLEST, connector, nothing, refused, with};
use crate::config::settings::{ApicurioIds, KeyFormat, PartitionRule, RegistryApi, ValueFormat, WireFormat};

fn valued(value: &str) -> String {
    SMALLEST.replace("value: { format: avro }", &format!("value: {{ format: avro, {value} }}"))
}

fn registry(text: &str, keys: &str) -> String {
    text.replace("8081' }", &format!("8081', {keys} }}"))
}

fn api(text: &str) -> RegistryApi {
    connector(text).registry.unwrap().api
}

#[test]
fn a_wire_format_is_chosen_by_name() {
    for (word, wire) in [
        ("confluent", WireFormat::Confluent),
        ("apicurio", WireFormat::Apicurio),
        ("header", WireFormat::Header),
    ] {
        let settings = connector(&valued(&format!("wire: {word}")));
        assert_eq!(settings.value, ValueFormat::AvroRegistry(wire));
        assert_eq!(settings.value.wire(), wire);
    }
    refused(&valued("wire: confluence"), "did you mean `confluent`?");
    refused(&valued("wire: none"), "missing required key `value.schema_file`");
    refused(&valued("wire: single_object"), "missing required key `value.schema_files`");
    refused(&valued("schema_files: [x]"), "is for `wire: single_object`");
}

#[test]
fn the_registrys_api_follows_the_wire_format_unless_it_is_named() {
    assert_eq!(api(SMALLEST), RegistryApi::Confluent { context: None });
    assert_eq!(api(&valued("wire: apicurio")), RegistryApi::Apicurio { ids: ApicurioIds::Global });
    assert_eq!(
        api(&registry(SMALLEST, "api: apicurio")),
        RegistryApi::Apicurio { ids: ApicurioIds::Content }
    );
    assert_eq!(
        api(&registry(&valued("wire: apicurio"), "ids: content")),
        RegistryApi::Apicurio { ids: ApicurioIds::Content }
    );
    for written in ["staging", ".staging", "':.staging:'"] {
        let found = api(&registry(SMALLEST, &format!("context: {written}")));
        assert_eq!(found, RegistryApi::Confluent { context: Some("staging".to_owned()) });
    }
    refused(&registry(SMALLEST, "context: 'a:b'"), "must be the name of a context");
    refused(&registry(SMALLEST, "ids: global"), "`registry.ids` is for `api: apicurio`");
    refused(&registry(SMALLEST, "region: eu-central-1"), "`registry.region` is for `api: glue`");
    refused(&registry(SMALLEST, "api: glue, region: eu-central-1"), "`glue` and `wire: glue` go together");
}

#[test]
fn glue_needs_a_region_and_no_url() {
    let text = valued("wire: glue").replace("url: 'http://localhost:8081'", "region: eu-central-1");
    let found = connector(&text).registry.unwrap();
    assert_eq!(found.api, RegistryApi::Glue { region: "eu-central-1".to_owned() });
    assert_eq!(found.urls[0].as_str(), "https://glue.eu-central-1.amazonaws.com/");
    let china = connector(&text.replace("eu-central-1", "cn-north-1")).registry.unwrap();
    assert_eq!(china.urls[0].as_str(), "https://glue.cn-north-1.amazonaws.com.cn/");
    let named = connector(&text.replace("region:", "url: 'http://localhost:1', region:")).registry.unwrap();
    assert_eq!(named.urls[0].as_str(), "http://localhost:1/");
    refused(&valued("wire: glue"), "missing required key `registry.region`");
    refused(&text.replace("eu-central-1", "Frankfurt"), "must be an AWS region");
    refused(&text.replace("region:", "token: x, region:"), "means nothing to AWS Glue");
}

#[test]
fn keys_take_the_wire_format_of_values_where_a_registry_knows_it() {
    let keyed = |value: &str, key: &str| format!("{}    key: {{ format: avro{key} }}\n", valued(value));
    let key = |value: &str, wire: &str| connector(&keyed(value, wire)).key;
    assert_eq!(key("wire: confluent", ""), KeyFormat::Avro(WireFormat::Confluent));
    assert_eq!(key("wire: apicurio", ""), KeyFormat::Avro(WireFormat::Apicurio));
    assert_eq!(key("wire: header", ", wire: confluent"), KeyFormat::Avro(WireFormat::Confluent));
    refused(&keyed("wire: confluent", ", wire: single_object"), "`key.wire` must be one of `confluent`");
    refused(&with("key: { format: bytes, wire: confluent }"), "`key.wire` is for `format: avro`");
}

#[test]
fn only_numbers_tell_which_schema_is_newer() {
    let latest = |value: &str| format!("{}    schema: {{ evolution: latest }}\n", valued(value));
    connector(&latest("wire: apicurio"));
    refused(&latest("wire: header"), "cannot be `latest` with this `value.wire`");
}

#[test]
fn schema_files_are_files_and_directories() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("schemas")).unwrap();
    for name in ["schemas/b.avsc", "schemas/a.avsc", "schemas/notes.txt", "one.json"] {
        std::fs::write(directory.path().join(name), "\"string\"").unwrap();
    }
    let text = valued("wire: single_object, schema_files: [one.json, schemas]")
        .replace("    registry: { url: 'http://localhost:8081' }\n", "");
    let file = directory.path().join("c.yaml");
    std::fs::write(&file, &text).unwrap();
    let settings = load(&file, &nothing).unwrap_or_else(|errors| panic!("{errors}"));
    let paths = ["one.json", "schemas/a.avsc", "schemas/b.avsc"].map(|name| directory.path().join(name));
    assert_eq!(settings.connectors[0].value, ValueFormat::AvroSchemaFiles(paths.to_vec()));
    let found = load_str(&text, &nothing).map(|_| ()).unwrap_err().to_string();
    assert!(found.contains("found `one.json`") && found.contains("found `schemas`"), "{found}");
    refused(&valued("wire: single_object, schema_files: []"), "must name at least one schema");
}

#[test]
fn record_types_make_directories() {
    let rules = |entry: &str| connector(&with(&format!("partition_by: [{entry}]"))).partition_by;
    let rule = |full, name: &str| PartitionRule::Record { full, name: name.to_owned() };
    assert_eq!(rules("{ record: full_name }"), [rule(true, "record")]);
    assert_eq!(rules("{ record: name, name: type }"), [rule(false, "type")]);
    refused(&with("partition_by: [{ record: fullname }]"), "did you mean `full_name`?");
    refused(&with("partition_by: [{ record: name, timezone: UTC }]"), "belongs to a `time` entry");
    refused(&with("partition_by: [{ record: name, field: a }]"), "cannot stand beside");
    refused(&with("partition_by: [{ record: name }, { field: record }]"), "makes the same directories");
}
