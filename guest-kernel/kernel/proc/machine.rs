//! What /proc tells of the machine.

use core::fmt::{self, Write};

use abi::addr::PAGE_SIZE;

use super::Text;
use crate::syscall::System;
use crate::time::SECOND;
use crate::vm::Memory;
use crate::vm::frame::{FrameIndex, Use};
use crate::vm::huge;

const KIB_A_PAGE: u64 = PAGE_SIZE as u64 / 1024;

/// How many frames hold what.
#[derive(Default)]
struct Frames {
    /// Pages of files on the disk.
    disk: u64,
    /// Pages of files without one.
    memory_files: u64,
    anonymous: u64,
    tables: u64,
    /// What the kernel's heap was given.
    heap: u64,
}

impl Frames {
    fn of(memory: &Memory) -> Self {
        let mut frames = Self::default();
        for frame in (0..memory.frames.len()).map(FrameIndex) {
            match memory.frames.get(frame) {
                Use::Cache { file, .. } if file.memory_number().is_some() => frames.memory_files += 1,
                Use::Cache { .. } => frames.disk += 1,
                Use::Anonymous { .. } => frames.anonymous += 1,
                Use::Huge { level, .. } => frames.anonymous += u64::from(huge::pages(level.into())),
                Use::Table { .. } | Use::Spare { .. } => frames.tables += 1,
                Use::Kernel => frames.heap += 1,
                _ => {}
            }
        }
        frames
    }
}

pub(super) fn meminfo(system: &System, text: &mut Text) -> fmt::Result {
    let memory = &system.memory;
    let Frames { disk, memory_files, anonymous, tables, heap } = Frames::of(memory);
    let slots = memory.swap.slots.count();
    let used = u64::from(memory.swap.slots.used());
    let free = u64::from(memory.frames.free_frames());
    let fields = [
        ("MemTotal:", u64::from(memory.frames.len())),
        ("MemFree:", free),
        ("MemAvailable:", free + disk),
        ("Buffers:", 0),
        ("Cached:", disk + memory_files),
        ("SwapCached:", 0),
        ("SwapTotal:", slots),
        ("SwapFree:", slots.saturating_sub(used)),
        ("AnonPages:", anonymous),
        ("Shmem:", memory_files),
        ("AnonHugePages:", memory.stats.huge),
        ("KernelStack:", 0),
        ("PageTables:", tables),
        ("Slab:", heap),
    ];
    for (name, pages) in fields {
        text.kib(name, pages * KIB_A_PAGE)?;
    }
    // What of the heap is in use, that from boot too.
    text.kib("SUnreclaim:", (system.machine.heap.used() as u64).div_ceil(1024))
}

pub(super) fn vmstat(system: &System, text: &mut Text) -> fmt::Result {
    let stats = &*system.memory.stats;
    let frames = Frames::of(&system.memory);
    let fields = [
        ("nr_free_pages", u64::from(system.memory.frames.free_frames())),
        ("nr_anon_pages", frames.anonymous),
        ("nr_file_pages", frames.disk + frames.memory_files),
        ("nr_shmem", frames.memory_files),
        ("nr_page_table_pages", frames.tables),
        ("pgpgin", (stats.file_read + stats.swapped_in) * KIB_A_PAGE),
        ("pgpgout", (stats.file_written + stats.swapped_out) * KIB_A_PAGE),
        ("pswpin", stats.swapped_in),
        ("pswpout", stats.swapped_out),
        ("pgfault", stats.faults.iter().sum()),
        ("pgmajfault", stats.major_faults()),
        ("thp_fault_alloc", stats.huge_faults),
        ("thp_collapse_alloc", stats.huge_promoted),
        ("thp_split_pmd", stats.huge_split),
        ("pgsteal_direct", stats.evicted_clean + stats.evicted_dirty),
    ];
    fields.iter().try_for_each(|(name, value)| writeln!(text, "{name} {value}"))
}

pub(super) fn swaps(system: &System, text: &mut Text) -> fmt::Result {
    let slots = &system.memory.swap.slots;
    writeln!(text, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority")?;
    if slots.count() > 0 {
        let (all, used) = (slots.count() * KIB_A_PAGE, u64::from(slots.used()) * KIB_A_PAGE);
        writeln!(text, "/dev/swap                               partition\t{all}\t\t{used}\t\t-2")?;
    }
    Ok(())
}

pub(super) fn uptime(system: &System, text: &mut Text) -> fmt::Result {
    let now = system.machine.clock.now();
    writeln!(text, "{}.{:02} 0.00", now / SECOND, now % SECOND / (SECOND / 100))
}

pub(super) fn loadavg(system: &System, text: &mut Text) -> fmt::Result {
    writeln!(text, "0.00 0.00 0.00 1/1 {}", system.tasks.process.id)
}

pub(super) fn stat(system: &System, text: &mut Text) -> fmt::Result {
    let ticks = system.machine.clock.now() / (SECOND / 100);
    writeln!(text, "cpu  {ticks} 0 0 0 0 0 0 0 0 0\ncpu0 {ticks} 0 0 0 0 0 0 0 0 0")?;
    writeln!(text, "intr {}\nctxt {}", system.memory.stats.ticks, system.memory.stats.switches)?;
    writeln!(text, "btime {}", system.machine.clock.boot_unix() / SECOND)
}

pub(super) fn cpuinfo(_: &System, text: &mut Text) -> fmt::Result {
    writeln!(text, "processor\t: 0\nmodel name\t: x86-64")
}

pub(super) fn filesystems(_: &System, text: &mut Text) -> fmt::Result {
    writeln!(text, "nodev\tproc\nnodev\ttmpfs\n\tbifold")
}

pub(super) fn mounts(_: &System, text: &mut Text) -> fmt::Result {
    writeln!(text, "rootfs / tmpfs rw 0 0\nproc /proc proc rw 0 0")
}

pub(super) fn version(_: &System, text: &mut Text) -> fmt::Result {
    writeln!(text, "Linux version 6.12.0-bifold {}", env!("CARGO_PKG_VERSION"))
}
