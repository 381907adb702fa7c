//! What the machine has free, as /proc tells it: for comparing before and after, when this process is alone.

use std::fs::File;
use std::io::Read;

use programs::{PAGE, fail};

use super::objects::OBJECTS;
use super::os;

/// More than any of the files has.
const TEXT: usize = 2 * PAGE;

/// Kilobytes that somebody holds and this process does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Machine {
    /// The kernel's own, but for page tables and what its heap was given, which it keeps.
    kernel: i64,
    /// What of the kernel's heap is in use.
    heap: i64,
    /// Page tables.
    tables: i64,
    /// Anonymous pages of others in RAM.
    anonymous: i64,
    /// Pages of files in memory, in RAM. All are gone with their files.
    memory_files: i64,
    /// Swap that holds none of this process's pages.
    swap: i64,
}

impl Machine {
    /// Now. This process's own pages leave RAM first, so that each that was written has its place on swap, those that looking takes,
    /// too; the second look brings those back.
    pub fn now() -> Self {
        Self::look();
        page_out();
        Self::look();
        Self::look()
    }

    fn look() -> Self {
        let mut buffers = [[0; TEXT]; 2];
        let [own, machine] = &mut buffers;
        let (own, machine) = (read("/proc/self/status", own), read("/proc/meminfo", machine));
        let [all, free, cached, anonymous, memory_files, tables, slab, heap, swap, swap_free] = [
            "MemTotal:",
            "MemFree:",
            "Cached:",
            "AnonPages:",
            "Shmem:",
            "PageTables:",
            "Slab:",
            "SUnreclaim:",
            "SwapTotal:",
            "SwapFree:",
        ]
        .map(|name| kilobytes(machine, name));
        Self {
            kernel: all - free - cached - anonymous - tables - slab,
            heap,
            tables,
            anonymous: anonymous - kilobytes(own, "RssAnon:"),
            memory_files,
            swap: swap - swap_free - kilobytes(own, "VmSwap:"),
        }
    }

    /// Kilobytes that are held later on and were not before.
    pub fn leaked(&self, later: &Self) -> i64 {
        let fields = |of: &Self| [of.kernel, of.heap, of.tables, of.anonymous, of.memory_files, of.swap];
        let leaked =
            fields(later).iter().zip(fields(self)).map(|(later, before)| (later - before).max(0)).sum();
        if leaked > 0 {
            eprintln!("stress: before {self:?}, after {later:?}");
        }
        leaked
    }
}

/// Makes more processes and files at once than there will be later, so that lists that the kernel keeps of them are not longer then.
pub fn stretch(processes: usize) {
    let ((ready, tell), (go, start)) = (os::pipe(), os::pipe());
    let mut byte = 0u8;
    let place = (&raw mut byte).addr();
    for _ in 0..3 * processes {
        if os::fork().is_none() {
            (0..OBJECTS).for_each(|_| _ = os::shared_pages(PAGE));
            let told = os::write(tell, place, 1).and_then(|_| os::read(go, place, 1));
            os::exit(i32::from(told.is_err()));
        }
    }
    for _ in 0..3 * processes {
        let _ = os::read(ready, place, 1);
    }
    for _ in 0..3 * processes {
        let _ = os::write(start, place, 1);
    }
    for _ in 0..3 * processes {
        os::wait(-1, true);
    }
}

fn page_out() {
    for line in read("/proc/self/maps", &mut [0; TEXT]).lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let Some((start, end)) = range else { continue };
        let address = |text| usize::from_str_radix(text, 16).unwrap_or(0);
        let (start, end) = (address(start), address(end));
        let _ = os::advise(start, (end - start) / PAGE, libc::MADV_PAGEOUT);
    }
}

/// Reads a file without allocating: where the heap ends must not depend on how often one looks.
fn read<'a>(path: &str, to: &'a mut [u8; TEXT]) -> &'a str {
    let bytes = File::open(path).and_then(|mut file| file.read(to));
    let bytes = bytes.unwrap_or_else(|error| fail(format!("stress: cannot read {path}: {error}")));
    str::from_utf8(&to[..bytes]).unwrap_or("")
}

fn kilobytes(text: &str, name: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
