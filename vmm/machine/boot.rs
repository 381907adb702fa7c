//! How the vCPU enters a kernel: the image, the first page tables, the boot information, the registers.
//!
//! The entry state is what abi::boot says: long mode, CPL 0, the low 4 GiB identity-mapped, interrupts off.

use std::io::Cursor;

use abi::addr::{Gpa, PAGE_SIZE};
use abi::boot::{BootInfo, Bytes as Section, CpuidAnswer, Device, MAGIC, MAX_CPUID, MAX_DEVICES};
use abi::layout::{BOOT_GDT, BOOT_INFO, BOOT_INFO_END, BOOT_PAGE_TABLES, BOOT_STACK_TOP, STATS};
use kvm_bindings::{CpuId, kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};
use linux_loader::loader::KernelLoader;
use linux_loader::loader::elf::Elf;
use thiserror::Error;
use vm_memory::{ByteValued, Bytes, GuestAddress, GuestMemoryError};

use super::elf::{ElfError, check_kernel};
use crate::memory::GuestRam;

/// KVM's local APIC counts at this rate, whatever the host's does (arch/x86/kvm/lapic.h).
const APIC_KHZ: u64 = 1_000_000;

/// Why a kernel cannot be started.
#[derive(Debug, Error)]
pub enum BootError {
    /// The image is not a kernel.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The image cannot be loaded.
    #[error("cannot be loaded: {0}; is it a complete 64-bit ELF?")]
    Load(linux_loader::loader::Error),
    /// Guest RAM is too small for the boot area.
    #[error("guest RAM has no room for the boot information: {0}; give more --ram")]
    Memory(#[from] GuestMemoryError),
    /// Too many arguments.
    #[error("the arguments and the environment take {0} bytes, {limit} at most: pass fewer", limit = BOOT_INFO_END - BOOT_INFO)]
    Arguments(usize),
}

/// What a program is started with.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Its path on the file disk.
    pub program: String,
    /// Its working directory.
    pub directory: String,
    /// Its arguments, as it sees them.
    pub argv: Vec<String>,
    /// Its environment, `NAME=value`.
    pub envp: Vec<String>,
    /// The kernel's options, `name=value`.
    pub options: Vec<String>,
    /// Bit n: descriptor n is a terminal.
    pub terminals: u32,
    /// Width and height of the terminal, 0 where unknown.
    pub window: (u16, u16),
}

/// The machine's clocks at the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    /// Frequency of the guest's time-stamp counter.
    pub tsc_khz: u64,
    /// What the counter reads now.
    pub tsc: u64,
    /// Nanoseconds since 1970 now.
    pub unix_ns: u64,
}

/// Loads a kernel at the physical addresses that it names, and returns its entry point and where it ends.
///
/// # Errors
/// It is no kernel, or does not fit.
pub fn load_kernel(ram: &GuestRam, image: &[u8]) -> Result<(Gpa, Gpa), BootError> {
    let low = ram.regions().first().map_or(0, |region| region.range.bytes);
    check_kernel(image, low)?;
    let loaded = Elf::load(ram.memory(), None, &mut Cursor::new(image), None).map_err(BootError::Load)?;
    Ok((Gpa(loaded.kernel_load.0), Gpa(loaded.kernel_end)))
}

const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;
const ENTRIES: u64 = 512;
const LARGE_PAGE: u64 = 2 << 20;
/// Flat segments: null, 64-bit code, data.
const GDT: [u64; 3] = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
const CODE: u16 = 8;
const DATA: u16 = 16;

/// Writes the GDT and the page tables: the low 4 GiB identity-mapped with 2 MiB pages.
///
/// # Errors
/// RAM ends before the boot area does.
pub fn write_tables(ram: &GuestRam) -> Result<(), BootError> {
    write_words(ram, BOOT_GDT, GDT)?;
    let page = PAGE_SIZE as u64;
    let (pml4, pdpt) = (BOOT_PAGE_TABLES, BOOT_PAGE_TABLES + page);
    let first_directory = BOOT_PAGE_TABLES + 2 * page;
    write_words(ram, pml4, [pdpt.0 | PRESENT_WRITABLE])?;
    write_words(ram, pdpt, (0..4).map(|gib| (first_directory + gib * page).0 | PRESENT_WRITABLE))?;
    write_words(ram, first_directory, (0..4 * ENTRIES).map(|n| (n * LARGE_PAGE) | PRESENT_WRITABLE | LARGE))
}

