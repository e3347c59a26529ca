//! Owns the `sluice.*` key-values of a file's footer. Does not own how they are compared at publication.

use parquet::file::metadata::KeyValue;

use crate::position::{OffsetRange, SchemaId, TopicPartition};

/// The names of our footer key-values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FooterKey {
    /// Name of the connector that wrote the file.
    Connector,
    /// Topic name.
    Topic,
    /// Topic id as the broker gives it; absent where the broker has none.
    TopicId,
    /// Partition number.
    Partition,
    /// First offset of the flush.
    Start,
    /// First offset after the flush.
    End,
    /// How many files the flush made, this one among them.
    FlushFiles,
    /// The intent under which the flush was published: what makes it again, should the broker have forgotten it.
    Intent,
    /// Rows in this file.
    Rows,
    /// Schema ids of the records in this file, ascending, separated by commas.
    SchemaIds,
    /// JSON of the Avro schema the records were read with.
    AvroSchema,
    /// Checksum over the source records of this file, 16 hexadecimal digits; independent of encodings.
    Checksum,
    /// Version of the program that wrote the file.
    Version,
    /// Checksum over every byte of the file, 16 hexadecimal digits, which themselves count as zeros; absent in files of the
    /// first versions. See [`crate::encode::FileChecksum`].
    FileChecksum,
}

impl FooterKey {
    /// The key as written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connector => "sluice.connector",
            Self::Topic => "sluice.topic",
            Self::TopicId => "sluice.topic_id",
            Self::Partition => "sluice.partition",
            Self::Start => "sluice.start",
            Self::End => "sluice.end",
            Self::FlushFiles => "sluice.flush_files",
            Self::Intent => "sluice.intent",
            Self::Rows => "sluice.rows",
            Self::SchemaIds => "sluice.schema_ids",
            Self::AvroSchema => "sluice.avro_schema",
            Self::Checksum => "sluice.checksum",
            Self::Version => "sluice.version",
            Self::FileChecksum => "sluice.file_checksum",
        }
    }
}

/// What a file says of itself in its footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts<'a> {
    /// See [`FooterKey::Connector`].
    pub connector: &'a str,
    /// See [`FooterKey::Topic`] and [`FooterKey::Partition`].
    pub topic_partition: &'a TopicPartition,
    /// See [`FooterKey::TopicId`].
    pub topic_id: Option<&'a str>,
    /// See [`FooterKey::Start`] and [`FooterKey::End`].
    pub range: OffsetRange,
    /// See [`FooterKey::FlushFiles`].
    pub flush_files: usize,
    /// See [`FooterKey::Intent`].
    pub intent: &'a str,
    /// See [`FooterKey::Rows`].
    pub rows: u64,
    /// See [`FooterKey::SchemaIds`].
    pub schema_ids: Vec<SchemaId>,
    /// See [`FooterKey::AvroSchema`]; absent for files of metadata columns only.
    pub avro_schema: Option<&'a str>,
    /// See [`FooterKey::Checksum`].
    pub checksum: u64,
}

impl FileFacts<'_> {
    /// The key-values for the footer, in a fixed order.
    #[must_use]
    pub fn key_values(&self) -> Vec<KeyValue> {
        let ids: Vec<String> = self.schema_ids.iter().map(SchemaId::to_string).collect();
        let mut pairs = vec![
            (FooterKey::Connector, self.connector.to_owned()),
            (FooterKey::Topic, self.topic_partition.topic.to_string()),
            (FooterKey::Partition, self.topic_partition.partition.to_string()),
            (FooterKey::Start, self.range.start.to_string()),
            (FooterKey::End, self.range.end.to_string()),
            (FooterKey::FlushFiles, self.flush_files.to_string()),
            (FooterKey::Intent, self.intent.to_owned()),
            (FooterKey::Rows, self.rows.to_string()),
            (FooterKey::SchemaIds, ids.join(",")),
            (FooterKey::Checksum, format!("{:016x}", self.checksum)),
            (FooterKey::Version, env!("CARGO_PKG_VERSION").to_owned()),
        ];
        if let Some(id) = self.topic_id {
            pairs.push((FooterKey::TopicId, id.to_owned()));
        }
        if let Some(schema) = self.avro_schema {
            pairs.push((FooterKey::AvroSchema, schema.to_owned()));
        }
        pairs.into_iter().map(|(key, value)| KeyValue::new(key.as_str().to_owned(), value)).collect()
    }
}
