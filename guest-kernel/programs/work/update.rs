//! Additions to random words, independent of each other.

use programs::Random;

use super::{Done, timed};

pub fn run(bytes: usize) -> Done {
    let mut words: Vec<u64> = (0..bytes as u64 / 8).collect();
    let mut random = Random::new(1);
    // As many as there are cache lines.
    let updates = words.len() / 8;
    timed(updates, || {
        let mut answer = 0;
        for _ in 0..updates {
            let number = random.next();
            let at = number as usize % words.len();
            words[at] = words[at].wrapping_add(number);
            answer ^= words[at];
        }
        answer
    })
}
