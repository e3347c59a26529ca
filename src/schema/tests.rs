//! Tests of parsing and of the columns that schemas become.

use arrow::datatypes::DataType;
use serde_json::json;

use crate::config::settings::{ColumnTypes, NanosAs, TimeAs, UuidAs, WideDecimalAs};

use super::{
    AvroSchema, Column, ColumnKind, ColumnOptions, Logical, Node, SchemaError, Shape, TimeUnit, arrow_schema,
    columns, whole_column,
};
use crate::error::{Failure, Stage};

fn parse(json: &str) -> AvroSchema {
    AvroSchema::parse(json, &[]).unwrap_or_else(|error| panic!("{json:.500}: {error}"))
}

fn refused(json: &str) -> String {
    match AvroSchema::parse(json, &[]) {
        Err(error @ SchemaError::Invalid { .. }) => error.to_string(),
        other => panic!("{json:.500}: {:.500}", format!("{other:?}")),
    }
}

fn root(json: &str) -> Node {
    let schema = parse(json);
    schema.node(schema.root()).clone()
}

fn fields(types: &[&str]) -> String {
    let fields: Vec<String> =
        types.iter().enumerate().map(|(n, ty)| format!(r#"{{"name":"f{n}","type":{ty}}}"#)).collect();
    format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, fields.join(","))
}

fn mapped(schema: &AvroSchema) -> Result<Vec<Column>, SchemaError> {
    columns(schema, ColumnOptions::default())
}

#[test]
fn a_schema_may_be_a_bare_word_or_wrapped() {
    for json in [
        r#""long""#,
        r#"{"type":"long"}"#,
        r#"{"type":{"type":"long"}}"#,
        r#"{"type":{"type":{"type":"long"}}}"#,
    ] {
        assert_eq!(root(json).shape, Shape::Long, "{json}");
    }
    assert!(refused("long").contains("not JSON"));
    assert!(refused("17").contains("not a type"));
    assert!(refused("{}").contains("\"type\""));
}

#[test]
fn names_take_the_namespace_around_them() {
    let schema = parse(
        r#"{"type":"record","name":"a.b.Outer","namespace":"ignored","aliases":["Old","x.Older"],"fields":[
            {"name":"inner","type":{"type":"record","name":"Inner","fields":[
                {"name":"e","type":{"type":"enum","name":"E","namespace":"","symbols":["X"]}}]}},
            {"name":"again","type":"Inner"},{"name":"full","type":"a.b.Inner"},{"name":"plain","type":["null","E"]}]}"#,
    );
    let Shape::Record(outer) = &schema.node(schema.root()).shape else { panic!() };
    assert_eq!(outer.name.full(), "a.b.Outer");
    assert_eq!(outer.aliases.iter().map(super::Name::full).collect::<Vec<_>>(), ["a.b.Old", "x.Older"]);
    assert_eq!(outer.fields[0].node, outer.fields[1].node);
    assert_eq!(outer.fields[0].node, outer.fields[2].node);
    let Shape::Record(inner) = &schema.node(outer.fields[0].node).shape else { panic!() };
    assert_eq!(
        (inner.name.full(), inner.name.namespace(), inner.name.unqualified()),
        ("a.b.Inner", "a.b", "Inner")
    );
    let Shape::Union(branches) = &schema.node(outer.fields[3].node).shape else { panic!() };
    assert_eq!(branches[1], inner.fields[0].node);
}

