//! Owns the settings of how values are typed in files, as part of the reference manual. What each choice makes of a value
//! is `docs/types.md`.

/// `columns`, its other keys: how types are written for which engines disagree. The defaults lose nothing and keep the
/// meaning; the others are for engines that refuse a file with such a column (`docs/types.md` says which).
///
/// ```yaml
/// columns: { timestamp_nanos: micros, time: number, wide_decimal: string, uuid: uuid }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ColumnTypes {
    /// `timestamp_nanos`: timestamps and local timestamps in nanoseconds, as `nanos`, `micros` or `number`. Default
    /// `nanos`.
    pub timestamp_nanos: NanosAs,
    /// `time`: times of day, as `time` or `number`. Default `time`.
    pub time: TimeAs,
    /// `wide_decimal`: decimals of 39 to 76 digits, as `decimal` or `string`. Default `decimal`.
    pub wide_decimal: WideDecimalAs,
    /// `uuid`: UUIDs, as `string` or `uuid`. Default `string`.
    pub uuid: UuidAs,
}

/// `columns.timestamp_nanos`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NanosAs {
    /// `nanos`: timestamps in nanoseconds.
    #[default]
    Nanos,
    /// `micros`: timestamps in microseconds, rounded down. What is below a microsecond is lost.
    Micros,
    /// `number`: 64-bit integers, nanoseconds since 1970.
    Number,
}

/// `columns.time`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimeAs {
    /// `time`: times of day, in milliseconds or microseconds as in Avro.
    #[default]
    Time,
    /// `number`: integers, milliseconds (32 bits) or microseconds (64 bits) since midnight.
    Number,
}

/// `columns.wide_decimal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WideDecimalAs {
    /// `decimal`: decimals.
    #[default]
    Decimal,
    /// `string`: text with every digit, as decimals beyond 76 digits always are.
    Text,
}

/// `columns.uuid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UuidAs {
    /// `string`: text.
    #[default]
    Text,
    /// `uuid`: Parquet's UUID, 16 bytes. Text that is no UUID is poison.
    Uuid,
}
