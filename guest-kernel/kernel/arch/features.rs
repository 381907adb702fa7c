//! What the CPU can do, by the VMM's answers. The CPUID instruction is not asked: some hosts show their own bits there.

use abi::boot::{BootInfo, CpuidAnswer};

/// Features that the kernel uses where they are there.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Features {
    /// The local APIC has its registers in MSRs.
    pub x2apic: bool,
    /// Leaves of 1 GiB.
    pub gib_pages: bool,
    /// The TLB keeps address spaces apart by tags.
    pub pcid: bool,
    /// The kernel cannot execute user pages.
    pub smep: bool,
    /// The kernel cannot touch user pages by accident.
    pub smap: bool,
    /// Parts of the vector state that XSAVE manages (XCR0); 0 without XSAVE.
    pub xcr0: u64,
    /// How many bytes XSAVE writes for them at most.
    pub xsave_bytes: u32,
}

impl Features {
    /// Reads the answers.
    #[must_use]
    pub fn of(info: &BootInfo) -> Self {
        let answers = &info.cpuid[..(info.cpuid_count as usize).min(info.cpuid.len())];
        let leaf = |function: u32, index: u32| {
            let found = answers.iter().find(|answer| answer.function == function && answer.index == index);
            found.copied().unwrap_or_default()
        };
        let has = |register: u32, bit: u32| register >> bit & 1 != 0;
        let basic: CpuidAnswer = leaf(1, 0);
        let structured = leaf(7, 0);
        Self {
            x2apic: has(basic.ecx, 21),
            gib_pages: has(leaf(0x8000_0001, 0).edx, 26),
            pcid: has(basic.ecx, 17),
            smep: has(structured.ebx, 7),
            smap: has(structured.ebx, 20),
            xcr0: info.xcr0,
            xsave_bytes: leaf(0xd, 0).ebx,
        }
    }
}
