//! Sorts random records: `sort SIZE [SEED]`.
//!
//! A top-down merge sort of 64-byte records. It needs SIZE for the records and half of it for merging. Each half is
//! sorted before the other is touched, so a part that fits in memory is read in once for all its levels.
//! Prints the number of records and a checksum of their order; exits with 1 if they are not in order or not the
//! records that were generated.

use std::env;
use std::process::ExitCode;

use programs::{Random, fail, mix, parse_size};

/// The key and its payload.
type Record = [u64; 8];

/// Parts of at most this many records (a page) are sorted by insertion.
const SHORT: usize = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (size, seed) = match arguments.as_slice() {
        [size] => (parse_size(size), Some(1)),
        [size, seed] => (parse_size(size), seed.parse().ok()),
        _ => (None, None),
    };
    let (Some(size), Some(seed)) = (size, seed) else { fail("usage: sort SIZE [SEED], such as sort 40M") };

    let mut random = Random::new(seed);
    let mut records: Vec<Record> =
        (0..size / size_of::<Record>()).map(|_| [(); 8].map(|()| random.next())).collect();
    let generated = content(&records);
    let mut scratch: Vec<Record> = vec![[0; 8]; records.len() / 2];
    sort(&mut records, &mut scratch);

    let (sorted, order, in_order) = verify(&records);
    if !in_order || sorted != generated {
        println!("sort: wrong answer, in order: {in_order}, same records: {}", sorted == generated);
        return ExitCode::FAILURE;
    }
    println!("sorted {} records, checksum {order:016x}", records.len());
    ExitCode::SUCCESS
}

/// Sorts by key. `scratch` holds at least half as many records.
fn sort(records: &mut [Record], scratch: &mut [Record]) {
    if records.len() <= SHORT {
        return insert(records);
    }
    let middle = records.len() / 2;
    sort(&mut records[..middle], scratch);
    sort(&mut records[middle..], scratch);
    merge(records, middle, scratch);
}

fn insert(records: &mut [Record]) {
    for end in 1..records.len() {
        let mut at = end;
        while at > 0 && records[at][0] < records[at - 1][0] {
            records.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// Merges the sorted parts before and after `middle`. The left part moves out to `scratch`; the merged
/// records never overtake those of the right part that are still to come.
fn merge(records: &mut [Record], middle: usize, scratch: &mut [Record]) {
    let left = &mut scratch[..middle];
    left.copy_from_slice(&records[..middle]);
    let (mut next, mut right) = (0, middle);
    for out in 0..records.len() {
        if next == left.len() {
            return;
        }
        if right < records.len() && records[right][0] < left[next][0] {
            records[out] = records[right];
            right += 1;
        } else {
            records[out] = left[next];
            next += 1;
        }
    }
}

/// A sum over all records that does not depend on their order.
fn content(records: &[Record]) -> u64 {
    records.iter().fold(0, |sum, record| sum.wrapping_add(digest(record)))
}

/// In one pass: [`content`], a checksum of the order, and whether the keys ascend.
fn verify(records: &[Record]) -> (u64, u64, bool) {
    let (mut sum, mut order, mut ascending, mut last) = (0u64, 0u64, true, 0);
    for record in records {
        let digest = digest(record);
        sum = sum.wrapping_add(digest);
        order = mix(order ^ digest);
        ascending &= last <= record[0];
        last = record[0];
    }
    (sum, order, ascending)
}

/// A record's fingerprint: every word and its place count.
fn digest(record: &Record) -> u64 {
    record.iter().fold(0, |digest, word| mix(digest.rotate_left(5) ^ word))
}
