//! A record as shops have them: nested, nullable, logical types.

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Int32Type, TimestampMillisecondType};

use super::{layout, same, schema};
use crate::decode::{BatchBuilder, DecodePlan};
use crate::schema::ColumnOptions;

const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
  {"name":"order_id","type":{"type":"string","logicalType":"uuid"}},
  {"name":"customer_id","type":"long"},
  {"name":"status","type":{"type":"enum","name":"Status","symbols":["NEW","PAID","SENT"]}},
  {"name":"email","type":["null","string"],"default":null},
  {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
  {"name":"created_at","type":{"type":"long","logicalType":"timestamp-millis"}},
  {"name":"shipping","type":["null",{"type":"record","name":"Address","fields":[
     {"name":"street","type":"string"},{"name":"city","type":"string"},{"name":"country","type":"string"}]}]},
  {"name":"items","type":{"type":"array","items":{"type":"record","name":"Item","fields":[
     {"name":"sku","type":"string"},{"name":"quantity","type":"int"}]}}},
  {"name":"note","type":["null","string"]}]}"#;

fn order(number: i64) -> Vec<u8> {
    let text = |text: &str| Value::String(text.to_owned());
    let some = |value: Value| Value::Union(1, Box::new(value));
    let item = |index: i64| {
        Value::Record(vec![
            ("sku".into(), text(&format!("SKU-{:08}", number * 7 + index))),
            ("quantity".into(), Value::Int(index as i32 + 1)),
        ])
    };
    let shipping = Value::Record(vec![
        ("street".into(), text(&format!("{number} Long Street"))),
        ("city".into(), text("Göteborg")),
        ("country".into(), text("SE")),
    ]);
    let null = Value::Union(0, Box::new(Value::Null));
    let value = Value::Record(vec![
        ("order_id".into(), text(&format!("00112233-4455-6677-8899-{number:012}"))),
        ("customer_id".into(), Value::Long(number * 31)),
        (
            "status".into(),
            Value::Enum((number % 3) as u32, ["NEW", "PAID", "SENT"][number as usize % 3].into()),
        ),
        ("email".into(), some(text(&format!("customer-{number}@example.com")))),
        ("amount".into(), Value::Bytes(((number * 100 + 99) as i32).to_be_bytes().to_vec())),
        ("created_at".into(), Value::Long(1_790_000_000_000 + number)),
        ("shipping".into(), if number % 4 == 3 { null.clone() } else { some(shipping) }),
        ("items".into(), Value::Array((0..number % 4).map(item).collect())),
        (
            "note".into(),
            if number % 2 == 0 { null } else { some(text("leave it at the door, please, thanks")) },
        ),
    ]);
    // The oracle refuses plain values for logical types, which share their encoding.
    let plain = ORDER
        .replace(r#","logicalType":"uuid""#, "")
        .replace(r#","logicalType":"decimal","precision":12,"scale":2"#, "");
    let plain = plain.replace(r#","logicalType":"timestamp-millis""#, "");
    let plain = apache_avro::Schema::parse_str(&plain).unwrap();
    GenericDatumWriter::builder(&plain).build().unwrap().write_value_to_vec(value).unwrap()
}

#[test]
fn orders_become_columns() {
    let (plan, mut batch) = same(ORDER);
    for number in 0..10 {
        plan.decode(&mut batch, &order(number)).unwrap();
    }
    assert!(batch.bytes() > 1_000);
    let batch = batch.finish();
    assert_eq!(batch.num_rows(), 10);
    assert_eq!(batch.column(2).as_string::<i32>().value(4), "PAID");
    assert_eq!(batch.column(4).as_primitive::<Decimal128Type>().value(3), 399);
    assert_eq!(batch.column(5).as_primitive::<TimestampMillisecondType>().value(1), 1_790_000_000_001);
    let shipping = batch.column(6).as_struct();
    assert!(shipping.is_null(3) && shipping.is_valid(4));
    assert_eq!(shipping.column(1).as_string::<i32>().value(4), "Göteborg");
    let items = batch.column(7).as_list::<i32>().value(3);
    assert_eq!(items.as_struct().column(1).as_primitive::<Int32Type>().values(), &[1, 2, 3]);
    assert_eq!(batch.column(8).null_count(), 5);
}

#[test]
fn a_finished_batch_starts_anew() {
    let (plan, mut batch) = same(ORDER);
    plan.decode(&mut batch, &order(1)).unwrap();
    let first = batch.finish();
    assert_eq!((batch.rows(), batch.finish().num_rows()), (0, 0));
    plan.decode(&mut batch, &order(1)).unwrap();
    assert_eq!(batch.finish(), first);
}

#[test]
fn fault_43_a_tombstone_can_be_a_row_of_nulls() {
    let options = ColumnOptions { nullable_top_level: true, ..ColumnOptions::default() };
    let layout = crate::decode::ColumnLayout::new(schema(ORDER), options).unwrap();
    let plan = DecodePlan::compile(&schema(ORDER), &layout).unwrap();
    let mut batch = BatchBuilder::new(&layout);
    plan.decode(&mut batch, &order(1)).unwrap();
    batch.append_null_row();
    plan.decode(&mut batch, &order(3)).unwrap();
    assert!(plan.decode(&mut batch, &order(3)[1..]).is_err());
    let batch = batch.finish();
    assert_eq!(batch.num_rows(), 3);
    assert!(batch.columns().iter().all(|column| column.is_null(1)));
    assert!(batch.column(0).is_valid(0) && batch.column(0).is_valid(2));
}

#[test]
#[should_panic(expected = "may all be null")]
fn a_row_of_nulls_needs_nullable_columns() {
    BatchBuilder::new(&layout(ORDER)).append_null_row();
}
