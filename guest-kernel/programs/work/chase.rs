//! A chain of loads through all cache lines of the memory, in random order.

use programs::Random;

use super::{Done, timed};

/// Not a multiple of any number of lines that a size gives, so that the end of the chain is an answer.
const STEPS: usize = (1 << 21) - 3;

/// One cache line; the first word is the number of the next.
#[derive(Clone)]
#[repr(align(64))]
struct Line([u64; 8]);

pub fn run(bytes: usize) -> Done {
    let mut lines: Vec<Line> = (0..bytes / 64).map(|number| Line([number as u64; 8])).collect();
    // One cycle through all of them (Sattolo's shuffle).
    let mut random = Random::new(1);
    for end in (1..lines.len()).rev() {
        let other = random.next() as usize % end;
        let (one, two) = (lines[end].0[0], lines[other].0[0]);
        (lines[end].0[0], lines[other].0[0]) = (two, one);
    }
    timed(STEPS, || (0..STEPS).fold(0, |at, _| lines[at as usize].0[0]))
}
