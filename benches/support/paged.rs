//! Guest RAM under Bifold's pager, with its store in memory, and what benches fill it with.

use std::sync::Arc;

use abi::addr::PAGE_SIZE;
use bifold::measure::Random;
use bifold::memory::{GuestRam, Size};
use bifold::pager::{Pager, PagerConfig, ReferenceSource, slots_needed};
use bifold::store::{Store, StoreSpec};
use paging::policy::PolicyKind;

/// A pager that keeps `budget` of guest RAM and evicts the oldest pages first.
pub fn start(ram: &GuestRam, budget: Size) -> Pager {
    let store = Store::open(&StoreSpec::Memory, slots_needed(ram.size()) as u32).expect("memory");
    let config = PagerConfig {
        budget,
        policy: PolicyKind::Fifo,
        store: Arc::new(store),
        reference: ReferenceSource::default(),
        eviction: None,
        huge: None,
        trace: None,
    };
    Pager::start(ram, config, |error| panic!("{error}")).unwrap_or_else(|error| panic!("{error}"))
}

/// A page that compresses to a half, another for each seed.
pub fn content(seed: u64) -> [u8; PAGE_SIZE] {
    let mut random = Random::new(seed);
    let mut page = [7; PAGE_SIZE];
    page[..PAGE_SIZE / 2]
        .chunks_exact_mut(8)
        .for_each(|word| word.copy_from_slice(&random.next().to_le_bytes()));
    page
}
