//! The kernel image.

#![no_std]
#![no_main]

use core::panic::PanicInfo;

core::arch::global_asm!(
    ".section .boot, \"ax\"",
    ".globl _start",
    "_start:",
    "mov dx, {exit}",
    "xor eax, eax",
    "out dx, eax",
    "2: hlt",
    "jmp 2b",
    exit = const abi::port::EXIT,
);

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
