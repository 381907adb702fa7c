//! How long eviction keeps the vCPU out of the guest: a tick reader (guest-kernel/programs/tick.rs) fills
//! memory and then does nothing but read the time-stamp counter. Its gaps natively, in a guest at rest, and
//! in a guest while the host's budget is lowered from all of its memory to a sixteenth, which is evicted as
//! fast as the pager can.
//!
//!     cargo bench --bench stalls [-- MIB [RUNS]]
//!
//! The same for a guest without a kernel: where KVM interprets a guest's kernel, its timer's interrupt is the longest gap.
//!
//! Other work on the machine makes gaps of its own. As root, `chrt -f 50` before it keeps that off the
//! reader's CPU, but for a twentieth of each second, which Linux keeps for others.

// A bench that cannot measure says why and stops.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bare;
#[path = "../support/bare_guest.rs"]
mod bare_guest;
#[path = "../support/paged.rs"]
mod paged;

use std::io::{BufRead, BufReader, Lines};
use std::ops::Range;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use bifold::control::{Request, ask};
use serde_json::Value;

const TICK: &str = env!("BIFOLD_PROGRAM_TICK");
/// For how long the reader reads.
const MILLISECONDS: u64 = 800;
/// What the guest needs besides, in MiB.
const SPARE: u64 = 64;
/// The columns: gaps of so many microseconds, and the reader's buckets with them.
const COLUMNS: [(&str, Range<usize>); 6] = [
    ("1-15", 0..4),
    ("16-127", 4..7),
    ("128-511", 7..9),
    ("512-1023", 9..10),
    ("1-4 ms", 10..12),
    ("4 ms-", 12..24),
];

/// The gaps of all runs of a row.
struct Row {
    name: &'static str,
    /// How many, by the power of two of their microseconds.
    by_log2_us: [u64; 24],
    /// Each run's longest, in microseconds.
    longest: Vec<f64>,
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let (mib, runs) = (numbers.next().unwrap_or(256), numbers.next().unwrap_or(5));
    let mut rows = ["native", "guest at rest", "lowering", "bare at rest", "bare, lowering"].map(Row::new);
    let mut times = Vec::new();
    for _ in 0..runs {
        rows[0].add(&native(mib));
        rows[1].add(&guest(mib, None).0);
        let (line, time) = guest(mib, Some(mib / 16));
        rows[2].add(&line);
        times.extend(time);
        rows[3].add_gaps(&bare::run(mib, None).0);
        let (gaps, time) = bare::run(mib, Some(mib / 16));
        rows[4].add_gaps(&gaps);
        times.extend(time);
    }
    println!(
        "{mib} MiB filled, {runs} runs of {MILLISECONDS} ms; the longest gaps, and all by their length in us"
    );
    print!("{:<14} {:>8} {:>8}", "", "median", "longest");
    COLUMNS.iter().for_each(|(name, _)| print!(" {name:>8}"));
    println!();
    rows.iter().for_each(Row::print);
    let pages = (mib - mib / 16) * 256;
    let fastest = times.iter().min().map_or(0.0, Duration::as_secs_f64);
    println!(
        "the budget held after {times:.0?}: {pages} pages, at best {:.1} us a page",
        fastest * 1e6 / pages as f64
    );
}

impl Row {
    const fn new(name: &'static str) -> Self {
        Self { name, by_log2_us: [0; 24], longest: Vec::new() }
    }

    fn add(&mut self, line: &Value) {
        let counts = line["gaps_by_log2_us"].as_array().expect("counts");
        for (sum, count) in self.by_log2_us.iter_mut().zip(counts) {
            *sum += count.as_u64().expect("a count");
        }
        self.add_longest(line["longest_ns"].as_f64().expect("a time") / 1000.0);
    }

    fn add_gaps(&mut self, gaps: &[f64]) {
        gaps.iter().for_each(|&gap| self.by_log2_us[(gap.max(1.0).log2() as usize).min(23)] += 1);
        self.add_longest(gaps.iter().copied().fold(0.0, f64::max));
    }

    fn add_longest(&mut self, gap: f64) {
        self.longest.push(gap);
        self.longest.sort_by(f64::total_cmp);
    }

    fn print(&self) {
        let at = |index: usize| self.longest.get(index).copied().unwrap_or(0.0);
        let (middle, last) = (at(self.longest.len() / 2), at(self.longest.len().saturating_sub(1)));
        print!("{:<14} {middle:>8.0} {last:>8.0}", self.name);
        for (_, buckets) in COLUMNS {
            print!(" {:>8}", self.by_log2_us[buckets].iter().sum::<u64>());
        }
        println!();
    }
}

/// A running tick reader, when it has filled its memory.
fn start(command: &mut Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = lines.next().map(|line| line.expect("text"));
    assert_eq!(first.as_deref(), Some("ready"), "the reader did not start; its message is above");
    (child, lines)
}

fn last_line((mut child, mut lines): (Child, Lines<BufReader<ChildStdout>>)) -> Value {
    let line = lines.next().expect("a line").expect("text");
    assert!(child.wait().expect("our child").success());
    serde_json::from_str(&line).expect("JSON")
}

fn native(mib: u64) -> Value {
    last_line(start(Command::new(TICK).args([&format!("{mib}M"), &MILLISECONDS.to_string()])))
}

/// In a guest all of whose RAM may be resident; then the budget is lowered to `budget` MiB.
fn guest(mib: u64, budget: Option<u64>) -> (Value, Option<Duration>) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let ram = format!("{}M", mib + SPARE);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bifold"));
    command.args([
        "run",
        "--guest-page=2m",
        "--swap=4M",
        "--store=memory",
        "--ram",
        &ram,
        "--host-ram",
        &ram,
    ]);
    command.arg("--control").arg(&socket).args(["--", TICK, &format!("{mib}M"), &MILLISECONDS.to_string()]);
    let running = start(&mut command);
    let asked = |request| {
        let line = ask(&socket, &request).expect("an answer");
        serde_json::from_str::<Value>(&line).expect("JSON")["status"].clone()
    };
    let lowering = budget.map(|mib| {
        let begin = Instant::now();
        let mut status = asked(Request::SetBudget { bytes: mib << 20 });
        while status["resident"].as_u64() > status["budget"].as_u64() {
            std::thread::sleep(Duration::from_millis(1));
            status = asked(Request::Status);
        }
        begin.elapsed()
    });
    (last_line(running), lowering)
}
