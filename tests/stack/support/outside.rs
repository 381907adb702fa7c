//! Looking at a process from outside.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take to stand still. One that is ending never does: a thread that used an io_uring waits in the kernel for that one's
/// workers, and these are stopped.
const PATIENCE: Duration = Duration::from_secs(2);

/// Kilobytes of the largest memory area of a process that a userfaultfd watches (`um` in its VmFlags): its size and
/// how much of it is resident. In a run with a host budget that is guest RAM, and what lies next to it on its way
/// to or from the store. `None` while there is none, and where the process cannot be made to stand still: a page that moved
/// while the kernel counts would be counted twice.
pub fn guest_ram(pid: u32) -> Option<(u64, u64)> {
    let process = Pid::from_raw(pid.cast_signed())?;
    kill_process(process, Signal::STOP).ok()?;
    let asked = Instant::now();
    let mut still = stands_still(pid)?;
    while !still && asked.elapsed() < PATIENCE {
        thread::yield_now();
        still = stands_still(pid)?;
    }
    let smaps = still.then(|| fs::read_to_string(format!("/proc/{pid}/smaps")));
    let _ = kill_process(process, Signal::CONT);
    let smaps = smaps?.ok()?;
    let mut largest = None;
    let (mut size, mut resident) = (0, 0);
    for line in smaps.lines() {
        if let Some(value) = kilobytes(line, "Size:") {
            size = value;
        } else if let Some(value) = kilobytes(line, "Rss:") {
            resident = value;
        } else if line.starts_with("VmFlags:") && line.split_whitespace().any(|flag| flag == "um") {
            largest = largest.max(Some((size, resident)));
        }
    }
    largest
}

/// Whether the host pager's threads, which alone move pages, are stopped; `None` when the process is gone. A vCPU that
/// waits for one of them may keep running in the kernel.
fn stands_still(pid: u32) -> Option<bool> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let still = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state follows the name, which is in brackets (proc_pid_stat(5)).
        !stat.contains(" (host-") || stat.contains(") T ")
    };
    Some(threads.flatten().all(still))
}

fn kilobytes(line: &str, name: &str) -> Option<u64> {
    line.strip_prefix(name)?.trim().trim_end_matches(" kB").parse().ok()
}

/// Running processes that have `NAME=VALUE` in their environment.
pub fn processes_with(variable: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
        })
        .map(|entry| fs::read_to_string(entry.path().join("status")).unwrap_or_default())
        .collect()
}
