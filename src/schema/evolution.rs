//! Owns which reader schema a record is read with: a fold over the writer schemas in offset order, so that the same
//! records from the same beginning always land in the same files. Does not own what a schema is.

use std::collections::HashMap;

use crate::position::SchemaId;

/// How reader schemas are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderChoice {
    /// The newest schema seen wherever nothing is lost, otherwise a reader of its own.
    Lossless,
    /// Each schema reads itself.
    PerVersion,
    /// The schema with the highest id seen so far.
    Latest,
    /// Always this one.
    Fixed(SchemaId),
}

impl ReaderChoice {
    /// Whether the schema that a record was written with may become a reader, and so needs columns.
    #[must_use]
    pub fn writers_may_read(self) -> bool {
        !matches!(self, Self::Fixed(_))
    }
}

/// The reader schemas of one flush.
#[derive(Clone, Debug)]
pub struct ReaderSet {
    choice: ReaderChoice,
    current: Option<SchemaId>,
    others: Vec<SchemaId>,
    routes: HashMap<SchemaId, SchemaId>,
}

impl ReaderSet {
    /// The set at the beginning of a flush. `base` is the reader in force there, as the intent carries it.
    #[must_use]
    pub fn begin(choice: ReaderChoice, base: Option<SchemaId>) -> Self {
        let current = match choice {
            ReaderChoice::Fixed(id) => Some(id),
            ReaderChoice::PerVersion => None,
            ReaderChoice::Lossless | ReaderChoice::Latest => base,
        };
        Self { choice, current, others: Vec::new(), routes: HashMap::new() }
    }

    /// With readers beside the one in force, as the intent carries them: of unrelated types that share the topic. Only
    /// [`ReaderChoice::Lossless`] has any.
    #[must_use]
    pub fn with_others(mut self, others: &[SchemaId]) -> Self {
        if self.choice == ReaderChoice::Lossless {
            self.others = others.to_vec();
        }
        self
    }

    /// The readers beside the one in force.
    #[must_use]
    pub fn others(&self) -> &[SchemaId] {
        &self.others
    }

    /// The reader in force now: the base of the next flush.
    #[must_use]
    pub fn current(&self) -> Option<SchemaId> {
        match self.choice {
            ReaderChoice::Lossless | ReaderChoice::Latest => self.current,
            ReaderChoice::PerVersion | ReaderChoice::Fixed(_) => None,
        }
    }

    /// The reader for the next record, written with `writer`. `absorbs(reader, writer)` says whether reading loses
    /// nothing; it must be a pure function of the two schemas.
    pub fn route(
        &mut self,
        writer: SchemaId,
        absorbs: &mut dyn FnMut(SchemaId, SchemaId) -> bool,
    ) -> SchemaId {
        if let Some(reader) = self.routes.get(&writer) {
            return *reader;
        }
        let reader = match self.choice {
            ReaderChoice::Fixed(id) => id,
            ReaderChoice::PerVersion => writer,
            ReaderChoice::Latest => self.newest(writer),
            ReaderChoice::Lossless => self.lossless(writer, absorbs),
        };
        self.routes.insert(writer, reader);
        reader
    }

    fn newest(&mut self, writer: SchemaId) -> SchemaId {
        match self.current {
            Some(current) if current >= writer => current,
            _ => self.replace_current(writer),
        }
    }

    fn lossless(
        &mut self,
        writer: SchemaId,
        absorbs: &mut dyn FnMut(SchemaId, SchemaId) -> bool,
    ) -> SchemaId {
        let Some(current) = self.current else { return self.replace_current(writer) };
        if current == writer || absorbs(current, writer) {
            return current;
        }
        if absorbs(writer, current) {
            return self.replace_current(writer);
        }
        if let Some(other) = self.others.iter().find(|other| **other == writer || absorbs(**other, writer)) {
            return *other;
        }
        // Unrelated types share a topic: each of them evolves as the one in force does.
        if let Some(other) = self.others.iter_mut().find(|other| absorbs(writer, **other)) {
            *other = writer;
            self.routes.clear();
            return writer;
        }
        self.others.push(writer);
        writer
    }

