//! What becomes of rows for which no directory can be named, policy by policy: found in a batch, it costs the record alone.

use super::refusals::{TEXT, letters, text};
use super::*;

const LETTERS: &str =
    "errors: { on_poison: dead_letter, on_tombstone: dead_letter, dead_letter_topic: dead }";

/// Schema 1 has the field `s`, schema 2 has not.
fn bench(errors: &str) -> Bench {
    Bench::new(&format!("partition_by: [{{ field: s }}]\n    {errors}"), &[(1, TEXT), (2, LONG)])
}

/// A value whose text is no directory's name.
fn unnamed() -> Vec<u8> {
    text(&[b'x'; 300])
}

fn consumed(bench: &Bench) -> Vec<(u64, u64)> {
    let events = bench.effects.iter().filter_map(|effect| match effect {
        Effect::Report(Event::Consumed { records, rows, .. }) => Some((*records, *rows)),
        _ => None,
    });
    events.collect()
}

#[test]
fn fault_71_a_stop_at_a_row_without_a_directory_keeps_every_record_before_it() {
    let mut bench = bench("errors: { on_poison: fail, on_tombstone: dead_letter, dead_letter_topic: dead }");
    let other = |number| Some(framed(2, &[number]));
    let values = vec![Some(text(b"a")), None, other(1), Some(text(b"b")), Some(unnamed())];
    // On two shelves, with letters, and with poison that decoding finds first.
    let behind = vec![None, Some(text(b"a")), other(2), Some(unnamed()), Some(b"{}".to_vec())];
    let block = RecordBlock::from_owned(records([values.clone(), behind].concat()));
    let (mut flush, mut cursor) = (bench.open(Cut::None, Basis::default()), 0);
    let taken = bench.take_from(&mut flush, &block, &mut cursor);
    let Ok(Taken::Stop(failure)) = taken else { panic!("{taken:?}") };
    assert!(failure.to_string().contains("partition 0, offset 4;"), "{failure}");
    assert_eq!((cursor, flush.rows(), flush.range().end.as_i64()), (4, 3, 4));
    assert_eq!(consumed(&bench), [(4, 3)]);
    let tombstones = |effect: &Effect| matches!(effect, Effect::Report(Event::Tombstones { count: 1, .. }));
    assert!(bench.effects.iter().any(tombstones), "the one behind it was not met");
    let lettered: Vec<i64> = letters(&mut bench).iter().map(|letter| letter.offset.as_i64()).collect();
    assert_eq!(lettered, [1]);

    let (files, basis) = bench.seal(flush);
    assert_eq!(rows(&files), [1; 3]);
    assert_eq!(bench.replay(&basis, records(values[..4].to_vec())).unwrap(), files);
    let mut flush = bench.open(Cut::Replay(Offset::new(5).unwrap()), basis);
    let again = bench.take_from(&mut flush, &RecordBlock::from_owned(records(values)), &mut 0);
    assert!(again.is_err(), "a replay must not end early: {again:?}");
}

#[test]
fn fault_71_the_first_record_without_a_directory_is_where_it_began() {
    let mut bench = bench("errors: { on_poison: fail }");
    let block = RecordBlock::from_owned(records(vec![Some(unnamed()), Some(text(b"a"))]));
    let (mut flush, mut cursor) = (bench.open(Cut::None, Basis::default()), 0);
    assert!(matches!(bench.take_from(&mut flush, &block, &mut cursor), Ok(Taken::Stop(_))));
    assert_eq!((cursor, flush.rows()), (0, 0));
    assert!(flush.range().is_empty() && consumed(&bench).is_empty());
}

