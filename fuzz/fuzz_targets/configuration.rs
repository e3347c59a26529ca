//! The target `configuration` for libfuzzer.

#![no_main]

#[expect(dead_code, reason = "each binary has one of the targets")]
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::configuration(data));
