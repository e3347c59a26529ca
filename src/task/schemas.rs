//! Owns what the task knows of schemas: texts asked for, parsed schemas, plans, verdicts. Does not own the registry.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::decode::{ColumnLayout, DecodePlan};
use crate::error::{Failure, Stage};
use crate::position::SchemaId;
use crate::schema::{Absorption, AvroSchema, ColumnOptions, absorbs};
use crate::task::backoff::Backoff;
use crate::task::clock::Tick;
use crate::task::message::SchemaText;
use crate::task::partition_fields::MissingFields;

/// Name of the column of Avro keys.
pub(super) const KEY_COLUMN: &str = "_key";
/// Schemas kept at the most; beyond it everything not pinned is forgotten and asked for again.
const KEPT_SCHEMAS: usize = 4096;
/// The same for the bytes of their texts: parsed, and with columns and plans, they take several times as much.
const KEPT_TEXT_BYTES: usize = 32 << 20;
/// So many are kept whatever their size: those that records in hand need must be there together.
const NEEDED_SCHEMAS: usize = 128;
/// How long a schema that cannot be used is not asked for again.
const UNUSABLE_FOR: Duration = Duration::from_secs(30);

/// A parsed schema.
#[derive(Debug)]
pub struct KnownSchema {
    /// What names it.
    pub id: SchemaId,
    /// The parsed schema.
    pub avro: Arc<AvroSchema>,
    /// A text of it that needs no other, for the footer.
    pub json: String,
    /// Tells it from other schemas that a registry may have under the same name.
    pub print: u32,
    /// Bytes of the texts it was read from.
    text_bytes: usize,
    options: ColumnOptions,
    /// The columns its values make as a reader, once somebody asked.
    layout: OnceLock<Result<Arc<ColumnLayout>, Failure>>,
    /// The column its values make as a reader of keys, once somebody asked.
    key_layout: OnceLock<Result<Arc<ColumnLayout>, Failure>>,
}

impl KnownSchema {
    /// The columns that its values make as a reader.
    ///
    /// # Errors
    /// Poison when it has no columnar form.
    pub fn layout(&self) -> Result<Arc<ColumnLayout>, Failure> {
        let layout = || ColumnLayout::new(self.avro.clone(), self.options).map_err(Failure::from);
        self.layout.get_or_init(layout).clone()
    }

    /// The column that keys of this schema make.
    ///
    /// # Errors
    /// Poison when it has no columnar form.
    pub fn key_layout(&self) -> Result<Arc<ColumnLayout>, Failure> {
        let layout =
            || ColumnLayout::whole(self.avro.clone(), KEY_COLUMN, self.options).map_err(Failure::from);
        self.key_layout.get_or_init(layout).clone()
    }

    /// Full name of its records; of other schemas the name or word of the type.
    #[must_use]
    pub fn record_name(&self) -> &str {
        let root = self.avro.node(self.avro.root());
        root.names().map_or_else(|| root.shape.word(), |(name, _)| name.full())
    }
}

/// What [`SchemaBook::look_up`] finds.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Usable.
    Ready(Arc<KnownSchema>),
    /// On its way, or to be asked for with [`SchemaBook::request`].
    Missing,
    /// Records written with it are poison, for this reason.
    Unusable(Failure),
}

/// Every schema the task has met.
#[derive(Default)]
pub struct SchemaBook {
    entries: HashMap<SchemaId, Entry>,
    plans: Plans,
    key_plans: Plans,
    verdicts: HashMap<(SchemaId, SchemaId), bool>,
    /// Fields of `partition_by` that schemas had, and lacked.
    pub(super) missing_fields: MissingFields,
    /// Schemas of files, which are never forgotten.
    pinned: HashSet<SchemaId>,
    options: ColumnOptions,
    /// Bytes of the texts of entries that may be forgotten.
    text_bytes: usize,
}

type Plans = HashMap<(SchemaId, SchemaId), Result<Arc<DecodePlan>, Failure>>;

enum Entry {
    /// With why it was not to be had the last time.
    Fetching(Backoff, Option<Failure>),
    Waiting {
        until: Tick,
        backoff: Backoff,
        failure: Failure,
    },
    Ready(Arc<KnownSchema>),
    Unusable {
        failure: Failure,
        until: Tick,
    },
}

