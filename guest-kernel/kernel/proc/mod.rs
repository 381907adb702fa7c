//! /proc: what the kernel tells of itself and of its processes, in Linux's formats (proc(5)). A file's text is made when it is read.

mod machine;
mod memory;
mod process;

use alloc::vec::Vec;
use core::fmt::{self, Write};

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

/// Text that grows.
struct Text(Vec<u8>);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
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

/// What is in a directory of /proc.
pub fn list(tasks: &mut Tasks, directory: &[u8]) -> Vec<(Vec<u8>, Object)> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    if directory == b"/proc" {
        let others = tasks.others.processes().map(|process| process.id);
        let mut ids: Vec<u32> = others.chain([tasks.process.id]).collect();
        ids.sort_unstable();
        names.extend(ids.iter().map(|id| alloc::format!("{id}").into_bytes()));
        names.extend(MACHINE.iter().map(|(name, _)| name.as_bytes().to_vec()));
    } else if directory.starts_with(b"/proc/") {
        let mut parts = directory.split(|&byte| byte == b'/').skip(2);
        let id = parts.next().and_then(|name| number(tasks, name));
        match (id.and_then(|id| process(tasks, id)), parts.next()) {
            (Some(_), None) => {
                let links = [&b"cwd"[..], b"exe", b"fd", b"pagemap"].map(<[u8]>::to_vec);
                names.extend(links);
                names.extend(PROCESS.iter().map(|(name, _)| name.as_bytes().to_vec()));
            }
            (Some(process), Some(_)) => {
                let open = process.descriptors.from(0);
                names.extend(open.map(|(number, _)| alloc::format!("{number}").into_bytes()));
            }
            _ => {}
        }
    }
    let below = |name: &[u8]| [directory, b"/", name].concat();
    names.into_iter().filter_map(|name| find(tasks, &below(&name)).map(|object| (name, object))).collect()
}

/// Up to `len` bytes of a file at an offset; none where its process is gone.
pub fn read(system: &mut System, entry: &Entry, offset: u64, len: usize) -> Option<Vec<u8>> {
    system.memory.publish();
    let mut text = Text(Vec::new());
    // Writing to a text cannot fail.
    let _ = match *entry {
        Entry::Machine(at) => MACHINE[usize::from(at)].1(system, &mut text),
        Entry::Process(at, id) => PROCESS[usize::from(at)].1(system, &subject(system, id)?, &mut text),
        Entry::PageMap(id) => return Some(memory::pagemap(system, &subject(system, id)?, offset, len)),
    };
    let rest = text.0.get(offset as usize..).unwrap_or_default();
    Some(rest[..len.min(rest.len())].to_vec())
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
