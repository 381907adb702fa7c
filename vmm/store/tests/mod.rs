//! The store against a plain map, against files that fail, and against itself under load.

mod model;
mod places;
mod queue;
mod tiers;
mod trouble;

use std::time::{Duration, Instant};

use super::*;
use crate::measure::Random;

/// A page by its number: one word repeated, half or wholly random, or all zeros but for a word.
fn page(seed: u16) -> PageBytes {
    let mut page = PageBytes::zeroed();
    let (words, _) = page.0.as_chunks_mut::<8>();
    let mut random = Random::new(seed.into());
    match seed % 4 {
        0 if seed < 400 => words.fill(u64::from(seed).to_ne_bytes()),
        0 => words.fill(random.next().to_ne_bytes()),
        1 => words[..256].fill_with(|| random.next().to_ne_bytes()),
        2 => words.fill_with(|| random.next().to_ne_bytes()),
        _ => words[usize::from(seed) % 512] = u64::from(seed).to_ne_bytes(),
    }
    page
}

const fn is_same_filled(seed: u16) -> bool {
    seed.is_multiple_of(4)
}

fn store(config: &StoreConfig, capacity: u32) -> Store {
    Store::with(config, capacity).unwrap_or_else(|error| panic!("{error}"))
}

/// Each kind of last tier, with and without memory in front of it.
fn configs() -> Vec<StoreConfig> {
    let mut configs = vec![StoreSpec::Temporary.into()];
    for codec in [Codec::Lz4, Codec::Zstd, Codec::None] {
        for (place, compressed) in [
            (StoreSpec::Memory, None),
            (StoreSpec::Memory, Some(4 << 20)),
            (StoreSpec::Temporary, Some(MIN_COMPRESSED)),
            (StoreSpec::Temporary, Some(1 << 20)),
        ] {
            configs.push(StoreConfig { place, codec, compressed, ..StoreConfig::default() });
        }
    }
    configs
}

fn stores(capacity: u32) -> Vec<Store> {
    configs().iter().map(|config| store(config, capacity)).collect()
}

/// In a file with as little memory in front of it as there can be.
fn small_tier(place: StoreSpec, faults: &str) -> StoreConfig {
    let faults = if faults.is_empty() { FaultSpec::default() } else { faults.parse().expect("well formed") };
    StoreConfig { place, compressed: Some(MIN_COMPRESSED), faults, ..StoreConfig::default() }
}

/// Waits for the background thread to have done something.
fn eventually(what: &str, done: impl Fn() -> bool) {
    let last = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < last, "{what}: not within a minute");
        thread::sleep(Duration::from_millis(1));
    }
}
