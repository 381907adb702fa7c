//! `thrash PROCESSES PAGES MILLISECONDS`: one process works on PAGES of its own, then two at a time do, and
//! so on up to PROCESSES. What the kernel thinks that the first works on is told before the second joins it.

use std::thread;
use std::time::Duration;

use programs::os::{self, Child};
use programs::{Page, Random, map_pages, mix};

use super::proc;
use super::record::record;
use super::timing::now;

/// How often a step mixes a number: a microsecond or two of work, so that steps are not faults alone.
const WORK: usize = 200;

/// The time is cut into so many parts: other work on the machine may disturb some.
const SLICES: u64 = 5;

/// A deadline that ends a worker.
const ENOUGH: u64 = 0;

/// A process that works when it is told to.
struct Worker {
    child: Child,
    go: i32,
    done: i32,
}

pub fn run(processes: usize, pages: usize, milliseconds: u64) {
    let a_millisecond = cycles_a_millisecond();
    let mut workers = Vec::new();
    for active in 1..=processes {
        workers.push(start(active, pages));
        (0..SLICES).for_each(|_| slice(&workers, pages, milliseconds / SLICES, a_millisecond));
        if let [alone] = workers.as_slice() {
            tell_working_set(alone);
        }
    }
    for worker in workers {
        let _ = os::write(worker.go, &ENOUGH.to_le_bytes());
        worker.child.wait();
    }
}

/// Only a kernel that watches working sets says anything of them.
fn tell_working_set(worker: &Worker) {
    let status = format!("/proc/{}/status", worker.child.0);
    if let Some(kib) = proc::find(&status, "WorkingSet:") {
        record!("working-set", pages = kib / 4);
    }
}

/// Lets all of them work for a while and tells what they did.
fn slice(workers: &[Worker], pages: usize, milliseconds: u64, a_millisecond: u64) {
    let (start, mut steps, mut major) = (now(), 0, 0);
    let deadline = start + milliseconds * a_millisecond;
    for worker in workers {
        let _ = os::write(worker.go, &deadline.to_le_bytes());
    }
    for worker in workers {
        let [more, faults] = answer(worker.done);
        steps += more;
        major += faults;
    }
    let (ms, processes) = ((now() - start) / a_millisecond, workers.len());
    let pages = processes * pages;
    record!("slice", processes = processes, pages = pages, steps = steps, major = major, ms = ms);
}

fn start(number: usize, pages: usize) -> Worker {
    let ([told, go], [done, tell]) = (os::pipe().into(), os::pipe().into());
    let child = os::child(|| {
        let memory = map_pages(pages);
        memory.iter_mut().for_each(|page| page[0] = 1);
        let _ = os::write(tell, &[0; 16]);
        let mut random = Random::new(number as u64);
        let mut deadline = [0; 8];
        while os::read(told, &mut deadline) == Ok(8) && u64::from_le_bytes(deadline) != ENOUGH {
            let [steps, major] = work(memory, &mut random, u64::from_le_bytes(deadline));
            let _ = os::write(tell, [steps, major].map(u64::to_le_bytes).as_flattened());
        }
        0
    });
    [told, tell].into_iter().for_each(os::close);
    // It has filled its memory.
    answer(done);
    Worker { child, go, done }
}

/// Steps until the deadline: each writes to some page of the working set and computes a little. Returns them
/// and the major faults.
fn work(memory: &mut [Page], random: &mut Random, deadline: u64) -> [u64; 2] {
    let (before, mut steps) = (os::faults(), 0);
    while now() < deadline {
        let page = &mut memory[random.next() as usize % memory.len()];
        page[0] = (0..WORK).fold(page[0], |value, _| mix(value));
        steps += 1;
    }
    [steps, (os::faults().1 - before.1) as u64]
}

fn answer(from: i32) -> [u64; 2] {
    let mut words = [[0; 8]; 2];
    let _ = os::read(from, words.as_flattened_mut());
    words.map(u64::from_le_bytes)
}

fn cycles_a_millisecond() -> u64 {
    let start = now();
    thread::sleep(Duration::from_millis(20));
    (now() - start) / 20
}
