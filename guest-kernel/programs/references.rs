//! Uses pages in the order of a reference string, with room in RAM for a few of them, and counts its own page faults.
//!
//! references FRAMES PAGE... [--apart]
//!
//! What the program itself consists of is locked first, so that the frames are for the pages of the string alone. With `--apart` it
//! lets a timer tick pass after each use, for policies that tell times apart. Natively there is no such limit.

use std::hint;
use std::io;
use std::time::{Duration, Instant};

use programs::{PAGE, fail, map_pages};

/// Longer than a tick, so that one falls into it.
const APART: Duration = Duration::from_millis(25);

fn main() {
    let mut numbers = Vec::new();
    let mut apart = false;
    for word in std::env::args().skip(1) {
        match word.parse::<usize>() {
            Ok(number) => numbers.push(number),
            Err(_) if word == "--apart" => apart = true,
            Err(error) => fail(format!("{word}: {error}")),
        }
    }
    let Some((&frames, string)) = numbers.split_first() else { fail("how many frames?") };
    lock_what_is_here();
    let pages = map_pages(string.iter().max().map_or(0, |last| last + 1));
    limit(frames);
    let before = faults();
    for &page in string {
        // A store alone: a load would first find the page of zeros that all share.
        pages[page][0] = hint::black_box(1);
        let used = Instant::now();
        while apart && used.elapsed() < APART {
            hint::spin_loop();
        }
    }
    let faults = faults() - before;
    println!("{} uses, {frames} frames, {faults} faults", string.len());
}

/// Keeps what is mapped by now in RAM.
fn lock_what_is_here() {
    // SAFETY: touches none of the program's memory.
    if unsafe { libc::mlockall(libc::MCL_CURRENT) } != 0 {
        fail(io::Error::last_os_error());
    }
}

/// Allows so many pages more in RAM.
fn limit(frames: usize) {
    let limit = libc::rlimit { rlim_cur: (frames * PAGE) as libc::rlim_t, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: reads the structure alone.
    if unsafe { libc::setrlimit(libc::RLIMIT_RSS, &raw const limit) } != 0 {
        fail(io::Error::last_os_error());
    }
}

fn faults() -> i64 {
    // SAFETY: zeros are a value of a structure of integers, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    usage.ru_minflt + usage.ru_majflt
}
