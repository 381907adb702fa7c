//! A pass over all words in turn, each read and written.

use super::{Done, timed};

pub fn run(bytes: usize) -> Done {
    let mut words: Vec<u64> = (0..bytes as u64 / 8).collect();
    timed(words.len(), || {
        let mut sum = 0_u64;
        for word in &mut words {
            sum = sum.wrapping_add(*word);
            *word ^= sum;
        }
        sum
    })
}