fn write_words(ram: &GuestRam, at: Gpa, words: impl IntoIterator<Item = u64>) -> Result<(), BootError> {
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    Ok(ram.memory().write_slice(&bytes, GuestAddress(at.0))?)
}

/// [`BootInfo`] as bytes.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Wire(BootInfo);

// SAFETY: `BootInfo` is plain integers, `repr(C)` and without padding (each field's size is a multiple of
// the alignment of the next), so every byte of it is initialised and any bytes make a valid one.
unsafe impl ByteValued for Wire {}

/// Writes the boot information with its sections.
///
/// # Errors
/// The arguments are too long, or RAM ends before the boot area does.
pub fn write_boot_info(
    ram: &GuestRam,
    start: &Start,
    devices: &[Device],
    cpuid: &CpuId,
    clocks: Clocks,
) -> Result<(), BootError> {
    let mut sections = Sections { next: BOOT_INFO + size_of::<BootInfo>() as u64, bytes: Vec::new() };
    let mut info = BootInfo {
        magic: MAGIC,
        version: abi::VERSION,
        ram_count: ram.regions().len() as u32,
        ram: Default::default(),
        device_count: devices.len().min(MAX_DEVICES) as u32,
        cpuid_count: cpuid.as_slice().len().min(MAX_CPUID) as u32,
        devices: Default::default(),
        cpuid: [CpuidAnswer::default(); MAX_CPUID],
        xcr0: xcr0(cpuid).unwrap_or(0),
        tsc_khz: clocks.tsc_khz,
        apic_khz: APIC_KHZ,
        boot_unix_ns: clocks.unix_ns,
        boot_tsc: clocks.tsc,
        options: sections.add(start.options.join(" ").into_bytes()),
        program: sections.add(start.program.clone().into_bytes()),
        directory: sections.add(start.directory.clone().into_bytes()),
        argv: sections.add(terminated(&start.argv)),
        envp: sections.add(terminated(&start.envp)),
        terminals: start.terminals,
        columns: start.window.0,
        rows: start.window.1,
        random: random(),
        stats: STATS,
    };
    for (to, from) in info.ram.iter_mut().zip(ram.regions()) {
        *to = from.range;
    }
    for (to, from) in info.devices.iter_mut().zip(devices) {
        *to = *from;
    }
    for (to, from) in info.cpuid.iter_mut().zip(cpuid.as_slice()) {
        let (function, index) = (from.function, from.index);
        *to = CpuidAnswer { function, index, eax: from.eax, ebx: from.ebx, ecx: from.ecx, edx: from.edx };
    }
    let total = size_of::<BootInfo>() + sections.bytes.len();
    if BOOT_INFO + total as u64 > BOOT_INFO_END {
        return Err(BootError::Arguments(total));
    }
    ram.memory().write_obj(Wire(info), GuestAddress(BOOT_INFO.0))?;
    let after = BOOT_INFO + size_of::<BootInfo>() as u64;
    Ok(ram.memory().write_slice(&sections.bytes, GuestAddress(after.0))?)
}

/// What follows [`BootInfo`], one section after the other.
struct Sections {
    next: Gpa,
    bytes: Vec<u8>,
}

impl Sections {
    fn add(&mut self, content: Vec<u8>) -> Section {
        let section = Section { start: self.next, len: content.len() as u64 };
        self.next = self.next + section.len;
        self.bytes.extend(content);
        section
    }
}

fn terminated(strings: &[String]) -> Vec<u8> {
    strings.iter().flat_map(|string| string.bytes().chain([0])).collect()
}

/// The vector state that the guest manages with XSAVE, if KVM offers that: x87, SSE, and of AVX and AVX-512 what there is; nothing
/// that the kernel would have to know more of than how large it is.
#[must_use]
pub fn xcr0(cpuid: &CpuId) -> Option<u64> {
    const XSAVE: u32 = 1 << 26; // CPUID.1:ECX
    const LEGACY: u64 = 0b11;
    const MANAGED: u64 = 0b1110_0111;
    let leaf = |function, index| {
        cpuid.as_slice().iter().find(|leaf| (leaf.function, leaf.index) == (function, index))
    };
    let state = leaf(1, 0).filter(|basic| basic.ecx & XSAVE != 0).and_then(|_| leaf(0xd, 0))?;
    Some((u64::from(state.edx) << 32 | u64::from(state.eax)) & MANAGED | LEGACY)
}

/// Randomness for the program's AT_RANDOM: from the host, or zeros where it has none to give.
fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    if let Err(error) = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
        log::warn!("no randomness from the host ({error}): the program's AT_RANDOM is zero");
    }
    bytes
}

