//! Owns the doing of a plan's steps for one datum. Stops at the first fault and leaves columns of unequal length: the
//! caller rolls back.

use super::buffers::{Buffers, ByteRuns, MAX_OFFSET, last};
use super::cursor::{Block, Cursor, Text};
use super::error::{DecodeError, Fault};
use super::number;
use super::plan::{Carrier, DecodePlan, Items, Step};
use crate::schema::AvroSchema;

/// Bytes of memory that the items of any datum may take.
const FREE_BYTES: u64 = 16 << 20;
/// Further ones for each byte of the datum. Most data needs about ten, items with wide records that are null up to a hundred.
const BYTES_PER_BYTE: u64 = 256;
const DAY_MILLIS: i32 = 86_400_000;
const DAY_MICROS: i64 = 86_400_000_000;

fn bytes_for(datum_bytes: usize) -> u64 {
    FREE_BYTES + BYTES_PER_BYTE * datum_bytes as u64
}

/// One datum on its way into the columns.
pub(super) struct Run<'d, 'p> {
    pub(super) cursor: Cursor<'d>,
    /// Bytes of memory that items may still take.
    budget_bytes: u64,
    /// Steps of the path to the fault, innermost first.
    trail: Vec<&'p str>,
    pub(super) writer: &'p AvroSchema,
    pub(super) min_bytes: &'p [u64],
    root: &'p Step,
}

impl<'d, 'p> Run<'d, 'p> {
    pub(super) fn new(plan: &'p DecodePlan, datum: &'d [u8]) -> Self {
        Self {
            cursor: Cursor::new(datum),
            budget_bytes: bytes_for(datum.len()),
            trail: Vec::new(),
            writer: &plan.writer,
            min_bytes: &plan.min_bytes,
            root: &plan.root,
        }
    }

    pub(super) fn datum(&mut self, buffers: &mut Buffers) -> Result<(), Fault> {
        self.one(self.root, buffers)?;
        if self.cursor.remaining() == 0 { Ok(()) } else { Err(Fault::TrailingBytes) }
    }

    /// About what a datum of so many bytes takes in memory beyond the width of a row, bytes.
    pub(super) fn weight_bytes(&self, datum_bytes: usize) -> u64 {
        datum_bytes as u64 + bytes_for(datum_bytes) - self.budget_bytes
    }

    /// The error for a fault that stopped this run; `rows` is what the batch holds without it.
    pub(super) fn explain(&self, fault: Fault, datum_bytes: usize, rows: usize) -> DecodeError {
        let fault = match fault {
            Fault::NoRoom if rows > 0 => return DecodeError::BatchFull,
            Fault::NoRoom => Fault::TooLarge,
            fault => fault,
        };
        let path: Vec<&str> = self.trail.iter().rev().copied().collect();
        DecodeError::Datum { fault, path: path.join("."), position: datum_bytes - self.cursor.remaining() }
    }

    /// Does one step, or the members of a record.
    #[inline]
    fn one(&mut self, step: &'p Step, buffers: &mut Buffers) -> Result<(), Fault> {
        match step {
            Step::Struct(members) => self.steps(&members.steps, &members.names, buffers),
            step => self.steps(std::slice::from_ref(step), &[], buffers),
        }
    }

