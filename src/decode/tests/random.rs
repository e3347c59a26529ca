//! Random schemas, values and bytes from a seed, so that a failure can be had again.

use apache_avro::types::Value;
use serde_json::{Value as Json, json};

use crate::schema::{AvroSchema, Logical, NodeId, Shape};

/// A xorshift generator: small, good enough, the same everywhere.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }

    pub(super) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Of any width, and often at an edge.
    fn long(&mut self) -> i64 {
        let wide = self.next() as i64 >> self.below(64);
        self.pick(&[0, -1, i64::MAX, i64::MIN, wide, wide, wide, wide])
    }

    fn text(&mut self) -> String {
        let letters = ['a', 'Z', '0', ' ', 'é', '漢', '🦀', '\0'];
        let length = self.below(12);
        (0..length).map(|_| self.pick(&letters)).collect()
    }
}

/// A random record schema.
pub(super) fn schema(random: &mut Random) -> Json {
    let mut names = 0;
    record(random, 4, &mut names)
}

fn record(random: &mut Random, depth: usize, names: &mut usize) -> Json {
    let name = name(names);
    let count = random.below(6);
    let fields: Vec<Json> = (0..count)
        .map(|index| json!({"name": format!("f{index}"), "type": any(random, depth - 1, names, true)}))
        .collect();
    json!({"type": "record", "name": name, "fields": fields})
}

fn name(names: &mut usize) -> String {
    *names += 1;
    format!("N{names}")
}

fn any(random: &mut Random, depth: usize, names: &mut usize, union: bool) -> Json {
    match random.below(if depth == 0 { 7 } else { 14 }) {
        0..4 => leaf(random, names),
        4..7 => logical(random, names),
        7 | 8 => record(random, depth, names),
        9 => json!({"type": "array", "items": any(random, depth - 1, names, true)}),
        10 => json!({"type": "map", "values": any(random, depth - 1, names, true)}),
        11 | 12 if union => {
            let value = any(random, depth - 1, names, false);
            if value == "null" {
                return json!(["null"]);
            }
            if random.below(2) == 0 { json!(["null", value]) } else { json!([value, "null"]) }
        }
        _ if union => {
            let mut branches: Vec<Json> = Vec::new();
            let candidates =
                [json!("null"), json!("int"), json!("string"), json!({"type": "array", "items": "long"})];
            for candidate in candidates {
                if random.below(2) == 0 {
                    branches.push(candidate);
                }
            }
            branches.push(record(random, depth, names));
            branches.push(record(random, depth, names));
            json!(branches)
        }
        _ => leaf(random, names),
    }
}

fn leaf(random: &mut Random, names: &mut usize) -> Json {
    match random.below(10) {
        0 => json!({"type": "enum", "name": name(names), "symbols": ["A", "B", "C"]}),
        1 => json!({"type": "fixed", "name": name(names), "size": random.below(20)}),
        kind => {
            let words = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
            json!(words[kind - 2])
        }
    }
}

fn logical(random: &mut Random, names: &mut usize) -> Json {
    let fixed = |names: &mut usize, size: usize, word: &str| json!({"type": "fixed", "name": name(names), "size": size, "logicalType": word});
    let precision = random.pick(&[1, 9, 18, 38, 39, 76]);
    let scale = random.below(precision + 1);
    match random.below(9) {
        0 => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        1 => {
            let mut decimal = fixed(names, 32, "decimal");
            decimal["precision"] = json!(precision);
            decimal["scale"] = json!(scale);
            decimal
        }
        2 => json!({"type": "string", "logicalType": "uuid"}),
        3 => fixed(names, 16, "uuid"),
        4 => fixed(names, 12, "duration"),
        5 => json!({"type": "int", "logicalType": random.pick(&["date", "time-millis"])}),
        _ => {
            let words = [
                "time-micros",
                "timestamp-millis",
                "timestamp-micros",
                "timestamp-nanos",
                "local-timestamp-millis",
                "local-timestamp-micros",
                "local-timestamp-nanos",
            ];
            json!({"type": "long", "logicalType": random.pick(&words)})
        }
    }
}