/// The general registers at entry.
#[must_use]
pub fn entry_registers(entry: Gpa) -> kvm_regs {
    // Bit 1 of RFLAGS is always set (Intel SDM vol. 1, 3.4.3).
    kvm_regs { rip: entry.0, rsp: BOOT_STACK_TOP.0, rsi: BOOT_INFO.0, rflags: 2, ..Default::default() }
}

/// Changes the system registers to those at entry: 64-bit long mode on the tables of [`write_tables`].
pub fn set_entry_mode(sregs: &mut kvm_sregs) {
    const PAE: u64 = 1 << 5;
    const PROTECTED: u64 = 1;
    const NUMERIC_ERROR: u64 = 1 << 5;
    const WRITE_PROTECT: u64 = 1 << 16;
    const PAGING: u64 = 1 << 31;
    const LONG_MODE_ENABLED_ACTIVE: u64 = 1 << 8 | 1 << 10;

    let code = kvm_segment {
        selector: CODE,
        type_: 0b1011,
        present: 1,
        s: 1,
        l: 1,
        g: 1,
        limit: u32::MAX,
        ..Default::default()
    };
    let data = kvm_segment {
        selector: DATA,
        type_: 0b0011,
        present: 1,
        s: 1,
        db: 1,
        g: 1,
        limit: u32::MAX,
        ..Default::default()
    };
    sregs.cs = code;
    for segment in [&mut sregs.ds, &mut sregs.es, &mut sregs.fs, &mut sregs.gs, &mut sregs.ss] {
        *segment = data;
    }
    sregs.gdt = kvm_dtable { base: BOOT_GDT.0, limit: (size_of_val(&GDT) - 1) as u16, ..Default::default() };
    sregs.idt = kvm_dtable::default();
    sregs.cr0 = PROTECTED | NUMERIC_ERROR | WRITE_PROTECT | PAGING;
    sregs.cr3 = BOOT_PAGE_TABLES.0;
    sregs.cr4 = PAE;
    sregs.efer = LONG_MODE_ENABLED_ACTIVE;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Size;

    fn ram() -> GuestRam {
        GuestRam::new(Size::mib(8)).expect("8 MiB")
    }

    #[test]
    fn the_kernel_finds_its_arguments_where_the_boot_information_says() {
        let ram = ram();
        let start =
            Start { argv: vec!["a".into(), "bc".into()], directory: "/d".into(), ..Default::default() };
        let cpuid = CpuId::new(0).expect("an empty list");
        write_boot_info(&ram, &start, &[], &cpuid, Clocks::default()).expect("it fits");
        let Wire(info) = ram.memory().read_obj(GuestAddress(BOOT_INFO.0)).expect("in RAM");
        let read = |section: Section| {
            let mut bytes = vec![0; section.len as usize];
            ram.memory().read_slice(&mut bytes, GuestAddress(section.start.0)).expect("in RAM");
            bytes
        };
        assert_eq!((info.magic, info.version), (MAGIC, abi::VERSION));
        assert_eq!(read(info.argv), b"a\0bc\0");
        assert_eq!(read(info.directory), b"/d");
        assert_eq!(read(info.envp), b"");
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused() {
        let start = Start { argv: vec!["x".repeat(300 << 10)], ..Default::default() };
        let cpuid = CpuId::new(0).expect("an empty list");
        let refused = write_boot_info(&ram(), &start, &[], &cpuid, Clocks::default());
        assert!(matches!(refused, Err(BootError::Arguments(_))));
    }

    #[test]
    fn the_tables_map_each_of_the_low_four_gib_to_itself() {
        let ram = ram();
        write_tables(&ram).expect("it fits");
        let entry = |table: Gpa, index: u64| -> u64 {
            ram.memory().read_obj(GuestAddress(table.0 + index * 8)).expect("in RAM")
        };
        for gpa in [0u64, 0x10_0000, 0xd000_0000, 0xffff_f000] {
            let pdpt = Gpa(entry(BOOT_PAGE_TABLES, 0) & !0xfff);
            let directory = Gpa(entry(pdpt, gpa >> 30) & !0xfff);
            let large = entry(directory, (gpa >> 21) & 511);
            assert_eq!(large & !(LARGE_PAGE - 1), gpa & !(LARGE_PAGE - 1));
            assert_eq!(large & 0xff, PRESENT_WRITABLE | LARGE);
        }
    }
}
