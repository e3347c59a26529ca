//! What a datum may cost: memory by its size times a factor, whatever its bytes.

use arrow::array::{Array, AsArray};

use super::random::{self, Random};
use super::{layout, same, varint};
use crate::decode::plan::Step;
use crate::decode::{BatchBuilder, DecodePlan};

const MIB: usize = 1 << 20;

/// As `docs/types.md` says: bytes of memory for a datum of `size` bytes, beyond a row that holds nothing.
fn bound(size: usize) -> usize {
    16 * MIB + 257 * size
}

/// What a row of the schema takes when nothing is in it: the widths of its columns.
fn empty_row(json: &str) -> usize {
    layout(json).root.fills().len() * 32 + 4_096 * json.matches("fixed").count()
}

/// Memory after a datum, whether it was taken or not, in an empty batch. What is taken from the allocator is no more than
/// twice that, as buffers double, and a little for each of them.
fn cost(plan: &DecodePlan, datum: &[u8]) -> (bool, usize) {
    let mut batch = BatchBuilder::new(plan.layout());
    let (before, held_before) = (batch.bytes(), batch.buffers.capacity());
    let outcome = plan.decode(&mut batch, datum);
    let (bytes, held) = (batch.bytes() - before, batch.buffers.capacity() - held_before);
    let buffers = plan.layout().root.fills().len() + 64;
    assert!(held <= 2 * bound(datum.len()) + 256 * buffers, "{held} bytes are held for {}", datum.len());
    if let Err(error) = &outcome {
        let told = error.to_string();
        assert!(error.kind() != "too_many_items" || told.contains("256 times the size"), "{told}");
    }
    (outcome.is_ok(), bytes)
}

fn field(ty: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{ty}}}]}}"#)
}

