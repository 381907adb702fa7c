//! The kernel's record of its faults, for the VMM to write to a file.
//!
//! The VMM asks for it with the kernel's option `trace=on`. The records are in a buffer at [`crate::layout::TRACE`]: first a word with their number,
//! then as many. The kernel is the only writer. When the buffer is full it writes to the port [`crate::port::TRACE`]: when that returns, the
//! VMM has taken the records, and the kernel starts again with none. At the end of the run the VMM takes the rest.

use crate::addr::PAGE_SIZE;

/// One fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// When it was served, by the time-stamp counter.
    pub time: u64,
    /// How long that took, in its cycles.
    pub served: u64,
    /// The page's number, guest-virtual address / 4096.
    pub page: u64,
    /// The address space: a number that no other has in this run.
    pub space: u32,
    /// A [`crate::stats::Source`] as a number.
    pub source: u16,
    /// 0: a load, 1: a store, 2: the fetch of an instruction.
    pub cause: u16,
}

/// Bytes in the buffer.
pub const BYTES: u64 = 16 * PAGE_SIZE as u64;
/// How many records the buffer holds.
pub const RECORDS: usize = BYTES as usize / size_of::<Record>() - 1;

/// The buffer.
#[derive(Debug)]
#[repr(C)]
pub struct Buffer {
    /// How many records it holds.
    pub count: u64,
    unused: [u64; 3],
    /// They.
    pub records: [Record; RECORDS],
}

const _: () = assert!(size_of::<Buffer>() as u64 == BYTES);
