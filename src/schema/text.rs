//! Owns writing a schema as text: in the parsing canonical form (Avro 1.12, "Parsing Canonical Form for Schemas"), and
//! whole, with everything that reading data can depend on. Does not own fingerprints.

use std::fmt::Write;

use serde_json::Value;

use super::model::{AvroSchema, EnumType, FixedType, Logical, Name, NodeId, RecordType, Shape, TimeUnit};

impl AvroSchema {
    /// The schema with everything left out that does not matter for reading data, always in the same words: what
    /// Avro's fingerprints are made of.
    #[must_use]
    pub fn canonical_form(&self) -> String {
        Form::write(self, false)
    }

    /// The schema in one text that needs no other: with aliases, defaults and logical types, each named type where it
    /// is mentioned first. Documentation and attributes of no meaning to Avro are left out.
    #[must_use]
    pub fn self_contained(&self) -> String {
        Form::write(self, true)
    }
}

/// Types may refer to each other in a chain as long as a text, so what is still to be written is a list of its own
/// rather than calls inside calls.
struct Form<'s> {
    schema: &'s AvroSchema,
    /// With what the canonical form leaves out.
    whole: bool,
    /// Named types that are in the text already: the second time their name is enough.
    written: Vec<bool>,
    /// What comes next, last first.
    to_come: Vec<Part<'s>>,
    text: String,
}

