//! A chain of loads through all cache lines of the memory, in random order.

use programs::Random;

use super::{Done, timed};

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
    let mut at = 0;
    timed(lines.len(), || {
        (0..lines.len()).fold(0_u64, |sum, step| {
            at = lines[at].0[0] as usize;
            sum.wrapping_mul(3).wrapping_add(at as u64 ^ step as u64)
        })
    })
}
