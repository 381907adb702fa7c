//! How long eviction keeps the vCPU out of the guest: a tick reader (guest-kernel/programs/tick.rs) fills
//! memory and then does nothing but read the time-stamp counter. Its gaps natively, in a guest at rest, and
//! in a guest while the host's budget is lowered from all of its memory to a sixteenth, which is evicted as
//! fast as the pager can.
//!
//!     cargo bench --bench stalls [-- MIB [RUNS]]

// A bench that cannot measure says why and stops.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use bifold::control::{Request, ask};
use serde_json::Value;

const TICK: &str = env!("BIFOLD_PROGRAM_TICK");
/// For how long the reader reads.
const SECONDS: &str = "2";
/// What the guest needs besides.
const SPARE: u64 = 64;

/// The gaps of all runs of a row: how many by the power of two of their microseconds, and each run's longest.
#[derive(Default)]
struct Gaps {
    by_log2_us: Vec<u64>,
    longest_us: Vec<f64>,
    /// How long the budget took to hold.
    lowering: Vec<Duration>,
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let (mib, runs) = (numbers.next().unwrap_or(256), numbers.next().unwrap_or(5));
    let mut rows =
        [("native", Gaps::default()), ("guest at rest", Gaps::default()), ("lowering", Gaps::default())];
    for _ in 0..runs {
        rows[0].1.add(native(mib));
        rows[1].1.add(guest(mib, None).0);
        let (line, lowering) = guest(mib, Some(mib / 16));
        rows[2].1.add(line);
        rows[2].1.lowering.extend(lowering);
    }
    println!("{mib} MiB filled, {runs} runs of {SECONDS} s; gaps by their length in us");
    println!(
        "{:<14} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "", "longest", "1-15", "16-127", "128-511", "512-1023", "1024-"
    );
    for (name, gaps) in &rows {
        gaps.print(name);
    }
    let lowering = &rows[2].1.lowering;
    let pages = (mib - mib / 16) * 256;
    let fastest = lowering.iter().min().expect("a run").as_secs_f64();
    println!(
        "the budget held after {lowering:.0?}: {pages} pages, at best {:.1} us a page",
        fastest * 1e6 / pages as f64
    );
}

impl Gaps {
    fn add(&mut self, line: Value) {
        let counts = line["gaps_by_log2_us"].as_array().expect("counts").iter();
        self.by_log2_us.resize(counts.len(), 0);
        for (sum, count) in self.by_log2_us.iter_mut().zip(counts) {
            *sum += count.as_u64().expect("a count");
        }
        self.longest_us.push(line["longest_ns"].as_f64().expect("a time") / 1000.0);
    }

    fn print(&self, name: &str) {
        let longest = self.longest_us.iter().copied().fold(0.0, f64::max);
        let sum = |from: usize, to: usize| self.by_log2_us[from..to].iter().sum::<u64>();
        println!(
            "{name:<14} {longest:>10.0} {:>8} {:>8} {:>8} {:>8} {:>8}",
            sum(0, 4),
            sum(4, 7),
            sum(7, 9),
            sum(9, 10),
            sum(10, self.by_log2_us.len())
        );
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
    last_line(start(Command::new(TICK).args([&format!("{mib}M"), SECONDS])))
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
    command.arg("--control").arg(&socket).args(["--", TICK, &format!("{mib}M"), SECONDS]);
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
