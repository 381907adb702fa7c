//! The machine: everything that a safe language cannot say about an x86-64 CPU. Nothing here knows what a process is.

pub mod control;
pub mod cpu;
pub mod direct;
pub mod features;
#[cfg(feature = "image")]
mod intrinsics;
#[cfg(feature = "image")]
pub mod kernel_map;

pub mod apic;
pub mod gdt;
pub mod tlb;
pub mod trap;
pub mod vector;
