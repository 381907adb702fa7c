//! From the boot information to the first instruction of the program.

use alloc::boxed::Box;
use alloc::vec::Vec;

use abi::addr::{Gpa, PAGE_SIZE};
use abi::boot::{self, BootInfo, Bytes, DeviceKind, MAX_RAM_RANGES, RamRange, option};
use abi::port::Exit;
use abi::stats::GuestStats;
use log::LevelFilter;
use paging::policy::PolicyKind;

use crate::arch::features::Features;
use crate::arch::kernel_map::{self, Fresh};
use crate::arch::tlb::{self, Tag};
use crate::arch::{apic, control, cpu, direct, gdt, trap, vector};
use crate::console::Consoles;
use crate::drivers::block::{Block, SECTORS_A_PAGE};
use crate::drivers::mmio::Mmio;
use crate::drivers::{console, serial};
use crate::fs::FileDisk;
use crate::fs::lock::Locks;
use crate::fs::open::Object;
use crate::fs::tree::Tree;
use crate::heap::Heap;
use crate::kernel::{Kernel, power_off, system_call_from_user, trap_from_user};
use crate::process::exec::{self, Arguments, Loaded};
use crate::process::load::{Load, LoadControl};
use crate::process::sweep::Sweep;
use crate::process::tasks::{ProcessSlot, Tasks};
use crate::process::{self, Limits, Process, Thread, UNLIMITED, command_of};
use crate::random::Random;
use crate::syscall::{Errno, Machine, System};
use crate::time::Clock;
use crate::vm::Memory;
use crate::vm::cache::PageCache;
use crate::vm::frame::FrameTable;
use crate::vm::mappings::ReverseMap;
use crate::vm::memory_file::MemoryFiles;
use crate::vm::readahead::Readahead;
use crate::vm::scope::{Scope, Scopes};
use crate::vm::swap::Swap;
use crate::vm::trace::Trace;

/// The kernel's memory: so much at least, and so much a frame and a swap slot.
const HEAP_BYTES: u64 = 384 << 10;
const HEAP_BYTES_A_FRAME: u64 = 80;
/// A file's path, twice, and its places in two tables while these are made.
const HEAP_BYTES_A_FILE: u64 = 1 << 10;
/// Room for so many processes with a limit of what may be in RAM, where all have one; more are made room for as they come.
const SCOPES: u64 = 4;

/// Starts the machine and the program. `info` is where the VMM put the boot information; the boot tables map it.
///
/// # Safety
/// Called once, by the boot code, in the state that abi::boot describes.
pub unsafe fn start(info: Gpa, heap: &'static Heap) -> ! {
    let entered = cpu::rdtsc();
    // SAFETY: the VMM put it there; nothing writes it while the kernel runs.
    let info: &'static BootInfo = unsafe { &*direct::pointer::<BootInfo>(info) };
    assert!(info.magic == boot::MAGIC, "no boot information: started by another VMM?");
    assert!(info.version == abi::VERSION, "boot information of version {}: rebuild", info.version);
    let mut features = Features::of(info);
    features.pcid &= option_value(info, option::PCID) != Some("off");
    gdt::init();
    control::init(&features);
    vector::init(&features);
    trap::init(trap_from_user, system_call_from_user);
    serial::init(level(info));

    let mut fresh = Fresh(kernel_map::image_end());
    let root = kernel_map::build(info, ram(info), features.gib_pages, &mut fresh);
    // SAFETY: the new tables map the image where it is linked and the direct map where it was.
    unsafe { tlb::load(root, Tag::NONE) };
    if features.pcid {
        tlb::use_tags();
    }
    apic::init(features.x2apic);

    let frames = info.ram.iter().map(|range| range.bytes / PAGE_SIZE as u64).sum::<u64>();
    let slots =
        device(info, DeviceKind::SWAP_DISK).map_or(0, |base| Mmio::peek_capacity(base) / SECTORS_A_PAGE);
    let files: u64 = option_value(info, option::FILES).and_then(|files| files.parse().ok()).unwrap_or(0);
    let tables = frames * HEAP_BYTES_A_FRAME + slots * 5 + files * HEAP_BYTES_A_FILE;
    let scopes = if resident(info) == UNLIMITED {
        0
    } else {
        SCOPES * Scopes::bytes(pages(resident(info), frames)) as u64
    };
    let heap_bytes = (HEAP_BYTES + tables + scopes).next_multiple_of(PAGE_SIZE as u64);
    let heap_end = fresh.0 + heap_bytes;
    assert!(heap_end.0 < info.ram[0].bytes, "guest RAM is too small for the kernel: give more --ram");
    // SAFETY: RAM after the image and the tables, fresh from the host, that nobody else knows of.
    unsafe { heap.init(direct::pointer::<u8>(fresh.0) as usize, heap_bytes as usize) };

    let memory = memory(info, heap_end, features.gib_pages);
    memory.stats.tlb_tags = features.pcid.into();
    match program(info, memory, root, heap) {
        Ok(kernel) => kernel.run(entered),
        Err(errno) => power_off(Exit::ExecFailed(errno.0 as u8)),
    }
}