#[test]
fn fault_71_of_two_records_without_a_directory_the_first_one_stops() {
    const OTHER: &str = r#"{"type":"record","name":"b.T","fields":[{"name":"s","type":"string"},{"name":"n","type":"long"}]}"#;
    let lines = "partition_by: [{ field: s }]\n    errors: { on_poison: fail }";
    let mut bench = Bench::new(lines, &[(1, TEXT), (2, OTHER)]);
    let of_other = |value: Vec<u8>| {
        let mut value = [framed(2, &[]), value[5..].to_vec()].concat();
        value.push(0);
        Some(value)
    };
    // The shelf of the first record is looked at before the other's.
    let values = vec![Some(text(b"a")), of_other(text(&[b'x'; 300])), Some(text(b"a")), Some(unnamed())];
    let (mut flush, mut cursor) = (bench.open(Cut::None, Basis::default()), 0);
    let taken = bench.take_from(&mut flush, &RecordBlock::from_owned(records(values)), &mut cursor);
    assert!(matches!(taken, Ok(Taken::Stop(_))), "{taken:?}");
    assert_eq!((cursor, flush.rows()), (1, 1));
}

#[test]
fn a_field_that_has_become_a_record_stops_at_its_first_row() {
    const NESTED: &str = r#"{"type":"record","name":"a.M","fields":[{"name":"n","type":{"type":"record","name":"I","fields":[{"name":"i","type":"long"}]}}]}"#;
    let mut bench = Bench::new("partition_by: [{ field: n }]", &[(1, LONG), (2, NESTED)]);
    let values = [(1, 1), (1, 2), (2, 3), (1, 4)].map(|(schema, number)| Some(framed(schema, &[number])));
    let block = RecordBlock::from_owned(records(values.to_vec()));
    let (mut flush, mut cursor) = (bench.open(Cut::None, Basis::default()), 0);
    let taken = bench.take_from(&mut flush, &block, &mut cursor);
    let Ok(Taken::Stop(failure)) = taken else { panic!("{taken:?}") };
    assert!(failure.to_string().contains("no single value"), "{failure}");
    assert_eq!((cursor, flush.rows()), (2, 2));
}

#[test]
fn fault_71_a_row_without_a_directory_that_is_skipped_costs_no_other() {
    let mut bench = bench("errors: { on_poison: skip }");
    let (files, _) =
        bench.flush(Basis::default(), records(vec![Some(text(b"a")), Some(unnamed()), Some(text(b"a"))]));
    assert_eq!((rows(&files), bench.refused()), (vec![2], vec!["partition_too_long"]));
}

#[test]
fn letters_of_rows_without_a_directory_wait_for_room_and_change_no_file() {
    const ROOM_BYTES: u64 = 5_000;
    const LETTER_BYTES: u64 = 2_300;
    let kinds = [
        Some(text(b"a")),
        Some(unnamed()),
        Some(text(b"b")),
        None,
        Some(b"{}".to_vec()),
        Some(unnamed()),
        Some(unnamed()),
    ];
    let values: Vec<_> = kinds.iter().cycle().take(10 * kinds.len()).cloned().collect();
    let expected: Vec<i64> = (0..70).filter(|at| ![0, 2].contains(&(at % 7))).collect();
    let (files, basis) = bench(LETTERS).flush(Basis::default(), records(values.clone()));

    let mut bench = bench(LETTERS);
    bench.letters = MemoryBudget::new(ROOM_BYTES);
    for cut in [Cut::None, Cut::Replay(Offset::new(70).unwrap())] {
        let block = RecordBlock::from_owned(records(values.clone()));
        let basis = if cut == Cut::None { Basis::default() } else { basis.clone() };
        let (mut flush, mut cursor) = (bench.open(cut, basis), 0);
        let (mut lettered, mut waits) = (Vec::new(), 0);
        loop {
            let taken = bench.take_from(&mut flush, &block, &mut cursor).unwrap();
            let used_bytes = bench.letters.used_bytes();
            assert!(used_bytes < ROOM_BYTES + LETTER_BYTES, "{used_bytes} bytes of letters wait");
            lettered.extend(letters(&mut bench).iter().map(|letter| letter.offset.as_i64()));
            if taken == Taken::All {
                break;
            }
            assert_eq!(taken, Taken::LettersFull);
            waits += 1;
        }
        lettered.sort_unstable();
        assert_eq!(lettered, expected);
        assert!((10..50).contains(&waits), "{waits} waits");
        assert_eq!(bench.seal(flush).0, files);
    }
}
