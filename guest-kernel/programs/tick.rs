//! A tick reader: fills memory, and then does nothing but read the time-stamp counter and measure the gaps:
//! `tick SIZE MILLISECONDS`.
//!
//! Whatever takes the CPU away makes a gap: an eviction that the CPU waits for, an interrupt, another thread
//! on its CPU. Between two reads it touches one page of stack and one of code. It prints `ready` when SIZE of
//! memory is filled, and one line of JSON at the end: how many gaps there were of at least a microsecond, of
//! two, of four and so on, and the longest.

use std::arch::x86_64::_rdtsc;
use std::env;
use std::time::{Duration, Instant};

use programs::{PAGE, fail, fill, map_pages, parse_size};

/// Gaps by the power of two of their microseconds, the last for all that are longer.
const BUCKETS: usize = 24;
/// For how long the counter is compared with the clock.
const CALIBRATION: Duration = Duration::from_millis(100);

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [size, milliseconds] = arguments.as_slice() else {
        fail("usage: tick SIZE MILLISECONDS, such as tick 64M 500")
    };
    let (Some(bytes), Ok(milliseconds)) = (parse_size(size), milliseconds.parse::<u64>()) else {
        fail("give a size and a whole number of milliseconds")
    };
    let memory = map_pages(bytes / PAGE);
    for (number, page) in memory.iter_mut().enumerate() {
        fill(page, number, 0);
    }
    let a_microsecond = calibrate();
    println!("ready");
    let (counts, longest, ticks) = watch(a_microsecond, milliseconds * 1000);
    let counts = counts.map(|count| count.to_string()).join(",");
    let longest_ns = longest * 1000 / a_microsecond;
    println!(r#"{{"ticks":{ticks},"longest_ns":{longest_ns},"gaps_by_log2_us":[{counts}]}}"#);
}

fn now() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction, and Linux lets programs use it.
    unsafe { _rdtsc() }
}

/// Counts of the time-stamp counter in a microsecond.
fn calibrate() -> u64 {
    let (start, first) = (Instant::now(), now());
    while start.elapsed() < CALIBRATION {}
    let (counts, time) = (now() - first, start.elapsed());
    (u128::from(counts) * 1000 / time.as_nanos()) as u64
}

/// Reads the counter for so many microseconds. Returns the gaps, the longest in counts, and how often it
/// read.
fn watch(a_microsecond: u64, microseconds: u64) -> ([u64; BUCKETS], u64, u64) {
    let (mut counts, mut longest, mut ticks) = ([0; BUCKETS], 0, 0);
    let mut last = now();
    let end = last + microseconds * a_microsecond;
    while last < end {
        let next = now();
        let gap = next.saturating_sub(last);
        if gap >= a_microsecond {
            counts[((gap / a_microsecond).ilog2() as usize).min(BUCKETS - 1)] += 1;
            longest = longest.max(gap);
        }
        (last, ticks) = (next, ticks + 1);
    }
    (counts, longest, ticks)
}
