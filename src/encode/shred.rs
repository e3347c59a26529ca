//! Owns how a nested column falls apart into leaves: definition and repetition levels as in the Dremel paper, and which
//! values of the leaf's array are there. Where nothing is null, no list is empty and nothing is nested twice, no level
//! is ever looked at by itself.

use std::rc::Rc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Field};

/// What a batch has for one column of the file.
pub(super) struct Leaf {
    /// The values, also those that do not count.
    pub(super) array: ArrayRef,
    /// Levels there are: values, nulls and empty lists.
    pub(super) entries: usize,
    pub(super) definition: Levels,
    /// `None` outside lists: every entry is a row.
    pub(super) repetition: Option<Levels>,
    /// The definition level of an entry that has a value.
    pub(super) max_definition: u8,
    /// Where the values are in the array.
    pub(super) slots: Slots,
}

/// A level for each entry.
#[derive(Clone)]
pub(super) enum Levels {
    /// The same for all.
    Uniform(u8),
    /// One of two, by a bit.
    Bits { zero: u8, one: u8, bits: BooleanBuffer },
    /// Whatever they are.
    Listed(Rc<Vec<u8>>),
}

/// Places in an array, in order.
#[derive(Clone)]
pub(super) enum Slots {
    /// One after the other from here.
    Run {
        from: usize,
        len: usize,
    },
    Listed(Rc<Vec<u32>>),
}

/// Takes a column of a batch apart; `out` gets its leaves in the order of a file's columns.
pub(super) fn shred(field: &Field, array: &ArrayRef, out: &mut Vec<Leaf>) {
    let rows = array.len();
    let root = Node {
        entries: rows,
        level: 0,
        depth: 0,
        definition: Levels::Uniform(0),
        repetition: None,
        slots: Slots::Run { from: 0, len: rows },
    };
    descend(field, array, root, out);
}

fn descend(field: &Field, array: &ArrayRef, node: Node, out: &mut Vec<Leaf>) {
    let node = if field.is_nullable() { node.nullable(array.nulls()) } else { node };
    match field.data_type() {
        DataType::Struct(members) => {
            for (member, array) in members.iter().zip(array.as_struct().columns()) {
                descend(member, array, node.clone(), out);
            }
        }
        DataType::List(element) => {
            let list = array.as_list::<i32>();
            descend(element, list.values(), node.repeated(list.value_offsets()), out);
        }
        DataType::Map(entry, _) => {
            let map = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            descend(entry, &entries, node.repeated(map.value_offsets()), out);
        }
        _ => out.push(Leaf {
            array: array.clone(),
            entries: node.entries,
            definition: node.definition,
            repetition: node.repetition,
            max_definition: node.level,
            slots: node.slots,
        }),
    }
}

/// Where the way down to a leaf has come.
#[derive(Clone)]
struct Node {
    entries: usize,
    /// Entries of this definition level go on further down; the others ended above.
    level: u8,
    /// Lists above.
    depth: u8,
    definition: Levels,
    repetition: Option<Levels>,
    /// The places of those that go on, in the array at hand.
    slots: Slots,
}

impl Node {
    /// Through something that may be null.
    fn nullable(mut self, nulls: Option<&NullBuffer>) -> Self {
        let level = self.level;
        self.level += 1;
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        let slots = self.slots.clone();
        match (&self.definition, &slots, nulls) {
            (Levels::Uniform(all), _, None) => {
                self.definition = Levels::Uniform(all + u8::from(*all == level));
            }
            (Levels::Bits { zero, one, bits }, _, None) => {
                let deeper = |at: u8| at + u8::from(at == level);
                self.definition = Levels::Bits { zero: deeper(*zero), one: deeper(*one), bits: bits.clone() };
            }
            (Levels::Listed(levels), _, None) => {
                self.definition =
                    Levels::Listed(Rc::new(levels.iter().map(|at| at + u8::from(*at == level)).collect()));
            }
            (Levels::Uniform(all), Slots::Run { from, .. }, Some(nulls)) if *all == level => {
                let bits = nulls.inner().slice(*from, self.entries);
                let there: Vec<u32> = bits.set_indices_u32().map(|at| at + *from as u32).collect();
                if there.len() < self.entries {
                    self.definition = Levels::Bits { zero: level, one: level + 1, bits };
                    self.slots = Slots::Listed(Rc::new(there));
                } else {
                    self.definition = Levels::Uniform(level + 1);
                }
            }
            (definition, slots, Some(nulls)) => {
                let mut levels = definition.listed(self.entries);
                let mut there = Vec::with_capacity(slots.len());
                let mut slots = slots.iter();
                for at in levels.iter_mut().filter(|at| **at == level) {
                    let slot = slots.next().expect("there is a slot for every entry that goes on");
                    if nulls.is_valid(slot as usize) {
                        *at += 1;
                        there.push(slot);
                    }
                }
                self.definition = Levels::Listed(Rc::new(levels));
                self.slots = Slots::Listed(Rc::new(there));
            }
        }
        self
    }

    /// Into the elements of lists, which begin and end at `offsets`.
    fn repeated(mut self, offsets: &[i32]) -> Self {
        let level = self.level;
        self.level += 1;
        self.depth += 1;
        if let (Levels::Uniform(all), Slots::Run { from, .. }, None) =
            (&self.definition, &self.slots, &self.repetition)
            && *all == level
        {
            let ends = &offsets[*from..=*from + self.entries];
            if ends.windows(2).all(|pair| pair[0] < pair[1]) {
                return self.into_full_lists(ends);
            }
        }
        self.into_lists(offsets)
    }

