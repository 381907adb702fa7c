//! The kernel image: the first instructions, the allocator, the panic handler. All else is the library's.

#![no_std]
#![no_main]

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::addr::Gpa;
use abi::port::Exit;
use kernel::arch::trap::{KERNEL_STACK, STACK};
use kernel::drivers::serial;
use kernel::heap::Heap;
use kernel::kernel::power_off;
use log::Level;

#[global_allocator]
static HEAP: Heap = Heap::empty();

// Where the VMM enters, on the identity map. Until the kernel has tables of its own, the boot tables' entries for the low
// 4 GiB serve at two more places: the direct map, and the last 2 GiB, where the image is linked. The stack is the
// image's own: the one that the vCPU starts with is not mapped later.
core::arch::global_asm!(
    ".section .boot, \"ax\"",
    ".globl _start",
    "_start:",
    "mov rax, cr3",
    "mov rbx, [rax]",
    "mov [rax + 8 * 256], rbx",
    "mov [rax + 8 * 511], rbx",
    "and rbx, -4096",
    "mov rcx, [rbx]",
    "mov [rbx + 8 * 510], rcx",
    "mov cr3, rax",
    "mov rdi, rsi",
    "movabs rsp, offset {stack} + {stack_size}",
    "xor ebp, ebp",
    "movabs rax, offset {main}",
    "call rax",
    "ud2",
    ".text",
    stack = sym KERNEL_STACK,
    stack_size = const STACK,
    main = sym main,
);

extern "C" fn main(info: Gpa) -> ! {
    // SAFETY: called once, from the entry point.
    unsafe { kernel::start::start(info, &HEAP) }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static PANICKING: AtomicBool = AtomicBool::new(false);
    // A panic while the first one is told has nothing to add.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        serial::line(Level::Error, format_args!("{info}"));
    }
    power_off(Exit::Panic)
}
