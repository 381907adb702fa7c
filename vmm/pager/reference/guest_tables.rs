//! Accessed bits in the guest's page tables, which the pager reads and never writes: whoever shadows them would not notice.
//!
//! Somebody has to take the bits away, or each page looks used for ever. The guest's kernel does, when it is asked
//! ([`abi::roots`]): a page counts as used if the CPU has marked it since the last sweep. It tells its own policies what it took away.
//!
//! The guest is not trusted. Only tables that are in guest RAM and resident are read: only this thread takes a page out, so they
//! stay so while they are read, and a table that is out is passed over, not brought in. What a pass does is bounded,
//! whatever the tables say. What it finds are hints.

use std::io;
use std::mem::offset_of;

use abi::addr::{Gpa, PAGE_SIZE};
use abi::layout::ROOTS;
use abi::roots::Roots;
use vm_memory::{ByteValued, Bytes, GuestAddress};

use super::super::Shared;

/// The bits of an entry (Intel SDM volume 3, table 4-20).
const PRESENT: u64 = 1;
const ACCESSED: u64 = 1 << 5;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const ENTRIES: usize = PAGE_SIZE / 8;
/// The root's level.
const TOP: u32 = 3;
/// Entries of the root that programs use; the others are the kernel's.
const USER_ENTRIES: usize = ENTRIES / 2;
/// Tables that a pass reads at most: a part of all frames, and so many.
const FRAMES_A_TABLE: u32 = 8;
const SOME_TABLES: u32 = 64;

/// The last sweep that was asked for.
#[derive(Default)]
pub struct GuestTables {
    wanted: u32,
}

impl GuestTables {
    /// Whether the kernel has taken the bits away since they were last read.
    pub fn are_swept(&self, shared: &Shared) -> bool {
        let done = GuestAddress(ROOTS.0 + offset_of!(Roots, done) as u64);
        is_resident(shared, ROOTS)
            && shared.ram.memory().read_obj(done).is_ok_and(|done: u32| done == self.wanted)
    }

    /// Reads the bits, and asks the kernel to take them away. Returns how many entries were looked at, and how many of them
    /// were marked.
    pub fn pass(&mut self, shared: &Shared) -> io::Result<(u32, u32)> {
        let mut pass = Pass {
            shared,
            tables: shared.ram.frames() / FRAMES_A_TABLE + SOME_TABLES,
            looked_at: 0,
            used: 0,
        };
        let at = GuestAddress(ROOTS.0);
        let Some(Wire(roots)) = pass.read(ROOTS) else { return Ok((0, 0)) };
        for &root in roots.roots.iter().take(roots.count as usize) {
            pass.walk(root.page_start(), TOP);
        }
        self.wanted = self.wanted.wrapping_add(1);
        shared.ram.memory().write_obj(self.wanted, at).map_err(io::Error::other)?;
        Ok((pass.looked_at, pass.used))
    }
}

/// One look at all tables.
struct Pass<'a> {
    shared: &'a Shared,
    /// How many it may still read.
    tables: u32,
    looked_at: u32,
    used: u32,
}

impl Pass<'_> {
    /// Marks what a table translates that was used, and the table itself if there is any.
    fn walk(&mut self, table: Gpa, level: u32) -> bool {
        let Some(left) = self.tables.checked_sub(1) else { return false };
        self.tables = left;
        let Some(Table(entries)) = self.read(table) else { return false };
        let entries = if level == TOP { &entries[..USER_ENTRIES] } else { &entries[..] };
        let mut any = false;
        for &entry in entries.iter().filter(|&&entry| entry & PRESENT != 0) {
            let below = Gpa(entry & ADDRESS);
            any |= if level == 0 {
                self.leaf(entry, below, 1)
            } else if entry & LARGE != 0 {
                self.leaf(entry, below, 1 << (9 * level))
            } else {
                self.walk(below, level - 1)
            };
        }
        if any {
            self.mark(table);
        }
        any
    }

    /// A page of `frames` frames.
    fn leaf(&mut self, entry: u64, page: Gpa, frames: u32) -> bool {
        self.looked_at += 1;
        if entry & ACCESSED == 0 {
            return false;
        }
        self.used += 1;
        // A huge page costs as much as the tables that it saves.
        self.tables = self.tables.saturating_sub(frames / ENTRIES as u32);
        let start = page.0 & !(u64::from(frames) * PAGE_SIZE as u64 - 1);
        (0..u64::from(frames)).for_each(|n| self.mark(Gpa(start + n * PAGE_SIZE as u64)));
        true
    }

    fn mark(&self, page: Gpa) {
        if let Some(frame) = self.shared.ram.index_of(page) {
            self.shared.marks.used(frame);
        }
    }

    /// A page of the guest's, if it is in guest RAM.
    fn read<T: ByteValued>(&self, page: Gpa) -> Option<T> {
        is_resident(self.shared, page)
            .then(|| self.shared.ram.memory().read_obj(GuestAddress(page.0)).ok())?
    }
}

/// Whether a page of the guest's is in guest RAM, and stays there while this thread reads it.
fn is_resident(shared: &Shared, page: Gpa) -> bool {
    shared.ram.index_of(page).is_some_and(|frame| shared.marks.is_resident(frame))
}

/// [`Roots`] as bytes.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Wire(Roots);

// SAFETY: `Roots` is `repr(C)`, all integers without padding, so any bytes make a valid one.
unsafe impl ByteValued for Wire {}

/// A page table.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Table([u64; ENTRIES]);

// SAFETY: an array of integers has no padding, and any bytes make a valid one.
unsafe impl ByteValued for Table {}
