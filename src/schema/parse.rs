//! Owns the way from schema text to [`AvroSchema`] (Avro 1.12 specification, "Schema Declaration").
//!
//! Laxer than the specification where registries hold such schemas and nothing depends on it: bad defaults are kept
//! until they are needed, names may use any script, `{"type": {"type": …}}` is unwrapped. As strict where a datum
//! could be read two ways: names, fields, union branches.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::error::SchemaError;
use super::logical::logical_type;
use super::model::{AvroSchema, EnumType, FixedType, Name, Node, NodeId, RecordField, RecordType, Shape};
use super::names;

/// Bytes of schema text, references included.
const MAX_TEXT_BYTES: usize = 4 << 20;
/// Types inside types. Twice what the deepest real schemas need; JSON itself is cut off at 128 levels.
const MAX_DEPTH: usize = 64;

type Parsed<T> = Result<T, SchemaError>;

impl AvroSchema {
    /// Parses schema text. `references` are further texts by the name under which the registry lists them, in any
    /// order; their named types can be used everywhere, also in circles.
    ///
    /// # Errors
    /// [`SchemaError::Invalid`] when a text is no Avro schema, names an unknown type, defines a name twice and
    /// differently, exceeds 4 MiB with its references, or nests deeper than 64 types or 128 levels of JSON.
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
    names: HashMap<String, Definition>,
    /// Second definitions of a name, with the first: to be compared when everything is known.
    again: Vec<(NodeId, NodeId, Name)>,
    references: &'r [(String, String)],
    /// Which of `references` were read already.
    read: Vec<bool>,
    /// Texts begun so far; the number of the one being read is what tells "twice in a text" from "in two texts".
    texts: usize,
    text: usize,
    path: Vec<String>,
    depth: usize,
}

#[derive(Clone, Copy)]
struct Definition {
    node: NodeId,
    text: usize,
}

impl Parser<'_> {
    fn text(&mut self, json: &str) -> Parsed<NodeId> {
        let value: Value =
            serde_json::from_str(json).map_err(|error| self.invalid(format!("not JSON: {error}")))?;
        let outer = self.text;
        self.texts += 1;
        self.text = self.texts;
        let node = self.node(&value, "")?;
        self.text = outer;
        Ok(node)
    }

    fn finish(self, root: NodeId) -> Parsed<AvroSchema> {
        let nodes = self
            .nodes
            .into_iter()
            .map(|node| node.ok_or_else(|| SchemaError::invalid(&[], "a named type was begun but not read")))
            .collect::<Parsed<Vec<Node>>>()?;
        let schema = AvroSchema { nodes, root };
        for (second, first, name) in &self.again {
            if !same(&schema, *second, *first, 0) {
                let reason = format!("type {name} is defined twice, differently");
                return Err(SchemaError::invalid(&[], reason));
            }
        }
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
            if let Some(definition) = self.names.get(candidate) {
                return Ok(definition.node);
            }
        }
        for candidate in [full.as_str(), name] {
            self.read_references(|reference| reference == candidate)?;
            if let Some(definition) = self.names.get(candidate) {
                return Ok(definition.node);
            }
        }
        // Registries let a reference be listed under any name.
        self.read_references(|_| true)?;
        let found = self.names.get(&full).or_else(|| self.names.get(name)).map(|definition| definition.node);
        found.ok_or_else(|| {
            self.invalid(format!("type {full} is neither built in nor defined before its use"))
        })
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
            // A named type is told by its id; one that is still being read is a record.
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
        if ids.is_empty() {
            return Err(self.invalid("a union needs a branch"));
        }
        Ok(self.add(Node { shape: Shape::Union(ids), logical: None }))
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Parsed<NodeId> {
        let (name, aliases) = self.names_of(object, namespace)?;
        let id = self.begin(&name)?;
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
        let id = self.begin(&name)?;
        let Some(Value::Array(declared)) = object.get("symbols") else {
            return Err(self.invalid(format!("enum {name} needs \"symbols\", a list")));
        };
        let symbols: Vec<String> = strings(object.get("symbols"));
        let distinct: HashSet<&String> = symbols.iter().collect();
        if symbols.is_empty() || symbols.len() != declared.len() || distinct.len() != symbols.len() {
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
        let id = self.begin(&name)?;
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
    fn begin(&mut self, name: &Name) -> Parsed<NodeId> {
        let id = NodeId(self.nodes.len() as u32);
        match self.names.get(name.full()) {
            Some(first) if first.text == self.text => {
                return Err(self.invalid(format!("type {name} is defined twice")));
            }
            Some(first) => self.again.push((id, first.node, name.clone())),
            None => {
                self.names.insert(name.full().to_owned(), Definition { node: id, text: self.text });
            }
        }
        self.nodes.push(None);
        Ok(id)
    }

    /// Completes a named type; the id to use for it is that of the first definition.
    fn define(&mut self, id: NodeId, name: &Name, node: Node) -> NodeId {
        self.nodes[id.index()] = Some(node);
        self.names.get(name.full()).map_or(id, |first| first.node)
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

/// Whether two types are the same. Named parts are compared by id: they were made one by name, and second
/// definitions among them are compared on their own.
fn same(schema: &AvroSchema, left: NodeId, right: NodeId, depth: usize) -> bool {
    if left == right {
        return true;
    }
    let (a, b) = (schema.node(left), schema.node(right));
    if a.logical != b.logical || (depth > 0 && a.names().is_some()) {
        return false;
    }
    let same = |a: NodeId, b: NodeId| same(schema, a, b, depth + 1);
    match (&a.shape, &b.shape) {
        (Shape::Array(a), Shape::Array(b)) | (Shape::Map(a), Shape::Map(b)) => same(*a, *b),
        (Shape::Union(a), Shape::Union(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(*a, *b))
        }
        (Shape::Record(a), Shape::Record(b)) => {
            let fields = a.fields.iter().zip(&b.fields);
            a.fields.len() == b.fields.len()
                && fields.into_iter().all(|(a, b)| a.name == b.name && same(a.node, b.node))
        }
        (a, b) => a == b,
    }
}
