//! The guest-physical address space: where the VMM puts what.
//!
//! ```text
//!          0  +---------------------+
//!             | boot: GDT, tables,  |  what the kernel needs to get going; the first MiB is never
//!             | boot info, stats    |  handed out as ordinary frames
//!     1 MiB   +---------------------+
//!             | kernel image        |
//!             | RAM                 |
//!     3 GiB   +---------------------+  LOW_RAM_END
//!             | virtio-mmio windows |
//!             | IOAPIC, LAPIC       |
//!     4 GiB   +---------------------+  HIGH_RAM_START
//!             | RAM beyond 3 GiB    |
//!             +---------------------+
//! ```

use crate::addr::Gpa;

/// The GDT that the vCPU starts with.
pub const BOOT_GDT: Gpa = Gpa(0x1000);
/// PML4, PDPT and four page directories: the low 4 GiB identity-mapped with 2 MiB pages.
pub const BOOT_PAGE_TABLES: Gpa = Gpa(0x2000);
/// [`crate::boot::BootInfo`], followed by its sections.
pub const BOOT_INFO: Gpa = Gpa(0x1_0000);
/// End of the room for the boot information, and so the limit of arguments and environment: 256 KiB.
pub const BOOT_INFO_END: Gpa = Gpa(0x5_0000);
/// [`crate::stats::GuestStats`].
pub const STATS: Gpa = Gpa(0x5_0000);
/// The stack that the vCPU starts with grows down from here.
pub const BOOT_STACK_TOP: Gpa = Gpa(0x8_0000);
/// [`crate::trace::Buffer`], where the VMM asks for one.
pub const TRACE: Gpa = Gpa(0x8_0000);
/// [`crate::roots::Roots`], where the VMM asks for them.
pub const ROOTS: Gpa = Gpa(0x9_0000);
/// The kernel image is loaded at or above this address.
pub const KERNEL: Gpa = Gpa(0x10_0000);
/// Bytes after our kernel's image for its page tables: some ten pages, and one more for each GiB of RAM.
pub const KERNEL_TABLES: u64 = 64 << 10;
/// Where the first range of RAM ends at the latest.
pub const LOW_RAM_END: Gpa = Gpa(0xc000_0000);
/// The first virtio-mmio window; each is a page.
pub const MMIO: Gpa = Gpa(0xd000_0000);
/// Where RAM that does not fit below [`LOW_RAM_END`] goes on.
pub const HIGH_RAM_START: Gpa = Gpa(0x1_0000_0000);
/// The first interrupt line (GSI) that a virtio device gets.
pub const FIRST_IRQ: u32 = 5;