#[test]
fn fault_40_what_is_no_schema_is_refused_with_its_place() {
    let duplicate =
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"long"}]}"#;
    assert!(refused(duplicate).contains("two fields \"a\""));
    assert!(refused(&fields(&[r#""strange""#])).contains("at f0"));
    assert!(refused(&fields(&[r#"["int","int"]"#])).contains("twice in a union"));
    assert!(
        refused(&fields(&[r#"["string",{"type":"string","logicalType":"uuid"}]"#]))
            .contains("twice in a union")
    );
    assert!(refused(&fields(&[r#"["null",["int"]]"#])).contains("cannot be a branch"));
    let fixed = |size| format!(r#"{{"type":"fixed","name":"F","size":{size}}}"#);
    assert!(refused(&fields(&[&fixed(2), &fixed(3)])).contains("defined twice, differently"));
    assert!(
        refused(&fields(&[r#"["Later","Later"]"#, &fixed(2).replace('F', "Later")]))
            .contains("twice in a union")
    );
    for bad in [
        r#"{"type":"record","name":"R"}"#,
        r#"{"type":"record","fields":[]}"#,
        r#"{"type":"record","name":"a..R","fields":[]}"#,
        r#"{"type":"record","name":"int","fields":[]}"#,
        r#"{"type":"record","name":"R","fields":[{"name":"a\u0000b","type":"int"}]}"#,
        r#"{"type":"record","name":"R","fields":[{"name":"","type":"int"}]}"#,
        r#"{"type":"record","name":"R","fields":[{"type":"int"}]}"#,
        r#"{"type":"record","name":"R","fields":[{"name":"a"}]}"#,
        r#"{"type":"enum","name":"E","symbols":["A","A"]}"#,
        r#"{"type":"enum","name":"E","symbols":["A",1]}"#,
        r#"{"type":"fixed","name":"F"}"#,
        r#"{"type":"fixed","name":"F","size":-1}"#,
        r#"{"type":"fixed","name":"F","size":4294967296}"#,
        r#"{"type":"array"}"#,
        r#"{"type":"map"}"#,
    ] {
        refused(bad);
    }
    let failure = Failure::from(AvroSchema::parse(duplicate, &[]).unwrap_err());
    assert!(matches!(failure, Failure::Poison { stage: Stage::Schema, kind: "invalid_schema", .. }));
}

#[test]
fn fault_40_what_does_no_harm_is_tolerated() {
    parse(&fields(&[r#""int","default":"no number""#]));
    parse(
        r#"{"type":"record","name":"Größe","doc":1,"fields":[{"name":"höhe","type":"int","order":"ignore","x":[]}]}"#,
    );
    parse(r#"{"type":"record","name":"Outer$Inner","namespace":"my-company","fields":[]}"#);
    // Parsers without checks have let these through.
    parse(
        r#"{"type":"record","name":"1st record","fields":[{"name":"a.b","type":"int"},{"name":"a b","type":"int"}]}"#,
    );
    parse("// by hand\n{\"type\": \"long\" /* since 1970 */}");
    let unknown = r#"{"type":"enum","name":"E","symbols":["A"],"default":"B"}"#;
    assert!(matches!(root(unknown).shape, Shape::Enum(declared) if declared.default.is_none()));
}

#[test]
fn types_may_be_used_before_their_definition_and_defined_twice_alike() {
    let schema = parse(
        r#"{"type":"record","name":"n.R","fields":[{"name":"a","type":["null","Later"]},{"name":"b","type":"n.Later"},
            {"name":"c","type":{"type":"array","items":{"type":"record","name":"Later","fields":[{"name":"x","type":"E"}]}}},
            {"name":"d","type":{"type":"map","values":{"type":"enum","name":"E","symbols":["A"]}}},
            {"name":"e","type":{"type":"enum","name":"E","symbols":["A"]}}]}"#,
    );
    let columns = mapped(&schema).unwrap();
    let ColumnKind::List(element) = &columns[2].kind else { panic!() };
    assert_eq!((&columns[0].kind, &columns[1].kind), (&element.kind, &element.kind));
    assert!(matches!(&element.kind, ColumnKind::Record(members) if members[0].kind == ColumnKind::Utf8));
    assert!(refused(&fields(&[r#"{"type":"array","items":"Never"}"#])).contains("at f0.element: type Never"));
    let circle = parse(
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"S"},
        {"name":"b","type":["null",{"type":"record","name":"S","fields":[{"name":"c","type":["null","S"]}]}]}]}"#,
    );
    assert!(matches!(mapped(&circle), Err(SchemaError::Unsupported { path, .. }) if path == "a.c"));
}

#[test]
fn types_without_values_have_columns_all_the_same() {
    let schema = parse(&fields(&[
        r#"{"type":"enum","name":"E","symbols":[]}"#,
        "[]",
        r#"{"type":"array","items":[]}"#,
    ]));
    let columns = mapped(&schema).unwrap();
    assert_eq!((&columns[0].kind, &columns[1].kind), (&ColumnKind::Utf8, &ColumnKind::Null));
    assert!(columns[1].nullable);
}

#[test]
fn fault_40_logical_types_that_do_not_fit_are_ignored() {
    let logical = |json: &str| root(json).logical;
    let decimal = Some(Logical::Decimal { precision: 4, scale: 1 });
    assert_eq!(logical(r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":1}"#), decimal);
    assert_eq!(
        logical(r#"{"type":"long","logicalType":"timestamp-nanos"}"#),
        Some(Logical::Timestamp(TimeUnit::Nanos))
    );
    assert_eq!(logical(r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#), Some(Logical::Uuid));
    for json in [
        r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":5}"#,
        r#"{"type":"bytes","logicalType":"decimal","precision":0}"#,
        r#"{"type":"bytes","logicalType":"decimal"}"#,
        r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":-1}"#,
        r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":null}"#,
        r#"{"type":"bytes","logicalType":"decimal","precision":"4"}"#,
        r#"{"type":"bytes","logicalType":"decimal","precision":4294967296}"#,
        r#"{"type":"fixed","name":"D","size":2,"logicalType":"decimal","precision":5}"#,
        r#"{"type":"fixed","name":"U","size":8,"logicalType":"uuid"}"#,
        r#"{"type":"fixed","name":"D","size":8,"logicalType":"duration"}"#,
        r#"{"type":"string","logicalType":"date"}"#,
        r#"{"type":"int","logicalType":"timestamp-millis"}"#,
        r#"{"type":"long","logicalType":"epoch"}"#,
        r#"{"type":"long","logicalType":7}"#,
    ] {
        assert_eq!(logical(json), None, "{json}");
    }
}

#[test]
fn fault_38_references_may_nest_share_and_circle() {
    let root = r#"{"type":"record","name":"Order","namespace":"n","fields":[{"name":"c","type":"n.Customer"},{"name":"a","type":"Address"}]}"#;
    let customer = r#"{"type":"record","name":"Customer","namespace":"n","fields":[{"name":"home","type":"n.Address"},{"name":"last","type":["null","n.Order"]}]}"#;
    let address =
        r#"{"type":"record","name":"Address","namespace":"n","fields":[{"name":"city","type":"string"}]}"#;
    let refer = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    for names in [["n.Customer", "n.Address"], ["customer.avsc", "address.avsc"]] {
        let references = [refer(names[0], customer), refer(names[1], address)];
        let schema = AvroSchema::parse(root, &references).unwrap();
        let Shape::Record(order) = &schema.node(schema.root()).shape else { panic!() };
        let Shape::Record(customer) = &schema.node(order.fields[0].node).shape else { panic!() };
        assert_eq!(customer.fields[0].node, order.fields[1].node);
        assert!(matches!(mapped(&schema), Err(SchemaError::Unsupported { path, .. }) if path == "c.last"));
    }
    // The same definition in two texts is one type, another definition is a conflict.
    let inlined = customer.replace(r#""type":"n.Address""#, &format!(r#""type":{address}"#));
    let texts = [refer("n.Customer", &inlined), refer("n.Address", address)];
    AvroSchema::parse(root, &texts).unwrap();
    let other = address.replace("string", "bytes");
    let texts = [refer("n.Address", &other), refer("n.Customer", &inlined)];
    let error = AvroSchema::parse(root, &texts).unwrap_err();
    assert!(error.to_string().contains("n.Address is defined twice, differently"), "{error}");
    let cyclic = [refer("n.Customer", r#""n.Customer""#), refer("n.Address", address)];
    assert!(AvroSchema::parse(root, &cyclic).unwrap_err().to_string().contains("n.Customer"));
}

#[test]
fn fault_57_types_that_contain_themselves_are_refused_with_the_path() {
    let schema = parse(
        r#"{"type":"record","name":"Tree","fields":[{"name":"leaf","type":"int"},
            {"name":"children","type":{"type":"array","items":["null","Tree"]}}]}"#,
    );
    let error = mapped(&schema).unwrap_err();
    assert!(matches!(&error, SchemaError::Unsupported { path, .. } if path == "children.element"), "{error}");
    assert!(error.to_string().contains("Tree contains itself"));
}

#[test]
fn fault_58_schemas_nested_deep_are_refused() {
    let arrays =
        |depth: usize| format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(depth), "}".repeat(depth));
    mapped(&parse(&arrays(120))).unwrap();
    assert!(refused(&arrays(130)).contains("deeper than 128"));
    refused(&arrays(10_000));
    refused(&"[".repeat(1_000_000));
    // Long chains of names nest nothing in the text.
    let mut chain = vec![r#"{"type":"record","name":"R0","fields":[]}"#.to_owned()];
    chain.extend((1..20_000).map(|n| {
        format!(r#"{{"type":"record","name":"R{n}","fields":[{{"name":"x","type":"R{}"}}]}}"#, n - 1)
    }));
    let text = fields(&chain.iter().map(String::as_str).collect::<Vec<_>>());
    let schema = parse(&text);
    assert!(mapped(&schema).unwrap_err().to_string().contains("deeper than 128"));
    // A reader that shares the last field alone is judged from the long end of the chain.
    let reader = parse(
        &text.replace("\"f", "\"g").replace("\"g19999\"", "\"f19999\"").replace("\"gields", "\"fields"),
    );
    let verdict = super::absorbs(&reader, &schema);
    assert!(
        matches!(&verdict, super::Absorption::Incompatible { why } if why.contains("deeper")),
        "{verdict:.300?}"
    );
}

#[test]
fn fault_59_columns_that_multiply_are_bounded() {
    let mut records = vec![r#"{"type":"record","name":"R0","fields":[]}"#.to_owned()];
    records.extend((1..40).map(|n| {
        let below = n - 1;
        format!(
            r#"{{"type":"record","name":"R{n}","fields":[{{"name":"a","type":"R{below}"}},{{"name":"b","type":"R{below}"}}]}}"#
        )
    }));
    let schema = parse(&fields(&records.iter().map(String::as_str).collect::<Vec<_>>()));
    assert!(mapped(&schema).unwrap_err().to_string().contains("65536 columns"));
    let wide: Vec<&str> = vec![r#""int""#; 5_000];
    assert_eq!(mapped(&parse(&fields(&wide))).unwrap().len(), 5_000);
    assert!(refused(&format!("\"{}\"", "x".repeat(5 << 20))).contains("limit"));
}

#[test]
fn fault_60_names_that_differ_by_case_or_are_reserved_are_renamed() {
    let names = ["Id", "id", "ID", "id_2", "_offset", "_Topic", "ä", "Ä"];
    let listed: Vec<_> = names.iter().map(|name| json!({"name": name, "type": "int"})).collect();
    let inner = json!({"type": "record", "name": "I", "fields": listed});
    let mut all = listed.clone();
    all.push(json!({"name": "inner", "type": inner}));
    let schema = parse(&json!({"type": "record", "name": "R", "fields": all}).to_string());
    let columns = mapped(&schema).unwrap();
    let found: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(found, ["Id", "id_3", "ID_4", "id_2", "_offset_2", "_Topic_2", "ä", "Ä_2", "inner"]);
    let ColumnKind::Record(members) = &columns[8].kind else { panic!() };
    assert_eq!(members[4].name, "_offset", "only top-level columns stand beside those of metadata");
}

#[test]
fn nullability_follows_avro() {
    let schema = parse(&fields(&[
        r#""int""#,
        r#"["null","int"]"#,
        r#"["int","null"]"#,
        r#"["int"]"#,
        r#""null""#,
        r#"["int","string"]"#,
        r#"["null","int",{"type":"record","name":"ns.Int","fields":[]}]"#,
    ]));
    let columns = mapped(&schema).unwrap();
    let nullable: Vec<bool> = columns.iter().map(|column| column.nullable).collect();
    assert_eq!(nullable, [false, true, true, false, true, false, true]);
    let ColumnKind::Union(members) = &columns[6].kind else { panic!() };
    assert_eq!((members[0].name.as_str(), members[1].name.as_str()), ("int", "Int_2"));
    assert!(members.iter().all(|member| member.nullable));
    let forced =
        super::columns(&schema, ColumnOptions { nullable_top_level: true, ..ColumnOptions::default() })
            .unwrap();
    assert!(forced.iter().all(|column| column.nullable));
}

#[test]
fn a_schema_that_is_no_record_becomes_one_column() {
    let arrow = arrow_schema(&parse(r#"["null","string"]"#), ColumnOptions::default()).unwrap();
    assert_eq!(arrow.fields().len(), 1);
    assert_eq!((arrow.field(0).name().as_str(), arrow.field(0).is_nullable()), ("value", true));
    assert_eq!(arrow.field(0).data_type(), &DataType::Utf8);
}

/// `docs/types.md` has a table: each row's schema must become the Arrow and Parquet types that the row says.
#[test]
fn the_table_of_types_is_true() {
    let text = include_str!("../../docs/types.md");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let wrong: Vec<String> = rows.iter().filter_map(|row| corrected(row)).collect();
    assert!(wrong.is_empty(), "these rows should read:\n{}", wrong.join("\n"));
    let chosen = rows.iter().filter(|row| row.matches(" | ").count() == 3).count();
    assert!(
        rows.len() - chosen >= 30 && chosen >= 8,
        "the tables have {} and {chosen} rows",
        rows.len() - chosen
    );
}

/// What the row should say, if that is something else. Rows of four cells begin with a setting of `columns`.
fn corrected(row: &str) -> Option<String> {
    let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    let (setting, avro, arrow_type, parquet_type) = match cells[..] {
        [avro, arrow_type, parquet_type] => (None, avro, arrow_type, parquet_type),
        [setting, avro, arrow_type, parquet_type] => (Some(setting), avro, arrow_type, parquet_type),
        _ => panic!("{row}"),
    };
    let types = match setting.map(|setting| setting.trim_matches('`')) {
        None => ColumnTypes::default(),
        Some("timestamp_nanos: micros") => {
            ColumnTypes { timestamp_nanos: NanosAs::Micros, ..ColumnTypes::default() }
        }
        Some("timestamp_nanos: number") => {
            ColumnTypes { timestamp_nanos: NanosAs::Number, ..ColumnTypes::default() }
        }
        Some("time: number") => ColumnTypes { time: TimeAs::Number, ..ColumnTypes::default() },
        Some("wide_decimal: string") => {
            ColumnTypes { wide_decimal: WideDecimalAs::Text, ..ColumnTypes::default() }
        }
        Some("uuid: uuid") => ColumnTypes { uuid: UuidAs::Uuid, ..ColumnTypes::default() },
        Some(other) => panic!("no such setting: {other}"),
    };
    let schema = parse(&fields(&[avro.trim_matches('`')]));
    let options = ColumnOptions { types, ..ColumnOptions::default() };
    let schema = arrow_schema(&schema, options).unwrap_or_else(|error| panic!("{row}: {error}"));
    let parquet = crate::encode::parquet_schema(&schema).unwrap();
    let mut printed = Vec::new();
    parquet::schema::printer::print_schema(&mut printed, parquet.root_schema());
    let printed = String::from_utf8(printed).unwrap();
    let printed: Vec<&str> = printed.split_whitespace().collect();
    // Without the message around it and the name of the column.
    let printed = printed[3..printed.len() - 1].join(" ").replace(" f0", "");
    let parquet = format!("`{}`", printed.trim_end_matches(';'));
    let arrow = format!("`{}`", spell(schema.field(0).data_type()));
    (arrow != arrow_type || parquet != parquet_type).then(|| {
        let setting = setting.map_or(String::new(), |setting| format!("| {setting} "));
        format!("{setting}| {avro} | {arrow} | {parquet} |")
    })
}

/// Arrow's own spelling is too long for a table.
fn spell(data_type: &DataType) -> String {
    match data_type {
        DataType::Struct(members) => {
            let members = members.iter().map(|member| {
                format!(
                    "{}{}: {}",
                    member.name(),
                    if member.is_nullable() { "?" } else { "" },
                    spell(member.data_type())
                )
            });
            format!("Struct<{}>", members.collect::<Vec<_>>().join(", "))
        }
        DataType::List(item) => {
            format!(
                "List<{}{}: {}>",
                item.name(),
                if item.is_nullable() { "?" } else { "" },
                spell(item.data_type())
            )
        }
        DataType::Map(entry, _) => format!("Map<{}: {}>", entry.name(), spell(entry.data_type())),
        DataType::Timestamp(unit, zone) => {
            format!("Timestamp({unit:?}, {})", zone.as_deref().unwrap_or("None"))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn a_full_name_in_a_reference_goes_before_a_plain_name() {
    let fixed = |name: &str, size: usize| format!(r#"{{"type":"fixed","name":"{name}","size":{size}}}"#);
    // The plain name is known by the time the other is mentioned; the full one is in a reference not read yet.
    let json = format!(
        r#"{{"type":"record","name":"a.R","fields":[{{"name":"plain","type":{}}},{{"name":"full","type":"T"}}]}}"#,
        r#"{"type":"fixed","name":"T","namespace":"","size":1}"#
    );
    let references = [("a.T".to_owned(), fixed("a.T", 2))];
    let schema = AvroSchema::parse(&json, &references).unwrap();
    let sizes: Vec<DataType> =
        mapped(&schema).unwrap().iter().map(|column| column.kind.data_type()).collect();
    assert_eq!(sizes, [DataType::FixedSizeBinary(1), DataType::FixedSizeBinary(2)]);
    let alone = AvroSchema::parse(&json, &[]).unwrap();
    assert_eq!(
        mapped(&alone).unwrap()[1].kind.data_type(),
        DataType::FixedSizeBinary(1),
        "else the plain name"
    );
}

#[test]
fn fault_59_many_columns_of_one_name_are_renamed_in_one_go() {
    let cased =
        |number: usize| (0..16).map(|bit| if number >> bit & 1 == 0 { 'a' } else { 'A' }).collect::<String>();
    let fields: Vec<String> =
        (0..20_000).map(|number| format!(r#"{{"name":"{}","type":"int"}}"#, cased(number))).collect();
    let json = format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, fields.join(","));
    let columns = mapped(&AvroSchema::parse(&json, &[]).unwrap()).unwrap();
    assert_eq!(columns[0].name, cased(0));
    for number in [1, 2, 19_999] {
        assert_eq!(columns[number].name, format!("{}_{}", cased(number), number + 1));
    }
}

#[test]
fn fault_38_references_are_found_under_any_name_and_without_a_namespace() {
    let fixed = r#"{"type":"fixed","name":"other.T","size":2}"#;
    let listed = |name: &str, text: &str| vec![(name.to_owned(), text.to_owned())];
    assert!(AvroSchema::parse(r#""other.T""#, &listed("some file", fixed)).is_ok());
    let plain = r#"{"type":"fixed","name":"T","size":2}"#;
    let record = r#"{"type":"record","name":"n.R","fields":[{"name":"f","type":"T"}]}"#;
    assert!(AvroSchema::parse(record, &listed("T", plain)).is_ok());
    assert!(AvroSchema::parse(record, &listed("T", fixed)).is_err(), "neither n.T nor T");
}

#[test]
fn fault_53_bytes_that_are_called_uuids_are_not_text() {
    let schema = parse(r#"{"type":"bytes","logicalType":"uuid"}"#);
    assert_eq!(mapped(&schema).unwrap()[0].kind, ColumnKind::Binary);
}

#[test]
fn a_column_of_whole_values_may_be_null() {
    let column = whole_column(&parse(r#""int""#), "_key", ColumnOptions::default()).unwrap();
    assert!(column.nullable);
}

#[test]
fn a_refusal_quotes_only_so_much_of_a_schema() {
    let symbol = "ü".repeat(100_000);
    let reason =
        refused(&format!(r#"["null",{{"type":"enum","name":"E","symbols":["{symbol}","{symbol}"]}},5]"#));
    assert!(reason.len() < 2_000, "{} bytes", reason.len());
    let reason = refused(&format!(r#""{symbol}""#));
    assert!(reason.len() < 2_000 && reason.contains('…'), "{} bytes", reason.len());
}
