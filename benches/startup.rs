//! Start-up: from spawning the command to the first byte of a tiny kernel on its standard output, and the most
//! memory that the command had resident. 128 MiB of guest RAM, one vCPU.
//!
//!     cargo bench --bench startup [-- RUNS]

// A bench that cannot measure says why and stops.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

#[path = "../tests/stack/support/elf.rs"]
mod elf;

/// Runs before those that count: the files are in the page cache then.
const WARM_UP: usize = 5;
/// Runs that count, unless the command line says another number.
const RUNS: usize = 50;

/// What others need for the same job, measured once on the machine that Bifold was developed on (2 cores, software KVM): the
/// median of 10 runs, first byte in ms and peak resident MiB. Not measured by this bench; for another machine run them there.
const PEERS: &[(&str, &str, &str)] = &[
    ("vmm-reference", "1.9-2.0", "2.6"),
    ("uhyve 0.9", "2.1-2.4", "4.1"),
    ("Cloud Hypervisor 53", "6.0-8.1", "10.8"),
    ("Firecracker 1.17-dev", "8.1-8.7", "4.3"),
    ("kvmtool", "8.5", "2.1"),
    ("crosvm", "8.7", "8.4"),
    ("QEMU 7.2 microvm", "34-60", "40"),
];

/// After its byte the kernel waits until it is killed: cli; hlt; and back to hlt.
const WAIT: &[u8] = &[0xfa, 0xf4, 0xeb, 0xfd];

/// One run's figures: first byte in ms, peak resident MiB.
type Sample = (f64, f64);

fn main() {
    let runs = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(RUNS);
    let folder = tempfile::tempdir().unwrap();
    let kernel = folder.path().join("kernel.elf");
    fs::write(&kernel, elf::kernel(&[elf::WRITE_BYTE, WAIT].concat())).unwrap();

    let samples: Vec<Sample> = (0..WARM_UP + runs.max(1)).map(|_| sample(&kernel)).skip(WARM_UP).collect();

    println!("{:<22} {:>9} {:>9} {:>9}", format!("bifold, {} runs", samples.len()), "least", "median", "p90");
    row("first byte, ms", samples.iter().map(|sample| sample.0).collect());
    row("peak resident, MiB", samples.iter().map(|sample| sample.1).collect());
    println!("\n{:<22} {:>9} {:>19}", "peers (see PEERS)", "ms", "peak resident, MiB");
    for (name, ms, mib) in PEERS {
        println!("{name:<22} {ms:>9} {mib:>19}");
    }
}

fn sample(kernel: &Path) -> Sample {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bifold"));
    command.args(["run", "--ram", "128M", "--kernel"]).arg(kernel);
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut byte = [0];
    let read = child.stdout.take().unwrap().read(&mut byte).unwrap();
    let first_byte = start.elapsed();
    let peak = peak_resident_mib(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(read, 1, "bifold did not run the kernel; its message is above");
    (first_byte.as_secs_f64() * 1e3, peak)
}

/// VmHWM of a running process. (A child's ru_maxrss would not do: at exec it starts from its parent's.)
fn peak_resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a live process has VmHWM");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

fn row(name: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    println!("{name:<22} {:>9.2} {:>9.2} {:>9.2}", at(0.0), at(0.5), at(0.9));
}
