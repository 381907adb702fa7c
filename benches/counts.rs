//! Exact instruction counts in the lab, compared with those that are kept in benches/counts.json.
//!
//!     cargo bench --bench counts              compares; status 1 if one has grown by over 2%
//!     cargo bench --bench counts -- --save    keeps the new ones: belongs in the commit that changes them
//!     cargo bench --bench counts -- --linux   the guest kernel's beside those of the lab's own Linux, the same program on both
//!
//! The counts depend on the emulated host's kernel, too. Where it is not the one of the kept counts, growth is shown and does
//! not fail.

// A bench that cannot measure says why and stops.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.json");
const TOLERANCE_PERCENT: u64 = 2;

/// A run in the lab, and which of the lines that it prints are figures.
struct Run {
    options: &'static [&'static str],
    /// Operations of the program `cost`, with their rounds. Of one that is there more than once the lower quartile counts.
    operations: &'static [&'static str],
    figures: &'static [(&'static str, &'static str)],
}

/// Each operation is repeated until the timers' interrupts, which move with every change, weigh less than a percent.
const RUNS: &[Run] = &[
    Run {
        options: &["--ram=64M", "--store=memory"],
        operations: &["getpid=10000", "switch=1000", "fork=50", "exec=50", "map=2000", "map1=2000"],
        figures: &[
            ("phases.prepare_cpu", "start: from the process to the guest's first instruction"),
            ("phases.boot", "start: from there to the program's first instruction"),
            ("getpid", "system call"),
            ("switch", "a byte through a pipe to another process and back"),
            ("fork", "fork, exit and wait"),
            ("exec", "vfork, exec of a program that ends at once, wait"),
            ("map", "mmap and munmap of 64 KiB, untouched"),
            ("map1", "mmap and munmap of 64 KiB, one page touched"),
        ],
    },
    // `touch` uses more frames than all that come after it, so none of them gets a fresh one, which would cost the host a fault.
    Run {
        options: &["--ram=40M", "--store=memory"],
        operations: &["cached=100", "touch=8000", "cow=2000", "forget=2000", "zero=2000"],
        figures: &[
            ("cached", "guest minor fault, page in the page cache"),
            ("touch", "guest minor fault, page to be zeroed"),
            ("cow", "guest minor fault, page to be copied"),
            ("forget", "madvise(MADV_DONTNEED) of a page"),
            ("zero", "guest minor fault, page of zeros to be read"),
        ],
    },
    // 24 MiB go round in 12 MiB of guest RAM.
    Run {
        options: &["--ram=12M", "--swap=48M", "--store=memory", "--no-swap-readahead"],
        operations: &["read=6144", "write=6144"],
        figures: &[("read", "guest major fault, victim clean"), ("write", "guest major fault, victim dirty")],
    },
    // The same with readahead: a page's part of a fault that brings in up to eight.
    Run {
        options: &["--ram=12M", "--swap=48M", "--store=memory"],
        operations: &["read=6144"],
        figures: &[("read", "guest page from swap, read in turn")],
    },
    // The host pages from here on. Its threads and the vCPU's share the lab's one CPU, and who comes first moves with every change,
    // by up to 7% of a pass, and by a quarter of a short one. The lower quartile of many passes stays within a percent.
    //
    // Each frame is new to the host, too, and there is room for all.
    Run {
        options: &["--ram=128M", "--host-ram=128M", "--store=memory"],
        operations: &["fresh=500"; 32],
        figures: &[("fresh", "host fault, page of zeros (and the guest's minor fault)")],
    },
    // All is in guest RAM, and 24 MiB go round in 12 MiB of the host's.
    Run {
        options: &["--ram=40M", "--host-ram=12M", "--store=memory"],
        operations: &["read=6144"; 12],
        figures: &[("read", "host fault, page from memory")],
    },
    Run {
        options: &["--ram=40M", "--host-ram=12M", "--compressed=0"],
        operations: &["read=6144"; 12],
        figures: &[("read", "host fault, page from the store's file")],
    },
];