    /// Does steps one after the other. `names` are theirs, or empty. All that is frequent is done right here: a call for
    /// each value would cost about as much as reading it.
    fn steps(
        &mut self,
        steps: &'p [Step],
        names: &'p [Box<str>],
        buffers: &mut Buffers,
    ) -> Result<(), Fault> {
        for (index, step) in steps.iter().enumerate() {
            if let Err(fault) = self.frequent_step(step, buffers) {
                self.trail.extend(names.get(index).map(|name| &**name));
                return Err(fault);
            }
        }
        Ok(())
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the loop over the members of a record is the only caller")]
    fn frequent_step(&mut self, mut step: &'p Step, buffers: &mut Buffers) -> Result<(), Fault> {
        // Steps that only choose another one go round.
        loop {
            match step {
                Step::Boolean { to } => buffers.bits[*to as usize].push(self.cursor.boolean()?),
                Step::Int { to } => buffers.i32s[*to as usize].push(self.cursor.int()?),
                Step::Long { to } => buffers.i64s[*to as usize].push(self.cursor.long()?),
                Step::Float { to } => {
                    buffers.f32s[*to as usize].push(f32::from_le_bytes(self.cursor.array()?));
                }
                Step::Double { to } => {
                    buffers.f64s[*to as usize].push(f64::from_le_bytes(self.cursor.array()?));
                }
                Step::Bytes { to } => buffers.bytes[*to as usize].push(self.cursor.sized()?)?,
                Step::Text { to } => text(&mut self.cursor, &mut buffers.bytes[*to as usize])?,
                Step::Enum { to, symbols } => {
                    let symbol = self.symbol(symbols)?;
                    buffers.bytes[*to as usize].push(symbol)?;
                }
                Step::Optional { null_branch, validity, fills, step: value } => {
                    let branch = self.cursor.long()?;
                    if branch & !1 != 0 {
                        return Err(Fault::BadUnionIndex);
                    }
                    if branch != *null_branch {
                        buffers.bits[*validity as usize].push(true);
                        step = value;
                        continue;
                    }
                    buffers.fill(fills);
                }
                Step::Present { validity, step: value } => {
                    buffers.bits[*validity as usize].push(true);
                    step = value;
                    continue;
                }
                Step::Union(branches) => {
                    let branch = self.cursor.long()?;
                    let branch = usize::try_from(branch).ok().and_then(|branch| branches.get(branch));
                    step = branch.ok_or(Fault::BadUnionIndex)?;
                    continue;
                }
                Step::Member { fills, own, validity, step: value } => {
                    buffers.fill(&fills[..own.start as usize]);
                    buffers.fill(&fills[own.end as usize..]);
                    buffers.bits[*validity as usize].push(true);
                    step = value;
                    continue;
                }
                Step::Decimal128 { to, precision, carrier } => {
                    let value = number::decimal128(self.carried(*carrier)?, *precision)?;
                    buffers.i128s[*to as usize].push(value);
                }
                Step::Struct(members) => self.steps(&members.steps, &members.names, buffers)?,
                other => self.other_step(other, buffers)?,
            }
            return Ok(());
        }
    }

    /// Kept apart so that the loop of the frequent steps stays small.
    #[inline(never)]
    fn other_step(&mut self, step: &'p Step, buffers: &mut Buffers) -> Result<(), Fault> {
        match step {
            Step::Null { to } => buffers.nulls[*to as usize] += 1,
            Step::IntToLong { to } => buffers.i64s[*to as usize].push(self.cursor.int()?.into()),
            Step::IntToFloat { to } => buffers.f32s[*to as usize].push(self.cursor.int()? as f32),
            Step::IntToDouble { to } => buffers.f64s[*to as usize].push(self.cursor.int()?.into()),
            Step::LongToFloat { to } => buffers.f32s[*to as usize].push(self.cursor.long()? as f32),
            Step::LongToDouble { to } => buffers.f64s[*to as usize].push(self.cursor.long()? as f64),
            Step::FloatToDouble { to } => {
                buffers.f64s[*to as usize].push(f32::from_le_bytes(self.cursor.array()?).into());
            }
            Step::Fixed { to, size } => {
                buffers.fixed[*to as usize].push(self.cursor.take(*size as usize)?)?;
            }
            Step::FixedAsBytes { to, size } => {
                buffers.bytes[*to as usize].push(self.cursor.take(*size as usize)?)?;
            }
            Step::Array { ends, items } => {
                let count = self.items(items, buffers, |_, _| Ok(()))?;
                add_end(&mut buffers.ends[*ends as usize], count)?;
            }
            Step::Map { ends, keys, items } => {
                let count = self.items(items, buffers, |cursor, buffers| {
                    text(cursor, &mut buffers.bytes[*keys as usize])
                })?;
                add_end(&mut buffers.ends[*ends as usize], count)?;
            }
            Step::Absent(fills) => buffers.fill(fills),
            Step::Skip(node) => self.skip(*node, 0)?,
            Step::Fail(fault) => return Err(*fault),
            rare => self.rare_step(rare, buffers)?,
        }
        Ok(())
    }

    fn rare_step(&mut self, step: &'p Step, buffers: &mut Buffers) -> Result<(), Fault> {
        match step {
            Step::Decimal256 { to, precision, carrier } => {
                let value = number::decimal256(self.carried(*carrier)?, *precision)?;
                buffers.i256s[*to as usize].push(value);
            }
            Step::LongDecimal { to, precision, scale, carrier } => {
                let bytes = self.carried(*carrier)?;
                let text = number::long_decimal(bytes, *precision as usize, *scale as usize)?;
                self.charge(text.len() as u64)?;
                buffers.bytes[*to as usize].push(text.as_bytes())?;
            }
            Step::BigDecimal { to } => {
                let text = number::big_decimal(self.cursor.sized()?)?;
                buffers.bytes[*to as usize].push(text.as_bytes())?;
            }
            Step::Uuid { to } => buffers.bytes[*to as usize].push(&number::uuid(self.cursor.array()?))?,
            Step::UuidOfText { to } => {
                let bytes = number::uuid_of_text(self.cursor.sized()?).ok_or(Fault::BadUuid)?;
                buffers.fixed[*to as usize].push(&bytes)?;
            }
            Step::FlooredMicros { to, narrow } => {
                let nanos = if *narrow { self.cursor.int()?.into() } else { self.cursor.long()? };
                buffers.i64s[*to as usize].push(nanos.div_euclid(1_000));
            }
            Step::Duration { to } => {
                for slot in to {
                    let part = u32::from_le_bytes(self.cursor.array()?);
                    buffers.i64s[*slot as usize].push(part.into());
                }
            }
            Step::TimeMillis { to } => {
                let millis = self.cursor.int()?;
                if !(0..DAY_MILLIS).contains(&millis) {
                    return Err(Fault::TimeOutOfRange);
                }
                buffers.i32s[*to as usize].push(millis);
            }
            Step::TimeMicros { to } => {
                let micros = self.cursor.long()?;
                if !(0..DAY_MICROS).contains(&micros) {
                    return Err(Fault::TimeOutOfRange);
                }
                buffers.i64s[*to as usize].push(micros);
            }
            Step::Constant { datum, step } => self.constant(datum, step, buffers)?,
            other => unreachable!("a frequent step: {other:?}"),
        }
        Ok(())
    }

    /// Does all blocks of an array or map; the count of items.
    fn items(
        &mut self,
        items: &'p Items,
        buffers: &mut Buffers,
        key: impl Fn(&mut Cursor<'d>, &mut Buffers) -> Result<(), Fault>,
    ) -> Result<u64, Fault> {
        let mut total = 0;
        while let Some(block) = self.cursor.block()? {
            self.admit(block, items.min_bytes, items.item_bytes)?;
            for _ in 0..block.items {
                key(&mut self.cursor, buffers)?;
                if let Err(fault) = self.one(&items.step, buffers) {
                    self.trail.push("element");
                    return Err(fault);
                }
            }
            block.check_end(&self.cursor)?;
            total += block.items;
        }
        Ok(total)
    }

    /// Believes a block's count only as far as bytes and budget go.
    pub(super) fn admit(&mut self, block: Block, min_bytes: u64, item_bytes: u64) -> Result<(), Fault> {
        if block.items.saturating_mul(min_bytes) > self.cursor.remaining() as u64 {
            return Err(Fault::LengthBeyondDatum);
        }
        self.charge(block.items.saturating_mul(item_bytes))
    }

    pub(super) fn charge(&mut self, bytes: u64) -> Result<(), Fault> {
        self.budget_bytes = self.budget_bytes.checked_sub(bytes).ok_or(Fault::TooManyItems)?;
        Ok(())
    }

    fn symbol(&mut self, symbols: &'p [Option<Box<[u8]>>]) -> Result<&'p [u8], Fault> {
        let index = self.cursor.int()?;
        let symbol = usize::try_from(index).ok().and_then(|index| symbols.get(index));
        let symbol = symbol.ok_or(Fault::BadEnumIndex)?.as_deref().ok_or(Fault::UnknownSymbol)?;
        // One byte of a datum may stand for a symbol of any length.
        self.charge(symbol.len() as u64)?;
        Ok(symbol)
    }

    fn carried(&mut self, carrier: Carrier) -> Result<&'d [u8], Fault> {
        match carrier {
            Carrier::Bytes => self.cursor.sized(),
            Carrier::Fixed(size) => self.cursor.take(size as usize),
        }
    }

    fn constant(&mut self, datum: &'p [u8], step: &'p Step, buffers: &mut Buffers) -> Result<(), Fault> {
        self.charge(datum.len() as u64)?;
        let mut inner = Run {
            cursor: Cursor::new(datum),
            budget_bytes: self.budget_bytes,
            trail: Vec::new(),
            writer: self.writer,
            min_bytes: self.min_bytes,
            root: step,
        };
        let outcome = inner.datum(buffers);
        self.budget_bytes = inner.budget_bytes;
        self.trail.append(&mut inner.trail);
        outcome
    }
}

#[inline]
fn text(cursor: &mut Cursor<'_>, to: &mut ByteRuns) -> Result<(), Fault> {
    match cursor.short_text()? {
        Text::Short { window, length } => to.push_short(window, length),
        Text::Long(bytes) => to.push(bytes),
    }
}

#[inline]
fn add_end(ends: &mut Vec<i32>, count: u64) -> Result<(), Fault> {
    let end = last(ends) as u64 + count;
    if end > MAX_OFFSET as u64 {
        return Err(Fault::NoRoom);
    }
    ends.push(end as i32);
    Ok(())
}