fn ram(info: &'static BootInfo) -> &'static [RamRange] {
    &info.ram[..(info.ram_count as usize).min(MAX_RAM_RANGES)]
}

/// The device of a kind: the address of its window.
fn device(info: &BootInfo, kind: DeviceKind) -> Option<Gpa> {
    devices(info).iter().find(|device| device.kind == kind).map(|device| device.base)
}

fn devices(info: &BootInfo) -> &[boot::Device] {
    &info.devices[..(info.device_count as usize).min(info.devices.len())]
}

/// A section of the boot information.
fn section(bytes: Bytes) -> &'static [u8] {
    if bytes.len == 0 {
        return &[];
    }
    // SAFETY: the VMM put it there, and nothing writes it.
    unsafe { core::slice::from_raw_parts(direct::pointer(bytes.start), bytes.len as usize) }
}

/// The kernel's option of that name.
fn option_value(info: &BootInfo, name: &str) -> Option<&'static str> {
    let options = core::str::from_utf8(section(info.options)).unwrap_or_default();
    options.split(' ').find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
}

fn level(info: &BootInfo) -> LevelFilter {
    option_value(info, option::LOG).and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::Warn)
}

/// The disk of a kind, if the machine has one that works.
fn disk(info: &BootInfo, kind: DeviceKind) -> Option<Block> {
    let base = device(info, kind)?;
    Block::open(base).inspect_err(|_| log::error!("the disk at {base} does not answer as a virtio disk")).ok()
}

/// All RAM from `start` on becomes frames.
fn memory(info: &'static BootInfo, start: Gpa, gib_pages: bool) -> Memory {
    let low = RamRange { start, bytes: info.ram[0].bytes - (start.0 - info.ram[0].start.0) };
    let high = if info.ram_count > 1 { info.ram[1] } else { RamRange::default() };
    let frames = FrameTable::new(low, high);
    let kind = match option_value(info, option::POLICY).map(str::parse::<PolicyKind>) {
        Some(Ok(kind)) => kind,
        Some(Err(error)) => panic!("{error}"),
        None => PolicyKind::Clock,
    };
    // SAFETY: the VMM set the room aside and only reads it; this is the only reference.
    let stats = unsafe { &mut *direct::pointer::<GuestStats>(info.stats) };
    stats.kernel_frames = start.0 / PAGE_SIZE as u64;
    let levels = if gib_pages { 2 } else { 1 };
    let largest = option_value(info, option::LARGEST).and_then(|level| level.parse().ok()).unwrap_or(0);
    if largest > levels {
        log::warn!("this CPU has no pages of 1 GiB: those of 2 MiB have to do");
    }
    let traced = option_value(info, option::TRACE) == Some("on");
    // SAFETY: asking for it, the VMM set the room aside; this is the only call.
    let trace = traced.then(|| unsafe { Trace::new() });
    let files = disk(info, DeviceKind::FILE_DISK).and_then(|disk| FileDisk::load(disk).ok());
    Memory {
        scopes: Scopes::new(kind, frames.len()),
        arrived: None,
        reverse: ReverseMap::default(),
        zeros: None,
        cache: PageCache::new(frames.len()),
        frames,
        swap: Swap::new(disk(info, DeviceKind::SWAP_DISK)),
        files: files.unwrap_or_else(FileDisk::empty),
        memory_files: MemoryFiles::default(),
        stats,
        trace,
        faulting: 0,
        readahead: Readahead::new(option_value(info, option::READAHEAD) != Some("off")),
        spaces: 0,
        system_calls: 0,
        pinned: Vec::new(),
        segments: Vec::new(),
        largest: largest.min(levels),
        levels,
        swaps_whole: option_value(info, option::SWAP_UNIT) == Some("process"),
        files_written: false,
        exhausted: false,
    }
}

