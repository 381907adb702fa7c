//! A sort of random numbers in place.

use programs::{Random, mix};

use super::{Done, timed};

pub fn run(bytes: usize) -> Done {
    let mut random = Random::new(1);
    let mut numbers: Vec<u64> = (0..bytes / 8).map(|_| random.next()).collect();
    let mut done = timed(numbers.len(), || {
        numbers.sort_unstable();
        0
    });
    done.answer = numbers.iter().fold(0, |sum, number| mix(sum ^ number));
    done
}
