//! Looking at a process from outside.

use std::fs;

/// Kilobytes of the largest memory area of a process that a userfaultfd watches (`um` in its VmFlags): its size and
/// how much of it is resident. In a run with a host budget that is guest RAM. `None` while there is none.
pub fn guest_ram(pid: u32) -> Option<(u64, u64)> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?;
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
