//! What is taken for a secrets file prints as one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use talos::secrets::Bundle;

fuzz_target!(|text: &str| {
    if let Ok(bundle) = Bundle::from_secrets_yaml(text) {
        let printed = bundle.to_secrets_yaml();
        assert!(Bundle::from_secrets_yaml(printed.expose()).is_ok());
    }
});
