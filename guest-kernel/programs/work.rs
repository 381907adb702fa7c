//! Work on memory that times itself: `work WORKLOAD SIZE`, such as `work chase 16M`.
//!
//! A workload prepares SIZE of memory, and is then timed. What it does is the same every time. It prints one line of JSON:
//! what was done, how many nanoseconds that took, and an answer that depends on every step of it. The workloads:
//!
//!     chase       each load says where the next one goes: the latency of memory, with nothing to hide it
//!     update      adds to words at random: many misses at a time
//!     sequential  reads and writes all words in turn: bandwidth
//!     sort        sorts random numbers
//!     matmul      multiplies matrices, a block at a time: computing, with next to no misses
//!     zipf        looks keys up in a hash table, and changes one in sixteen; few keys get most of the uses
//!     orderbook   moves orders between the queues of an exchange's price levels, all of them in one array

#[path = "work/chase.rs"]
mod chase;
#[path = "work/matmul.rs"]
mod matmul;
#[path = "work/orderbook.rs"]
mod orderbook;
#[path = "work/sequential.rs"]
mod sequential;
#[path = "work/sort.rs"]
mod sort;
#[path = "work/update.rs"]
mod update;
#[path = "work/zipf.rs"]
mod zipf;

use std::env;
use std::time::{Duration, Instant};

use programs::{PAGE, fail, parse_size};

/// What a workload did.
struct Done {
    operations: usize,
    time: Duration,
    answer: u64,
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, size] = arguments.as_slice() else {
        fail("usage: work WORKLOAD SIZE, such as work chase 16M")
    };
    let bytes = parse_size(size).filter(|&bytes| bytes >= PAGE);
    let Some(bytes) = bytes else { fail(format!("{size}: give a size of at least 4K")) };
    let workload = match name.as_str() {
        "chase" => chase::run,
        "update" => update::run,
        "sequential" => sequential::run,
        "sort" => sort::run,
        "matmul" => matmul::run,
        "zipf" => zipf::run,
        "orderbook" => orderbook::run,
        _ => fail(format!("no workload {name}; the start of the source lists them")),
    };
    let Done { operations, time, answer } = workload(bytes);
    let ns = time.as_nanos();
    println!(
        r#"{{"workload":"{name}","bytes":{bytes},"operations":{operations},"ns":{ns},"answer":"{answer:016x}"}}"#
    );
}

/// Times the part that counts; it returns its answer.
fn timed(operations: usize, work: impl FnOnce() -> u64) -> Done {
    let start = Instant::now();
    let answer = work();
    Done { operations, time: start.elapsed(), answer }
}
