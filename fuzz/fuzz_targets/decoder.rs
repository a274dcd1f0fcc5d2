//! One decoder, named by `BACKUPD_DECODER`, under libFuzzer: `scripts/fuzz` runs them all.

#![no_main]

use std::sync::OnceLock;

use backup_engine::decoders::Decoder;
use backupd::decoders::all;
use libfuzzer_sys::{Corpus, fuzz_target};

/// Returns the decoder that this run is about.
fn decoder() -> Decoder {
    static DECODER: OnceLock<Decoder> = OnceLock::new();
    *DECODER.get_or_init(|| {
        let name = std::env::var("BACKUPD_DECODER").expect("BACKUPD_DECODER names the decoder");
        all().find(|decoder| decoder.name == name).unwrap_or_else(|| panic!("there is no decoder `{name}`"))
    })
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // What is refused is as interesting as what is accepted; a panic ends the run and stores the input.
    let _ = (decoder().decode)(bytes);
    Corpus::Keep
});
