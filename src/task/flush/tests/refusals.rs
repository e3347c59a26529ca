//! What becomes of poison, tombstones and keys, policy by policy.

use super::*;
use crate::record::Header;

const TEXT: &str = r#"{"type":"record","name":"a.T","fields":[{"name":"s","type":"string"}]}"#;

fn letters(bench: &mut Bench) -> Vec<DeadLetter> {
    let batches = bench.effects.drain(..).filter_map(|effect| match effect {
        Effect::DeadLetter { letters, .. } => Some(letters),
        _ => None,
    });
    batches.flatten().collect()
}

fn tombstones(bench: &mut Bench) -> Vec<(u64, bool)> {
    let events = bench.effects.drain(..).filter_map(|effect| match effect {
        Effect::Report(Event::Tombstones { count, skipped, .. }) => Some((count, skipped)),
        _ => None,
    });
    events.collect()
}

#[test]
fn fault_43_tombstones_are_skipped_and_counted() {
    let mut bench = Bench::new("errors: { on_tombstone: skip }", &[(1, LONG)]);
    let values = vec![None, Some(framed(1, &[1])), None];
    let (files, _) = bench.flush(Basis::default(), records(values));
    assert_eq!(rows(&files), [1]);
    assert_eq!(tombstones(&mut bench), [(2, true)]);
}

#[test]
fn fault_43_tombstones_are_rows_where_asked_for() {
    let mut bench = Bench::new("errors: { on_tombstone: row }", &[(1, LONG)]);
    let mut flush = bench.open(Cut::None, Basis::default());
    let values = vec![Some(framed(1, &[1])), None];
    assert_eq!(bench.take(&mut flush, records(values)), Ok(Taken::All));
    assert_eq!(flush.rows(), 2);
    assert_eq!(rows(&bench.seal(flush).0), [2]);
    assert_eq!(tombstones(&mut bench), [(1, false)]);
}

#[test]
fn fault_43_a_policy_to_fail_stops_at_the_record_and_names_it() {
    for (lines, value, policy) in [
        ("errors: { on_poison: fail }", Some(b"{}".to_vec()), "errors.on_poison"),
        ("errors: { on_tombstone: fail }", None, "errors.on_tombstone"),
    ] {
        let mut bench = Bench::new(lines, &[(1, LONG)]);
        let mut flush = bench.open(Cut::None, Basis::default());
        let failure = bench.take(&mut flush, records(vec![Some(framed(1, &[1])), value])).unwrap_err();
        assert!(matches!(failure, Failure::Fatal { .. }), "{failure}");
        let text = failure.to_string();
        assert!(text.contains("offset 1") && text.contains("topic t") && text.contains(policy), "{text}");
    }
}

#[test]
fn letters_are_the_records_as_they_were_each_once() {
    let lines = "errors: { on_poison: dead_letter, on_tombstone: dead_letter, dead_letter_topic: dead }";
    let mut bench = Bench::new(lines, &[(1, LONG)]);
    let record = |offset: i64, value: Option<&[u8]>| OwnedRecord {
        offset: Offset::new(offset).unwrap(),
        timestamp_ms: Some(5 + offset),
        key: Some(b"key".to_vec()),
        value: value.map(<[u8]>::to_vec),
        headers: vec![
            Header { key: "h".into(), value: None },
            Header { key: "h".into(), value: Some(vec![1]) },
        ],
    };
    let mut flush = bench.open(Cut::None, Basis::default());
    // Two blocks: what was sent with the first does not go with the second.
    let cut_off = [&framed(1, &[])[..], &[0x80]].concat();
    assert_eq!(bench.take(&mut flush, vec![record(0, Some(&cut_off)), record(1, None)]), Ok(Taken::All));
    assert_eq!(bench.take(&mut flush, vec![record(2, Some(b"{}"))]), Ok(Taken::All));
    let letters = letters(&mut bench);
    let expected = [
        (record(0, Some(&cut_off)), Some(SchemaId::Number(1)), Stage::Decode, "truncated"),
        (record(1, None), None, Stage::Wire, "tombstone"),
        (record(2, Some(b"{}")), None, Stage::Wire, "bad_magic"),
    ];
    assert_eq!(letters.len(), expected.len());
    for (letter, (record, schema, stage, kind)) in letters.into_iter().zip(expected) {
        let OwnedRecord { offset, timestamp_ms, key, value, headers } = record;
        let reason = letter.reason.clone();
        assert!(!reason.is_empty());
        let counted = MemoryBudget::new(0).hold(letter.counted.bytes());
        let expected =
            DeadLetter { offset, timestamp_ms, key, value, headers, schema, stage, kind, reason, counted };
        assert_eq!(letter, expected);
    }
}

#[test]
fn a_text_key_that_is_none_is_poison_with_a_value_and_without() {
    let lines = "key: { format: string }\n    errors: { on_poison: skip, on_tombstone: row }";
    let mut bench = Bench::new(lines, &[(1, LONG)]);
    let good = Some(b"k".to_vec());
    let pairs = vec![
        (good.clone(), Some(framed(1, &[1]))),
        (Some(vec![0xff]), Some(framed(1, &[2]))),
        (Some(vec![0xff]), None),
        (good, None),
    ];
    let (files, _) = bench.flush(Basis::default(), keyed(pairs));
    assert_eq!(rows(&files), [2]);
    assert_eq!(bench.refused(), ["key_not_utf8"; 2]);
}

