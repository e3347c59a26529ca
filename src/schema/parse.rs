//! Owns the way from schema text to [`AvroSchema`] (Avro 1.12 specification, "Schema Declaration").
//!
//! Laxer than the specification where registries hold such schemas and nothing depends on it: whatever Java's parser
//! takes, and more. Bad defaults are kept until they are needed, names may be almost any text, types may be used before
//! their definition and defined twice alike, `{"type": {"type": …}}` is unwrapped. As strict where a datum could be read
//! two ways: fields, union branches, different definitions of a name.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::error::SchemaError;
use super::json;
use super::link::{self, Mention, Repetition};
use super::logical::logical_type;
use super::model::{AvroSchema, EnumType, FixedType, Name, Node, NodeId, RecordField, RecordType, Shape};
use super::names;

/// Bytes of schema text, references included.
const MAX_TEXT_BYTES: usize = 4 << 20;
/// Types inside types. A nullable list of records takes three; the deepest real schemas have some thirty records.
const MAX_DEPTH: usize = 128;

type Parsed<T> = Result<T, SchemaError>;

impl AvroSchema {
    /// Parses schema text. `references` are further texts by the name under which the registry lists them, in any
    /// order; their named types can be used everywhere, also in circles.
    ///
    /// # Errors
    /// [`SchemaError::Invalid`] when a text is no Avro schema, names an unknown type, defines a name twice and
    /// differently, exceeds 4 MiB with its references, or nests deeper than 128 types or 512 levels of JSON.
    pub fn parse(json: &str, references: &[(String, String)]) -> Parsed<Self> {
        let total = references.iter().map(|(_, text)| text.len()).sum::<usize>() + json.len();
        if total > MAX_TEXT_BYTES {
            let reason = format!("{total} bytes of schema text, more than the limit of {MAX_TEXT_BYTES}");
            return Err(SchemaError::invalid(&[], reason));
        }
        let mut parser = Parser { references, read: vec![false; references.len()], ..Parser::default() };
        let root = parser.text(json)?;
        // Also those that nothing mentions: a second, different definition must not go unseen.
        parser.read_references(|_| true)?;
        parser.finish(root)
    }
}

#[derive(Default)]
struct Parser<'r> {
    /// `None` while a named type's parts are being read.
    nodes: Vec<Option<Node>>,
    names: HashMap<String, NodeId>,
    mentions: Vec<Mention>,
    repetitions: Vec<Repetition>,
    references: &'r [(String, String)],
    /// Which of `references` were read already.
    read: Vec<bool>,
    path: Vec<String>,
    depth: usize,
}

