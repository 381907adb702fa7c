//! /proc: what the kernel tells of itself and of its processes, in Linux's formats (proc(5)). A file's text is made when it is read.

mod machine;
mod memory;
mod process;

use alloc::vec::Vec;
use core::fmt::{self, Write};

use abi::addr::PAGE_SIZE;

use crate::fs::open::Object;
use crate::process::Process;
use crate::process::tasks::Tasks;
use crate::syscall::System;
use crate::vm::space::AddressSpace;

/// A file of /proc.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// About the machine: the position in [`MACHINE`].
    Machine(u8),
    /// About the process of a number: the position in [`PROCESS`].
    Process(u8, u32),
    /// /proc/PID/pagemap.
    PageMap(u32),
}

impl Entry {
    /// A number that no other entry has.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Machine(at) => at.into(),
            Self::Process(at, id) => u64::from(id) << 8 | u64::from(at),
            Self::PageMap(id) => u64::from(id) << 8 | 0xff,
        }
    }
}

/// The part of a text that a read wants; what is before and after it is made and forgotten. However long the text is, the part is
/// a page at most.
struct Text {
    /// Bytes still to come before the part.
    skip: usize,
    part: Vec<u8>,
    most: usize,
}

/// The part is complete.
type Done = fmt::Error;

impl Text {
    fn new(offset: u64, len: usize) -> Self {
        let most = len.min(PAGE_SIZE);
        Self { skip: offset as usize, part: Vec::with_capacity(most), most }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Done> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let rest = &bytes[skipped..];
        self.part.extend_from_slice(&rest[..rest.len().min(self.most - self.part.len())]);
        if self.part.len() < self.most { Ok(()) } else { Err(fmt::Error) }
    }

    /// A number in hexadecimal, of so many digits at least. Programs read their maps when they start, and core's formatting costs ten
    /// times as much.
    fn hex(&mut self, value: u64, least: u32) -> Result<(), Done> {
        let mut digits = [b'0'; 16];
        let mut rest = value;
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789abcdef"[(rest & 15) as usize];
            rest >>= 4;
        }
        let count = (u64::BITS - value.leading_zeros()).div_ceil(4).max(least);
        self.bytes(&digits[16 - count as usize..])
    }

    /// A line of meminfo or smaps.
    fn kib(&mut self, name: &str, kib: u64) -> fmt::Result {
        writeln!(self, "{name:<16}{kib:>8} kB")
    }

    /// A number in decimal, filled up with spaces to 26 bytes.
    fn decimal(&mut self, value: u64) -> Result<(), Done> {
        let mut digits = [b' '; 26];
        let count = value.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut rest = value;
        for digit in digits[..count].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.bytes(&digits)
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes())
    }
}

/// One process, with its memory where that is still there.
struct Subject<'a> {
    process: &'a Process,
    space: Option<&'a AddressSpace>,
}

