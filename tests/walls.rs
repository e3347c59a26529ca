//! The walls of the house: rooms that decide or compute import nothing that does I/O, and know nothing of the rooms that do.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms without clock and I/O.
const PURE_ROOMS: [&str; 4] = ["task", "schema", "decode", "encode"];
/// What none of them may name.
const DOORS: [&str; 14] = [
    "tokio",
    "rdkafka",
    "object_store",
    "reqwest",
    "hyper",
    "axum",
    "std::fs",
    "std::net",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "crate::kafka",
    "crate::storage",
    "crate::registry",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The part of a source file that is neither a comment nor a test.
fn product_code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn rooms_that_decide_or_compute_do_no_io() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut breaches = Vec::new();
    for room in PURE_ROOMS {
        for file in sources(&source.join(room)) {
            // Test modules in files of their own may read fixtures.
            if file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs") {
                continue;
            }
            let code = product_code(&fs::read_to_string(&file).unwrap());
            for door in DOORS.iter().filter(|door| code.contains(**door)) {
                breaches.push(format!("{} names {door}", file.strip_prefix(&source).unwrap().display()));
            }
        }
    }
    assert!(breaches.is_empty(), "walls breached:\n{}", breaches.join("\n"));
}

#[test]
fn the_wall_test_can_fail() {
    assert!(product_code("use tokio::sync;\n").contains("tokio"));
    assert!(!product_code("// tokio\n#[cfg(test)]\nmod tests {\nuse tokio;\n").contains("tokio"));
}

#[test]
fn unsafe_code_stays_in_its_two_modules() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let with_unsafe: Vec<String> = sources(&source)
        .into_iter()
        .filter(|file| {
            let code = product_code(&fs::read_to_string(file).unwrap());
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        })
        .map(|file| file.strip_prefix(&source).unwrap().display().to_string())
        .collect();
    let mut with_unsafe = with_unsafe;
    with_unsafe.sort();
    assert_eq!(with_unsafe, ["kafka/native.rs", "record.rs"]);
}
