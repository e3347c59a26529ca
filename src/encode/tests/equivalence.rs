//! Owns the comparison of files: the same rows, and the same said of them.

use parquet::basic::{Compression, Encoding, PageType};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::statistics::Statistics;

use super::random::{Random, batch, schema};
use super::{encoded, index, opened, rows_of};

/// Files that are compared.
const SEEDS: u64 = 150;

fn properties(random: &mut Random) -> WriterProperties {
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(random.pick(&[Compression::SNAPPY, Compression::UNCOMPRESSED]))
        .set_dictionary_enabled(random.below(3) > 0)
        .set_data_page_row_count_limit(random.pick(&[30, 1000, 20_000]))
        .set_data_page_size_limit(random.pick(&[300, 20_000, 1 << 20]))
        .set_dictionary_page_size_limit(random.pick(&[100, 4000, 1 << 20]))
        .set_write_batch_size(random.pick(&[10, 1024]))
        .build()
}

#[test]
fn both_encoders_write_the_same_rows_and_say_the_same_of_them() {
    let mut different = 0;
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let (schema, properties) = (schema(&mut random), properties(&mut random));
        let rows = random.pick(&[1, 8, 100, 3000]);
        let batches: Vec<_> = (0..=random.below(3)).map(|_| batch(&mut random, &schema, rows)).collect();
        let ours = encoded(&schema, &batches, &properties, true);
        let library = encoded(&schema, &batches, &properties, false);
        different += u64::from(ours != library);
        let ((our_metadata, our_reader), (metadata, reader)) = (opened(&ours), opened(&library));
        let (our_rows, rows) = (rows_of(our_reader), rows_of(reader));
        assert_eq!(our_rows, rows, "seed {seed}, {schema:#?}");
        assert_eq!(our_metadata.file_metadata().num_rows(), metadata.file_metadata().num_rows());
        let (our_group, group) = (our_metadata.row_group(0), metadata.row_group(0));
        for (column, (our, library)) in our_group.columns().iter().zip(group.columns()).enumerate() {
            compare(our, library, &format!("seed {seed}, column {column} of {schema:#?}"));
        }
        index::check(&our_metadata, &our_rows, &ours);
    }
    assert!(different > SEEDS / 2, "only {different} files were encoded by ourselves");
}

fn compare(our: &ColumnChunkMetaData, library: &ColumnChunkMetaData, place: &str) {
    assert_eq!(our.num_values(), library.num_values(), "{place}");
    assert_eq!(our.statistics(), library.statistics(), "{place}");
    assert_eq!(our.definition_level_histogram(), library.definition_level_histogram(), "{place}");
    assert_eq!(our.repetition_level_histogram(), library.repetition_level_histogram(), "{place}");
    assert_eq!(our.unencoded_byte_array_data_bytes(), library.unencoded_byte_array_data_bytes(), "{place}");
    assert_eq!(our.compression_codec(), library.compression_codec(), "{place}");
    assert_eq!(our.dictionary_page_offset().is_some(), library.dictionary_page_offset().is_some(), "{place}");
    let old_names =
        |column: &ColumnChunkMetaData| column.statistics().map(Statistics::is_min_max_backwards_compatible);
    assert_eq!(old_names(our), old_names(library), "{place}");
    let stats = our.page_encoding_stats().unwrap();
    let mask = our.encodings().collect::<Vec<Encoding>>();
    assert!(stats.iter().all(|page| mask.contains(&page.encoding)), "{place}: {mask:?} {stats:?}");
    assert_eq!(
        stats[0].page_type == PageType::DICTIONARY_PAGE,
        our.dictionary_page_offset().is_some(),
        "{place}"
    );
}

#[test]
fn files_do_not_grow() {
    let (mut ours, mut library) = (0, 0);
    for seed in 1000..1030 {
        let mut random = Random::new(seed);
        let schema = schema(&mut random);
        let batches = [batch(&mut random, &schema, 3000)];
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .build();
        ours += encoded(&schema, &batches, &properties, true).len();
        library += encoded(&schema, &batches, &properties, false).len();
    }
    assert!(ours as f64 <= library as f64 * 1.02, "{ours} bytes against {library}");
}

#[test]
fn the_same_rows_make_the_same_bytes() {
    let mut random = Random::new(7);
    let schema = schema(&mut random);
    let batches = [batch(&mut random, &schema, 2000)];
    let properties = WriterProperties::default();
    assert_eq!(encoded(&schema, &batches, &properties, true), encoded(&schema, &batches, &properties, true));
}
