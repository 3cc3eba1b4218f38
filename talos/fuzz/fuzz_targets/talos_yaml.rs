//! What is read can be written, and reads as the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use talos::yaml::{Style, emit_documents, parse_bytes, parse_documents};

fuzz_target!(|bytes: &[u8]| {
    let Ok(documents) = parse_bytes(bytes) else {
        return;
    };
    let text = emit_documents(&documents, Style::V1_13);
    let _ = parse_documents(&text);
});
