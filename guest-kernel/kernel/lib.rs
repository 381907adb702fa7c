//! The guest kernel: real x86-64 paging for unmodified static Linux programs.
//!
//! One CPU, one kernel stack, interrupts off while the kernel runs: so there are no locks, and the whole state is one value,
//! [`kernel::Kernel`], that each trap has for itself. A trap from user mode is served from start to end; a system call that
//! has to wait is called again later.
//!
//! ```text
//!   main.rs      the image: entry, allocator, panic
//!   start.rs     from the boot information to the first program
//!   kernel.rs    what happens at a trap
//!   syscall/     Linux's system calls, one handler each
//!   process/     processes, threads, the scheduler, ELF files and how they are started
//!   proc/        what /proc tells; fs/  files, names, descriptors; console.rs beside it
//!   vm/          virtual memory: see its own page, it is what all this is for
//!   drivers/     virtio disks and consoles, the serial log
//!   arch/        the CPU: traps, segments, control registers, interrupt controllers, the direct map
//! ```
//!
//! Modules use what stands below them in this list, never above. All of it is compiled for the host too, where its
//! logic is tested: there RAM is a buffer (arch/direct.rs) and so is a disk (drivers/block.rs).
//!
//! Ring 0 may be interpreted by the host at up to a microsecond an instruction, so the paths of faults and system calls are short:
//! no allocation, one walk of the page table, one look at the areas.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod arch;
pub mod console;
pub mod drivers;
pub mod fs;
pub mod heap;
pub mod kernel;
mod proc;
pub mod process;
pub mod random;
#[cfg(feature = "image")]
pub mod start;
pub mod syscall;
pub mod time;
pub mod vm;