    fn replace_current(&mut self, reader: SchemaId) -> SchemaId {
        self.current = Some(reader);
        // Every writer is asked about again: the new reader may take what went elsewhere until now.
        self.routes.clear();
        reader
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Schemas 1 ⊂ 2 ⊂ 3; 10 is foreign to all, 11 absorbs 10.
    fn absorbs(reader: SchemaId, writer: SchemaId) -> bool {
        (number(reader) < 10) == (number(writer) < 10) && reader >= writer
    }

    fn number(id: SchemaId) -> u32 {
        let SchemaId::Number(number) = id else { panic!("{id} is no number") };
        number as u32
    }

    fn fold(choice: ReaderChoice, base: Option<u32>, writers: &[u32]) -> Vec<u32> {
        let mut set = ReaderSet::begin(choice, base.map(SchemaId::from));
        writers.iter().map(|writer| number(set.route(SchemaId::from(*writer), &mut absorbs))).collect()
    }

    #[test]
    fn fault_62_alternating_versions_settle_on_the_newest() {
        assert_eq!(fold(ReaderChoice::Lossless, None, &[1, 2, 1, 2, 1]), [1, 2, 2, 2, 2]);
        assert_eq!(fold(ReaderChoice::Lossless, Some(2), &[1, 2, 1, 2, 1]), [2, 2, 2, 2, 2]);
    }

    #[test]
    fn fault_64_an_older_schema_after_a_newer_one_is_read_up() {
        assert_eq!(fold(ReaderChoice::Lossless, None, &[3, 1, 2]), [3, 3, 3]);
    }

    #[test]
    fn fault_63_an_incompatible_schema_has_a_reader_of_its_own() {
        assert_eq!(fold(ReaderChoice::Lossless, None, &[1, 10, 1, 10, 2, 10]), [1, 10, 1, 10, 2, 10]);
    }

    #[test]
    fn an_older_version_of_an_unrelated_type_follows_at_once() {
        assert_eq!(fold(ReaderChoice::Lossless, None, &[1, 10, 11, 10]), [1, 10, 11, 11]);
    }

    #[test]
    fn only_what_evolves_goes_into_the_next_intent() {
        let (one, two) = (SchemaId::Number(1), SchemaId::Number(2));
        let carried = |choice| {
            let mut set = ReaderSet::begin(choice, Some(one)).with_others(&[two]);
            let others = set.others().len();
            set.route(one, &mut absorbs);
            (set.current(), others)
        };
        assert_eq!(carried(ReaderChoice::Lossless), (Some(one), 1));
        assert_eq!(carried(ReaderChoice::Latest), (Some(one), 0));
        assert_eq!(carried(ReaderChoice::PerVersion), (None, 0));
        assert_eq!(carried(ReaderChoice::Fixed(two)), (None, 0));
    }

    #[test]
    fn unrelated_types_evolve_side_by_side() {
        let writers = [1, 10, 2, 11, 10, 1, 11];
        assert_eq!(fold(ReaderChoice::Lossless, None, &writers), [1, 10, 2, 11, 11, 2, 11]);
    }

    #[test]
    fn the_other_choices_do_as_named() {
        assert_eq!(fold(ReaderChoice::PerVersion, Some(3), &[1, 2, 1]), [1, 2, 1]);
        assert_eq!(fold(ReaderChoice::Latest, None, &[2, 10, 1]), [2, 10, 10]);
        assert_eq!(fold(ReaderChoice::Fixed(SchemaId::Number(99)), None, &[2, 10]), [99, 99]);
    }

    #[test]
    fn the_fold_from_its_base_is_the_same_wherever_it_is_taken_up() {
        let writers = [1, 2, 10, 1, 3, 10, 2];
        let once = fold(ReaderChoice::Lossless, Some(1), &writers);
        assert_eq!(once, fold(ReaderChoice::Lossless, Some(1), &writers));
    }
}
