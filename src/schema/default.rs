//! Owns the way from a default in a schema (JSON) to a datum (Avro binary encoding), so that a missing field is read
//! by the same code as a written one.

use serde_json::Value;

use super::model::{AvroSchema, NodeId, Shape};

/// Values inside values.
const MAX_DEPTH: usize = 128;
/// Values of a default in all, attempts at union branches included. A record's default may leave its fields to their
/// own defaults, so the size of the text is no bound.
const MAX_VALUES: usize = 100_000;
/// Bytes of a default with a fixed in it, whose size is just a number in the schema.
const MAX_BYTES: usize = 4 << 20;

/// Encodes `value` as a datum of type `node` (Avro 1.12, "field default values").
///
/// # Errors
/// What does not fit, in words, when the default is no value of the type.
pub(crate) fn encode_default(schema: &AvroSchema, node: NodeId, value: &Value) -> Result<Vec<u8>, String> {
    let mut encoder = Encoder { schema, out: Vec::new(), values: 0, depth: 0, as_it_is: false };
    encoder.value(node, value)?;
    Ok(encoder.out)
}

struct Encoder<'s> {
    schema: &'s AvroSchema,
    out: Vec<u8>,
    values: usize,
    depth: usize,
    /// Text is no number.
    as_it_is: bool,
}

impl Encoder<'_> {
    fn value(&mut self, node: NodeId, value: &Value) -> Result<(), String> {
        self.values += 1;
        if self.depth == MAX_DEPTH || self.values > MAX_VALUES {
            return Err("default is too large or nests too deeply".to_owned());
        }
        self.depth += 1;
        let outcome = match self.schema.node(node).shape {
            Shape::Array(_) | Shape::Map(_) | Shape::Union(_) | Shape::Record(_) => self.nested(node, value),
            _ => self.leaf(node, value),
        };
        self.depth -= 1;
        outcome
    }

    fn leaf(&mut self, node: NodeId, value: &Value) -> Result<(), String> {
        let (schema, out) = (self.schema, &mut self.out);
        let misfit = || misfit(schema, node, value);
        let float = |value: &Value| if self.as_it_is { value.as_f64() } else { float(value) };
        match &schema.node(node).shape {
            Shape::Null if value.is_null() => {}
            Shape::Boolean => out.push(u8::from(value.as_bool().ok_or_else(misfit)?)),
            Shape::Int => {
                let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
                long(i64::from(number.ok_or_else(misfit)?), out);
            }
            Shape::Long => long(value.as_i64().ok_or_else(misfit)?, out),
            Shape::Float => out.extend((float(value).ok_or_else(misfit)? as f32).to_le_bytes()),
            Shape::Double => out.extend(float(value).ok_or_else(misfit)?.to_le_bytes()),
            Shape::String => sized(value.as_str().ok_or_else(misfit)?.as_bytes(), out),
            Shape::Bytes => sized(&latin(value).ok_or_else(misfit)?, out),
            Shape::Fixed(fixed) => {
                // As Java does, too short ones are filled up with zeros and too long ones cut.
                let mut bytes = latin(value).ok_or_else(misfit)?;
                if out.len() + fixed.size > MAX_BYTES {
                    return Err(format!("default takes more than {MAX_BYTES} bytes"));
                }
                bytes.resize(fixed.size, 0);
                out.extend(bytes);
            }
            Shape::Enum(declared) => {
                let symbol = value.as_str().ok_or_else(misfit)?;
                let index = declared.symbols.iter().position(|known| known == symbol).ok_or_else(misfit)?;
                long(index as i64, out);
            }
            _ => return Err(misfit()),
        }
        Ok(())
    }

    fn nested(&mut self, node: NodeId, value: &Value) -> Result<(), String> {
        let schema = self.schema;
        let misfit = || misfit(schema, node, value);
        match &schema.node(node).shape {
            Shape::Array(items) => {
                let list = value.as_array().ok_or_else(misfit)?;
                block(list.len(), &mut self.out);
                list.iter().try_for_each(|item| self.value(*items, item))?;
                long(0, &mut self.out);
            }
            Shape::Map(values) => {
                let entries = value.as_object().ok_or_else(misfit)?;
                block(entries.len(), &mut self.out);
                for (key, value) in entries {
                    sized(key.as_bytes(), &mut self.out);
                    self.value(*values, value)?;
                }
                long(0, &mut self.out);
            }
            Shape::Union(branches) => {
                // 1.12: the first branch that the value fits; before, the first branch alone. Text that spells a number is
                // one only where nothing takes it for text.
                let outer = std::mem::replace(&mut self.as_it_is, true);
                let found = self.branch(branches, value)
                    || (!outer && {
                        self.as_it_is = false;
                        self.branch(branches, value)
                    });
                self.as_it_is = outer;
                if !found {
                    return Err(misfit());
                }
            }
            Shape::Record(record) => {
                let given = value.as_object().ok_or_else(misfit)?;
                for field in &record.fields {
                    let value = given.get(&field.name).or(field.default.as_ref());
                    let value =
                        value.ok_or_else(|| format!("default {} lacks field {}", record.name, field.name))?;
                    self.value(field.node, value)?;
                }
            }
            _ => return Err(misfit()),
        }
        Ok(())
    }

    /// Whether some branch takes the value; it is encoded then.
    fn branch(&mut self, branches: &[NodeId], value: &Value) -> bool {
        let start = self.out.len();
        for (index, branch) in branches.iter().enumerate() {
            long(index as i64, &mut self.out);
            if self.value(*branch, value).is_ok() {
                return true;
            }
            self.out.truncate(start);
        }
        false
    }
}

fn misfit(schema: &AvroSchema, node: NodeId, value: &Value) -> String {
    format!("default {value} is not of type {}", schema.node(node).word())
}

