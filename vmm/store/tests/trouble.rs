//! Disks that fail, lie, and are full.

use std::os::unix::fs::FileExt;

use super::*;

const IN_FILE: StoreSpec = StoreSpec::Temporary;

/// Without memory in front: each page is in the file when `put` returns.
fn faulty(faults: &str) -> Store {
    let faults = faults.parse().expect("well formed");
    store(&StoreConfig { faults, ..IN_FILE.into() }, 1000)
}

/// Fills a small tier with more than it holds; the first error, or all slots.
fn fill(store: &Store, pages: u16) -> Result<Vec<Slot>, StoreError> {
    (0..pages).map(|n| store.put(&page(4 * n + 1))).collect()
}

#[test]
fn a_block_that_changed_behind_the_store_is_an_error_that_names_its_slot() {
    let store = faulty("seed=1");
    let slots: Vec<_> = (25..29).map(|n| store.put(&page(4 * n + 1)).expect("room")).collect();
    let file = &store.inner.file.as_ref().expect("the store is in a file").file;
    let mut wrong = page(4 * 27 + 1);
    wrong.0[1000] ^= 1;
    file.write_all_at(&wrong.0, u64::from(slots[2].0) * 4096).expect("the file can be written");
    let mut read = PageBytes::zeroed();
    let error = store.get(slots[2], &mut read).expect_err("one bit is wrong");
    assert!(matches!(error, StoreError::Corrupt(slot) if slot == slots[2]), "{error}");
    store.get(slots[3], &mut read).expect("the others are as they were");
}

#[test]
fn a_file_that_was_cut_is_a_read_error() {
    let store = faulty("seed=1");
    let slot = store.put(&page(1)).expect("room");
    let file = &store.inner.file.as_ref().expect("the store is in a file").file;
    rustix::fs::ftruncate(file, 0).expect("the file can be cut");
    let mut read = PageBytes::zeroed();
    let error = store.get(slot, &mut read).expect_err("the block is gone");
    assert!(matches!(error, StoreError::Read { .. }), "{error}");
    let errors = store.get_batch(&mut [(slot, &mut read)]);
    assert!(matches!(errors[0], Err(StoreError::Read { .. })), "{errors:?}");
}

#[test]
fn a_read_error_is_told_and_the_page_is_there_the_next_time() {
    let store = faulty("read-eio@0");
    let slot = store.put(&page(1)).expect("room");
    let mut read = PageBytes::zeroed();
    let error = store.get(slot, &mut read).expect_err("the first read fails");
    assert!(error.to_string().contains(&format!("slot {slot}")), "{error}");
    store.get(slot, &mut read).expect("the second does not");
    assert!(read.0 == page(1).0);
}

#[test]
fn a_bit_that_flips_and_a_torn_write_are_noticed_at_the_read() {
    for faults in ["flip=1", "torn=1"] {
        let store = faulty(faults);
        let slot = store.put(&page(2)).expect("the disk says yes");
        let mut read = PageBytes::zeroed();
        assert!(matches!(store.get(slot, &mut read), Err(StoreError::Corrupt(_))), "{faults}");
        let results = store.get_batch(&mut [(slot, &mut read)]);
        assert!(matches!(results[0], Err(StoreError::Corrupt(_))), "{faults}");
    }
}

#[test]
fn short_writes_and_reads_are_carried_on() {
    for config in [
        small_tier(IN_FILE, "short=0.5,delay=1ms:0.01,seed=3"),
        StoreConfig { compressed: None, ..small_tier(IN_FILE, "short=0.5,seed=3") },
    ] {
        let store = store(&config, 500);
        let slots = fill(&store, 500).expect("every page arrives");
        let mut read = PageBytes::zeroed();
        for (n, slot) in (0..).zip(slots) {
            store.get(slot, &mut read).expect("every page comes back");
            assert!(read.0 == page(4 * n + 1).0);
        }
    }
}

#[test]
fn a_full_disk_is_told_when_memory_is_full_too_and_forgotten_when_there_is_room() {
    // Four flights, each of one to a few writes, and their retries for about a second.
    let store = store(&small_tier(IN_FILE, "write-enospc@0..40"), 1000);
    let mut slots = Vec::new();
    let mut refused = 0;
    let last = Instant::now() + Duration::from_secs(60);
    for n in 0..1000 {
        slots.push(loop {
            match store.put(&page(4 * n + 1)) {
                Ok(slot) => break slot,
                Err(StoreError::NoSpace(_)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < last, "there is room again");
            thread::sleep(Duration::from_millis(10));
        });
    }
    assert!(refused > 0);
    let mut read = PageBytes::zeroed();
    for (n, slot) in (0..).zip(slots) {
        store.get(slot, &mut read).expect("nothing was lost");
        assert!(read.0 == page(4 * n + 1).0);
    }
}

#[test]
fn slots_of_pages_that_are_still_being_written_are_waited_for() {
    // Of 40 pages 30 fill two segments, which go down.
    let store = store(&small_tier(IN_FILE, "delay=500ms:1"), 40);
    let slots: Vec<_> = (0..40).map(|n| store.put(&page(4 * n + 2)).expect("room")).collect();
    eventually("on their way", || store.stats().writing > 0);
    slots.into_iter().for_each(|slot| store.release(slot));
    // These need no memory, so nothing else waits for the writes.
    let (same, fingerprint) = (page(4), store.fingerprint(&page(4)));
    store.put_batch(&[(&same, fingerprint); 40]).expect("as many slots as pages");
}

#[test]
fn a_full_disk_without_memory_in_front_is_told_at_once() {
    let store = faulty("write-enospc@1");
    store.put(&page(1)).expect("there is room");
    assert!(matches!(store.put(&page(5)), Err(StoreError::NoSpace(_))));
    assert_eq!(store.stats().slots_used, 1);
    store.put(&page(5)).expect("there is room again");
}

#[test]
fn a_broken_disk_is_told_and_what_is_in_memory_is_not_lost() {
    let store = store(&small_tier(IN_FILE, "write-eio=1"), 1000);
    let mut slots = Vec::new();
    let error = loop {
        match store.put(&page((slots.len() * 4 + 1) as u16)) {
            Ok(slot) => slots.push(slot),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Write(_)), "{error}");
    let mut read = PageBytes::zeroed();
    for (n, slot) in slots.into_iter().enumerate() {
        store.get(slot, &mut read).expect("in memory");
        assert!(read.0 == page((4 * n + 1) as u16).0);
    }
}
