//! Owns the translation of `parquet:` settings into the Parquet writer's properties.

use parquet::basic::{
    BrotliLevel, Compression as ParquetCompression, ConvertedType, GzipLevel, LogicalType, ZstdLevel,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::{ColumnDescriptor, ColumnPath, SchemaDescriptor};

use crate::config::settings::{Compression, Dictionary, ParquetSettings};
use crate::error::{Failure, Stage};

/// The writer's properties for files with `columns`. `gains` says for each of them whether a dictionary pays; it may be
/// empty.
///
/// # Errors
/// Fatal when a compression level is out of range. Settings for columns that a file lacks are ignored, since schemas
/// differ.
pub(super) fn writer_properties(
    settings: &ParquetSettings,
    columns: &SchemaDescriptor,
    gains: &[bool],
) -> Result<WriterProperties, Failure> {
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("sluice version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression(settings.compression)?)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_enabled(settings.dictionary != Dictionary::Never)
        .set_max_row_group_row_count(Some(settings.row_group_rows.get()));
    for (column, _) in columns.columns().iter().zip(gains).filter(|(_, gains)| !**gains) {
        builder = builder.set_column_dictionary_enabled(column.path().clone(), false);
    }
    for (column, overrides) in &settings.columns {
        let path = ColumnPath::from(column.split('.').map(str::to_owned).collect::<Vec<_>>());
        match overrides.dictionary {
            None | Some(Dictionary::Auto) => {}
            Some(Dictionary::Always) => builder = builder.set_column_dictionary_enabled(path.clone(), true),
            Some(Dictionary::Never) => builder = builder.set_column_dictionary_enabled(path.clone(), false),
        }
        if overrides.bloom_filter {
            builder = builder.set_column_bloom_filter_enabled(path, true);
        }
    }
    Ok(builder.build())
}

/// Whether the values of a column are text, so that bounds that are cut short must stay text.
pub(super) fn is_text(column: &ColumnDescriptor) -> bool {
    column.logical_type_ref() == Some(&LogicalType::String) || column.converted_type() == ConvertedType::UTF8
}

fn compression(setting: Compression) -> Result<ParquetCompression, Failure> {
    Ok(match setting {
        Compression::None => ParquetCompression::UNCOMPRESSED,
        Compression::Snappy => ParquetCompression::SNAPPY,
        Compression::Gzip => ParquetCompression::GZIP(GzipLevel::default()),
        Compression::Lz4 => ParquetCompression::LZ4_RAW,
        Compression::Brotli => ParquetCompression::BROTLI(BrotliLevel::default()),
        Compression::Zstd(level) => ParquetCompression::ZSTD(ZstdLevel::try_new(level).map_err(|error| {
            Failure::fatal(
                Stage::Encode,
                format!("parquet.compression: zstd level {level} is not usable: {error}"),
            )
        })?),
    })
}