/// JSON has no NaN and no infinities: writers spell them as strings, and Java takes any number so spelled.
fn float(value: &Value) -> Option<f64> {
    match value.as_str() {
        None => value.as_f64(),
        Some("NaN") => Some(f64::NAN),
        Some("Infinity" | "INF") => Some(f64::INFINITY),
        Some("-Infinity" | "-INF") => Some(f64::NEG_INFINITY),
        Some(text) => text.parse().ok(),
    }
}

/// Bytes are spelled as the characters of the same numbers.
fn latin(value: &Value) -> Option<Vec<u8>> {
    value.as_str()?.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect()
}

fn block(count: usize, out: &mut Vec<u8>) {
    if count > 0 {
        long(count as i64, out);
    }
}

fn sized(bytes: &[u8], out: &mut Vec<u8>) {
    long(bytes.len() as i64, out);
    out.extend(bytes);
}

fn long(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(schema: &str, default: &str) -> Result<Vec<u8>, String> {
        let schema = AvroSchema::parse(schema, &[]).unwrap();
        encode_default(&schema, schema.root(), &serde_json::from_str(default).unwrap())
    }

    fn record(field: &str) -> String {
        format!(r#"{{"type":"record","name":"R","fields":[{field}]}}"#)
    }

    #[test]
    fn each_default_is_its_datum() {
        let fixed = r#"{"type":"fixed","name":"F","size":3}"#;
        let lists = r#"[{"type":"array","items":"int"},{"type":"map","values":"int"},"string"]"#;
        let with_defaults = record(r#"{"name":"a","type":"int","default":7},{"name":"b","type":"boolean"}"#);
        for (schema, default, datum) in [
            (r#""null""#, "null", &[][..]),
            (r#""int""#, "-1", &[1]),
            (r#""int""#, "2147483647", &[0xFE, 0xFF, 0xFF, 0xFF, 0x0F]),
            (r#""long""#, "-9223372036854775808", &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
            (r#""bytes""#, r#""\u00ff\u0000""#, &[4, 0xFF, 0]),
            (fixed, r#""abc""#, b"abc"),
            // As Java has it.
            (fixed, r#""a""#, b"a\0\0"),
            (fixed, r#""abcd""#, b"abc"),
            (r#"{"type":"array","items":"int"}"#, "[]", &[0]),
            (r#"{"type":"array","items":"int"}"#, "[1,2]", &[4, 2, 4, 0]),
            (r#"{"type":"map","values":"int"}"#, r#"{"k":1}"#, &[2, 2, b'k', 2, 0]),
            (r#"["null","int"]"#, "5", &[2, 10]),
            // Nothing of the first branch, which takes the list but not its item, is left.
            (
                r#"[{"type":"array","items":"int"},{"type":"map","values":"int"},"string"]"#,
                r#""x""#,
                &[4, 2, b'x'],
            ),
            (
                r#"[{"type":"map","values":"int"},{"type":"record","name":"R","fields":[{"name":"k","type":"string"}]}]"#,
                r#"{"k":"v"}"#,
                &[2, 2, b'v'],
            ),
            (lists, r#"{"k":3}"#, &[2, 2, 2, b'k', 6, 0]),
            // Text that spells a number is text where a branch takes it so.
            (r#"["double","string"]"#, r#""1.5""#, &[2, 6, b'1', b'.', b'5']),
            (r#"["null","double"]"#, r#""1.5""#, &[2, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F]),
            (&with_defaults, r#"{"b":true}"#, &[14, 1]),
            (&with_defaults, r#"{"a":1,"b":false}"#, &[2, 0]),
        ] {
            assert_eq!(encoded(schema, default).as_deref(), Ok(datum), "{schema} {default}");
        }
    }

    #[test]
    fn what_is_no_value_of_the_type_is_refused() {
        for (schema, default) in [
            (r#""null""#, "5"),
            (r#""int""#, "2147483648"),
            (r#""long""#, "9223372036854775808"),
            (r#""int""#, "1.5"),
            (r#""boolean""#, "1"),
            (r#""bytes""#, r#""\u0100""#),
            (r#"["null","int"]"#, r#""x""#),
            (r#"{"type":"enum","name":"E","symbols":["A"]}"#, r#""B""#),
            (r#"{"type":"array","items":"int"}"#, "{}"),
            (&record(r#"{"name":"a","type":"int"}"#), "{}"),
        ] {
            assert!(encoded(schema, default).is_err(), "{schema} {default}");
        }
    }

    #[test]
    fn fault_48_defaults_beyond_reason_are_refused() {
        let list = |values: usize| format!("[{}]", vec!["0"; values].join(","));
        let ints = r#"{"type":"array","items":"int"}"#;
        assert!(encoded(ints, &list(MAX_VALUES - 1)).is_ok());
        assert!(encoded(ints, &list(MAX_VALUES)).unwrap_err().contains("too large"));

        // A record and a union a level.
        let chain = record(r#"{"name":"next","type":["null","R"],"default":null}"#);
        let nested = |levels: usize| {
            format!("{}{}", r#"{"next":"#.repeat(levels), "null".to_owned() + &"}".repeat(levels))
        };
        assert!(encoded(&chain, &nested(MAX_DEPTH / 2 - 1)).is_ok());
        assert!(encoded(&chain, &nested(MAX_DEPTH / 2 + 1)).is_err());

        let fixed = |size: usize| format!(r#"{{"type":"fixed","name":"F","size":{size}}}"#);
        assert_eq!(encoded(&fixed(MAX_BYTES), r#""""#).unwrap().len(), MAX_BYTES);
        assert!(encoded(&fixed(MAX_BYTES + 1), r#""""#).unwrap_err().contains("bytes"));
    }
}
