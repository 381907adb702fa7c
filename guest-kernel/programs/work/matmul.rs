//! Products of two square matrices, added to a third; the three fill the memory.

use programs::{Random, mix};

use super::{Done, timed};

/// Rows and columns of a block: three blocks of this size fit in a first-level cache.
const BLOCK: usize = 32;

pub fn run(bytes: usize) -> Done {
    let side = ((bytes / 3 / size_of::<f64>()).isqrt() / BLOCK).max(1) * BLOCK;
    let mut random = Random::new(1);
    let mut matrix = || (0..side * side).map(|_| random.unit()).collect::<Vec<f64>>();
    let (left, right, mut sum) = (matrix(), matrix(), matrix());
    timed(side.pow(3), || {
        multiply(&left, &right, &mut sum, side);
        sum.iter().step_by(61).fold(0, |answer, number| mix(answer ^ number.to_bits()))
    })
}

fn multiply(left: &[f64], right: &[f64], sum: &mut [f64], side: usize) {
    for rows in (0..side).step_by(BLOCK) {
        for middle in (0..side).step_by(BLOCK) {
            for columns in (0..side).step_by(BLOCK) {
                multiply_block(left, right, sum, side, [rows, middle, columns]);
            }
        }
    }
}

fn multiply_block(left: &[f64], right: &[f64], sum: &mut [f64], side: usize, at: [usize; 3]) {
    let [rows, middle, columns] = at;
    for row in rows..rows + BLOCK {
        for k in middle..middle + BLOCK {
            let factor = left[row * side + k];
            let from = &right[k * side + columns..][..BLOCK];
            let to = &mut sum[row * side + columns..][..BLOCK];
            to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
        }
    }
}
