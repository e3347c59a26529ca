//! Owns the parsing canonical form of a schema and its CRC-64-AVRO fingerprint (Avro 1.12, "Parsing Canonical Form for
//! Schemas" and "Schema Fingerprints"). Does not own who looks a fingerprint up.

use super::model::{AvroSchema, Name, NodeId, Shape};

/// Also the fingerprint of nothing.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

impl AvroSchema {
    /// The schema with everything left out that does not matter for reading data, always in the same words: what
    /// Avro's fingerprints are made of.
    #[must_use]
    pub fn canonical_form(&self) -> String {
        let mut form = Form { schema: self, written: vec![false; self.node_count()], text: String::new() };
        form.value(self.root());
        form.text
    }

    /// CRC-64-AVRO of the canonical form, as the single-object encoding carries it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        crc64(self.canonical_form().as_bytes())
    }
}

struct Form<'s> {
    schema: &'s AvroSchema,
    /// Named types that are in the text already: the second time their name is enough.
    written: Vec<bool>,
    text: String,
}

impl Form<'_> {
    fn value(&mut self, id: NodeId) {
        let node = self.schema.node(id);
        if let Some((name, _)) = node.names()
            && std::mem::replace(&mut self.written[id.index()], true)
        {
            return self.quoted(name.full());
        }
        match &node.shape {
            Shape::Array(items) => {
                self.text.push_str(r#"{"type":"array","items":"#);
                self.value(*items);
                self.text.push('}');
            }
            Shape::Map(values) => {
                self.text.push_str(r#"{"type":"map","values":"#);
                self.value(*values);
                self.text.push('}');
            }
            Shape::Union(branches) => {
                self.text.push('[');
                self.each(branches, |form, branch| form.value(*branch));
                self.text.push(']');
            }
            Shape::Record(record) => {
                self.named(&record.name, "record", "fields");
                self.text.push('[');
                self.each(&record.fields, |form, field| {
                    form.text.push_str(r#"{"name":"#);
                    form.quoted(&field.name);
                    form.text.push_str(r#","type":"#);
                    form.value(field.node);
                    form.text.push('}');
                });
                self.text.push_str("]}");
            }
            Shape::Enum(symbols) => {
                self.named(&symbols.name, "enum", "symbols");
                self.text.push('[');
                self.each(&symbols.symbols, |form, symbol| form.quoted(symbol));
                self.text.push_str("]}");
            }
            Shape::Fixed(fixed) => {
                self.named(&fixed.name, "fixed", "size");
                self.text.push_str(&fixed.size.to_string());
                self.text.push('}');
            }
            primitive => self.quoted(primitive.word()),
        }
    }

    /// Name and type of a definition, up to the value of its last attribute.
    fn named(&mut self, name: &Name, word: &str, last: &str) {
        self.text.push_str(r#"{"name":"#);
        self.quoted(name.full());
        for part in [r#","type":""#, word, r#"",""#, last, r#"":"#] {
            self.text.push_str(part);
        }
    }

    fn each<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            write(self, item);
        }
    }

    fn quoted(&mut self, text: &str) {
        self.text.push_str(&serde_json::Value::from(text).to_string());
    }
}

fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(EMPTY, |hash, byte| (hash >> 8) ^ TABLE[usize::from((hash as u8) ^ byte)])
}

static TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut hash = at as u64;
        let mut bit = 0;
        while bit < 8 {
            hash = (hash >> 1) ^ (EMPTY & 0_u64.wrapping_sub(hash & 1));
            bit += 1;
        }
        table[at] = hash;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use apache_avro::Schema;
    use apache_avro::rabin::Rabin;

    use super::*;

    fn parse(json: &str) -> AvroSchema {
        AvroSchema::parse(json, &[]).unwrap()
    }

    #[test]
    fn the_forms_of_the_specification_come_out() {
        for (json, form) in [
            (r#""int""#, r#""int""#),
            (r#"{"type":"int","logicalType":"date"}"#, r#""int""#),
            (r#"{"type":["null",{"type":"string"}]}"#, r#"["null","string"]"#),
            (
                r#"{"name":"a.F","size":12,"type":"fixed","doc":"x"}"#,
                r#"{"name":"a.F","type":"fixed","size":12}"#,
            ),
            (
                r#"{"type":"record","namespace":"n","name":"R","doc":"d","aliases":["Q"],"fields":[
                    {"type":{"type":"array","items":"R"},"name":"a","default":[],"order":"ignore"},
                    {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"],"default":"A"}},
                    {"name":"f","type":["null","n.E"]}]}"#,
                r#"{"name":"n.R","type":"record","fields":[{"name":"a","type":{"type":"array","items":"n.R"}},{"name":"e","type":{"name":"n.E","type":"enum","symbols":["A","B"]}},{"name":"f","type":["null","n.E"]}]}"#,
            ),
        ] {
            assert_eq!(parse(json).canonical_form(), form);
        }
    }

    #[test]
    fn fingerprints_are_those_of_apache_avro() {
        for json in [
            r#""null""#,
            r#"{"type":"map","values":{"type":"array","items":["null","double"]}}"#,
            r#"{"type":"fixed","name":"a.b.F","size":16}"#,
            r#"{"type":"record","name":"R","namespace":"n","fields":[{"name":"x","type":"long"},
                {"name":"y","type":{"type":"record","name":"S","fields":[{"name":"z","type":"bytes"}]}},
                {"name":"w","type":["null","S"]}]}"#,
        ] {
            let oracle = Schema::parse_str(json).unwrap();
            let ours = parse(json);
            assert_eq!(ours.canonical_form(), oracle.canonical_form());
            let hash = oracle.fingerprint::<Rabin>();
            assert_eq!(ours.fingerprint().to_le_bytes(), hash.bytes[..], "{json}");
        }
        // From the specification's reference implementation.
        assert_eq!(parse(r#""null""#).fingerprint(), 0x63dd_24e7_cc25_8f8a);
        assert_eq!(parse(r#""int""#).fingerprint(), 0x7275_d51a_3f39_5c8f);
    }

    #[test]
    fn a_type_that_contains_itself_ends() {
        let json = r#"{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}"#;
        assert!(parse(json).canonical_form().ends_with(r#""type":["null","R"]}]}"#));
    }
}
