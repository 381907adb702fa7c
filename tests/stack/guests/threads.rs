//! A parallel merge sort of as many numbers as the first argument says, by threads that share the work through channels, locks and
//! counters. Prints a checksum of the sorted numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::thread;

const THREADS: usize = 4;

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("a number");
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut numbers: Vec<u64> = (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        })
        .collect();

    // Each thread sorts a part of the same vector; then pairs are merged.
    let part = count.div_ceil(THREADS);
    thread::scope(|scope| {
        for chunk in numbers.chunks_mut(part) {
            scope.spawn(move || chunk.sort_unstable());
        }
    });
    let (sender, receiver) = mpsc::channel();
    for chunk in numbers.chunks(part) {
        let (sender, chunk) = (sender.clone(), chunk.to_vec());
        thread::spawn(move || sender.send(chunk).expect("a receiver"));
    }
    drop((sender, numbers));
    let merged = receiver.into_iter().reduce(merge).unwrap_or_default();
    assert!(merged.is_sorted() && merged.len() == count);
    let sum = merged.iter().enumerate().fold(0u64, |sum, (at, number)| sum.wrapping_mul(31).wrapping_add(number ^ at as u64));
    println!("{count} numbers sorted by {THREADS} threads: {sum:016x}");
    println!("{} words counted under a lock, {} rounds in step", counted(), in_step());
}

fn merge(one: Vec<u64>, other: Vec<u64>) -> Vec<u64> {
    let mut merged = Vec::with_capacity(one.len() + other.len());
    let (mut one, mut other) = (one.into_iter().peekable(), other.into_iter().peekable());
    while let (Some(a), Some(b)) = (one.peek(), other.peek()) {
        merged.extend(if a <= b { one.next() } else { other.next() });
    }
    merged.extend(one.chain(other));
    merged
}

/// Threads that count in one map, each its own words and some of the others'.
fn counted() -> usize {
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let counts = Arc::clone(&counts);
            thread::spawn(move || {
                for word in 0..500 {
                    *counts.lock().expect("nobody panics").entry(word * (number + 1)).or_insert(0usize) += 1;
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    counts.lock().expect("nobody panics").values().sum()
}

/// Threads that wait for each other after each round, and one that waits for all of them to be done.
fn in_step() -> usize {
    let barrier = Arc::new(Barrier::new(THREADS));
    let rounds = Arc::new(AtomicUsize::new(0));
    let done = Arc::new((Mutex::new(0), Condvar::new()));
    for _ in 0..THREADS {
        let (barrier, rounds, done) = (Arc::clone(&barrier), Arc::clone(&rounds), Arc::clone(&done));
        thread::spawn(move || {
            for round in 0..20 {
                barrier.wait();
                assert!(rounds.load(Ordering::SeqCst) >= round * THREADS);
                rounds.fetch_add(1, Ordering::SeqCst);
                barrier.wait();
            }
            *done.0.lock().expect("nobody panics") += 1;
            done.1.notify_one();
        });
    }
    let mut finished = done.0.lock().expect("nobody panics");
    while *finished < THREADS {
        finished = done.1.wait(finished).expect("nobody panics");
    }
    rounds.load(Ordering::SeqCst)
}
