//! Single CPU instructions. Everything here is one instruction or a fixed short sequence.

use core::arch::asm;

use abi::addr::{Gpa, Gva};
use abi::port;

/// Model-specific registers that the kernel uses (Intel SDM volume 4).
pub mod msr {
    /// x2APIC and enable bits, base address.
    pub const APIC_BASE: u32 = 0x1b;
    /// Extended features: system call, long mode, NX.
    pub const EFER: u32 = 0xc000_0080;
    /// Selectors of `syscall` and `sysret`.
    pub const STAR: u32 = 0xc000_0081;
    /// Where `syscall` goes.
    pub const LSTAR: u32 = 0xc000_0082;
    /// Flags that `syscall` clears.
    pub const SFMASK: u32 = 0xc000_0084;
    /// The FS segment's base: a thread's local storage.
    pub const FS_BASE: u32 = 0xc000_0100;
    /// The GS segment's base. The kernel does not use GS, so this is always the program's.
    pub const GS_BASE: u32 = 0xc000_0101;
}

/// The time-stamp counter.
#[must_use]
pub fn rdtsc() -> u64 {
    // SAFETY: reads a counter, touches nothing else.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Reads a model-specific register.
///
/// # Safety
/// The register exists.
#[must_use]
pub unsafe fn rdmsr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller vouches for the register; reading has no other effect.
    unsafe { asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The register exists and the value keeps the kernel running.
pub unsafe fn wrmsr(register: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the caller vouches for register and value.
    unsafe { asm!("wrmsr", in("ecx") register, in("eax") low, in("edx") high, options(nostack)) };
}

/// The address of the last page fault.
#[must_use]
pub fn cr2() -> Gva {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack)) };
    Gva(value)
}

/// Reads CR0.
#[must_use]
pub fn cr0() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr0", out(reg) value, options(nomem, nostack)) };
    value
}

/// Reads CR4.
#[must_use]
pub fn cr4() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) value, options(nomem, nostack)) };
    value
}

/// Writes CR0.
///
/// # Safety
/// Paging and protection stay on.
pub unsafe fn set_cr0(value: u64) {
    // SAFETY: the caller vouches for the value.
    unsafe { asm!("mov cr0, {}", in(reg) value, options(nostack)) };
}

/// Writes CR4.
///
/// # Safety
/// Every bit is one that this CPU has.
pub unsafe fn set_cr4(value: u64) {
    // SAFETY: the caller vouches for the value.
    unsafe { asm!("mov cr4, {}", in(reg) value, options(nostack)) };
}

/// Chooses the page tables; `flags` are the other bits of CR3, see tlb.rs.
///
/// # Safety
/// The tables at `root` map the kernel as it is mapped now.
pub unsafe fn set_cr3(root: Gpa, flags: u64) {
    // SAFETY: the caller vouches for the tables.
    unsafe { asm!("mov cr3, {}", in(reg) root.0 | flags, options(nostack)) };
}

/// Forgets one page's translation.
#[inline]
pub fn invlpg(page: Gva) {
    // SAFETY: only makes the CPU walk the tables again. On the host there is no TLB to flush.
    #[cfg(not(test))]
    unsafe {
        asm!("invlpg [{}]", in(reg) page.0, options(nostack));
    }
    #[cfg(test)]
    let _ = page;
}

/// Forgets every translation of the user half under the current tag.
pub fn flush_tlb() {
    // SAFETY: loads CR3 with what it holds.
    #[cfg(not(test))]
    unsafe {
        asm!("mov {t}, cr3", "mov cr3, {t}", t = out(reg) _, options(nostack));
    }
}

/// Waits for an interrupt with interrupts on; they are off again when it returns. None is taken between `sti` and the
/// instruction after it, so none is missed.
pub fn wait_for_interrupt() {
    // SAFETY: the handlers of interrupts in the kernel touch nothing but the interrupt controller.
    unsafe { asm!("sti", "out dx, al", "cli", in("dx") port::IDLE, in("al") 0_u8, options(nostack)) };
}

/// Writes 32 bits to a port.
///
/// # Safety
/// The device behind the port does no harm to the kernel's memory.
pub unsafe fn out32(port: u16, value: u32) {
    // SAFETY: the caller vouches for the device.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack)) };
}

/// Writes bytes to a port, one after the other.
///
/// # Safety
/// The device behind the port does no harm to the kernel's memory.
pub unsafe fn out_bytes(port: u16, bytes: &[u8]) {
    // SAFETY: reads `bytes` only; the caller vouches for the device.
    unsafe {
        asm!("rep outsb", in("dx") port, inout("rsi") bytes.as_ptr() => _, inout("rcx") bytes.len() => _, options(nostack, readonly));
    }
}
