//! Owns what the client remembers: schemas by id (least recently used goes first), verdicts by id (for a while), and
//! fingerprints. Does not own the clock or the network.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use xxhash_rust::xxh3::Xxh3Default;

use super::error::RegistryError;
use super::references::RegisteredSchema;
use crate::position::SchemaId;

/// Schemas by id, bounded in number and in bytes.
pub(super) struct SchemaCache {
    entries: HashMap<SchemaId, CacheEntry>,
    /// Ids by the tick of their last use.
    by_use: BTreeMap<u64, SchemaId>,
    tick: u64,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

struct CacheEntry {
    schema: Arc<RegisteredSchema>,
    used: u64,
}

impl SchemaCache {
    pub(super) fn new(max_entries: usize, max_bytes: usize) -> Self {
        assert!(max_entries > 0, "a schema cache holds at least one schema");
        Self { entries: HashMap::new(), by_use: BTreeMap::new(), tick: 0, bytes: 0, max_entries, max_bytes }
    }

    pub(super) fn get(&mut self, id: SchemaId) -> Option<Arc<RegisteredSchema>> {
        let entry = self.entries.get_mut(&id)?;
        self.by_use.remove(&entry.used);
        self.tick += 1;
        entry.used = self.tick;
        self.by_use.insert(self.tick, id);
        Some(Arc::clone(&entry.schema))
    }

    /// Remembers a schema; one that is bigger than the whole cache is not kept.
    pub(super) fn insert(&mut self, schema: Arc<RegisteredSchema>) {
        self.remove(schema.id);
        let bytes = schema.bytes();
        if bytes > self.max_bytes {
            return;
        }
        while self.entries.len() >= self.max_entries || self.bytes + bytes > self.max_bytes {
            let Some((_, &oldest)) = self.by_use.first_key_value() else { break };
            self.remove(oldest);
        }
        self.tick += 1;
        self.bytes += bytes;
        self.by_use.insert(self.tick, schema.id);
        self.entries.insert(schema.id, CacheEntry { schema, used: self.tick });
    }

    fn remove(&mut self, id: SchemaId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.by_use.remove(&entry.used);
            self.bytes -= entry.schema.bytes();
        }
    }
}

/// Verdicts about ids, each with the instant until which it stands.
pub(super) struct VerdictCache {
    entries: HashMap<SchemaId, (Instant, RegistryError)>,
    max_entries: usize,
}

impl VerdictCache {
    pub(super) fn new(max_entries: usize) -> Self {
        Self { entries: HashMap::new(), max_entries }
    }

    pub(super) fn get(&mut self, id: SchemaId, now: Instant) -> Option<RegistryError> {
        let (until, error) = self.entries.get(&id)?;
        if *until > now {
            return Some(error.clone());
        }
        self.entries.remove(&id);
        None
    }

    pub(super) fn insert(&mut self, id: SchemaId, until: Instant, now: Instant, error: RegistryError) {
        if self.entries.len() >= self.max_entries {
            self.entries.retain(|_, (until, _)| *until > now);
        }
        if self.entries.len() >= self.max_entries {
            // Only made-up ids come in such numbers. To forget them all costs a request each, no more.
            self.entries.clear();
        }
        self.entries.insert(id, (until, error));
    }
}

/// Fingerprints of every schema seen, kept after the schema itself is forgotten.
pub(super) struct Fingerprints {
    by_id: HashMap<SchemaId, u64>,
    max_entries: usize,
}

impl Fingerprints {
    pub(super) fn new(max_entries: usize) -> Self {
        Self { by_id: HashMap::new(), max_entries }
    }

    /// Notes a schema and says whether its id stood for another one before.
    pub(super) fn note(&mut self, schema: &RegisteredSchema) -> bool {
        let fingerprint = fingerprint(schema);
        if let Some(known) = self.by_id.get_mut(&schema.id) {
            return std::mem::replace(known, fingerprint) != fingerprint;
        }
        if self.by_id.len() < self.max_entries {
            self.by_id.insert(schema.id, fingerprint);
        }
        false
    }
}