impl SchemaBook {
    /// An empty book for columns laid out with `options`.
    #[must_use]
    pub fn new(options: ColumnOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Adds a schema that does not come from a registry. `reads` says whether it may be a reader; otherwise it needs
    /// no columns.
    ///
    /// # Errors
    /// Fatal when it is not a usable schema.
    pub fn pin(&mut self, id: SchemaId, json: &str, reads: bool) -> Result<(), Failure> {
        let text = SchemaText { json: json.to_owned(), references: Vec::new() };
        let with_columns =
            |known: Arc<KnownSchema>| if reads { known.layout().map(|_| known) } else { Ok(known) };
        match self.understand(id, &text).and_then(with_columns) {
            Ok(known) => {
                self.entries.insert(id, Entry::Ready(known));
                self.pinned.insert(id);
                Ok(())
            }
            Err(failure) => {
                Err(Failure::fatal(Stage::Schema, format!("the schema file cannot be used: {failure}")))
            }
        }
    }

    /// Adds a schema that records name by its fingerprint; `reads` as for [`Self::pin`].
    ///
    /// # Errors
    /// Fatal when it is not a usable schema.
    pub fn pin_fingerprint(&mut self, json: &str, reads: bool) -> Result<(), Failure> {
        let parsed = AvroSchema::parse(json, &[]).map_err(|error| {
            Failure::fatal(Stage::Schema, format!("the schema file cannot be used: {}", Failure::from(error)))
        })?;
        self.pin(SchemaId::Fingerprint(parsed.fingerprint()), json, reads)
    }

    /// What is known of `id` at `now`.
    #[must_use]
    pub fn look_up(&self, id: SchemaId, now: Tick) -> Lookup {
        match self.entries.get(&id) {
            Some(Entry::Ready(known)) => Lookup::Ready(known.clone()),
            Some(Entry::Unusable { failure, until }) if now < *until => Lookup::Unusable(failure.clone()),
            // Nobody else can be asked for these.
            None if matches!(id, SchemaId::Fingerprint(_)) => Lookup::Unusable(Failure::poison(
                Stage::Schema,
                "unknown_schema",
                format!("no schema file has the fingerprint {id}; add the schema to value.schema_files"),
            )),
            _ => Lookup::Missing,
        }
    }

    /// Whether `id` is at hand.
    #[must_use]
    pub fn is_ready(&self, id: SchemaId) -> bool {
        matches!(self.entries.get(&id), Some(Entry::Ready(_)))
    }

    /// Whether records that need `id` find it unusable at `now`.
    #[must_use]
    pub fn is_unusable(&self, id: SchemaId, now: Tick) -> bool {
        matches!(self.look_up(id, now), Lookup::Unusable(_))
    }

    /// Whether `id` must be asked for now; counts as asked when the answer is yes.
    pub fn request(&mut self, id: SchemaId, now: Tick) -> bool {
        let (backoff, failure) = match self.entries.get(&id) {
            Some(Entry::Ready(_) | Entry::Fetching(..)) => return false,
            Some(Entry::Waiting { until, .. } | Entry::Unusable { until, .. }) if now < *until => {
                return false;
            }
            Some(Entry::Waiting { backoff, failure, .. }) => (*backoff, Some(failure.clone())),
            Some(Entry::Unusable { .. }) | None => (Backoff::default(), None),
        };
        self.forget_when_full();
        self.entries.insert(id, Entry::Fetching(backoff, failure));
        true
    }

    /// Whether `id` is still to come: asked for, or waiting to be asked for again.
    #[must_use]
    pub fn is_pending(&self, id: SchemaId) -> bool {
        matches!(self.entries.get(&id), Some(Entry::Fetching(..) | Entry::Waiting { .. }))
    }

    /// Why `id` is still to come, if it was asked for and not to be had.
    #[must_use]
    pub fn trouble(&self, id: SchemaId) -> Option<&Failure> {
        match self.entries.get(&id) {
            Some(Entry::Fetching(_, failure)) => failure.as_ref(),
            Some(Entry::Waiting { failure, .. }) => Some(failure),
            _ => None,
        }
    }

    /// Takes the registry's answer. Gives how long to wait when it is to be asked again.
    ///
    /// # Errors
    /// Fatal ones, which stop the connector.
    pub fn fetched(
        &mut self,
        id: SchemaId,
        result: Result<SchemaText, Failure>,
        now: Tick,
        random: u64,
    ) -> Result<Option<Duration>, Failure> {
        let mut backoff = match self.entries.get(&id) {
            Some(Entry::Fetching(backoff, _)) => *backoff,
            _ => Backoff::default(),
        };
        match result.and_then(|text| self.understand(id, &text)) {
            Ok(known) => {
                self.text_bytes += known.text_bytes;
                self.entries.insert(id, Entry::Ready(known));
                Ok(None)
            }
            Err(failure @ Failure::Poison { .. }) => {
                self.entries.insert(id, Entry::Unusable { failure, until: now.after(UNUSABLE_FOR) });
                Ok(None)
            }
            Err(failure @ Failure::Retriable { after, .. }) => {
                let wait = backoff.next(after, random);
                self.entries.insert(id, Entry::Waiting { until: now.after(wait), backoff, failure });
                Ok(Some(wait))
            }
            Err(failure @ Failure::Fatal { .. }) => Err(failure),
        }
    }

    /// When `id` may be asked for again, if it waits for that.
    #[must_use]
    pub fn retry_at(&self, id: SchemaId) -> Option<Tick> {
        match self.entries.get(&id) {
            Some(Entry::Waiting { until, .. }) => Some(*until),
            _ => None,
        }
    }

    /// The plan that reads values of `writer` with `reader`; both must be ready.
    ///
    /// # Errors
    /// Poison when they do not match, or the reader has no columnar form.
    pub fn plan(&mut self, writer: &KnownSchema, reader: &KnownSchema) -> Result<Arc<DecodePlan>, Failure> {
        plan(&mut self.plans, writer, reader, &reader.layout()?)
    }

    /// The plan that reads keys of `writer` with `reader`; both must be ready.
    ///
    /// # Errors
    /// Poison when they do not match, or have no columnar form.
    pub fn key_plan(
        &mut self,
        writer: &KnownSchema,
        reader: &KnownSchema,
    ) -> Result<Arc<DecodePlan>, Failure> {
        plan(&mut self.key_plans, writer, reader, &reader.key_layout()?)
    }

    /// As [`Self::absorbs`], for records of the same full name only.
    pub fn absorbs_same_record(&mut self, reader: SchemaId, writer: SchemaId) -> bool {
        let name = |id| match self.entries.get(id) {
            Some(Entry::Ready(known)) => Some(known.record_name()),
            _ => None,
        };
        name(&reader) == name(&writer) && self.absorbs(reader, writer)
    }

    /// Whether reading records of `writer` with `reader` loses nothing; false when either is not ready.
    pub fn absorbs(&mut self, reader: SchemaId, writer: SchemaId) -> bool {
        if let Some(verdict) = self.verdicts.get(&(reader, writer)) {
            return *verdict;
        }
        let (Some(Entry::Ready(r)), Some(Entry::Ready(w))) =
            (self.entries.get(&reader), self.entries.get(&writer))
        else {
            return false;
        };
        let verdict = matches!(absorbs(&r.avro, &w.avro), Absorption::Lossless);
        self.verdicts.insert((reader, writer), verdict);
        verdict
    }

    fn understand(&self, id: SchemaId, text: &SchemaText) -> Result<Arc<KnownSchema>, Failure> {
        let avro = Arc::new(AvroSchema::parse(&text.json, &text.references)?);
        let json = if text.references.is_empty() { text.json.clone() } else { avro.self_contained() };
        let references = text.references.iter().map(|(_, text)| text.len());
        let text_bytes = text.json.len() + references.sum::<usize>();
        let (layout, key_layout) = (OnceLock::new(), OnceLock::new());
        let print = print_of(id, &avro);
        let options = self.options;
        Ok(Arc::new(KnownSchema { id, avro, json, print, text_bytes, options, layout, key_layout }))
    }

    fn forget_when_full(&mut self) {
        let too_large = self.text_bytes >= KEPT_TEXT_BYTES && self.entries.len() >= NEEDED_SCHEMAS;
        if self.entries.len() < KEPT_SCHEMAS && !too_large {
            return;
        }
        self.entries.retain(|id, entry| {
            self.pinned.contains(id) || matches!(entry, Entry::Fetching(..) | Entry::Waiting { .. })
        });
        self.text_bytes = 0;
        self.plans.clear();
        self.key_plans.clear();
        self.verdicts.clear();
    }
}

/// 24 bits of a hash over all of a schema that reading can depend on, and over what names it. Intents hold it, so it stays
/// the same from version to version.
fn print_of(id: SchemaId, avro: &AvroSchema) -> u32 {
    let text = format!("{id} {}", avro.self_contained());
    (xxhash_rust::xxh3::xxh3_64(text.as_bytes()) & 0xff_ffff) as u32
}

fn plan(
    plans: &mut Plans,
    writer: &KnownSchema,
    reader: &KnownSchema,
    layout: &Arc<ColumnLayout>,
) -> Result<Arc<DecodePlan>, Failure> {
    let key = (writer.id, reader.id);
    match plans.get(&key) {
        // A schema that was forgotten and came back has another layout; a flush may still hold the former.
        Some(Ok(plan)) if Arc::ptr_eq(plan.layout(), layout) => return Ok(plan.clone()),
        Some(Err(failure)) => return Err(failure.clone()),
        _ => {}
    }
    let plan = DecodePlan::compile(&writer.avro, layout).map(Arc::new).map_err(Failure::from);
    plans.insert(key, plan.clone());
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = r#"{"type":"record","name":"Node","fields":[{"name":"n","type":"long"},
        {"name":"next","type":["null","Node"]}]}"#;
    const FLAT: &str = r#"{"type":"record","name":"Node","fields":[{"name":"n","type":"long"}]}"#;

    fn learn(book: &mut SchemaBook, id: u32, json: &str, references: &[(&str, &str)]) -> Arc<KnownSchema> {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let text = SchemaText { json: json.to_owned(), references: references.iter().map(owned).collect() };
        book.request(id.into(), Tick(0));
        book.fetched(id.into(), Ok(text), Tick(0), 0).unwrap();
        match book.look_up(id.into(), Tick(0)) {
            Lookup::Ready(known) => known,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fault_57_a_type_that_contains_itself_is_read_with_a_schema_that_leaves_it_out() {
        let mut book = SchemaBook::default();
        let (writer, reader) = (learn(&mut book, 1, NODE, &[]), learn(&mut book, 2, FLAT, &[]));
        let plan = book.plan(&writer, &reader).unwrap();
        let mut batch = crate::decode::BatchBuilder::new(&reader.layout().unwrap());
        plan.decode(&mut batch, &[14, 2, 16, 0]).unwrap();
        assert_eq!(batch.finish().num_rows(), 1);
        let failure = book.plan(&writer, &writer).unwrap_err();
        assert!(matches!(failure, Failure::Poison { .. }) && failure.to_string().contains("contains itself"));
        assert!(book.pin(SchemaId::ValueFile, NODE, true).is_err());
        assert!(book.pin_fingerprint(NODE, true).is_err());
        book.pin(SchemaId::ValueFile, NODE, false).unwrap();
        book.pin_fingerprint(NODE, false).unwrap();
    }

    #[test]
    fn the_text_of_a_schema_with_references_stands_alone() {
        let mut book = SchemaBook::default();
        let references = [(
            "shop.Money",
            r#"{"type":"record","name":"shop.Money","fields":[{"name":"cents",
            "type":{"type":"long","logicalType":"timestamp-millis"}}]}"#,
        )];
        let json = r#"{"type":"record","name":"shop.Order","fields":[{"name":"price","type":"Money"}]}"#;
        let known = learn(&mut book, 1, json, &references);
        let alone = AvroSchema::parse(&known.json, &[]).unwrap();
        assert_eq!(alone.canonical_form(), known.avro.canonical_form());
        assert!(known.json.contains("timestamp-millis"));
        assert_eq!(learn(&mut book, 2, FLAT, &[]).json, FLAT, "as it was written where it stands alone");
    }

    #[test]
    fn fault_107_the_print_of_a_schema_is_as_it_was_and_differs_where_reading_could() {
        let mut book = SchemaBook::default();
        let mut print = |id, json| learn(&mut book, id, json, &[]).print;
        let first = print(1, FLAT);
        assert_eq!(first, 0xe9_9c3d);
        let spaced = FLAT.replace(':', " : ").replace("\"n\"", "\"n\",\"doc\":\"d\"");
        assert_eq!(print(1, &spaced), first, "words and spaces do not matter");
        let date = FLAT.replace("\"long\"", "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}");
        let default = FLAT.replace("\"long\"", "\"long\",\"default\":7");
        assert!(
            [print(2, FLAT), print(1, &date), print(1, &default), print(1, NODE)]
                .iter()
                .all(|other| *other != first)
        );
    }

    #[test]
    fn fault_41_large_schemas_without_end_take_bounded_memory() {
        let mut book = SchemaBook::default();
        book.pin(SchemaId::ValueFile, FLAT, true).unwrap();
        let json = format!("{FLAT}{}", " ".repeat(1 << 20));
        for id in 0..300 {
            learn(&mut book, id, &json, &[]);
            assert!(book.is_ready(id.into()), "the one just learned is there");
            assert!(book.entries.len() <= NEEDED_SCHEMAS + 1);
        }
        assert!(book.is_ready(SchemaId::ValueFile), "schemas of files are never forgotten");
        for id in 1_000..1_300 {
            learn(&mut book, id, FLAT, &[]);
        }
        assert!(book.entries.len() > NEEDED_SCHEMAS + 1, "many small ones stay");
    }

    #[test]
    fn fault_33_an_unusable_schema_is_asked_for_again_after_a_while_and_not_before() {
        let (mut book, id) = (SchemaBook::default(), SchemaId::Number(1));
        assert!(book.request(id, Tick(0)) && !book.request(id, Tick(0)));
        let unknown = Failure::poison(Stage::Schema, "unknown_schema", "no such schema");
        assert_eq!(book.fetched(id, Err(unknown), Tick(0), 0), Ok(None));
        let until = Tick(0).after(UNUSABLE_FOR);
        for now in [Tick(0), Tick(until.0 - 1)] {
            assert!(matches!(book.look_up(id, now), Lookup::Unusable(_)) && !book.request(id, now));
        }
        assert!(matches!(book.look_up(id, until), Lookup::Missing) && book.request(id, until));
    }

    #[test]
    fn fault_35_a_registrys_wish_for_a_pause_is_honoured() {
        let (mut book, id) = (SchemaBook::default(), SchemaId::Number(1));
        book.request(id, Tick(0));
        let pause = Duration::from_secs(100);
        let busy = Failure::Retriable { stage: Stage::Schema, reason: "busy".into(), after: Some(pause) };
        assert_eq!(book.fetched(id, Err(busy), Tick(0), 0), Ok(Some(pause)));
        assert_eq!(book.retry_at(id), Some(Tick(0).after(pause)));
        assert!(!book.request(id, Tick(99_999)) && book.request(id, Tick(100_000)));
        let denied = Failure::fatal(Stage::Schema, "no access");
        assert_eq!(book.fetched(id, Err(denied.clone()), Tick(0), 0), Err(denied));
    }

    #[test]
    fn a_fingerprint_of_no_schema_file_is_poison_at_once() {
        let mut book = SchemaBook::default();
        book.pin_fingerprint(FLAT, true).unwrap();
        let known = AvroSchema::parse(FLAT, &[]).unwrap().fingerprint();
        assert!(matches!(book.look_up(SchemaId::Fingerprint(known), Tick(0)), Lookup::Ready(_)));
        let Lookup::Unusable(failure) = book.look_up(SchemaId::Fingerprint(known + 1), Tick(0)) else {
            panic!()
        };
        assert!(matches!(failure, Failure::Poison { kind: "unknown_schema", .. }), "{failure}");
    }

    #[test]
    fn only_what_loses_nothing_is_absorbed_and_types_of_other_names_stay_apart() {
        let record = |name: &str, ty: &str| {
            format!(r#"{{"type":"record","name":"{name}","fields":[{{"name":"n","type":"{ty}"}}]}}"#)
        };
        let mut book = SchemaBook::default();
        for (id, json) in [(1, record("a.N", "int")), (2, record("a.N", "long")), (3, record("b.N", "long"))]
        {
            learn(&mut book, id, &json, &[]);
        }
        let [int, long, namesake] = [1, 2, 3].map(SchemaId::Number);
        assert!(book.absorbs(long, int) && !book.absorbs(int, long));
        assert!(book.absorbs(namesake, int) && !book.absorbs_same_record(namesake, int));
        assert!(book.absorbs_same_record(long, int));
        let (mut book, lossy) = (SchemaBook::default(), [record("N", "double"), record("N", "long")]);
        learn(&mut book, 1, &lossy[0], &[]);
        learn(&mut book, 2, &lossy[1], &[]);
        assert!(!book.absorbs(int, long), "a double rounds");
    }

    #[test]
    fn a_schema_that_was_forgotten_and_came_back_has_plans_of_its_own() {
        let mut book = SchemaBook::default();
        let before = learn(&mut book, 1, FLAT, &[]);
        let old = book.plan(&before, &before).unwrap();
        assert!(Arc::ptr_eq(&old, &book.plan(&before, &before).unwrap()), "compiled once");
        book.entries.clear();
        let after = learn(&mut book, 1, FLAT, &[]);
        let new = book.plan(&after, &after).unwrap();
        assert!(Arc::ptr_eq(new.layout(), &after.layout().unwrap()));
        // A flush that began before goes on with the former.
        let again = book.plan(&before, &before).unwrap();
        assert!(Arc::ptr_eq(again.layout(), &before.layout().unwrap()));
    }
}
