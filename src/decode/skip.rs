//! Owns passing over values that the reader lacks: read as strictly as if they were wanted, kept nowhere. Walks the
//! writer schema itself, so a type may contain itself here.

use super::error::Fault;
use super::run::Run;
use crate::schema::{NodeId, Shape};

/// Values inside values.
const MAX_DEPTH: u32 = 128;
/// What passing over a value counts for, which takes time and no memory: those without bytes could go on for ever.
const SKIPPED_BYTES: u64 = 16;

impl Run<'_, '_> {
    pub(super) fn skip(&mut self, node: NodeId, depth: u32) -> Result<(), Fault> {
        if depth == MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        let writer = self.writer;
        match &writer.node(node).shape {
            Shape::Null => {}
            Shape::Boolean => drop(self.cursor.boolean()?),
            Shape::Int => drop(self.cursor.int()?),
            Shape::Long => drop(self.cursor.long()?),
            Shape::Float => drop(self.cursor.take(4)?),
            Shape::Double => drop(self.cursor.take(8)?),
            Shape::Bytes => drop(self.cursor.sized()?),
            Shape::String => drop(self.cursor.text()?),
            Shape::Fixed(fixed) => drop(self.cursor.take(fixed.size)?),
            Shape::Enum(declared) => {
                let index = usize::try_from(self.cursor.int()?);
                if !index.is_ok_and(|index| index < declared.symbols.len()) {
                    return Err(Fault::BadEnumIndex);
                }
            }
            Shape::Union(branches) => {
                let index = usize::try_from(self.cursor.long()?);
                let branch = index.ok().and_then(|index| branches.get(index)).ok_or(Fault::BadUnionIndex)?;
                self.skip(*branch, depth + 1)?;
            }
            Shape::Record(record) => {
                // Records of records without bytes could go on for ever.
                self.charge(SKIPPED_BYTES * record.fields.len() as u64)?;
                for field in &record.fields {
                    self.skip(field.node, depth + 1)?;
                }
            }
            Shape::Array(items) => self.skip_items(*items, false, depth)?,
            Shape::Map(values) => self.skip_items(*values, true, depth)?,
        }
        Ok(())
    }

    fn skip_items(&mut self, item: NodeId, keyed: bool, depth: u32) -> Result<(), Fault> {
        let min_bytes = self.min_bytes[item.index()] + u64::from(keyed);
        while let Some(block) = self.cursor.block()? {
            self.admit(block, min_bytes, SKIPPED_BYTES)?;
            for _ in 0..block.items {
                if keyed {
                    self.cursor.text()?;
                }
                self.skip(item, depth + 1)?;
            }
            block.check_end(&self.cursor)?;
        }
        Ok(())
    }
}