#[test]
fn fault_49_a_datum_takes_memory_by_its_size_times_a_factor() {
    let wide: Vec<String> = (0..60)
        .map(|n| {
            format!(r#"{{"name":"d{n}","type":{{"type":"bytes","logicalType":"decimal","precision":76}}}}"#)
        })
        .collect();
    let fixed = r#"["null",{"type":"fixed","name":"F","size":900}]"#.to_owned();
    let members = |ty: &str| {
        (0..1_000).map(|n| format!(r#"{{"name":"m{n}","type":{ty}}}"#)).collect::<Vec<_>>().join(",")
    };
    let thousand = format!(r#"{{"type":"record","name":"T","fields":[{}]}}"#, members(r#"["null","long"]"#));
    let symbol = format!(r#"{{"type":"enum","name":"E","symbols":["{}"]}}"#, "x".repeat(1_000));
    let items = [
        r#"["null",{"type":"bytes","logicalType":"decimal","precision":76}]"#.to_owned(),
        format!(r#"["null",{{"type":"record","name":"W","fields":[{}]}}]"#, wide.join(",")),
        fixed,
        symbol,
        r#"["null","string","long",{"type":"fixed","name":"D","size":12,"logicalType":"duration"}]"#
            .to_owned(),
        r#"{"type":"array","items":"null"}"#.to_owned(),
        format!(r#"["null",{thousand}]"#),
        format!(r#"{{"type":"array","items":{thousand}}}"#),
        format!(r#"{{"type":"map","values":["null",{thousand}]}}"#),
        format!(r#"{{"type":"record","name":"O","fields":[{{"name":"o","type":["null",{thousand}]}}]}}"#),
    ];
    for item in items {
        let json = field(&format!(r#"{{"type":"array","items":{item}}}"#));
        let (plan, _) = same(&json);
        let mut taken_once = false;
        for count in [100_usize, 1_000, 10_000, 100_000] {
            // Each item is one byte: the dearest there is.
            let datum = [varint(count as i64), vec![0; count], vec![0]].concat();
            let (taken, bytes) = cost(&plan, &datum);
            assert!(
                bytes <= bound(datum.len()) + empty_row(&json),
                "{bytes} for {} of {json:.200}",
                datum.len()
            );
            assert!(taken || bytes == 0, "{json:.200}");
            taken_once |= taken;
        }
        assert!(taken_once, "{json:.200}");
    }
    // A record of a thousand fields that are there, and null, is no matter.
    let (plan, _) = same(&field(&format!(r#"{{"type":"array","items":{thousand}}}"#)));
    assert!(cost(&plan, &[varint(100), vec![0; 100_000], vec![0]].concat()).0);
    // Items without bytes are free only up to the constant.
    for (item, each, most) in
        [(r#""null""#, 0, 4 * MIB), (r#"{"type":"fixed","name":"Z","size":0}"#, 4, 2 * MIB)]
    {
        let (plan, _) = same(&field(&format!(r#"{{"type":"array","items":{item}}}"#)));
        let (taken, bytes) = cost(&plan, &[varint(most as i64), vec![0]].concat());
        assert!(taken && bytes <= most * each + 1_000, "{bytes}");
        assert_eq!(cost(&plan, &[varint(most as i64 + 1_000), vec![0]].concat()), (false, 0));
    }
}

/// Memory that a batch takes for each byte of what it weighs, at the most, or half of what it weighs for each byte of memory:
/// levels weigh too, and are not there yet.
const BYTES_PER_WEIGHT: u64 = 5;

#[test]
fn fault_49_a_batch_knows_its_weight_whatever_its_datums_are_made_of() {
    let wide: Vec<String> =
        (0..200).map(|n| format!(r#"{{"name":"d{n}","type":["null","long"],"default":null}}"#)).collect();
    let wide = format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, wide.join(","));
    let decimals = r#"["null",{"type":"bytes","logicalType":"decimal","precision":76}]"#;
    let zeros = r#"{"type":"fixed","name":"Z","size":0}"#;
    let symbol = format!(r#"{{"type":"enum","name":"E","symbols":["{}"]}}"#, "x".repeat(1_000));
    let list = |item: &str| field(&format!(r#"{{"type":"array","items":{item}}}"#));
    let one = |json: &str| same(json).0;
    let text = format!(
        r#"{{"type":"record","name":"R","fields":[{{"name":"s","type":"string","default":"{}"}}]}}"#,
        "y".repeat(10_000)
    );
    let empty = r#"{"type":"record","name":"R","fields":[]}"#;
    let cases = [
        (one(&list(decimals)), [varint(5_000), vec![0; 5_001]].concat()),
        (one(&list(zeros)), [varint(900_000), vec![0]].concat()),
        (one(&list(&symbol)), [varint(3_000), vec![0; 3_001]].concat()),
        (one(&wide), vec![0; 200]),
        // What the writer lacks takes room in every row.
        (super::read_as(empty, &wide).unwrap().0, Vec::new()),
        (super::read_as(empty, &text).unwrap().0, Vec::new()),
    ];
    for (plan, datum) in cases {
        let mut batch = BatchBuilder::new(plan.layout());
        // Offsets end early in tests.
        while batch.rows() < 50 && plan.decode(&mut batch, &datum).is_ok() {
            let (bytes, weight) = (batch.bytes() as u64, batch.weight_bytes());
            assert!(bytes <= BYTES_PER_WEIGHT * weight + 100, "{bytes} weigh {weight}: {plan:.200?}");
            assert!(weight <= BYTES_PER_WEIGHT * 2 * bytes + 100, "{bytes} weigh {weight}: {plan:.200?}");
        }
        assert!(batch.finish().num_rows() >= 5, "{plan:.200?}");
        assert_eq!(batch.weight_bytes(), 0);
    }
}

#[test]
fn fault_57_the_plan_of_a_wide_union_grows_with_its_members() {
    let members: Vec<String> = (0..300)
        .map(|n| {
            format!(r#"{{"type":"record","name":"M{n}","fields":[{{"name":"x","type":["null","int"]}}]}}"#)
        })
        .collect();
    let (plan, mut batch) = same(&field(&format!("[{}]", members.join(","))));
    let Step::Struct(root) = &plan.root else { panic!("{:.200?}", plan.root) };
    let Step::Union(branches) = &root.steps[0] else { panic!("{:.200?}", root.steps[0]) };
    let shared = |step: &Step| match step {
        Step::Member { fills, .. } => fills.as_ptr(),
        other => panic!("{other:.200?}"),
    };
    assert!(branches.iter().all(|branch| shared(branch) == shared(&branches[0])));
    for branch in [0, 150, 299] {
        plan.decode(&mut batch, &[varint(branch), vec![2, 14]].concat()).unwrap();
    }
    let rows = batch.finish();
    let union = rows.column(0).as_struct();
    for (row, branch) in [0, 150, 299].into_iter().enumerate() {
        let there: Vec<usize> = (0..300).filter(|at| union.column(*at).is_valid(row)).collect();
        assert_eq!(there, [branch]);
    }
}

#[test]
fn fault_49_defaults_are_counted_for_each_item() {
    let item = |more: &str| {
        format!(r#"{{"type":"record","name":"I","fields":[{{"name":"x","type":"boolean"}}{more}]}}"#)
    };
    let list = |item: String| field(&format!(r#"{{"type":"array","items":{item}}}"#));
    let text = "y".repeat(10_000);
    let reader = list(item(&format!(r#",{{"name":"s","type":"string","default":"{text}"}}"#)));
    let (plan, _) = super::read_as(&list(item("")), &reader).unwrap();
    let datum = |count: usize| [varint(count as i64), vec![1; count], vec![0]].concat();
    assert!(cost(&plan, &datum(1_000)).0);
    let (taken, bytes) = cost(&plan, &datum(100_000));
    assert!(!taken && bytes == 0, "a gigabyte of defaults for {} bytes", datum(100_000).len());
}

/// One byte of a datum may stand for a long symbol or a long default. Few of the longest still fit into the positions that
/// each of two columns has here, but not into the memory that so small a datum may take.
#[test]
fn fault_49_what_a_schema_repeats_is_counted_by_its_size() {
    let refused = |plan: &DecodePlan, count: usize, item: u8| {
        let mut batch = BatchBuilder::new(plan.layout());
        let datum = [varint(count as i64), vec![item; count], vec![0]].concat();
        plan.decode(&mut batch, &datum).err().map(|error| error.kind())
    };
    let list = |item: &str| field(&format!(r#"{{"type":"array","items":{item}}}"#));
    let item = |more: &str| {
        format!(r#"{{"type":"record","name":"I","fields":[{{"name":"x","type":"boolean"}}{more}]}}"#)
    };
    let with = |ty: &str, default: &str| {
        let both = ["s", "t"].map(|name| format!(r#",{{"name":"{name}","type":{ty},"default":{default}}}"#));
        let reader = list(&item(&both.concat()));
        super::read_as(&list(&item("")), &reader).unwrap().0
    };
    let long = "x".repeat(1_900_000);
    let symbol = |name: &str| {
        format!(r#"{{"name":"{name}","type":{{"type":"enum","name":"E{name}","symbols":["{long}"]}}}}"#)
    };
    let pair = format!(r#"{{"type":"record","name":"I","fields":[{},{}]}}"#, symbol("a"), symbol("b"));
    let symbols = same(&list(&pair)).0;
    let refused_pairs = |count: usize| {
        let mut batch = BatchBuilder::new(symbols.layout());
        let datum = [varint(count as i64), vec![0; 2 * count], vec![0]].concat();
        symbols.decode(&mut batch, &datum).err().map(|error| error.kind())
    };
    assert_eq!((refused_pairs(4), refused_pairs(5)), (None, Some("too_many_items")));
    let texts = with(r#""string""#, &format!("\"{long}\""));
    assert_eq!((refused(&texts, 4, 1), refused(&texts, 5, 1)), (None, Some("too_many_items")));
    // Items of a default count as those of a datum do.
    let zeros = format!("[{}]", vec!["0"; 90_000].join(","));
    let lists = with(r#"{"type":"array","items":"long"}"#, &zeros);
    assert_eq!((refused(&lists, 5, 1), refused(&lists, 12, 1)), (None, Some("too_many_items")));
}

#[test]
fn fault_48_mutated_datums_take_memory_by_their_size() {
    let mut taken = 0;
    for seed in 0..200 {
        let mut random = Random::new(4_000_000 + seed);
        let json = random::schema(&mut random).to_string();
        let (plan, _) = same(&json);
        for _ in 0..30 {
            let length = random.below(60);
            let noise: Vec<u8> = (0..length).map(|_| (random.next() >> random.below(8)) as u8).collect();
            let datum = random::mutate(&mut random, &noise);
            let (good, bytes) = cost(&plan, &datum);
            assert!(
                bytes <= bound(datum.len()) + empty_row(&json),
                "seed {seed}: {bytes} for {}",
                datum.len()
            );
            taken += usize::from(good);
        }
    }
    assert!(taken > 20, "{taken} datums were taken: the others prove little");
}

/// Time of this thread alone that a datum takes, nanoseconds: the least of several tries, as other work disturbs.
fn thread_nanos(plan: &DecodePlan, datum: &[u8]) -> u64 {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    };
    let once = || {
        let mut batch = BatchBuilder::new(plan.layout());
        let started = now();
        let _ = plan.decode(&mut batch, datum);
        now() - started
    };
    (0..3).map(|_| once()).min().unwrap()
}

#[test]
fn fault_49_a_datum_takes_time_in_proportion_to_its_size() {
    let text = [varint(1_000), vec![b'x'; 1_000]].concat();
    let unscaled = [varint(1_024), vec![0x7F; 1_024]].concat();
    let big = [varint(1_026 + 1), unscaled.clone(), vec![0]].concat();
    let shapes: [(&str, Vec<u8>); 8] = [
        (r#"["null","string"]"#, vec![0]),
        (r#""boolean""#, vec![1]),
        (r#""string""#, text),
        (r#"{"type":"bytes","logicalType":"decimal","precision":3000}"#, unscaled),
        (r#"{"type":"bytes","logicalType":"big-decimal"}"#, big),
        (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, vec![2]),
        (r#"{"type":"array","items":"long"}"#, vec![2, 2, 2, 2, 2, 2, 0]),
        (r#"{"type":"map","values":"null"}"#, vec![1, 4, 2, b'k', 0]),
    ];
    let times = 16;
    for (item, bytes) in shapes {
        let (plan, _) = same(&field(&format!(r#"{{"type":"array","items":{item}}}"#)));
        let count = 12_000 / bytes.len() + 1;
        let datum = |count: usize| [varint(count as i64), bytes.repeat(count), vec![0]].concat();
        let blocks = |count: usize| [[varint(1), bytes.clone()].concat().repeat(count), vec![0]].concat();
        // Taken whole, in blocks of one, and refused at the last byte, after all the work.
        let cut = |count: usize| datum(count)[..datum(count).len() - 1].to_vec();
        for (how, made) in
            [("whole", &datum as &dyn Fn(usize) -> Vec<u8>), ("in blocks", &blocks), ("cut", &cut)]
        {
            let (small, large) = (made(count), made(count * times));
            assert_eq!(cost(&plan, &large).0, how != "cut", "{item} {how}");
            let (short, long) = (thread_nanos(&plan, &small), thread_nanos(&plan, &large));
            // Ten times its share leaves room for caches and growing buffers, and none for a square.
            assert!(
                long <= 10 * times as u64 * short,
                "{item} {how}: {short} ns for {}, {long} for {}",
                small.len(),
                large.len()
            );
        }
    }
}

/// On the stack of a test's thread, which is no larger than that of a worker.
#[test]
fn fault_58_the_deepest_columns_are_read_and_written() {
    let lists = 126;
    let json = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(lists), "}".repeat(lists));
    let (plan, mut batch) = same(&json);
    let datum = [vec![2; lists], vec![14], vec![0; lists]].concat();
    plan.decode(&mut batch, &datum).unwrap();
    plan.decode(&mut batch, &datum[..lists]).unwrap_err();
    plan.decode(&mut batch, &[0]).unwrap();
    let batch = batch.finish();
    assert_eq!(batch.num_rows(), 2);
    let mut file = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert!(!file.is_empty());
}
