//! A stored state of any version, through the service.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(init: bodies::allow_authors_panic(), |data: &[u8]| bodies::upgrade(data));