enum Part<'s> {
    /// A type inside something of this namespace.
    Type(NodeId, &'s str),
    Text(&'static str),
    /// A field of a record up to its type, and what comes behind it.
    Field(&'s RecordType, usize),
    EndOfField(&'s RecordType, usize),
}

impl<'s> Form<'s> {
    fn write(schema: &'s AvroSchema, whole: bool) -> String {
        let written = vec![false; schema.node_count()];
        let mut form = Self {
            schema,
            whole,
            written,
            to_come: vec![Part::Type(schema.root(), "")],
            text: String::new(),
        };
        while let Some(part) = form.to_come.pop() {
            match part {
                Part::Type(id, namespace) => form.value(id, namespace),
                Part::Text(text) => form.text.push_str(text),
                Part::Field(record, at) => form.field(record, at),
                Part::EndOfField(record, at) => form.end_of_field(record, at),
            }
        }
        form.text
    }

    fn value(&mut self, id: NodeId, namespace: &'s str) {
        let schema = self.schema;
        let node = schema.node(id);
        if let Some((name, _)) = node.names()
            && std::mem::replace(&mut self.written[id.index()], true)
        {
            return self.quoted(name.full());
        }
        match &node.shape {
            Shape::Array(items) => self.around(r#"{"type":"array","items":"#, *items, namespace),
            Shape::Map(values) => self.around(r#"{"type":"map","values":"#, *values, namespace),
            Shape::Union(branches) => {
                self.text.push('[');
                self.to_come.push(Part::Text("]"));
                for (at, branch) in branches.iter().enumerate().rev() {
                    self.to_come.push(Part::Type(*branch, namespace));
                    self.to_come.push(Part::Text(if at > 0 { "," } else { "" }));
                }
            }
            Shape::Record(record) => {
                self.named(&record.name, &record.aliases, "record", namespace);
                self.text.push_str(r#","fields":["#);
                self.to_come.push(Part::Text("]}"));
                if !record.fields.is_empty() {
                    self.to_come.push(Part::Field(record, 0));
                }
            }
            Shape::Enum(symbols) => self.enumeration(symbols, namespace),
            Shape::Fixed(fixed) => self.fixed(fixed, node.logical, namespace),
            primitive => match node.logical.filter(|_| self.whole) {
                Some(logical) => {
                    self.text.push_str(r#"{"type":"#);
                    self.quoted(primitive.word());
                    self.logical(logical);
                    self.text.push('}');
                }
                None => self.quoted(primitive.word()),
            },
        }
    }

    fn around(&mut self, head: &'static str, inside: NodeId, namespace: &'s str) {
        self.text.push_str(head);
        self.to_come.extend([Part::Text("}"), Part::Type(inside, namespace)]);
    }

    fn field(&mut self, record: &'s RecordType, at: usize) {
        let field = &record.fields[at];
        self.text.push_str(r#"{"name":"#);
        self.quoted(&field.name);
        self.text.push_str(r#","type":"#);
        self.to_come.extend([Part::EndOfField(record, at), Part::Type(field.node, record.name.namespace())]);
    }

    fn end_of_field(&mut self, record: &'s RecordType, at: usize) {
        let field = &record.fields[at];
        if self.whole {
            if let Some(default) = &field.default {
                self.text.push_str(r#","default":"#);
                self.text.push_str(&default.to_string());
            }
            self.aliases(field.aliases.iter().map(String::as_str));
        }
        self.text.push('}');
        if at + 1 < record.fields.len() {
            self.text.push(',');
            self.to_come.push(Part::Field(record, at + 1));
        }
    }

    fn enumeration(&mut self, symbols: &EnumType, namespace: &str) {
        self.named(&symbols.name, &symbols.aliases, "enum", namespace);
        self.text.push_str(r#","symbols":["#);
        self.each(symbols.symbols.iter().map(String::as_str));
        self.text.push(']');
        if let Some(default) = symbols.default.filter(|_| self.whole) {
            self.text.push_str(r#","default":"#);
            self.quoted(&symbols.symbols[default]);
        }
        self.text.push('}');
    }

    fn fixed(&mut self, fixed: &FixedType, logical: Option<Logical>, namespace: &str) {
        self.named(&fixed.name, &fixed.aliases, "fixed", namespace);
        self.text.push_str(r#","size":"#);
        self.text.push_str(&fixed.size.to_string());
        if let Some(logical) = logical.filter(|_| self.whole) {
            self.logical(logical);
        }
        self.text.push('}');
    }

    /// A definition's name and type. The canonical form takes a name without a namespace for one of the namespace around
    /// it; the whole text says that it has none.
    fn named(&mut self, name: &Name, aliases: &[Name], word: &'static str, around: &str) {
        self.text.push_str(r#"{"name":"#);
        self.quoted(name.full());
        self.text.push_str(r#","type":""#);
        self.text.push_str(word);
        self.text.push('"');
        if self.whole {
            if name.namespace().is_empty() && !around.is_empty() {
                self.text.push_str(r#","namespace":"""#);
            }
            // With a point in front, those without a namespace are not taken for ones of this name's.
            let dotted = |alias: &Name| {
                let plain = alias.namespace().is_empty() && !name.namespace().is_empty();
                format!("{}{}", if plain { "." } else { "" }, alias.full())
            };
            let aliases: Vec<String> = aliases.iter().map(dotted).collect();
            self.aliases(aliases.iter().map(String::as_str));
        }
    }

    fn aliases<'a>(&mut self, aliases: impl ExactSizeIterator<Item = &'a str>) {
        if aliases.len() > 0 {
            self.text.push_str(r#","aliases":["#);
            self.each(aliases);
            self.text.push(']');
        }
    }

    fn logical(&mut self, logical: Logical) {
        let word = match logical {
            Logical::Decimal { .. } => "decimal",
            Logical::BigDecimal => "big-decimal",
            Logical::Uuid => "uuid",
            Logical::Date => "date",
            Logical::TimeMillis => "time-millis",
            Logical::TimeMicros => "time-micros",
            Logical::Timestamp(TimeUnit::Millis) => "timestamp-millis",
            Logical::Timestamp(TimeUnit::Micros) => "timestamp-micros",
            Logical::Timestamp(TimeUnit::Nanos) => "timestamp-nanos",
            Logical::LocalTimestamp(TimeUnit::Millis) => "local-timestamp-millis",
            Logical::LocalTimestamp(TimeUnit::Micros) => "local-timestamp-micros",
            Logical::LocalTimestamp(TimeUnit::Nanos) => "local-timestamp-nanos",
            Logical::Duration => "duration",
        };
        self.text.push_str(r#","logicalType":"#);
        self.quoted(word);
        if let Logical::Decimal { precision, scale } = logical {
            // Writing to a string cannot fail.
            let _ = write!(self.text, r#","precision":{precision},"scale":{scale}"#);
        }
    }

    fn each<'a>(&mut self, items: impl Iterator<Item = &'a str>) {
        for (at, item) in items.enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            self.quoted(item);
        }
    }

    fn quoted(&mut self, text: &str) {
        self.text.push_str(&Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str, references: &[(&str, &str)]) -> AvroSchema {
        let references: Vec<(String, String)> =
            references.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        AvroSchema::parse(json, &references).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    #[test]
    fn a_self_contained_text_needs_no_references_and_loses_nothing() {
        let order = r#"{"type":"record","name":"Order","namespace":"shop","aliases":["crm.Sale",".Plain","Near"],"fields":[
            {"name":"id","type":"long","aliases":["key","nr"]},
            {"name":"paid","type":["null","money.Amount"],"default":null},
            {"name":"due","type":"money.Amount"},
            {"name":"bare","type":"Bare"},
            {"name":"again","type":["Bare","string"]},
            {"name":"state","type":{"type":"enum","name":"State","symbols":["A","é\"B"],"default":"A"}},
            {"name":"parts","type":{"type":"map","values":{"type":"array","items":["null","Order"]}},"default":{}},
            {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"},"default":7},
            {"name":"span","type":{"type":"fixed","name":"Span","size":12,"logicalType":"duration"}}]}"#;
        let amount = r#"{"type":"record","name":"Amount","namespace":"money","fields":[
            {"name":"value","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2},"default":"\u0000ÿ"},
            {"name":"unit","type":"Unit"}]}"#;
        let unit = r#"{"type":"fixed","name":"money.Unit","size":3}"#;
        let bare = r#"{"type":"record","name":"Bare","fields":[]}"#;
        let references = [("money.Amount", amount), ("money.Unit", unit), ("Bare", bare)];
        let schema = parse(order, &references);
        let text = schema.self_contained();
        let again = parse(&text, &[]);
        assert_eq!(again.canonical_form(), schema.canonical_form(), "{text}");
        assert_eq!(again.self_contained(), text);
        let named = |schema: &AvroSchema| {
            let mut named: Vec<String> = schema
                .ids()
                .map(|id| schema.node(id))
                .filter_map(|node| {
                    node.names().map(|(name, aliases)| format!("{name} {aliases:?} {:?}", node.logical))
                })
                .collect();
            named.sort();
            named
        };
        assert_eq!(named(&again), named(&schema), "{text}");
        for part in [
            r#""default":"\u0000ÿ""#,
            r#""logicalType":"decimal","precision":9,"scale":2"#,
            r#""aliases":["key","nr"]"#,
            r#""default":{}"#,
            r#""logicalType":"timestamp-micros"},"default":7"#,
            r#"{"name":"Bare","type":"record","namespace":"""#,
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn fault_57_a_long_chain_of_types_is_written_without_a_deep_stack() {
        // Each names the next one, which is defined further on, so none stands inside another in the text.
        let types = 50_000;
        let link = |at: usize| {
            let kind = if at + 1 < types { format!("\"R{}\"", at + 1) } else { "\"int\"".to_owned() };
            format!(r#"{{"type":"record","name":"R{at}","fields":[{{"name":"f","type":{kind}}}]}}"#)
        };
        let text = format!("[{}]", (0..types).map(link).collect::<Vec<_>>().join(","));
        let written = std::thread::Builder::new()
            .stack_size(256 << 10)
            .spawn(move || parse(&text, &[]).canonical_form())
            .unwrap()
            .join()
            .unwrap();
        assert!(written.contains(r#"{"name":"R49999","type":"record""#));
    }
}
