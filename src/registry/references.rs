//! Owns the resolved form of a schema and the walk along its references, whoever's API they are asked by. Does not own
//! HTTP or trying again.

use std::collections::HashSet;
use std::hash::Hash;

use super::error::RegistryError;
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

/// A schema's text and its direct references; `P` is where a reference points, in the registry's terms.
pub(super) struct Linked<P> {
    pub(super) json: String,
    pub(super) links: Vec<Link<P>>,
}

/// A reference.
#[derive(Clone)]
pub(super) struct Link<P> {
    /// The name under which the schema uses it.
    pub(super) name: String,
    pub(super) to: P,
}

/// Follows the references of schema `id` to the end, asking `fetch` for each once; circles end.
pub(super) async fn collect<P, F>(
    id: SchemaId,
    schema: Linked<P>,
    fetch: impl Fn(P) -> F,
) -> Result<RegisteredSchema, RegistryError>
where
    P: Clone + Eq + Hash,
    F: Future<Output = Result<Linked<P>, RegistryError>>,
{
    let mut walk = Walk { id, seen: HashSet::new(), stack: Vec::new(), done: Vec::new(), bytes: 0 };
    let json = schema.json.clone();
    walk.enter(schema, None)?;
    while let Some(link) = walk.next_unseen() {
        let schema = fetch(link.to).await?;
        walk.enter(schema, Some(link.name))?;
    }
    Ok(RegisteredSchema { id, json, references: walk.done })
}

/// Depth first, without recursion: a schema is done once everything it refers to is done.
struct Walk<P> {
    id: SchemaId,
    seen: HashSet<P>,
    stack: Vec<OpenSchema<P>>,
    done: Vec<ReferencedSchema>,
    bytes: usize,
}

struct OpenSchema<P> {
    /// `None` for the schema asked for.
    schema: Option<ReferencedSchema>,
    /// References not yet looked at, last first.
    pending: Vec<Link<P>>,
}

impl<P: Clone + Eq + Hash> Walk<P> {
    /// Opens a schema; `name` is `None` for the one asked for.
    fn enter(&mut self, schema: Linked<P>, name: Option<String>) -> Result<(), RegistryError> {
        self.bytes += schema.json.len();
        self.refuse_when(self.bytes > MAX_TOTAL_BYTES, "with its references it is bigger than 32 MiB")?;
        self.refuse_when(self.stack.len() > MAX_DEPTH, "its references are nested deeper than 32")?;
        self.refuse_when(self.seen.len() > MAX_REFERENCES, "it refers to more than 256 schemas")?;

        let mut pending = schema.links;
        pending.reverse();
        let schema = name.map(|name| ReferencedSchema { name, json: schema.json });
        self.stack.push(OpenSchema { schema, pending });
        Ok(())
    }

    /// The next reference nobody has looked at; closes schemas on the way. `None` when all are done.
    fn next_unseen(&mut self) -> Option<Link<P>> {
        loop {
            let open = self.stack.last_mut()?;
            if let Some(link) = open.pending.pop() {
                if self.seen.insert(link.to.clone()) {
                    return Some(link);
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

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SchemaId = SchemaId::Number(7);

    /// Schema 0 of a registry whose schema `n` has `bytes` bytes and refers to those that `links` gives.
    async fn collected(
        bytes: usize,
        links: impl Fn(usize) -> Vec<usize>,
    ) -> Result<RegisteredSchema, RegistryError> {
        let schema = |number: usize| {
            let link = |to: usize| Link { name: format!("n{to}"), to };
            Linked { json: "x".repeat(bytes), links: links(number).into_iter().map(link).collect() }
        };
        collect(ID, schema(0), |to| std::future::ready(Ok(schema(to)))).await
    }

    fn refusal(outcome: Result<RegisteredSchema, RegistryError>) -> String {
        match outcome {
            Err(RegistryError::TooManyReferences { id: ID, reason }) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[tokio::test]
    async fn fault_38_each_limit_of_references_holds_at_its_edge() {
        let chain = |length| move |number| if number < length { vec![number + 1] } else { vec![] };
        assert_eq!(collected(1, chain(32)).await.unwrap().references.len(), 32);
        assert!(refusal(collected(1, chain(33)).await).contains("deeper than 32"));

        let star = |points| move |number| if number == 0 { (1..=points).collect() } else { vec![] };
        assert_eq!(collected(1, star(256)).await.unwrap().references.len(), 256);
        assert!(refusal(collected(1, star(257)).await).contains("more than 256"));

        assert_eq!(collected(4 << 20, star(7)).await.unwrap().references.len(), 7);
        assert!(refusal(collected(4 << 20, star(8)).await).contains("bigger than 32 MiB"));
    }
}
