//! Owns the translation of `parquet:` settings into the Parquet writer's properties.

use parquet::basic::{
    BrotliLevel, Compression as ParquetCompression, ConvertedType, GzipLevel, LogicalType, Type, ZstdLevel,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::{ColumnDescriptor, ColumnPath, SchemaDescriptor};

use crate::config::path_elements;
use crate::config::settings::{Compression, Dictionary, ParquetSettings};
use crate::error::{Failure, Stage};

/// Beyond it the library cuts the bounds of a fixed column short. Bounds that are not as long as the type says make
/// Arrow's C++ readers abort.
const LONGEST_FIXED_WITH_BOUNDS_BYTES: i32 = 64;

/// The writer's properties for files with `columns`. `gains` says for each of them whether a dictionary pays; it may be
/// empty.
///
/// # Errors
/// Fatal when a compression level is out of range, or a column's path is none. Settings for columns that a file lacks are ignored, since schemas
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
    for column in columns.columns() {
        let is_fixed = column.physical_type() == Type::FIXED_LEN_BYTE_ARRAY;
        if is_fixed && column.type_length() > LONGEST_FIXED_WITH_BOUNDS_BYTES {
            builder = builder.set_column_statistics_enabled(column.path().clone(), EnabledStatistics::None);
        }
    }
    for (column, overrides) in &settings.columns {
        let path = ColumnPath::from(elements("parquet.columns", column)?);
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

/// The names that make the path of a column in the setting `key`.
///
/// # Errors
/// Fatal when it is no path.
pub(super) fn elements(key: &str, path: &str) -> Result<Vec<String>, Failure> {
    path_elements(path).map_err(|reason| Failure::fatal(Stage::Encode, format!("{key}: {path} {reason}")))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch, StructArray};
    use arrow::datatypes::{DataType, Field};
    use bytes::Bytes;
    use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

    use super::*;
    use crate::config::settings::{ByteSize, ColumnSettings};
    use crate::encode::{Encoding, FileEncoder};

    fn settings(columns: &[&str]) -> ParquetSettings {
        let never = ColumnSettings { dictionary: Some(Dictionary::Never), bloom_filter: false };
        ParquetSettings {
            compression: Compression::None,
            row_group_bytes: ByteSize(1 << 30),
            row_group_rows: 1_000.try_into().unwrap(),
            dictionary: Dictionary::Always,
            columns: columns.iter().map(|column| ((*column).to_owned(), never)).collect(),
            sort_by: Vec::new(),
        }
    }

    fn written(rows: &RecordBatch, settings: &ParquetSettings) -> ParquetMetaData {
        let encoding = Encoding::new(settings);
        let mut encoder = FileEncoder::new(&"t".into(), rows.schema(), &encoding, &[]).unwrap();
        encoder.write(rows).unwrap();
        let file = Bytes::from(encoder.finish(Vec::new()).unwrap().tail.concat());
        ParquetMetaDataReader::new().parse_and_finish(&file).unwrap()
    }

    #[test]
    fn wide_fixed_columns_have_no_bounds_and_narrow_ones_do() {
        let column = |size: i32| -> ArrayRef {
            let values = (0..9_u8).map(|row| vec![row; size as usize]);
            Arc::new(FixedSizeBinaryArray::try_from_iter(values).unwrap())
        };
        let rows =
            RecordBatch::try_from_iter([("at", column(64)), ("over", column(65)), ("far", column(4_096))])
                .unwrap();
        let read = written(&rows, &settings(&[]));
        let bounds = read.row_group(0).columns().iter().map(|column| {
            let bounds = column.statistics().and_then(|found| found.min_bytes_opt().map(<[u8]>::len));
            (bounds, column.column_index_offset().is_some())
        });
        assert_eq!(bounds.collect::<Vec<_>>(), [(Some(64), true), (None, false), (None, false)]);
    }

    #[test]
    fn a_path_of_parquet_columns_may_hold_escaped_points() {
        let numbers: ArrayRef = Arc::new((0..9).collect::<Int64Array>());
        let inside =
            StructArray::from(vec![(Arc::new(Field::new("b", DataType::Int64, false)), numbers.clone())]);
        let rows =
            RecordBatch::try_from_iter([("a.b", numbers), ("a", Arc::new(inside) as ArrayRef)]).unwrap();
        let plain = |columns: &[&str]| {
            let read = written(&rows, &settings(columns));
            let columns = read.row_group(0).columns().to_vec();
            columns.iter().map(|column| column.dictionary_page_offset().is_none()).collect::<Vec<_>>()
        };
        assert_eq!(plain(&[]), [false, false]);
        assert_eq!(plain(&[r"a\.b"]), [true, false]);
        assert_eq!(plain(&["a.b"]), [false, true]);
        let failure = writer_properties(&settings(&["a..b"]), &SchemaDescriptor::new(empty_root()), &[]);
        assert!(failure.unwrap_err().to_string().contains("parquet.columns: a..b must not"));
    }

    fn empty_root() -> Arc<parquet::schema::types::Type> {
        Arc::new(parquet::schema::types::Type::group_type_builder("root").build().unwrap())
    }
}
