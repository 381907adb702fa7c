//! Pages in memory, on their way down, and in the file.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn pages_of_one_word_are_not_written() {
    for store in stores(4) {
        for seed in [4, 404] {
            let slot = store.put(&page(seed)).expect("room");
            let mut read = PageBytes::zeroed();
            assert_eq!(store.get(slot, &mut read).expect("in use"), Origin::SameFilled);
            assert!(read.0 == page(seed).0);
            let stats = store.stats();
            assert_eq!((stats.slots_used, stats.writes, stats.reads, stats.bytes), (1, 0, 0, 0));
            store.release(slot);
        }
    }
}

#[test]
fn a_page_takes_less_memory_than_its_size_and_gives_it_back_at_once() {
    for codec in [Codec::Lz4, Codec::Zstd] {
        let store = store(&StoreConfig { codec, ..StoreSpec::Memory.into() }, 1000);
        let slots: Vec<_> = (0..1000).map(|n| store.put(&page(4 * n + 1)).expect("room")).collect();
        let full = store.stats();
        assert!(full.memory_held < 6 * full.bytes / 10, "{full:?}");
        assert!(full.compression.is_some_and(|ratio| (1.8..2.0).contains(&ratio)), "{full:?}");
        slots.into_iter().for_each(|slot| store.release(slot));
        let empty = store.stats();
        assert_eq!((empty.slots_used, empty.memory_pages, empty.in_memory), (0, 0, 0), "{empty:?}");
        assert!(empty.memory_held <= 4 * SEGMENT_BYTES as u64, "a head and spare ones: {empty:?}");
    }
}

#[test]
fn memory_that_is_mostly_dead_is_cleaned() {
    let store = store(&StoreSpec::Memory.into(), 4000);
    let slots: Vec<_> = (0..4000).map(|n| store.put(&page(4 * n + 1)).expect("room")).collect();
    let full = store.stats().memory_held;
    let (kept, dead): (Vec<_>, Vec<_>) = (0..).zip(slots).partition(|(n, _)| n % 4 == 0);
    dead.iter().for_each(|&(_, slot)| store.release(slot));
    // Whether there is much to clean is looked at when a segment is full.
    let more: Vec<_> = (0..100).map(|n| store.put(&page(4 * n + 2)).expect("room")).collect();
    eventually("cleaned", || store.stats().memory_held < full / 2);
    assert!(store.stats().cleaned > 0);
    let mut read = PageBytes::zeroed();
    for (n, slot) in kept {
        assert_eq!(store.get(slot, &mut read).expect("kept"), Origin::Memory);
        assert!(read.0 == page(4 * n + 1).0);
    }
    assert_eq!(more.len(), 100);
}

#[test]
fn a_full_tier_moves_its_oldest_pages_down_and_keeps_its_limit() {
    for codec in [Codec::Lz4, Codec::Zstd] {
        let store = store(&StoreConfig { codec, ..small_tier(StoreSpec::Temporary, "") }, 1000);
        let slots: Vec<_> = (0..1000)
            .map(|n| {
                assert!(store.counted_pages() <= store.most_counted_pages());
                store.put(&page(4 * n + 1)).expect("room")
            })
            .collect();
        assert_eq!(u64::from(store.most_counted_pages()) * 4096, MIN_COMPRESSED);
        eventually("landed", || store.stats().writing == 0);
        assert_eq!(store.origin_of(slots[0]), Some(Origin::File));
        assert_eq!(store.origin_of(slots[999]), Some(Origin::Memory));
        let stats = store.stats();
        assert!(stats.moved_down > 800 && stats.memory_held <= MIN_COMPRESSED, "{stats:?}");
        let mut read = PageBytes::zeroed();
        for (n, &slot) in (0..).zip(&slots) {
            let origin = store.get(slot, &mut read).expect("kept");
            assert_eq!(Some(origin), store.origin_of(slot));
            assert!(read.0 == page(4 * n + 1).0, "slot {slot}");
        }
    }
}

#[test]
fn pages_that_do_not_compress_go_straight_down() {
    let config = StoreConfig { compressed: Some(1 << 20), ..StoreSpec::Temporary.into() };
    let store = store(&config, 200);
    for n in 0..200 {
        store.put(&page(4 * n + 2)).expect("room");
    }
    eventually("in the file", || store.stats().in_memory < 16);
    let compressible = store.stats();
    assert!(compressible.memory_held < 8 * SEGMENT_BYTES as u64, "{compressible:?}");
}

#[test]
fn a_memory_that_is_full_with_no_file_below_is_an_error_and_takes_pages_again_later() {
    let config = StoreConfig { compressed: Some(MIN_COMPRESSED), ..StoreSpec::Memory.into() };
    let store = store(&config, 1000);
    let mut slots = Vec::new();
    let error = loop {
        match store.put(&page(2)) {
            Ok(slot) => slots.push(slot),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::MemoryFull(_)), "{error}");
    assert_eq!(store.stats().slots_used as usize, slots.len(), "nothing of the page is left");
    slots.drain(..).for_each(|slot| store.release(slot));
    store.put(&page(2)).expect("there is room again");
}

/// Each thread's pages are its own; what they share is segments, flights and the cleaning.
#[test]
fn threads_share_a_store_while_pages_move_and_memory_is_cleaned() {
    for config in configs() {
        let store = store(&config, 4 * 200);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let (store, done) = (&store, &done);
            let workers: Vec<_> = (0..4).map(|number| scope.spawn(move || churn(store, number))).collect();
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    assert!(store.counted_pages() <= store.most_counted_pages());
                    thread::yield_now();
                }
            });
            let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            done.store(true, Ordering::Relaxed);
            results.into_iter().for_each(|result| result.expect("no thread failed"));
        });
        eventually("landed", || store.stats().writing == 0);
        let stats = store.stats();
        assert_eq!((stats.slots_used, stats.memory_pages), (0, 0), "{config:?}: {stats:?}");
    }
}

/// Puts pages, reads them at random, and replaces them one by one.
fn churn(store: &Store, thread: u64) {
    let mut random = Random::new(thread);
    let mut owned: Vec<(Slot, u16)> = Vec::new();
    let mut read = PageBytes::zeroed();
    for _ in 0..1500 {
        let full = owned.len() == 190;
        if full || !owned.is_empty() && random.below(5) < 2 {
            let (slot, _) = owned.swap_remove(random.below(owned.len()));
            store.release(slot);
        } else {
            let seed = random.next() as u16;
            owned.push((store.put(&page(seed)).expect("room"), seed));
        }
        if let Some(&(slot, seed)) = owned.get(random.below(owned.len() + 1)) {
            store.get(slot, &mut read).expect("owned");
            assert!(read.0 == page(seed).0, "slot {slot} of thread {thread}");
        }
    }
    owned.into_iter().for_each(|(slot, _)| store.release(slot));
}

#[test]
fn a_slot_takes_few_bytes() {
    let slots = 100_000;
    let store = store(&StoreSpec::Memory.into(), slots);
    for n in 0..slots {
        store.put(&page(((n % 0x4000) * 4 + 3) as u16)).expect("room");
    }
    let bytes = store.metadata_bytes();
    assert!(bytes < 21 * u64::from(slots) / 4, "{} bytes a slot", bytes as f64 / f64::from(slots));
}