    /// Every list has an element, and there is no list around: what begins a row is all there is to say.
    fn into_full_lists(mut self, ends: &[i32]) -> Self {
        let (from, to) =
            (ends.first().copied().unwrap_or(0) as usize, ends.last().copied().unwrap_or(0) as usize);
        let mut bits = vec![0xff_u8; (to - from).div_ceil(8)];
        for start in &ends[..self.entries] {
            let at = *start as usize - from;
            bits[at / 8] &= !(1 << (at % 8));
        }
        self.entries = to - from;
        let bits = BooleanBuffer::new(bits.into(), 0, self.entries);
        self.repetition = Some(Levels::Bits { zero: 0, one: 1, bits });
        self.definition = Levels::Uniform(self.level);
        self.slots = Slots::Run { from, len: self.entries };
        self
    }

    fn into_lists(mut self, offsets: &[i32]) -> Self {
        let definitions = self.definition.listed(self.entries);
        let repetitions = match &self.repetition {
            Some(levels) => levels.listed(self.entries),
            None => vec![0; self.entries],
        };
        let (mut definition, mut repetition) = (Vec::new(), Vec::new());
        let mut elements = SlotList::default();
        let places = self.slots.clone();
        let mut slots = places.iter();
        for (at, begins) in definitions.into_iter().zip(repetitions) {
            let mut len = 0;
            if at == self.level - 1 {
                let slot = slots.next().expect("there is a slot for every entry that goes on") as usize;
                len = (offsets[slot + 1] - offsets[slot]) as usize;
                elements.push(offsets[slot] as u32, len);
            }
            repetition.push(begins);
            definition.push(if len == 0 { at } else { self.level });
            let rest = len.saturating_sub(1);
            repetition.resize(repetition.len() + rest, self.depth);
            definition.resize(definition.len() + rest, self.level);
        }
        self.entries = definition.len();
        self.definition = Levels::Listed(Rc::new(definition));
        self.repetition = Some(Levels::Listed(Rc::new(repetition)));
        self.slots = elements.finish();
        self
    }
}

/// Slots in the making: listed only once they have a gap.
#[derive(Default)]
struct SlotList {
    from: u32,
    len: usize,
    listed: Option<Vec<u32>>,
}

impl SlotList {
    fn push(&mut self, from: u32, len: usize) {
        if len == 0 {
            return;
        }
        if self.len == 0 {
            self.from = from;
        } else if self.listed.is_none() && from != self.from + self.len as u32 {
            self.listed = Some((self.from..self.from + self.len as u32).collect());
        }
        self.len += len;
        if let Some(listed) = &mut self.listed {
            listed.extend(from..from + len as u32);
        }
    }

    fn finish(self) -> Slots {
        match self.listed {
            Some(listed) => Slots::Listed(Rc::new(listed)),
            None => Slots::Run { from: self.from as usize, len: self.len },
        }
    }
}

impl Levels {
    /// All of them.
    pub(super) fn listed(&self, entries: usize) -> Vec<u8> {
        match self {
            Self::Uniform(level) => vec![*level; entries],
            Self::Bits { zero, one, bits } => bits.iter().map(|bit| if bit { *one } else { *zero }).collect(),
            Self::Listed(levels) => levels.to_vec(),
        }
    }

    /// How many of `len` entries from `from` are of `level`.
    pub(super) fn count(&self, level: u8, from: usize, len: usize) -> usize {
        match self {
            Self::Uniform(all) => usize::from(*all == level) * len,
            Self::Bits { zero, one, bits } => {
                let set = bits.slice(from, len).count_set_bits();
                usize::from(*one == level) * set + usize::from(*zero == level) * (len - set)
            }
            Self::Listed(levels) => levels[from..from + len].iter().map(|at| usize::from(*at == level)).sum(),
        }
    }
}

impl Leaf {
    /// The first entry after so many rows, when a row begins at `from`.
    pub(super) fn row_end(&self, from: usize, rows: usize) -> usize {
        match &self.repetition {
            None | Some(Levels::Uniform(_)) => (from + rows).min(self.entries),
            Some(Levels::Bits { bits, .. }) => nth_unset(bits, from + 1, rows - 1),
            Some(Levels::Listed(levels)) => {
                (from + 1..self.entries).filter(|at| levels[*at] == 0).nth(rows - 1).unwrap_or(self.entries)
            }
        }
    }
}

/// The place of the bit that is not set and has `n` such bits before it, from `from`; the end where there are fewer.
fn nth_unset(bits: &BooleanBuffer, from: usize, n: usize) -> usize {
    let len = bits.len();
    if from >= len {
        return len;
    }
    let mut left = n;
    for (word, set) in bits.slice(from, len - from).bit_chunks().iter_padded().enumerate() {
        let mut unset = !set;
        let count = unset.count_ones() as usize;
        if left < count {
            for _ in 0..left {
                unset &= unset - 1;
            }
            return (from + word * 64 + unset.trailing_zeros() as usize).min(len);
        }
        left -= count;
    }
    len
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Run { len, .. } => *len,
            Self::Listed(slots) => slots.len(),
        }
    }

    fn iter(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            Self::Run { from, len } => Box::new(*from as u32..(*from + *len) as u32),
            Self::Listed(slots) => Box::new(slots.iter().copied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_bits_are_counted_from_anywhere() {
        let bits: BooleanBuffer = (0..500).map(|at| at % 7 != 0 && at % 64 != 1).collect();
        let unset: Vec<usize> = (0..500).filter(|at| !bits.value(*at)).collect();
        for from in 0..=500 {
            for n in [0, 1, 2, 9, 64, 200] {
                let expected = unset.iter().copied().filter(|at| *at >= from).nth(n).unwrap_or(500);
                assert_eq!(nth_unset(&bits, from, n), expected, "from {from}, {n}");
            }
        }
    }
}
