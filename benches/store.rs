//! What a page costs in each tier of the store: pages whose first half is random and whose second half is
//! zeros, as pages that compress two to one.
//!
//! `cargo bench --bench store`. Beside it what the codec alone takes, in the same run: the ratio to that is
//! what compares.

#![allow(clippy::expect_used)]

use std::thread;
use std::time::{Duration, Instant};

use bifold::measure::{Latency, Random};
use bifold::store::{Codec, Origin, PageBytes, Slot, Store, StoreConfig, StoreSpec};
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

const PAGES: usize = 16 * 1024;
/// As many as the pager writes at once.
const BATCH: usize = 32;

fn main() {
    let pages: Vec<_> = (0..PAGES as u64).map(page).collect();
    bare_lz4(&pages);
    println!(
        "{:<8} {:<6} {:<12} {:>8} {:>10} {:>10} {:>10} {:>12} {:>8} {:>10}",
        "tier",
        "codec",
        "from",
        "put us",
        "get p50",
        "get p99",
        "random us",
        "in batch us",
        "ratio",
        "B a slot"
    );
    for codec in [Codec::Lz4, Codec::Zstd, Codec::None] {
        measure(&pages, &StoreConfig { codec, ..StoreSpec::Memory.into() }, Origin::Memory);
    }
    let file = StoreConfig { compressed: Some(0), ..StoreConfig::default() };
    measure(&pages, &file, Origin::File);
    // An eighth of the pages stays in memory.
    let compressed = Some((PAGES * 4096 / 16) as u64);
    for codec in [Codec::Lz4, Codec::Zstd] {
        for origin in [Origin::Memory, Origin::File] {
            measure(&pages, &StoreConfig { codec, compressed, ..StoreConfig::default() }, origin);
        }
    }
}

fn page(seed: u64) -> PageBytes {
    let mut page = PageBytes::zeroed();
    let mut random = Random::new(seed);
    let (words, _) = page.0.as_chunks_mut::<8>();
    words[..256].fill_with(|| random.next().to_ne_bytes());
    page
}

fn bare_lz4(pages: &[PageBytes]) {
    let mut packed = vec![0; get_maximum_output_size(4096)];
    let mut page = PageBytes::zeroed();
    let (mut packing, mut unpacking) = (Duration::ZERO, Latency::default());
    for original in pages {
        let start = Instant::now();
        let length = compress_into(&original.0, &mut packed).expect("room");
        packing += start.elapsed();
        let start = Instant::now();
        decompress_into(&packed[..length], &mut page.0).expect("as packed");
        unpacking.record(start.elapsed());
    }
    let packing = micros(packing) / pages.len() as f64;
    let median = unpacking.summary().p50_ns as f64 / 1000.0;
    println!("bare lz4_flex: {packing:.2} us to compress, {median:.2} us (p50) to decompress a page\n");
}

/// Puts all pages, and gets those that are then in `origin`.
fn measure(pages: &[PageBytes], config: &StoreConfig, origin: Origin) {
    let store = Store::with(config, PAGES as u32).unwrap_or_else(|error| panic!("{error}"));
    let start = Instant::now();
    let mut slots = Vec::new();
    for batch in pages.chunks(BATCH) {
        let batch: Vec<_> = batch.iter().map(|page| (page, store.fingerprint(page))).collect();
        slots.extend(store.put_batch(&batch).expect("room"));
    }
    let put = micros(start.elapsed()) / pages.len() as f64;
    while store.stats().writing > 0 {
        thread::sleep(Duration::from_millis(1));
    }
    slots.retain(|&slot| store.origin_of(slot) == Some(origin));
    let mut page = PageBytes::zeroed();
    let mut sequential = Latency::default();
    for &slot in &slots {
        let start = Instant::now();
        store.get(slot, &mut page).expect("kept");
        sequential.record(start.elapsed());
    }
    let in_batch = get_in_batches(&store, &slots);
    let mut shuffled = slots.clone();
    Random::new(1).shuffle(&mut shuffled);
    shuffled.truncate(4096);
    let start = Instant::now();
    for &slot in &shuffled {
        store.get(slot, &mut page).expect("kept");
    }
    let random = micros(start.elapsed()) / shuffled.len() as f64;
    let (summary, stats) = (sequential.summary(), store.stats());
    println!(
        "{:<8} {:<6} {:<12} {put:>8.2} {:>10.2} {:>10.2} {random:>10.2} {in_batch:>12.2} {:>8.2} {:>10.1}",
        stats.kind,
        stats.codec,
        format!("{origin:?}").to_lowercase(),
        summary.p50_ns as f64 / 1000.0,
        summary.p99_ns as f64 / 1000.0,
        stats.compression.unwrap_or(1.0),
        stats.metadata_bytes as f64 / PAGES as f64,
    );
}

/// Microseconds a page when 32 neighbours are asked for at once.
fn get_in_batches(store: &Store, slots: &[Slot]) -> f64 {
    let mut pages = vec![PageBytes::zeroed(); BATCH];
    let start = Instant::now();
    for slots in slots.chunks(BATCH) {
        let mut batch: Vec<_> = slots.iter().copied().zip(&mut pages).collect();
        for result in store.get_batch(&mut batch) {
            result.expect("kept");
        }
    }
    micros(start.elapsed()) / slots.len() as f64
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
