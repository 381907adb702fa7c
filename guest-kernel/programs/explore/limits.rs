//! `limits PAGES LIMIT ROUNDS`: two processes use PAGES pages each, again and again, side by side; one of
//! them may have LIMIT pages in RAM.

use std::io;

use programs::os::{self, Child};
use programs::{PAGE, fail, map_pages};

use super::proc::resident;
use super::record::record;

pub fn run(pages: usize, limit: usize, rounds: usize) {
    let both: [Child; 2] = [Some(limit), None].map(|limit| {
        os::child(|| {
            work(pages, limit, rounds);
            0
        })
    });
    both.into_iter().for_each(|child| _ = child.wait());
}

fn work(pages: usize, limit: Option<usize>, rounds: usize) {
    if let Some(pages) = limit {
        set_limit(pages);
    }
    let memory = map_pages(pages);
    let (before, mut wrong) = (os::faults(), 0);
    for round in 0..rounds as u64 {
        for (number, page) in memory.iter_mut().enumerate() {
            wrong += u64::from(round > 0 && page[0] != number as u64 + round - 1);
            page[0] = number as u64 + round;
        }
        // The other's turn.
        std::thread::yield_now();
    }
    let after = os::faults();
    record!(
        "process",
        limit = limit.unwrap_or(0),
        pages = pages,
        resident = resident(memory),
        minor = after.0 - before.0,
        major = after.1 - before.1,
        wrong = wrong
    );
}

fn set_limit(pages: usize) {
    let limit = libc::rlimit { rlim_cur: (pages * PAGE) as libc::rlim_t, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: reads the structure alone.
    if unsafe { libc::setrlimit(libc::RLIMIT_RSS, &raw const limit) } != 0 {
        fail(format!("setrlimit: {}", io::Error::last_os_error()));
    }
}