type OfMachine = fn(&System, &mut Text) -> fmt::Result;
type OfProcess = fn(&System, &Subject<'_>, &mut Text) -> fmt::Result;

const MACHINE: [(&str, OfMachine); 10] = [
    ("cpuinfo", machine::cpuinfo),
    ("filesystems", machine::filesystems),
    ("loadavg", machine::loadavg),
    ("meminfo", machine::meminfo),
    ("mounts", machine::mounts),
    ("stat", machine::stat),
    ("swaps", machine::swaps),
    ("uptime", machine::uptime),
    ("version", machine::version),
    ("vmstat", machine::vmstat),
];

const PROCESS: [(&str, OfProcess); 7] = [
    ("cmdline", process::cmdline),
    ("comm", process::comm),
    ("maps", memory::maps),
    ("smaps", memory::smaps),
    ("stat", process::stat),
    ("statm", process::statm),
    ("status", process::status),
];

/// The number in a name, or the running process's for `self`.
fn number(tasks: &Tasks, name: &[u8]) -> Option<u32> {
    match name {
        b"self" | b"thread-self" => Some(tasks.process.id),
        name => core::str::from_utf8(name).ok()?.parse().ok(),
    }
}

fn process(tasks: &Tasks, id: u32) -> Option<&Process> {
    if id == tasks.process.id { Some(&tasks.process) } else { tasks.others.process(id) }
}

/// What a path below /proc leads to.
pub fn find(tasks: &mut Tasks, path: &[u8]) -> Option<Object> {
    let mut names = path.split(|&byte| byte == b'/').skip(2);
    let first = names.next()?;
    let Some(id) = number(tasks, first) else {
        let at = MACHINE.iter().position(|(name, _)| name.as_bytes() == first)?;
        return names.next().is_none().then_some(Object::Proc(Entry::Machine(at as u8)));
    };
    let process = process(tasks, id)?;
    let Some(name) = names.next() else { return Some(Object::Directory(path.to_vec())) };
    if name == b"fd" {
        return match names.next() {
            None => Some(Object::Directory(path.to_vec())),
            Some(name) => {
                let number = core::str::from_utf8(name).ok()?.parse().ok()?;
                process.descriptors.get(number).ok().map(|open| open.object.clone())
            }
        };
    }
    if names.next().is_some() {
        return None;
    }
    match name {
        b"exe" => Some(Object::File(process.program)),
        b"cwd" => Some(Object::Directory(process.directory.clone())),
        b"pagemap" => Some(Object::Proc(Entry::PageMap(id))),
        name => {
            let at = PROCESS.iter().position(|(known, _)| known.as_bytes() == name)?;
            Some(Object::Proc(Entry::Process(at as u8, id)))
        }
    }
}

/// The entries of a directory of /proc, in their order: the one after so many.
pub fn nth(tasks: &mut Tasks, directory: &[u8], at: usize) -> Option<(Vec<u8>, Object)> {
    let decimal = |number: u64| alloc::format!("{number}").into_bytes();
    let name = if directory == b"/proc" {
        let processes = tasks.others.processes().count() + 1;
        if at < processes {
            decimal(nth_process(tasks, at)?.into())
        } else {
            MACHINE.get(at - processes)?.0.as_bytes().to_vec()
        }
    } else {
        const LINKS: [&str; 4] = ["cwd", "exe", "fd", "pagemap"];
        let mut parts = directory.strip_prefix(b"/proc/")?.split(|&byte| byte == b'/');
        let id = number(tasks, parts.next()?)?;
        let process = process(tasks, id)?;
        match parts.next() {
            None => {
                let names = LINKS.iter().chain(PROCESS.iter().map(|(name, _)| name));
                names.copied().nth(at)?.as_bytes().to_vec()
            }
            Some(_) => decimal(process.descriptors.from(0).nth(at)?.0),
        }
    };
    let object = find(tasks, &[directory, b"/", &name].concat())?;
    Some((name, object))
}

/// The number of the process before which there are so many with smaller ones.
fn nth_process(tasks: &mut Tasks, at: usize) -> Option<u32> {
    let own = tasks.process.id;
    let mut last = 0;
    for _ in 0..=at {
        let others = tasks.others.processes().map(|process| process.id);
        last = others.chain([own]).filter(|&id| id > last).min()?;
    }
    Some(last)
}

/// Up to `len` bytes of a file at an offset, and at most a page; none where its process is gone.
pub fn read(system: &mut System, entry: Entry, offset: u64, len: usize) -> Option<Vec<u8>> {
    system.memory.publish();
    let mut text = Text::new(offset, len);
    // An error says that the part is complete.
    let _ = match entry {
        Entry::Machine(at) => MACHINE[usize::from(at)].1(system, &mut text),
        Entry::Process(at, id) => PROCESS[usize::from(at)].1(system, &subject(system, id)?, &mut text),
        Entry::PageMap(id) => return Some(memory::pagemap(system, &subject(system, id)?, offset, len)),
    };
    Some(text.part)
}

fn subject(system: &System, id: u32) -> Option<Subject<'_>> {
    let process = process(&system.tasks, id)?;
    let own = process.space == system.tasks.process.space;
    let space = match process.space {
        Some(_) if own => Some(&*system.tasks.space),
        Some(slot) => system.tasks.others.space(slot),
        None => None,
    };
    Some(Subject { process, space })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_format_does() {
        for value in [0, 1, 15, 16, 9, 10, 4096, 0x7fff_ffff_f000, u64::MAX] {
            let mut text = Text::new(0, PAGE_SIZE);
            text.hex(value, 8).expect("room");
            text.decimal(value).expect("room");
            assert_eq!(String::from_utf8(text.part).expect("text"), std::format!("{value:08x}{value:<26}"));
        }
    }

    #[test]
    fn a_part_is_what_lies_between() {
        for (offset, len) in [(0, 4), (3, 5), (6, 100), (20, 1), (0, 0)] {
            let mut text = Text::new(offset, len);
            let _ = write!(text, "one {}", 2).and_then(|()| write!(text, " three {}", 4));
            let whole = b"one 2 three 4";
            let start = whole.len().min(offset as usize);
            assert_eq!(text.part, whole[start..whole.len().min(start + len)]);
        }
    }
}