fn fingerprint(schema: &RegisteredSchema) -> u64 {
    let mut hash = Xxh3Default::new();
    for json in schema.references.iter().map(|reference| &reference.json).chain([&schema.json]) {
        hash.update(&(json.len() as u64).to_le_bytes());
        hash.update(json.as_bytes());
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::references::ReferencedSchema;
    use super::*;

    fn schema(id: u32, json: &str) -> Arc<RegisteredSchema> {
        Arc::new(RegisteredSchema { id: SchemaId::from(id), json: json.to_owned(), references: Vec::new() })
    }

    #[test]
    fn fault_41_fifty_thousand_ids_leave_the_cache_bounded() {
        let mut cache = SchemaCache::new(1_000, 1 << 20);
        cache.insert(schema(1, "\"int\""));
        for id in 2..=50_000 {
            cache.insert(schema(id, "\"string\""));
            assert!(
                cache.get(SchemaId::Number(1)).is_some(),
                "the schema in constant use was dropped at {id}"
            );
        }
        assert_eq!((cache.entries.len(), cache.by_use.len()), (1_000, 1_000));
        assert!(cache.get(SchemaId::Number(50_000)).is_some());
        assert!(cache.get(SchemaId::Number(2)).is_none());
    }

    #[test]
    fn bytes_are_bounded_too() {
        let one = schema(1, &"x".repeat(400)).bytes();
        let mut cache = SchemaCache::new(1_000, 3 * one);
        for id in 1..=10 {
            cache.insert(schema(id, &"x".repeat(400)));
            assert!(cache.bytes <= 3 * one);
        }
        assert_eq!(cache.entries.len(), 3);
        cache.insert(schema(10, &"y".repeat(400)));
        assert_eq!((cache.entries.len(), cache.bytes), (3, 3 * one), "a replaced schema counts once");
        cache.insert(schema(99, &"x".repeat(4_000)));
        assert!(cache.get(SchemaId::Number(99)).is_none() && cache.get(SchemaId::Number(10)).is_some());
    }

    #[test]
    fn verdicts_expire_and_are_bounded() {
        let now = Instant::now();
        let until = now + Duration::from_secs(30);
        let mut verdicts = VerdictCache::new(100);
        verdicts.insert(SchemaId::Number(1), until, now, RegistryError::UnknownSchema(SchemaId::Number(1)));
        assert_eq!(
            verdicts.get(SchemaId::Number(1), now),
            Some(RegistryError::UnknownSchema(SchemaId::Number(1)))
        );
        assert_eq!(verdicts.get(SchemaId::Number(1), until), None);
        for id in 0..10_000 {
            verdicts.insert(SchemaId::from(id), until, now, RegistryError::UnknownSchema(SchemaId::from(id)));
            assert!(verdicts.entries.len() <= 100);
        }
    }

    #[test]
    fn fault_39_fingerprints_notice_an_id_that_changes() {
        let mut prints = Fingerprints::new(10);
        assert!(!prints.note(&schema(1, "\"int\"")));
        assert!(!prints.note(&schema(1, "\"int\"")));
        assert!(prints.note(&schema(1, "\"long\"")));
        assert!(!prints.note(&schema(1, "\"long\"")), "told once, not each time");
    }

    #[test]
    fn fault_39_fingerprints_notice_a_reference_that_changes() {
        let with = |json: &str| {
            let references = vec![ReferencedSchema { name: "B".to_owned(), json: json.to_owned() }];
            RegisteredSchema { references, ..schema(1, "\"B\"").as_ref().clone() }
        };
        let mut prints = Fingerprints::new(10);
        assert!(!prints.note(&with("1")));
        assert!(prints.note(&with("2")));
    }
}
