//! Where the guest's page tables are, for a host that wants to know which pages are used.
//!
//! The VMM asks for it with the kernel's option `roots=on`. The page at [`crate::layout::ROOTS`] holds the roots, and the number of the
//! sweep that the VMM wants. In a sweep the kernel takes the accessed bit away from every entry of its programs' tables, some at
//! each tick of its timer; then it writes down the roots, and the sweep's number as done. So the VMM reads tables whose
//! bits say what was used since the last sweep, and asks for the next one.

use crate::addr::{Gpa, PAGE_SIZE};

/// How many roots the page has room for. Programs beyond that look unused.
pub const MOST: usize = (PAGE_SIZE - 16) / size_of::<Gpa>();

/// The page.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Roots {
    /// The number of the sweep that is wanted; the VMM alone writes it.
    pub wanted: u32,
    /// That of the last one that is over; the kernel alone writes it, and what follows.
    pub done: u32,
    /// How many roots there are.
    pub count: u32,
    unused: u32,
    /// They: tables of four levels, whose lower half is the program's.
    pub roots: [Gpa; MOST],
}

const _: () = assert!(size_of::<Roots>() == PAGE_SIZE);
