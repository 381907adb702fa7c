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

/// The time is cut into so many parts, of which the best counts: other work on the machine may disturb some.
const SLICES: usize = 5;

/// When the time of a stage begins, in cycles, and how long each part of it is.
type Time = [u64; 2];
/// Ends a worker.
const ENOUGH: Time = [0; 2];
/// The steps in each part, and then the major faults.
type Done = [u64; SLICES + 1];

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
        stage(&workers, pages, milliseconds, a_millisecond);
        if let [alone] = workers.as_slice() {
            tell_working_set(alone);
        }
    }
    for worker in workers {
        tell(worker.go, &ENOUGH);
        worker.child.wait();
    }
}

/// Lets all of them work for a while and tells what they did. Nobody else needs the CPU meanwhile.
fn stage(workers: &[Worker], pages: usize, milliseconds: u64, a_millisecond: u64) {
    let start = now();
    let slice_ms = milliseconds / SLICES as u64;
    workers.iter().for_each(|worker| tell(worker.go, &[start, slice_ms * a_millisecond]));
    let mut sum: Done = [0; SLICES + 1];
    for worker in workers {
        let done: Done = hear(worker.done).unwrap_or_default();
        sum.iter_mut().zip(done).for_each(|(sum, more)| *sum += more);
    }
    let [slices @ .., major] = sum;
    let (best, ms) = (slices.into_iter().max().unwrap_or(0), (now() - start) / a_millisecond);
    let (processes, pages) = (workers.len(), workers.len() * pages);
    record!(
        "stage",
        processes = processes,
        pages = pages,
        steps = best,
        slice_ms = slice_ms,
        major = major,
        ms = ms
    );
}

/// Only a kernel that watches working sets says anything of them.
fn tell_working_set(worker: &Worker) {
    if let Some(kib) = proc::find(&format!("/proc/{}/status", worker.child.0), "WorkingSet:") {
        record!("working-set", pages = kib / 4);
    }
}

fn start(number: usize, pages: usize) -> Worker {
    let ([told, go], [done, answer]) = (os::pipe().into(), os::pipe().into());
    let child = os::child(|| {
        let memory = map_pages(pages);
        memory.iter_mut().for_each(|page| page[0] = 1);
        tell(answer, &Done::default());
        let mut random = Random::new(number as u64);
        while let Some(time) = hear(told).filter(|time| *time != ENOUGH) {
            tell(answer, &work(memory, &mut random, time));
        }
        0
    });
    [told, answer].into_iter().for_each(os::close);
    // It has filled its memory.
    let _: Option<Done> = hear(done);
    Worker { child, go, done }
}

/// Steps until the time is over: each writes to some page of the working set and computes a little.
fn work(memory: &mut [Page], random: &mut Random, [start, slice]: Time) -> Done {
    let (before, mut done) = (os::faults(), Done::default());
    while let at = ((now() - start) / slice) as usize
        && at < SLICES
    {
        let page = &mut memory[random.below(memory.len())];
        page[0] = (0..WORK).fold(page[0], |value, _| mix(value));
        done[at] += 1;
    }
    done[SLICES] = (os::faults().1 - before.1) as u64;
    done
}

fn tell(to: i32, words: &[u64]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let _ = os::write(to, &bytes);
}

fn hear<const COUNT: usize>(from: i32) -> Option<[u64; COUNT]> {
    let mut words = [[0; 8]; COUNT];
    let read = os::read(from, words.as_flattened_mut());
    (read == Ok(8 * COUNT)).then(|| words.map(u64::from_le_bytes))
}

fn cycles_a_millisecond() -> u64 {
    let start = now();
    thread::sleep(Duration::from_millis(20));
    (now() - start) / 20
}