/// Counts, and in what they were taken.
#[derive(Serialize, Deserialize)]
struct Counts {
    lab: Vec<String>,
    instructions: BTreeMap<String, u64>,
}

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--linux") {
        compare_with_linux();
        return ExitCode::SUCCESS;
    }
    let now = Counts { lab: lab(), instructions: RUNS.iter().flat_map(count).collect() };
    let kept = fs::read(KEPT).ok().map(|text| serde_json::from_slice::<Counts>(&text).expect(KEPT));
    print(&now, kept.as_ref());
    if std::env::args().any(|argument| argument == "--save") {
        fs::write(KEPT, serde_json::to_string_pretty(&now).unwrap() + "\n").expect(KEPT);
        println!("kept in {KEPT}");
        return ExitCode::SUCCESS;
    }
    let Some(kept) = kept else {
        println!("nothing to compare with; cargo bench --bench counts -- --save keeps these");
        return ExitCode::FAILURE;
    };
    judge(&now, &kept)
}

/// The versions of what the lab consists of: the first line of each part.
fn lab() -> Vec<String> {
    let doctor = bifold(&["lab", "doctor"]);
    let lines = doctor.lines().filter(|line| line.starts_with("QEMU") || line.starts_with("kernel"));
    lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect()
}

/// How many of [`RUNS`] are of the guest kernel alone.
const OF_THE_GUEST: usize = 2;

fn compare_with_linux() {
    println!("{:<56} {:>12} {:>12} {:>6}", "instructions", "here", "Linux", "part");
    for run in &RUNS[..OF_THE_GUEST] {
        let linux = bifold(
            &[
                &["lab", "count", "--linux", "--timeout=120", "--", env!("BIFOLD_PROGRAM_COST")],
                run.operations,
            ]
            .concat(),
        );
        for ((name, _), (meaning, here)) in run.figures.iter().zip(count(run)) {
            if let Some(linux) =
                linux.lines().filter(|line| line.starts_with("cost")).find_map(|line| value(line, name))
            {
                println!("{meaning:<56} {here:>12} {linux:>12} {:>6.2}", here as f64 / linux as f64);
            }
        }
    }
}

fn count(run: &Run) -> Vec<(String, u64)> {
    let command = [
        &["lab", "count", "--timeout=120", "--", "run"],
        run.options,
        &[env!("BIFOLD_PROGRAM_COST")],
        run.operations,
    ];
    let output = bifold(&command.concat());
    let figure = |&(name, meaning): &(&str, &str)| {
        let mut found: Vec<_> = output.lines().filter_map(|line| value(line, name)).collect();
        found.sort_unstable();
        (meaning.to_owned(), *found.get(found.len() / 4).unwrap_or_else(|| panic!("no {name} in: {output}")))
    };
    run.figures.iter().map(figure).collect()
}

/// The figure in a line of `lab count` (`NAME INSTRUCTIONS`) or of the program (`cost NAME ROUNDS INSTRUCTIONS`), if
/// it is the one of that name.
fn value(line: &str, name: &str) -> Option<u64> {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["cost", operation, rounds, all] if operation == name => {
            Some(all.parse::<u64>().ok()? / rounds.parse::<u64>().ok()?)
        }
        [phase, instructions] if phase == name => instructions.parse().ok(),
        _ => None,
    }
}

fn bifold(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bifold")).args(arguments).output().expect("bifold runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn print(now: &Counts, kept: Option<&Counts>) {
    println!("{:<56} {:>12} {:>12} {:>8}", "instructions", "now", "kept", "change");
    for (name, count) in &now.instructions {
        let before = kept.and_then(|kept| kept.instructions.get(name));
        let change = before.map(|&before| 100.0 * (*count as f64 / before as f64 - 1.0));
        let before = before.map_or_else(|| "-".to_owned(), u64::to_string);
        let change = change.map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.2}%"));
        println!("{name:<56} {count:>12} {before:>12} {change:>8}");
    }
}

fn judge(now: &Counts, kept: &Counts) -> ExitCode {
    let grown = |(name, before): &(&String, &u64)| match now.instructions.get(*name) {
        Some(count) => count * 100 > *before * (100 + TOLERANCE_PERCENT),
        None => true,
    };
    let known = now.instructions.keys().all(|name| kept.instructions.contains_key(name));
    let worse: Vec<_> = kept.instructions.iter().filter(grown).map(|(name, _)| name.as_str()).collect();
    if worse.is_empty() && known {
        return ExitCode::SUCCESS;
    }
    let what =
        if known { format!("over 2% more: {}", worse.join("; ")) } else { "there are new ones".into() };
    if now.lab != kept.lab {
        println!("{what}. Not a failure: the counts were kept in {:?}, this is {:?}", kept.lab, now.lab);
        return ExitCode::SUCCESS;
    }
    println!("{what}. If that is meant, cargo bench --bench counts -- --save, and commit what it writes");
    ExitCode::FAILURE
}
