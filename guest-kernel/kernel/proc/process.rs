//! What /proc tells of a process.

use core::fmt::{self, Write};

use abi::addr::PAGE_SIZE;

use super::memory::Pages;
use super::{Subject, Text};
use crate::process::{Ended, Process};
use crate::syscall::System;
use crate::time::SECOND;
use crate::vm::area::{Backing, Kind};

fn name(process: &Process) -> &str {
    let end = process.name.iter().position(|&byte| byte == 0).unwrap_or(process.name.len());
    core::str::from_utf8(&process.name[..end]).unwrap_or("?")
}

/// The letter and the word for what it does.
fn state(system: &System, process: &Process) -> (char, &'static str) {
    match process.ended {
        Some(_) => ('Z', "zombie"),
        None if process.id == system.tasks.process.id => ('R', "running"),
        None => ('S', "sleeping"),
    }
}

/// Sizes of a process's memory, in pages.
#[derive(Default)]
struct Sizes {
    all: u64,
    resident: u64,
    of_files: u64,
    text: u64,
    data: u64,
    stack: u64,
    swapped: u64,
}

impl Sizes {
    fn of(system: &System, subject: &Subject<'_>) -> Self {
        let mut sizes = Self::default();
        let Some(space) = subject.space else { return sizes };
        for area in space.areas.all() {
            let pages = Pages::of(&system.memory, space, area);
            let len = (area.end - area.start) / PAGE_SIZE as u64;
            sizes.all += len;
            sizes.resident += pages.resident;
            sizes.of_files += pages.resident - pages.anonymous;
            sizes.swapped += pages.swapped;
            match (area.kind, area.backing) {
                (Kind::Stack, _) => sizes.stack += len,
                (_, Backing::File { .. }) if !area.may_be_written() => sizes.text += len,
                _ => sizes.data += len,
            }
        }
        sizes
    }
}

pub(super) fn cmdline(_: &System, subject: &Subject<'_>, text: &mut Text) -> fmt::Result {
    text.bytes(&subject.process.command)
}

pub(super) fn comm(_: &System, subject: &Subject<'_>, text: &mut Text) -> fmt::Result {
    writeln!(text, "{}", name(subject.process))
}

pub(super) fn stat(system: &System, subject: &Subject<'_>, text: &mut Text) -> fmt::Result {
    let process = subject.process;
    let ticks = |cycles| system.machine.clock.nanoseconds(cycles) / (SECOND / 100);
    let (own, children) = (&process.usage, &process.children_usage);
    let sizes = Sizes::of(system, subject);
    let (letter, _) = state(system, process);
    let exit = match process.ended {
        Some(Ended::Exit(status)) => u64::from(status) << 8,
        Some(Ended::Signal(signal)) => signal.into(),
        None => 0,
    };
    write!(text, "{} ({}) {letter} ", process.id, name(process))?;
    write!(text, "{} {} {} 0 -1 0 ", process.parent, process.group, process.session)?;
    write!(text, "{} {} ", own.minor_faults, children.minor_faults)?;
    write!(text, "{} {} ", own.major_faults, children.major_faults)?;
    write!(text, "{} 0 {} 0 20 0 {} 0 0 ", ticks(own.cycles), ticks(children.cycles), process.threads)?;
    write!(text, "{} {} {} ", sizes.all * PAGE_SIZE as u64, sizes.resident, u64::MAX)?;
    // Addresses and signals, which nobody here reads; the last field is the exit code.
    for _ in 26..52 {
        text.write_str("0 ")?;
    }
    writeln!(text, "{exit}")
}

pub(super) fn statm(system: &System, subject: &Subject<'_>, text: &mut Text) -> fmt::Result {
    let sizes = Sizes::of(system, subject);
    let data = sizes.data + sizes.stack;
    writeln!(text, "{} {} {} {} 0 {data} 0", sizes.all, sizes.resident, sizes.of_files, sizes.text)
}

pub(super) fn status(system: &System, subject: &Subject<'_>, text: &mut Text) -> fmt::Result {
    let process = subject.process;
    let (letter, word) = state(system, process);
    writeln!(text, "Name:\t{}\nUmask:\t{:04o}\nState:\t{letter} ({word})", name(process), process.umask)?;
    writeln!(text, "Tgid:\t{0}\nPid:\t{0}\nPPid:\t{1}", process.id, process.parent)?;
    writeln!(text, "TracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t64")?;
    if subject.space.is_some() {
        let sizes = Sizes::of(system, subject);
        let fields = [
            ("VmSize:", sizes.all),
            ("VmRSS:", sizes.resident),
            ("RssAnon:", sizes.resident - sizes.of_files),
            ("RssFile:", sizes.of_files),
            ("VmData:", sizes.data),
            ("VmStk:", sizes.stack),
            ("VmExe:", sizes.text),
            ("VmSwap:", sizes.swapped),
        ];
        for (name, pages) in fields {
            writeln!(text, "{name}\t{:>8} kB", pages * (PAGE_SIZE as u64 / 1024))?;
        }
    }
    if let Some(pages) = subject.space.and_then(|space| space.working_set.pages) {
        // As it was in the last window of the process's own time; only where the machine estimates it.
        writeln!(text, "WorkingSet:\t{:>8} kB", u64::from(pages) * (PAGE_SIZE as u64 / 1024))?;
    }
    writeln!(text, "Threads:\t{}", process.threads)
}
