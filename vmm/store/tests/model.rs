//! The store against a plain map.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u16>),
    Get(usize),
    Retain(usize),
    Release(usize),
    ReleaseMost,
    GetAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => prop::collection::vec(any::<u16>(), 1..40).prop_map(Step::Put),
        4 => any::<usize>().prop_map(Step::Get),
        2 => any::<usize>().prop_map(Step::Retain),
        20 => any::<usize>().prop_map(Step::Release),
        1 => Just(Step::ReleaseMost),
        2 => Just(Step::GetAll),
    ]
}

/// The slots that are owned, each with its page's seed and its references.
type Model = HashMap<Slot, (u16, u32)>;

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
            let expected = page(model[&slot].0);
            assert!(read.0 == expected.0, "slot {slot} holds another page");
            assert!(store.holds(slot, store.fingerprint(&expected)));
            assert!(!store.holds(slot, store.fingerprint(&page(model[&slot].0 ^ 4))));
            let same_filled = store.origin_of(slot) == Some(Origin::SameFilled);
            assert_eq!(same_filled, is_same_filled(model[&slot].0));
        }
        Step::Retain(choice) => {
            let Some(slot) = pick(model, *choice) else { return };
            store.retain(slot).expect("the slot is owned");
            model.entry(slot).and_modify(|(_, references)| *references += 1);
        }
        Step::Release(choice) => {
            if let Some(slot) = pick(model, *choice) {
                release(store, model, slot);
            }
        }
        // Three of four: so segments become sparse.
        Step::ReleaseMost => {
            let slots: Vec<_> = model.keys().copied().filter(|slot| slot.0 % 4 != 0).collect();
            slots.into_iter().for_each(|slot| release(store, model, slot));
        }
        Step::GetAll => all_are_there(store, model),
    }
}

fn release(store: &Store, model: &mut Model, slot: Slot) {
    store.release(slot);
    let references = &mut model.get_mut(&slot).expect("picked from the model").1;
    *references -= 1;
    if *references == 0 {
        model.remove(&slot);
    }
}

fn all_are_there(store: &Store, model: &Model) {
    let mut pages: Vec<_> = model.keys().map(|&slot| (slot, PageBytes::zeroed())).collect();
    let mut batch: Vec<_> = pages.iter_mut().map(|(slot, page)| (*slot, page)).collect();
    for result in store.get_batch(&mut batch) {
        result.expect("the slot is owned");
    }
    for (slot, read) in &pages {
        assert!(read.0 == page(model[slot].0).0, "slot {slot} holds another page");
    }
}

/// Several segments of pages that compress, and more of those that do not.
const CAPACITY: u32 = 300;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_store_does_what_a_map_does(steps in prop::collection::vec(step(), 0..120)) {
        for store in stores(CAPACITY) {
            let mut model = Model::new();
            for step in &steps {
                apply(&store, &mut model, step);
            }
            all_are_there(&store, &model);
            eventually("writes are over", || store.stats().writing == 0);
            let stats = store.stats();
            prop_assert_eq!(stats.slots_used as usize, model.len());
            let same_filled = model.values().filter(|(seed, _)| is_same_filled(*seed)).count();
            prop_assert_eq!(stats.same_filled as usize, same_filled);
            prop_assert_eq!((stats.in_memory + stats.in_file) as usize, model.len() - same_filled);
        }
    }
}