impl Parser<'_> {
    fn text(&mut self, json: &str) -> Parsed<NodeId> {
        let value = json::read(json).map_err(|reason| self.invalid(reason))?;
        self.node(&value, "")
    }

    fn finish(self, root: NodeId) -> Parsed<AvroSchema> {
        let mentions: HashSet<NodeId> = self.mentions.iter().map(|mention| mention.node).collect();
        let complete = |(index, node): (usize, Option<Node>)| {
            // What stands for a mention is nothing by itself.
            let stand_in = || mentions.contains(&NodeId(index as u32)).then(Node::null);
            let begun = || SchemaError::invalid(&[], "a named type was begun but not read");
            node.or_else(stand_in).ok_or_else(begun)
        };
        let nodes = self.nodes.into_iter().enumerate().map(complete).collect::<Parsed<Vec<Node>>>()?;
        let mut schema = AvroSchema { nodes, root };
        let names = self.names;
        link::link(&mut schema, self.mentions, |name| names.get(name).copied())?;
        link::compare(&schema, &self.repetitions)?;
        Ok(schema)
    }

    fn node(&mut self, value: &Value, namespace: &str) -> Parsed<NodeId> {
        if self.depth == MAX_DEPTH {
            return Err(self.invalid(format!("types nest deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let node = match value {
            Value::String(word) => self.word(word, namespace, None),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => match object.get("type") {
                Some(Value::String(word)) => self.declared(word, object, namespace),
                Some(wrapped @ (Value::Object(_) | Value::Array(_))) => self.node(wrapped, namespace),
                _ => Err(self.invalid("a type object needs \"type\"")),
            },
            other => Err(self.invalid(format!("{other} is not a type"))),
        }?;
        self.depth -= 1;
        Ok(node)
    }

    fn declared(&mut self, word: &str, object: &Map<String, Value>, namespace: &str) -> Parsed<NodeId> {
        match word {
            "record" | "error" => self.record(object, namespace),
            "enum" => self.enumeration(object, namespace),
            "fixed" => self.fixed(object, namespace),
            "array" => {
                let items = self.part(object, "items", "element", namespace)?;
                Ok(self.add(Node { shape: Shape::Array(items), logical: None }))
            }
            "map" => {
                let values = self.part(object, "values", "value", namespace)?;
                Ok(self.add(Node { shape: Shape::Map(values), logical: None }))
            }
            _ => self.word(word, namespace, Some(object)),
        }
    }

    /// A built-in type or the mention of a named one.
    fn word(&mut self, word: &str, namespace: &str, object: Option<&Map<String, Value>>) -> Parsed<NodeId> {
        let shape = match word {
            "null" => Shape::Null,
            "boolean" => Shape::Boolean,
            "int" => Shape::Int,
            "long" => Shape::Long,
            "float" => Shape::Float,
            "double" => Shape::Double,
            "bytes" => Shape::Bytes,
            "string" => Shape::String,
            name => return self.mentioned(name, namespace),
        };
        let logical = object.and_then(|attributes| logical_type(&shape, attributes));
        Ok(self.add(Node { shape, logical }))
    }

    fn mentioned(&mut self, name: &str, namespace: &str) -> Parsed<NodeId> {
        // Some writers drop the namespace of a type that has none of its own: the plain name is the second guess.
        let full = names::mention(name, namespace);
        for candidate in [full.as_str(), name] {
            if let Some(node) = self.names.get(candidate) {
                return Ok(*node);
            }
            self.read_references(|reference| reference == candidate)?;
            if let Some(node) = self.names.get(candidate) {
                return Ok(*node);
            }
        }
        // Registries let a reference be listed under any name.
        self.read_references(|_| true)?;
        if let Some(node) = self.names.get(&full).or_else(|| self.names.get(name)) {
            return Ok(*node);
        }
        // It may be defined further on.
        self.nodes.push(None);
        let node = NodeId(self.nodes.len() as u32 - 1);
        self.mentions.push(Mention { node, names: [full, name.to_owned()], path: self.path.clone() });
        Ok(node)
    }

    fn read_references(&mut self, wanted: impl Fn(&str) -> bool) -> Parsed<()> {
        let references = self.references;
        for (index, (name, text)) in references.iter().enumerate() {
            if !self.read[index] && wanted(name) {
                self.read[index] = true;
                self.text(text)?;
            }
        }
        Ok(())
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Parsed<NodeId> {
        let mut ids = Vec::with_capacity(branches.len());
        let mut seen = HashSet::new();
        for branch in branches {
            let id = self.node(branch, namespace)?;
            // A named type is told by its id; one without parts is a record still being read, or yet to be defined.
            let key = match &self.nodes[id.index()] {
                Some(Node { shape: Shape::Union(_), .. }) => {
                    return Err(self.invalid("a union cannot be a branch of a union"));
                }
                Some(node) if node.names().is_none() => Ok(node.shape.word()),
                _ => Err(id),
            };
            if !seen.insert(key) {
                return Err(self.invalid(format!("{branch} is twice in a union")));
            }
            ids.push(id);
        }
        Ok(self.add(Node { shape: Shape::Union(ids), logical: None }))
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Parsed<NodeId> {
        let (name, aliases) = self.names_of(object, namespace)?;
        let id = self.begin(&name);
        let Some(Value::Array(declared)) = object.get("fields") else {
            return Err(self.invalid(format!("record {name} needs \"fields\", a list")));
        };
        let mut seen = HashSet::new();
        let mut fields = Vec::with_capacity(declared.len());
        for field in declared {
            let field = self.field(field, &name)?;
            if !seen.insert(field.name.clone()) {
                return Err(self.invalid(format!("record {name} has two fields {:?}", field.name)));
            }
            fields.push(field);
        }
        let node =
            Node { shape: Shape::Record(RecordType { name: name.clone(), aliases, fields }), logical: None };
        Ok(self.define(id, &name, node))
    }

    fn field(&mut self, value: &Value, record: &Name) -> Parsed<RecordField> {
        let Some(object) = value.as_object() else {
            return Err(self.invalid(format!("a field of record {record} must be an object")));
        };
        let name = self.text_of(object, "name")?.to_owned();
        names::check(&name).map_err(|reason| self.invalid(reason))?;
        let aliases = strings(object.get("aliases"));
        let node = self.part(object, "type", &name, record.namespace())?;
        Ok(RecordField { name, aliases, node, default: object.get("default").cloned() })
    }

    fn enumeration(&mut self, object: &Map<String, Value>, namespace: &str) -> Parsed<NodeId> {
        let (name, aliases) = self.names_of(object, namespace)?;
        let id = self.begin(&name);
        let Some(Value::Array(declared)) = object.get("symbols") else {
            return Err(self.invalid(format!("enum {name} needs \"symbols\", a list")));
        };
        let symbols: Vec<String> = strings(object.get("symbols"));
        let distinct: HashSet<&String> = symbols.iter().collect();
        if symbols.len() != declared.len() || distinct.len() != symbols.len() {
            return Err(
                self.invalid(format!("enum {name} needs symbols that are strings, each of them once"))
            );
        }
        let default = object.get("default").and_then(Value::as_str);
        let default = default.and_then(|wanted| symbols.iter().position(|symbol| symbol == wanted));
        let shape = Shape::Enum(EnumType { name: name.clone(), aliases, symbols, default });
        Ok(self.define(id, &name, Node { shape, logical: None }))
    }

    fn fixed(&mut self, object: &Map<String, Value>, namespace: &str) -> Parsed<NodeId> {
        let (name, aliases) = self.names_of(object, namespace)?;
        let id = self.begin(&name);
        let size = object.get("size").and_then(Value::as_u64).filter(|size| i32::try_from(*size).is_ok());
        let Some(size) = size else {
            return Err(
                self.invalid(format!("fixed {name} needs \"size\", a number of bytes up to {}", i32::MAX))
            );
        };
        let shape = Shape::Fixed(FixedType { name: name.clone(), aliases, size: size as usize });
        let logical = logical_type(&shape, object);
        Ok(self.define(id, &name, Node { shape, logical }))
    }

    fn part(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        step: &str,
        namespace: &str,
    ) -> Parsed<NodeId> {
        self.path.push(step.to_owned());
        let value = object.get(key).ok_or_else(|| self.invalid(format!("\"{key}\" is missing")))?;
        let node = self.node(value, namespace)?;
        self.path.pop();
        Ok(node)
    }

    fn names_of(&self, object: &Map<String, Value>, enclosing: &str) -> Parsed<(Name, Vec<Name>)> {
        let namespace = object.get("namespace").and_then(Value::as_str);
        let name = names::define(self.text_of(object, "name")?, namespace, enclosing);
        let name = name.map_err(|reason| self.invalid(reason))?;
        let aliases = strings(object.get("aliases"));
        // An alias that is no name matches nothing, so it does no harm.
        let aliases =
            aliases.iter().filter_map(|alias| names::define(alias, None, name.namespace()).ok()).collect();
        Ok((name, aliases))
    }

    fn text_of<'v>(&self, object: &'v Map<String, Value>, key: &str) -> Parsed<&'v str> {
        let text = object.get(key).and_then(Value::as_str);
        text.ok_or_else(|| self.invalid(format!("\"{key}\" is missing or not a string")))
    }

    /// Makes the name known before the parts are read, so that they can mention it.
    fn begin(&mut self, name: &Name) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        let first = *self.names.entry(name.full().to_owned()).or_insert(id);
        if first != id {
            self.repetitions.push(Repetition { second: id, first, name: name.clone() });
        }
        self.nodes.push(None);
        id
    }

    /// Completes a named type; the id to use for it is that of the first definition.
    fn define(&mut self, id: NodeId, name: &Name, node: Node) -> NodeId {
        self.nodes[id.index()] = Some(node);
        self.names.get(name.full()).copied().unwrap_or(id)
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(Some(node));
        NodeId(self.nodes.len() as u32 - 1)
    }

    fn invalid(&self, reason: impl Into<String>) -> SchemaError {
        SchemaError::invalid(&self.path, reason)
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(|entry| entry.as_str().map(str::to_owned)).collect()
}