fn load_control(info: &BootInfo) -> LoadControl {
    match option_value(info, option::LOAD) {
        Some("watch") => LoadControl::Watch,
        Some("on") => LoadControl::On,
        _ => LoadControl::Off,
    }
}

/// How many bytes of its anonymous memory each process may have in RAM.
fn resident(info: &BootInfo) -> u64 {
    option_value(info, option::RESIDENT).and_then(|bytes| bytes.parse().ok()).unwrap_or(UNLIMITED)
}

/// A limit in pages; no more than there are frames.
fn pages(bytes: u64, frames: u64) -> u32 {
    (bytes / PAGE_SIZE as u64).clamp(1, frames) as u32
}

/// Strings that each end with a NUL.
fn strings(bytes: &'static [u8]) -> Vec<&'static [u8]> {
    bytes
        .split_inclusive(|&byte| byte == 0)
        .map(|string| string.strip_suffix(b"\0").unwrap_or(string))
        .collect()
}

/// Loads the program.
fn program(
    info: &'static BootInfo,
    mut memory: Memory,
    root: Gpa,
    heap: &'static Heap,
) -> Result<Box<Kernel>, Errno> {
    let path = section(info.program);
    let tree = Tree::new(memory.files.all().map(|(id, file)| (file.path.clone(), Object::File(id))));
    let Some(&Object::File(file)) = tree.get(path) else { return Err(Errno::NOENT) };
    let (argv, envp) = (strings(section(info.argv)), strings(section(info.envp)));
    let answers = &info.cpuid[..(info.cpuid_count as usize).min(info.cpuid.len())];
    let hwcap = answers.iter().find(|answer| answer.function == 1).map_or(0, |answer| answer.edx.into());
    let arguments = Arguments { path, argv: &argv, envp: &envp, random: &info.random, hwcap };
    let loaded = exec::load(&mut memory, &tree, file, root, &arguments)?;
    // SAFETY: the program's table has the kernel half of the current one.
    unsafe { loaded.space.table.load() };

    let Loaded { mut space, entry, stack } = loaded;
    if resident(info) != UNLIMITED {
        let limit = pages(resident(info), memory.frames.len().into());
        space.scope = memory.scopes.add(limit).unwrap_or(Scope::GLOBAL);
        memory.scopes.current = space.scope;
    }
    let directory = crate::fs::path::resolve(b"/", section(info.directory));
    let process = |slot| {
        let limits = Limits { resident: resident(info), ..Limits::NONE };
        Process { limits, ..Process::first(slot, file, path, directory, command_of(&argv)) }
    };
    let thread = Thread::new(process::FIRST, ProcessSlot(0), entry, stack);
    let swept = option_value(info, option::ROOTS) == Some("on");
    // SAFETY: asking for it, the VMM set the page aside; this is the only call.
    let sweep = swept.then(|| unsafe { Sweep::new() });
    let system = System {
        memory,
        tasks: Tasks::new(process, space, thread),
        machine: Machine {
            clock: Clock::new(info.tsc_khz, info.boot_tsc, info.boot_unix_ns),
            consoles: consoles(info),
            random: Random::new(&info.random),
            missed: [0; 8],
            hwcap,
            pipes: 0,
            locks: Locks::default(),
            heap,
        },
        tree,
        load: Load::new(load_control(info)),
        sweep,
        root,
        since: 0,
    };
    Ok(Box::new(Kernel { system, timer_scale: (info.apic_khz << 20) / 1_000_000 }))
}

fn consoles(info: &BootInfo) -> Consoles {
    let open = |kind| device(info, kind).and_then(|base| console::open(base).ok());
    let (input, output) = open(DeviceKind::STDIO).unzip();
    let error = open(DeviceKind::STDERR).map(|(_, output)| output);
    if let Some(line) = devices(info).iter().find(|device| device.kind == DeviceKind::STDIO) {
        apic::route(line.irq, trap::FIRST_DEVICE);
    }
    Consoles { input, outputs: [output, error], terminals: info.terminals, window: (info.rows, info.columns) }
}
