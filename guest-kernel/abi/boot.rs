//! Boot information: one structure at [`crate::layout::BOOT_INFO`], its address in RSI at entry.
//!
//! The vCPU enters the kernel in long mode at the ELF's entry point, CPL 0, interrupts off, paging on
//! with the low 4 GiB identity-mapped, flat segments, a small stack, SSE off. XCR0 is [`BootInfo::xcr0`] already: some hosts
//! do not take it from the guest (QEMU 7.2 emulating SVM does not intercept XSETBV, and KVM forgets the value at the next exit).

use crate::addr::Gpa;

/// First word of [`BootInfo`].
pub const MAGIC: u64 = u64::from_le_bytes(*b"bifold\0\0");
/// How many ranges of RAM there can be.
pub const MAX_RAM_RANGES: usize = 2;
/// How many devices there can be.
pub const MAX_DEVICES: usize = 8;
/// How many CPUID answers there can be.
pub const MAX_CPUID: usize = 128;

/// A range of guest RAM, page-aligned.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RamRange {
    /// First byte.
    pub start: Gpa,
    /// Length in bytes.
    pub bytes: u64,
}

/// What a virtio-mmio window holds.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct DeviceKind(pub u32);

impl DeviceKind {
    /// virtio-blk: the swap disk.
    pub const SWAP_DISK: Self = Self(1);
    /// virtio-blk: the file disk, see [`crate::files`].
    pub const FILE_DISK: Self = Self(2);
    /// virtio-console: the program's standard input and output. A receive buffer that comes back
    /// with length 0 is the end of the input.
    pub const STDIO: Self = Self(3);
    /// virtio-console: the program's standard error; nothing is ever received.
    pub const STDERR: Self = Self(4);
}

/// A virtio-mmio device.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Device {
    /// What it is.
    pub kind: DeviceKind,
    /// Its interrupt line (GSI).
    pub irq: u32,
    /// Its register window, one page.
    pub base: Gpa,
}

/// One answer of KVM_GET_SUPPORTED_CPUID: what the CPU *and* KVM can do for a guest. The kernel
/// decides by these, not by the CPUID instruction, which some hosts do not virtualise.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct CpuidAnswer {
    pub function: u32,
    pub index: u32,
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// A run of bytes somewhere in guest RAM.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Bytes {
    /// Where it starts.
    pub start: Gpa,
    /// Its length.
    pub len: u64,
}

/// What the VMM tells the kernel.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BootInfo {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`crate::VERSION`].
    pub version: u32,
    /// How many of [`BootInfo::ram`] are used.
    pub ram_count: u32,
    /// Guest RAM, ascending.
    pub ram: [RamRange; MAX_RAM_RANGES],
    /// How many of [`BootInfo::devices`] are used.
    pub device_count: u32,
    /// How many of [`BootInfo::cpuid`] are used.
    pub cpuid_count: u32,
    /// The devices.
    pub devices: [Device; MAX_DEVICES],
    /// What the CPU can do.
    pub cpuid: [CpuidAnswer; MAX_CPUID],
    /// The vector state that XSAVE manages; 0 where KVM offers no XSAVE.
    pub xcr0: u64,
    /// Time-stamp counter's frequency in kHz.
    pub tsc_khz: u64,
    /// The local APIC timer's input frequency in kHz (divider 1).
    pub apic_khz: u64,
    /// Nanoseconds since 1970 when the time-stamp counter read [`BootInfo::boot_tsc`].
    pub boot_unix_ns: u64,
    /// See [`BootInfo::boot_unix_ns`].
    pub boot_tsc: u64,
    /// The kernel's own options, `name=value` separated by spaces, named in [`option`].
    pub options: Bytes,
    /// The program's path on the file disk, not terminated.
    pub program: Bytes,
    /// The program's working directory, an absolute path, not terminated. Paths that the program
    /// gives relative to it name files of the file disk like absolute ones.
    pub directory: Bytes,
    /// The program's arguments as it sees them, each ended by a NUL.
    pub argv: Bytes,
    /// The program's environment, each entry ended by a NUL.
    pub envp: Bytes,
    /// Bit n: the program's descriptor n (0 to 2) is a terminal on the host.
    pub terminals: u32,
    /// The terminal's width and height in characters; 0 where unknown.
    pub columns: u16,
    /// See [`BootInfo::columns`].
    pub rows: u16,
    /// 16 random bytes for the program's AT_RANDOM.
    pub random: [u8; 16],
    /// Room for [`crate::stats::GuestStats`], which the kernel keeps up to date.
    pub stats: Gpa,
}

/// Names of the kernel's options in [`BootInfo::options`].
pub mod option {
    /// The replacement policy, by the `paging` crate's name: `fifo`, `clock`.
    pub const POLICY: &str = "policy";
    /// The largest pages that the program's anonymous memory has without asking, as a level of the page table: 0, 1 or 2.
    pub const LARGEST: &str = "largest";
    /// `off`: address spaces have no tags in the TLB, even where the CPU could keep them apart.
    pub const PCID: &str = "pcid";
    /// How much of each process's anonymous memory may be in RAM, in bytes.
    pub const RESIDENT: &str = "resident";
    /// `on`: the VMM takes [`crate::trace`].
    pub const TRACE: &str = "trace";
    /// `on`: the VMM reads [`crate::roots`].
    pub const ROOTS: &str = "roots";
    /// `off`: each page is read from swap when it is asked for.
    pub const READAHEAD: &str = "readahead";
    /// `watch`: working sets are estimated; `on`: and processes held back that do not fit.
    pub const LOAD: &str = "load";
    /// `process`: processes leave RAM and come back whole.
    pub const SWAP_UNIT: &str = "unit";
    /// How many files the file disk has: their names take memory.
    pub const FILES: &str = "files";
    /// The most verbose level to log: `error`, `warn`, `info`, `debug`, `trace`.
    pub const LOG: &str = "log";
}
