//! A key-value store: a hash table with open addressing, half full. Few keys get most of the uses.

use programs::{Random, mix};

use super::{Done, timed};

/// A place for a key, which is never 0, and its value.
type Slot = [u64; 2];

pub fn run(bytes: usize) -> Done {
    let mut slots: Vec<Slot> = vec![[0; 2]; bytes / size_of::<Slot>()];
    let keys = slots.len() / 2;
    for key in 1..=keys as u64 {
        let at = find(&slots, key);
        slots[at] = [key, mix(key)];
    }
    let mut random = Random::new(1);
    timed(keys, || {
        let mut answer = 0_u64;
        for use_number in 0..keys as u64 {
            // The key of rank n is used about as often as 1/n (Zipf).
            let key = (keys as f64).powf(random.unit()) as u64;
            let at = find(&slots, key);
            answer = answer.wrapping_add(slots[at][1]);
            if use_number % 16 == 0 {
                slots[at][1] = mix(answer);
            }
        }
        answer
    })
}

/// Where a key is, or belongs.
fn find(slots: &[Slot], key: u64) -> usize {
    let mut at = mix(key) as usize % slots.len();
    while slots[at][0] != 0 && slots[at][0] != key {
        at = (at + 1) % slots.len();
    }
    at
}
