//! The control registers as the kernel wants them.

use super::cpu::{self, msr};
use super::features::Features;

mod cr0 {
    pub const MONITOR_COPROCESSOR: u64 = 1 << 1;
    pub const EMULATION: u64 = 1 << 2;
    pub const TASK_SWITCHED: u64 = 1 << 3;
    pub const NUMERIC_ERROR: u64 = 1 << 5;
    /// The kernel, too, keeps to read-only entries.
    pub const WRITE_PROTECT: u64 = 1 << 16;
}

mod cr4 {
    pub const GLOBAL_PAGES: u64 = 1 << 7;
    pub const FXSAVE: u64 = 1 << 9;
    pub const SIMD_EXCEPTIONS: u64 = 1 << 10;
    pub const TAGGED_TLB: u64 = 1 << 17;
    pub const XSAVE: u64 = 1 << 18;
    pub const SMEP: u64 = 1 << 20;
    pub const SMAP: u64 = 1 << 21;
}

mod efer {
    pub const SYSTEM_CALL: u64 = 1;
    pub const NO_EXECUTE: u64 = 1 << 11;
}

/// Turns on what the kernel needs always and what `features` says is there.
pub fn init(features: &Features) {
    let mut bits = cpu::cr4() | cr4::GLOBAL_PAGES | cr4::FXSAVE | cr4::SIMD_EXCEPTIONS;
    for (has, bit) in [
        (features.xcr0 != 0, cr4::XSAVE),
        (features.pcid, cr4::TAGGED_TLB),
        (features.smep, cr4::SMEP),
        (features.smap, cr4::SMAP),
    ] {
        if has {
            bits |= bit;
        }
    }
    // SAFETY: paging and protection stay as they are; the optional bits are set only where the feature is.
    unsafe {
        cpu::wrmsr(msr::EFER, cpu::rdmsr(msr::EFER) | efer::SYSTEM_CALL | efer::NO_EXECUTE);
        let keep = cpu::cr0() & !(cr0::EMULATION | cr0::TASK_SWITCHED);
        cpu::set_cr0(keep | cr0::MONITOR_COPROCESSOR | cr0::NUMERIC_ERROR | cr0::WRITE_PROTECT);
        cpu::set_cr4(bits);
    }
}
