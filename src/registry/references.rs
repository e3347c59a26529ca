//! Owns the resolved form of a schema and the walk along its references. Does not own HTTP or trying again.

use std::collections::HashSet;

use super::endpoints::{AskError, Endpoints};
use super::error::RegistryError;
use super::wire::{Reference, SchemaBody};
use crate::position::SchemaId;

/// A schema as registered, with every schema it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredSchema {
    /// Its id.
    pub id: SchemaId,
    /// Its text, as the registry gave it.
    pub json: String,
    /// Everything it refers to, directly or not, each once and after whatever it needs itself.
    pub references: Vec<ReferencedSchema>,
}

/// A schema that another one refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferencedSchema {
    /// The name under which it is referred to; for Avro the full name of the type.
    pub name: String,
    /// Its text, as the registry gave it.
    pub json: String,
}

impl RegisteredSchema {
    /// Bytes of text, names and bookkeeping.
    pub(super) fn bytes(&self) -> usize {
        let references = self.references.iter().map(|reference| reference.name.len() + reference.json.len());
        self.json.len() + references.sum::<usize>() + 64 * (1 + self.references.len())
    }
}

/// Limits of the walk: a schema beyond them is refused, not cut short.
const MAX_REFERENCES: usize = 256;
const MAX_DEPTH: usize = 32;
const MAX_TOTAL_BYTES: usize = 32 << 20;

/// Gets schema `id` and everything it refers to. References that form a circle are followed once.
pub(super) async fn resolve(endpoints: &Endpoints, id: SchemaId) -> Result<RegisteredSchema, RegistryError> {
    let body: SchemaBody =
        endpoints.get(&["schemas", "ids", &id.to_string()]).await.map_err(|error| match error {
            AskError::NotFound { .. } => RegistryError::UnknownSchema(id),
            AskError::Failed(error) => error,
        })?;
    let mut walk = Walk { id, seen: HashSet::new(), stack: Vec::new(), done: Vec::new(), bytes: 0 };
    let json = body.schema.clone();
    walk.enter(body, None)?;
    while let Some(reference) = walk.next_unseen() {
        let body = fetch_reference(endpoints, id, &reference).await?;
        walk.enter(body, Some(reference.name))?;
    }
    Ok(RegisteredSchema { id, json, references: walk.done })
}

async fn fetch_reference(
    endpoints: &Endpoints,
    id: SchemaId,
    reference: &Reference,
) -> Result<SchemaBody, RegistryError> {
    let Reference { subject, version, .. } = reference;
    if matches!(subject.as_str(), "" | "." | "..") {
        // No URL can name such a subject.
        return Err(RegistryError::MissingReference { id, subject: subject.clone(), version: *version });
    }
    endpoints.get(&["subjects", subject, "versions", &version.to_string()]).await.map_err(|error| match error
    {
        AskError::NotFound { .. } => {
            RegistryError::MissingReference { id, subject: subject.clone(), version: *version }
        }
        AskError::Failed(error) => error,
    })
}

/// Depth first, without recursion: a schema is done once everything it refers to is done.
struct Walk {
    id: SchemaId,
    seen: HashSet<(String, u32)>,
    stack: Vec<OpenSchema>,
    done: Vec<ReferencedSchema>,
    bytes: usize,
}

struct OpenSchema {
    /// `None` for the schema asked for.
    schema: Option<ReferencedSchema>,
    /// References not yet looked at, last first.
    pending: Vec<Reference>,
}

impl Walk {
    /// Opens a schema; `name` is `None` for the one asked for.
    fn enter(&mut self, body: SchemaBody, name: Option<String>) -> Result<(), RegistryError> {
        if let Some(foreign) = body.foreign_type() {
            return Err(RegistryError::NotAvro { id: self.id, schema_type: foreign.to_owned() });
        }
        self.bytes += body.schema.len();
        self.refuse_when(self.bytes > MAX_TOTAL_BYTES, "with its references it is bigger than 32 MiB")?;
        self.refuse_when(self.stack.len() > MAX_DEPTH, "its references are nested deeper than 32")?;
        self.refuse_when(self.seen.len() > MAX_REFERENCES, "it refers to more than 256 schemas")?;

        let mut pending = body.references.unwrap_or_default();
        pending.reverse();
        let schema = name.map(|name| ReferencedSchema { name, json: body.schema });
        self.stack.push(OpenSchema { schema, pending });
        Ok(())
    }

    /// The next reference nobody has looked at; closes schemas on the way. `None` when all are done.
    fn next_unseen(&mut self) -> Option<Reference> {
        loop {
            let open = self.stack.last_mut()?;
            if let Some(reference) = open.pending.pop() {
                if self.seen.insert((reference.subject.clone(), reference.version)) {
                    return Some(reference);
                }
            } else {
                let closed = self.stack.pop()?;
                self.done.extend(closed.schema);
            }
        }
    }

    fn refuse_when(&self, too_much: bool, reason: &str) -> Result<(), RegistryError> {
        if too_much {
            return Err(RegistryError::TooManyReferences { id: self.id, reason: reason.to_owned() });
        }
        Ok(())
    }
}
