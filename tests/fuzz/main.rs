//! The fuzz targets of `fuzz/` on a stable compiler: a seeded mutator over the corpus, without knowledge of coverage.
//!
//! A few seconds by default; `SLUICE_FUZZ_SECONDS` (for each target) and `SLUICE_SEED` for more. What breaks a target is
//! written to `fuzz/artifacts/TARGET/` and belongs into `fuzz/corpus/TARGET/` once it is mended.

#![allow(missing_docs, clippy::unwrap_used)]

mod mutator;
#[path = "../../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutator::Mutator;

const INPUTS_BY_DEFAULT: u64 = 3_000;
/// Inputs that a target did not refuse at once are worth changing further; so many are kept.
const KEPT: usize = 500;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder("corpus", target)).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn run(target: &str) {
    let (_, function) = targets::TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let seed = number("SLUICE_SEED").unwrap_or(1);
    let mut kept = corpus(target);
    assert!(!kept.is_empty(), "no corpus for {target}");
    for input in &kept {
        check(target, function, input, "corpus");
    }
    let mut mutator = Mutator::new(seed, target);
    let started = Instant::now();
    let limit = number("SLUICE_FUZZ_SECONDS").map(Duration::from_secs);
    let mut inputs = 0;
    let goes_on = |inputs| match limit {
        Some(limit) => started.elapsed() < limit,
        None => inputs < INPUTS_BY_DEFAULT,
    };
    while goes_on(inputs) {
        let input = mutator.input(&kept);
        check(target, function, &input, &format!("seed {seed}, input {inputs}"));
        inputs += 1;
        if mutator.below(50) == 0 && input.len() < 20_000 {
            let place = if kept.len() < KEPT { kept.len() } else { mutator.below(kept.len()) };
            if place == kept.len() { kept.push(input) } else { kept[place] = input }
        }
        if inputs % 5_000 == 0 {
            // What has drifted far from anything sensible makes room.
            kept = corpus(target);
        }
    }
    println!("{target}: seed {seed}, {inputs} inputs");
}

fn check(target: &str, function: fn(&[u8]), input: &[u8], whence: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| function(input))) {
        let folder = folder("artifacts", target);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{:016x}", mutator::fingerprint(input)));
        fs::write(&path, input).unwrap();
        eprintln!("{target} broke ({whence}); the input is in {}", path.display());
        resume_unwind(panic);
    }
}

#[test]
fn fault_45_values_of_any_bytes_are_split_or_refused() {
    run("wire");
}

#[test]
fn fault_46_datums_of_any_bytes_are_read_as_the_oracle_does_or_leave_no_trace() {
    run("decode");
}

#[test]
fn fault_40_texts_of_any_kind_are_schemas_or_refused() {
    run("schema");
}

#[test]
fn fault_69_partition_values_of_any_text_are_reversible() {
    run("names");
}

#[test]
fn fault_107_metadata_of_any_text_is_an_intent_or_refused() {
    run("intent");
}

#[test]
fn fault_108_configurations_of_any_text_are_read_or_refused() {
    run("configuration");
}
