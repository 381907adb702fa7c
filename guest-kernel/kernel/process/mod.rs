//! Processes and their threads.

pub mod auxv;
pub mod elf;
pub mod exec;
pub mod scheduler;
mod thread;

pub use thread::{State, Thread};

use alloc::vec::Vec;

use crate::fs::FileId;
use crate::fs::open::Descriptors;
use crate::vm::space::AddressSpace;

/// The number of the first process. Not 1: programs take that for init.
pub const FIRST: u32 = 100;
/// Signals are numbered from 1.
pub const SIGNALS: usize = 64;

/// What rt_sigaction set, as the program gave it: handler, flags, restorer, mask.
pub type Action = [u64; 4];

/// A process: what its threads share.
pub struct Process {
    /// Its number, which is that of its first thread too.
    pub id: u32,
    /// Its memory.
    pub space: AddressSpace,
    /// Its open files.
    pub descriptors: Descriptors,
    /// Its working directory: absolute, normal.
    pub directory: Vec<u8>,
    /// The file that it runs.
    pub program: FileId,
    /// Its name: the last part of the program's path, or what prctl set.
    pub name: [u8; 16],
    /// What it wants done on each signal.
    pub actions: [Action; SIGNALS],
    /// Permission bits that new files do not get.
    pub umask: u32,
    /// Faults that needed a device, and those that did not.
    pub major_faults: u64,
    /// See [`Process::major_faults`].
    pub minor_faults: u64,
}
