//! What the VMM and the guest kernel agree on: addresses, the boot information, the ports, the
//! index of the file disk and the page of counters that the kernel keeps for the VMM to read.
//!
//! Everything here is plain data with a fixed layout. Both sides are built from this crate, so a
//! change is one change; [`VERSION`] catches a kernel that was built from another one.

#![no_std]

pub mod addr;
pub mod boot;
pub mod files;
pub mod layout;
pub mod port;
pub mod roots;
pub mod stats;
pub mod trace;

/// Version of this contract. The kernel refuses boot information of another version.
pub const VERSION: u32 = 5;
