//! The store against a plain map, and against files that fail.

use std::collections::HashMap;
use std::io::IoSlice;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn page(seed: u8) -> PageBytes {
    let mut page = PageBytes::zeroed();
    // Below 8: same-filled. From 8 on: two different words, at least.
    page.0.fill(seed);
    if seed >= 8 {
        page.0[4095] = 0;
    }
    page
}

fn stores(capacity: u32) -> [Store; 2] {
    [StoreSpec::Memory, StoreSpec::Temporary]
        .map(|spec| Store::open(&spec, capacity).expect("a store in memory or in a temporary file"))
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>),
    Get(usize),
    Retain(usize),
    Release(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => prop::collection::vec(0_u8..20, 1..6).prop_map(Step::Put),
        2 => any::<usize>().prop_map(Step::Get),
        1 => any::<usize>().prop_map(Step::Retain),
        3 => any::<usize>().prop_map(Step::Release),
    ]
}

/// The slots that are owned, each with its page's seed and its references.
type Model = HashMap<Slot, (u8, u32)>;

fn pick(model: &Model, choice: usize) -> Option<Slot> {
    let mut slots: Vec<_> = model.keys().copied().collect();
    slots.sort_unstable();
    (!slots.is_empty()).then(|| slots[choice % slots.len()])
}

fn apply(store: &Store, model: &mut Model, step: &Step) {
    match step {
        Step::Put(seeds) => {
            let pages: Vec<_> = seeds.iter().map(|&seed| page(seed)).collect();
            let batch: Vec<_> = pages.iter().map(|page| (page, store.fingerprint(page))).collect();
            match store.put_batch(&batch) {
                Ok(slots) => {
                    for (slot, &seed) in slots.into_iter().zip(seeds) {
                        assert_eq!(
                            model.insert(slot, (seed, 1)),
                            None,
                            "a slot that is owned was given away"
                        );
                    }
                }
                Err(error) => {
                    assert!(matches!(error, StoreError::Full(CAPACITY)), "{error}");
                    assert!(model.len() + seeds.len() > CAPACITY as usize);
                }
            }
        }
        Step::Get(choice) => {
            let Some(slot) = pick(model, *choice) else { return };
            let mut read = PageBytes::zeroed();
            store.get(slot, &mut read).expect("the slot is owned");
            assert!(read.0 == page(model[&slot].0).0, "slot {slot} holds another page");
        }
        Step::Retain(choice) => {
            let Some(slot) = pick(model, *choice) else { return };
            store.retain(slot).expect("the slot is owned");
            model.entry(slot).and_modify(|(_, references)| *references += 1);
        }
        Step::Release(choice) => {
            let Some(slot) = pick(model, *choice) else { return };
            store.release(slot);
            let references = &mut model.get_mut(&slot).expect("picked from the model").1;
            *references -= 1;
            if *references == 0 {
                model.remove(&slot);
                assert!(matches!(store.get(slot, &mut PageBytes::zeroed()), Err(StoreError::NotInUse(_))));
            }
        }
    }
}

const CAPACITY: u32 = 70;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_store_does_what_a_map_does(steps in prop::collection::vec(step(), 0..120)) {
        for store in stores(CAPACITY) {
            let mut model = Model::new();
            for step in &steps {
                apply(&store, &mut model, step);
            }
            let stats = store.stats();
            prop_assert_eq!(stats.slots_used as usize, model.len());
            prop_assert_eq!(stats.same_filled as usize, model.values().filter(|(seed, _)| *seed < 8).count());
        }
    }
}

#[test]
fn pages_of_one_word_are_not_written() {
    for store in stores(4) {
        let slot = store.put(&page(3)).expect("room");
        let mut read = PageBytes::zeroed();
        assert_eq!(store.get(slot, &mut read).expect("in use"), Origin::SameFilled);
        assert!(read.0 == page(3).0);
        let stats = store.stats();
        assert_eq!((stats.slots_used, stats.writes, stats.reads, stats.bytes), (1, 0, 0, 0));
    }
}

#[test]
fn a_block_that_changed_behind_the_store_is_an_error_that_names_its_slot() {
    let store = Store::open(&StoreSpec::Temporary, 8).expect("a temporary file");
    let slots: Vec<_> = (100..104).map(|seed| store.put(&page(seed)).expect("room")).collect();
    let Blocks::File(file) = &store.blocks else { panic!("the store is in a file") };
    let mut wrong = page(102);
    wrong.0[1000] ^= 1;
    file.write(slots[2].0, &[IoSlice::new(&wrong.0)]).expect("the file can be written");
    let mut read = PageBytes::zeroed();
    let error = store.get(slots[2], &mut read).expect_err("one bit is wrong");
    assert!(matches!(error, StoreError::Corrupt(slot) if slot == slots[2]), "{error}");
    store.get(slots[3], &mut read).expect("the others are as they were");
}

#[test]
fn a_file_that_was_cut_is_a_read_error() {
    let store = Store::open(&StoreSpec::Temporary, 8).expect("a temporary file");
    let slot = store.put(&page(100)).expect("room");
    let Blocks::File(file) = &store.blocks else { panic!("the store is in a file") };
    rustix::fs::ftruncate(&file.file, 0).expect("the file can be cut");
    let error = store.get(slot, &mut PageBytes::zeroed()).expect_err("the block is gone");
    assert!(matches!(error, StoreError::Read { .. }), "{error}");
}

#[test]
fn a_place_that_cannot_be_used_is_refused_with_its_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = |path: &Path, capacity| {
        Store::open(&StoreSpec::At(path.to_owned()), capacity).map(|_| ()).expect_err("an unusable place")
    };
    let missing = directory.path().join("missing/store");
    assert!(matches!(open(&missing, 1), StoreError::NoDirectory(path) if path == missing));
    let precious = directory.path().join("precious");
    std::fs::write(&precious, "data").expect("a writable directory");
    assert!(matches!(open(&precious, 1), StoreError::Exists(path) if path == precious));
    assert_eq!(std::fs::read(&precious).expect("still there"), b"data");
    let error = open(directory.path(), u32::MAX);
    assert!(matches!(error, StoreError::NoRoom { .. }), "{error}");
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn a_store_has_no_name_from_the_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for path in [directory.path().to_owned(), directory.path().join("store")] {
        let store = Store::open(&StoreSpec::At(path), 4).expect("a usable place");
        store.put(&page(100)).expect("room");
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 0);
    }
}

#[test]
fn threads_share_a_store() {
    for store in stores(4 * 40) {
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..50_u8 {
                        let seed = |index: u8| thread.wrapping_mul(61) ^ round.wrapping_mul(7) ^ index;
                        let slots: Vec<_> =
                            (0..40).map(|index| store.put(&page(seed(index))).expect("room")).collect();
                        let mut read = PageBytes::zeroed();
                        for (index, &slot) in (0..).zip(&slots) {
                            store.get(slot, &mut read).expect("owned");
                            assert!(read.0 == page(seed(index)).0);
                            store.release(slot);
                        }
                    }
                });
            }
        });
        assert_eq!(store.stats().slots_used, 0);
    }
}
