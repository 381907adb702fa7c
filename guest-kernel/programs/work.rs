//! Work on memory that times itself: `work WORKLOAD SIZE`, such as `work chase 16M`.
//!
//! A workload prepares SIZE of memory, and is then timed for a while. It prints one line of JSON: how many
//! operations are a pass over that memory, how many nanoseconds a pass took, and an answer that depends on
//! what the first pass did. The workloads:
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
use std::hint::black_box;
use std::time::{Duration, Instant};

use programs::{PAGE, fail, parse_size};

/// The least that is timed. A pass is repeated until it is reached: where memory is paged, one takes longer
/// than this.
const LEAST: Duration = Duration::from_millis(100);

/// What a pass of a workload did.
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

/// Times passes of `operations` operations each: the mean of a pass, and the answer of the first.
fn timed(operations: usize, mut pass: impl FnMut() -> u64) -> Done {
    let start = Instant::now();
    let answer = pass();
    let (mut passes, mut elapsed) = (1_u32, start.elapsed());
    // As many again each time: where asking for the time is dear, it is asked for seldom.
    while elapsed < LEAST {
        (0..passes).for_each(|_| _ = black_box(pass()));
        (passes, elapsed) = (passes * 2, start.elapsed());
    }
    Done { operations, time: elapsed / passes, answer }
}