#[test]
fn a_bad_avro_key_of_a_tombstone_is_poison_too() {
    let lines = "key: { format: avro }\n    errors: { on_poison: skip, on_tombstone: row }";
    let mut bench = Bench::new(lines, &[(1, LONG), (2, KEY)]);
    let key = framed(2, &[1]);
    let pairs = vec![
        (Some(key.clone()), Some(framed(1, &[1]))),
        (Some(key[..5].to_vec()), None),
        (Some(b"{}".to_vec()), None),
        (Some(key), None),
    ];
    let (files, _) = bench.flush(Basis::default(), keyed(pairs));
    assert_eq!(rows(&files), [2]);
    assert_eq!(bench.refused(), ["truncated", "bad_magic"]);
}

#[test]
fn a_key_of_a_tombstone_moves_the_reader_of_later_keys() {
    let lines = "key: { format: avro }\n    errors: { on_tombstone: row }";
    let mut bench = Bench::new(lines, &[(1, LONG), (2, KEY), (3, WIDER_KEY)]);
    let (value, key) = (Some(framed(1, &[1])), Some(framed(2, &[1])));
    let pairs =
        || vec![(key.clone(), value.clone()), (Some(framed(3, &[1, 0])), None), (key.clone(), value.clone())];
    let (files, basis) = bench.flush(Basis::default(), keyed(pairs()));
    assert_eq!(
        rows(&files),
        [2, 1],
        "the first row before the wider key, the others after it, whose name comes first"
    );
    assert_eq!(bench.replay(&basis, keyed(pairs())).unwrap(), files);
}

/// A value of [`TEXT`].
fn text(text: &[u8]) -> Vec<u8> {
    let mut value = framed(1, &[]);
    let mut rest = text.len() << 1;
    while rest >= 0x80 {
        value.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    value.push(rest as u8);
    value.extend_from_slice(text);
    value
}

#[test]
fn a_file_that_is_large_enough_ends_a_flush_in_the_middle_of_a_block() {
    let mut bench = Bench::new("rotate: { bytes: 1MiB }", &[(1, TEXT)]);
    // Nothing that could be compressed.
    let noise = |seed: u64| (0..250).map(move |at| xxhash_rust::xxh3::xxh3_64_with_seed(&[at], seed));
    let values = (0..2_000).map(|seed| {
        let digits: Vec<u8> = noise(seed).flat_map(|word| format!("{word:016x}").into_bytes()).collect();
        Some(text(&digits))
    });
    let mut flush = bench.open(Cut::None, Basis::default());
    let taken = bench.take(&mut flush, records(values.collect()));
    assert_eq!(taken, Ok(Taken::Rotate(RotationReason::Bytes)));
    assert!((100..1_000).contains(&flush.rows()), "{} rows of 4 KB", flush.rows());
}

/// The positions of a column end at 16 MiB in tests. The first record is too little to leave its batch on its own, and the
/// second has no room beside it.
#[test]
fn fault_66_a_full_batch_is_no_fault_of_the_record() {
    let lines = "key: { format: avro }\n    errors: { on_poison: skip, on_tombstone: row }";
    let sizes = [3_500_000, 14_000_000];
    let long = |size: usize| Some(text(&vec![b'x'; size]));
    for (what, pair) in [
        ("value", [0, 1].map(|at| (Some(text(b"k")), long(sizes[at])))),
        ("key", [0, 1].map(|at| (long(sizes[at]), Some(text(b"v"))))),
        (
            "key of a tombstone",
            [0, 1].map(|at| (long(sizes[at]), if at == 0 { Some(text(b"v")) } else { None })),
        ),
        ("key of two tombstones", [0, 1].map(|at| (long(sizes[at]), None))),
    ] {
        let mut bench = Bench::new(lines, &[(1, TEXT)]);
        let (files, _) = bench.flush(Basis::default(), keyed(pair.to_vec()));
        assert_eq!(bench.refused(), [""; 0], "{what}");
        assert_eq!(rows(&files), [2], "{what}");
    }
}

#[test]
fn the_checksum_tells_where_a_record_stood() {
    let mut bench = Bench::new("", &[(1, LONG)]);
    let mut checksum = |numbers: [i64; 2]| {
        let values = numbers.map(|number| Some(framed(1, &[number]))).to_vec();
        bench.flush(Basis::default(), records(values)).0[0].checksum
    };
    assert_eq!(checksum([1, 2]), checksum([1, 2]));
    assert_ne!(checksum([1, 2]), checksum([2, 1]));
    assert_ne!(checksum([1, 1]), checksum([2, 2]));
}

/// Of one record there is no order: what it is and where it stood must both be in its own hash.
#[test]
fn the_checksum_of_a_single_record_is_that_of_its_offset_and_its_value() {
    let lines = "errors: { on_tombstone: row }";
    let checksum = |offset: i64, value: Option<Vec<u8>>| {
        let mut bench = Bench::new(lines, &[(1, LONG)]);
        let record = OwnedRecord { offset: Offset::new(offset).unwrap(), value, ..OwnedRecord::default() };
        bench.flush(Basis::default(), vec![record]).0[0].checksum
    };
    let value = || Some(framed(1, &[7]));
    assert_eq!(checksum(3, value()), checksum(3, value()));
    assert_ne!(checksum(3, value()), checksum(4, value()));
    assert_ne!(checksum(3, value()), checksum(3, Some(framed(1, &[8]))));
    assert_ne!(checksum(3, None), checksum(4, None));
    assert_ne!(checksum(3, None), checksum(3, value()));
}

/// Files of former versions are recognised by it: what is computed must stay what it was.
#[test]
fn the_checksum_of_records_is_what_it_has_always_been() {
    let mut bench = Bench::new("errors: { on_tombstone: row }", &[(1, LONG)]);
    let (files, _) =
        bench.flush(Basis::default(), records(vec![Some(framed(1, &[1])), None, Some(framed(1, &[2]))]));
    assert_eq!(format!("{:016x}", files[0].checksum), "316f5c236d21c9ba");
}
