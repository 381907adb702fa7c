//! `context-switch ROUNDS PAGES`: a byte goes to another thread or process and back, each of which uses PAGES
//! pages in its turn.

use std::thread;

use programs::{Page, map_pages, os};

use super::memory::read;
use super::proc;
use super::record::record;
use super::timing::Samples;

pub fn run(rounds: usize, pages: usize) {
    for pages in [0, pages] {
        let memory = || {
            let memory = map_pages(pages);
            memory.iter_mut().for_each(|page| page[0] = 1);
            memory
        };
        // The same four calls, but nobody else to switch to.
        let ((from, to), (back, forth)) = (os::pipe(), os::pipe());
        let own = memory();
        measure("none", rounds, pages, || {
            pass(to, from, own);
            pass(forth, back, own);
        });

        let ((told, tell), (from, to)) = (os::pipe(), os::pipe());
        let (own, other) = (memory(), memory());
        let partner = thread::spawn(move || serve(told, to, other));
        measure("thread", rounds, pages, || pass(tell, from, own));
        let _ = os::write(tell, &[END]);
        drop(partner.join());

        let ((told, tell), (from, to)) = (os::pipe(), os::pipe());
        let own = memory();
        let partner = os::child(|| {
            serve(told, to, own);
            0
        });
        measure("process", rounds, pages, || pass(tell, from, own));
        let _ = os::write(tell, &[END]);
        partner.wait();
    }
}

/// A byte that says that there are no more.
const END: u8 = 1;

/// Uses the pages, gives a byte and waits for one.
fn pass(to: i32, from: i32, pages: &mut [Page]) {
    pages.iter_mut().for_each(read);
    let _ = os::write(to, &[0]);
    let _ = os::read(from, &mut [0]);
}

fn serve(from: i32, to: i32, pages: &mut [Page]) {
    let mut byte = [0];
    while os::read(from, &mut byte) == Ok(1) && byte[0] != END {
        pages.iter_mut().for_each(read);
        let _ = os::write(to, &byte);
    }
}

fn measure(partner: &str, rounds: usize, pages: usize, mut round: impl FnMut()) {
    let mut samples = Samples::with_room(rounds);
    round();
    let before = switches();
    (0..rounds).for_each(|_| samples.take(&mut round));
    let switches = switches() - before;
    let cycles = samples.percentile(50);
    record!(
        "rounds",
        partner = partner,
        pages = pages,
        rounds = rounds,
        switches = switches,
        cycles = cycles
    );
}

fn switches() -> i64 {
    proc::value("/proc/stat", "ctxt")
}