/// A random later version of a record schema: top-level fields go, come with a default, move, become nullable or wider.
pub(super) fn evolve(random: &mut Random, schema: &Json) -> Json {
    let mut fields: Vec<Json> = Vec::new();
    for field in schema["fields"].as_array().unwrap() {
        let mut field = field.clone();
        match random.below(5) {
            0 => continue,
            1 if field["type"] != "null" && !field["type"].is_array() => {
                field["type"] = json!(["null", field["type"]]);
            }
            2 if field["type"] == "int" => field["type"] = json!("long"),
            2 if field["type"] == "float" => field["type"] = json!("double"),
            _ => {}
        }
        fields.insert(random.below(fields.len() + 1), field);
    }
    if random.below(2) == 0 {
        let at = random.below(fields.len() + 1);
        fields.insert(at, json!({"name": "n1", "type": ["null", "string"], "default": null}));
        fields
            .push(json!({"name": "n2", "type": {"type": "array", "items": "string"}, "default": ["a", "é"]}));
    }
    json!({"type": "record", "name": schema["name"], "fields": fields})
}

/// A random value in the form in which the oracle writes it by the schema without its logical types.
pub(super) fn value(random: &mut Random, schema: &AvroSchema, node: NodeId) -> Value {
    let node = schema.node(node);
    match (&node.shape, node.logical) {
        (Shape::Null, _) => Value::Null,
        (Shape::Boolean, _) => Value::Boolean(random.below(2) == 1),
        (Shape::Int, Some(Logical::TimeMillis)) => Value::Int(random.below(86_400_000) as i32),
        (Shape::Int, _) => Value::Int(random.long() as i32),
        (Shape::Long, Some(Logical::TimeMicros)) => Value::Long(random.below(86_400_000_000) as i64),
        (Shape::Long, _) => Value::Long(random.long()),
        (Shape::Float, _) => {
            let any = f32::from_bits(random.next() as u32);
            Value::Float(random.pick(&[f32::NAN, f32::INFINITY, -0.0, 1.5, any]))
        }
        (Shape::Double, _) => {
            let any = f64::from_bits(random.next());
            Value::Double(random.pick(&[f64::NAN, f64::NEG_INFINITY, -0.0, 1.5, any]))
        }
        (Shape::Bytes, Some(Logical::Decimal { precision, .. })) => {
            let length = 1 + random.below(precision / 3 + 1);
            Value::Bytes(decimal(random, precision, length))
        }
        (Shape::Bytes, _) => {
            let length = random.below(20);
            Value::Bytes(random.bytes(length))
        }
        (Shape::String, Some(Logical::Uuid)) => {
            let number = random.next();
            Value::String(format!("{:08x}-aaaa-bbbb-cccc-{:012x}", number >> 32, number & 0xFFFF_FFFF))
        }
        (Shape::String, _) => Value::String(random.text()),
        (Shape::Fixed(fixed), Some(Logical::Decimal { precision, .. })) => {
            Value::Fixed(fixed.size, decimal(random, precision, fixed.size))
        }
        (Shape::Fixed(fixed), _) => Value::Fixed(fixed.size, random.bytes(fixed.size)),
        (Shape::Enum(declared), _) => {
            let index = random.below(declared.symbols.len());
            Value::Enum(index as u32, declared.symbols[index].clone())
        }
        (Shape::Array(items), _) => {
            let count = random.below(5);
            Value::Array((0..count).map(|_| value(random, schema, *items)).collect())
        }
        (Shape::Map(values), _) => {
            let count = random.below(4);
            Value::Map((0..count).map(|_| (random.text(), value(random, schema, *values))).collect())
        }
        (Shape::Union(branches), _) => {
            let index = random.below(branches.len());
            Value::Union(index as u32, Box::new(value(random, schema, branches[index])))
        }
        (Shape::Record(record), _) => {
            let fields = record.fields.iter();
            Value::Record(fields.map(|f| (f.name.clone(), value(random, schema, f.node))).collect())
        }
    }
}

/// Two's complement in `length` bytes, within `precision` digits: a random head would often be too large.
fn decimal(random: &mut Random, precision: usize, length: usize) -> Vec<u8> {
    let safe = (((precision as f64) * std::f64::consts::LOG2_10).floor() as usize / 8).min(length);
    let tail = random.bytes(safe);
    let sign = match tail.first() {
        Some(first) if first & 0x80 != 0 => 0xFF,
        _ => 0,
    };
    let mut bytes = vec![sign; length - safe];
    bytes.extend(tail);
    bytes
}

/// `bytes` with something wrong: bits flipped, an end cut off, bytes put in or taken out.
pub(super) fn mutate(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.pick(&[0x00, 0x01, 0x7F, 0x80, 0xFF])),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => bytes.push(random.next() as u8),
        }
    }
    bytes
}
