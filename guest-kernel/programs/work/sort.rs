//! A sort in place, by another key in every pass: the order that the last one left is of no use.

use programs::{Random, mix};

use super::{Done, timed};

pub fn run(bytes: usize) -> Done {
    let mut random = Random::new(1);
    let mut numbers: Vec<u64> = (0..bytes / 8).map(|_| random.next()).collect();
    timed(numbers.len(), || {
        let key = random.next();
        numbers.sort_unstable_by_key(|number| mix(number ^ key));
        numbers.iter().step_by(61).fold(0, |answer, number| mix(answer ^ number))
    })
}
