//! The interrupt controllers: the local APIC's timer and the IOAPIC's lines.

use core::ptr::{read_volatile, write_volatile};
use core::sync::atomic::{AtomicBool, Ordering};

use abi::addr::Gpa;

use super::cpu::{self, msr};
use super::{direct, trap};

const LOCAL_APIC: Gpa = Gpa(0xfee0_0000);
const IO_APIC: Gpa = Gpa(0xfec0_0000);

/// The local APIC's registers, as offsets into its page; in x2APIC mode register `0x800 + offset / 16` (Intel SDM volume 3, 12.12).
mod register {
    pub const END_OF_INTERRUPT: u32 = 0xb0;
    pub const SPURIOUS: u32 = 0xf0;
    pub const TIMER: u32 = 0x320;
    pub const LINE_0: u32 = 0x350;
    pub const TIMER_START: u32 = 0x380;
    pub const TIMER_DIVIDER: u32 = 0x3e0;
}

static X2APIC: AtomicBool = AtomicBool::new(false);

fn write(register: u32, value: u32) {
    if X2APIC.load(Ordering::Relaxed) {
        // SAFETY: the register exists in x2APIC mode; none of those used touches memory.
        unsafe { cpu::wrmsr(0x800 + register / 16, u64::from(value)) };
    } else {
        // SAFETY: the window is mapped and belongs to this module.
        unsafe { write_volatile(direct::pointer(Gpa(LOCAL_APIC.0 + u64::from(register))), value) };
    }
}

/// Turns the local APIC on.
pub fn init(x2apic: bool) {
    const ENABLE: u64 = 1 << 11;
    const X2: u64 = 1 << 10;
    const DIVIDE_BY_1: u32 = 0b1011;
    const MASKED: u32 = 1 << 16;
    const SOFTWARE_ENABLE: u32 = 0x100;
    X2APIC.store(x2apic, Ordering::Relaxed);
    // SAFETY: keeps the base address; the mode is one that the VMM says is there.
    unsafe {
        let base = cpu::rdmsr(msr::APIC_BASE);
        cpu::wrmsr(msr::APIC_BASE, base | ENABLE | if x2apic { X2 } else { 0 });
    }
    write(register::SPURIOUS, SOFTWARE_ENABLE | trap::SPURIOUS as u32);
    // The old interrupt controller comes in here; its vectors would be taken for exceptions.
    write(register::LINE_0, MASKED);
    write(register::TIMER_DIVIDER, DIVIDE_BY_1);
    write(register::TIMER, trap::TIMER as u32);
}

/// Interrupts once, after so many cycles of the timer's input; 0 stops it.
pub fn start_timer(cycles: u32) {
    write(register::TIMER_START, cycles);
}

/// Tells the local APIC that the interrupt was taken.
pub fn end_of_interrupt() {
    write(register::END_OF_INTERRUPT, 0);
}

/// Leads a device's line to a vector: edge-triggered, to this CPU.
pub fn route(line: u32, vector: u64) {
    io_apic(0x10 + 2 * line, vector as u32);
    io_apic(0x11 + 2 * line, 0);
}

fn io_apic(register: u32, value: u32) {
    // SAFETY: the window is mapped and belongs to this module: a select register and a data register.
    unsafe {
        write_volatile(direct::pointer(IO_APIC), register);
        write_volatile(direct::pointer(Gpa(IO_APIC.0 + 0x10)), value);
        let _: u32 = read_volatile(direct::pointer(Gpa(IO_APIC.0 + 0x10)));
    }
}
