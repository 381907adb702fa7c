//! Threads: one address space, several at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use programs::map_pages;

use super::Check;
use super::os::{End, child};

pub const CHECKS: &[Check] = &[
    ("threads share memory and each has its own stack and locals", shared),
    ("a lock lets one in at a time", locked),
    ("threads wait for each other and are woken", conditions),
    ("a wait for a word ends with its time", timed),
    ("threads keep their vector registers apart", vectors),
    ("a process ends with all its threads", ends_with_all),
    ("a fork from a process with threads has one", forked),
];

fn shared() {
    thread_local!(static OWN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
    let pages: &'static [programs::Page] = {
        let pages = map_pages(8);
        pages.iter_mut().for_each(|page| page[0] = 5);
        pages
    };
    let total = AtomicU64::new(0);
    thread::scope(|scope| {
        for number in 0..8u64 {
            let total = &total;
            scope.spawn(move || {
                OWN.set(number);
                thread::yield_now();
                total.fetch_add(pages[number as usize][0] + OWN.get(), Ordering::Relaxed);
            });
        }
    });
    assert_eq!((total.into_inner(), OWN.get()), (8 * 5 + 28, 0));
}

fn locked() {
    let count = Mutex::new(0u64);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..200 {
                    let mut held = count.lock().unwrap();
                    let before = *held;
                    if n % 20 == 0 {
                        thread::yield_now();
                    }
                    *held = before + 1;
                }
            });
        }
    });
    assert_eq!(count.into_inner().unwrap(), 800);
}

fn conditions() {
    let (sender, receiver) = mpsc::channel();
    let turn = Arc::new((Mutex::new(0), Condvar::new()));
    let threads: Vec<_> = (0..4)
        .map(|own| {
            let (turn, sender) = (Arc::clone(&turn), sender.clone());
            thread::spawn(move || {
                for round in 0..5 {
                    let (lock, changed) = &*turn;
                    let mut now = changed.wait_while(lock.lock().unwrap(), |now| *now % 4 != own).unwrap();
                    sender.send((round, own)).unwrap();
                    *now += 1;
                    changed.notify_all();
                }
            })
        })
        .collect();
    drop(sender);
    let order: Vec<_> = receiver.iter().collect();
    let expected: Vec<_> = (0..5).flat_map(|round| (0..4).map(move |own| (round, own))).collect();
    assert_eq!(order, expected);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| barrier.wait());
        }
    });
}

fn timed() {
    let (lock, changed) = (Mutex::new(()), Condvar::new());
    let (_guard, result) = changed.wait_timeout(lock.lock().unwrap(), Duration::from_millis(20)).unwrap();
    assert!(result.timed_out());
}

fn vectors() {
    let work = |seed: f64| {
        let mut values = [seed; 16];
        // Longer than a time slice, so that threads change in the middle of it.
        for _ in 0..1_000_000 {
            for value in &mut values {
                *value = *value * 0.999_9 + seed;
            }
        }
        values
    };
    let alone: Vec<_> = (1..4).map(|n| work(f64::from(n))).collect();
    let together: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (1..4).map(|n| scope.spawn(move || work(f64::from(n)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}

fn ends_with_all() {
    let busy = child(|| {
        for _ in 0..3 {
            thread::spawn(|| {
                loop {
                    thread::sleep(Duration::from_secs(1));
                }
            });
        }
        6
    });
    assert_eq!(busy.wait(), End::Exit(6));
}

fn forked() {
    let (stop, stopped) = mpsc::channel::<()>();
    let waiting = thread::spawn(move || stopped.recv().is_err());
    assert_eq!(child(|| 2).wait(), End::Exit(2));
    drop(stop);
    assert!(waiting.join().unwrap());
}
