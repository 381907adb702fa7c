//! Additions to random words, independent of each other.

use programs::{Random, mix};

use super::{Done, timed};

const UPDATES: usize = 1 << 21;

pub fn run(bytes: usize) -> Done {
    let mut words: Vec<u64> = (0..bytes as u64 / 8).collect();
    let mut random = Random::new(1);
    let mut done = timed(UPDATES, || {
        for _ in 0..UPDATES {
            let number = random.next();
            let at = number as usize % words.len();
            words[at] = words[at].wrapping_add(number);
        }
        0
    });
    done.answer = words.iter().fold(0, |sum, word| mix(sum ^ word));
    done
}
