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

use super::super::marks::Marks;
use crate::memory::GuestRam;

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
    pub fn are_swept(&self, ram: &GuestRam, marks: &Marks) -> bool {
        Pass::new(ram, marks).read(ROOTS).is_some_and(|Wire(roots)| roots.done == self.wanted)
    }

    /// Reads the bits, and asks the kernel to take them away. Returns how many entries were looked at, and how many of them
    /// were marked.
    pub fn pass(&mut self, ram: &GuestRam, marks: &Marks) -> io::Result<(u32, u32)> {
        let mut pass = Pass::new(ram, marks);
        let Some(Wire(roots)) = pass.read(ROOTS) else { return Ok((0, 0)) };
        for &root in roots.roots.iter().take(roots.count as usize) {
            pass.walk(root.page_start(), TOP);
        }
        self.wanted = self.wanted.wrapping_add(1);
        let wanted = GuestAddress(ROOTS.0 + offset_of!(Roots, wanted) as u64);
        ram.memory().write_obj(self.wanted, wanted).map_err(io::Error::other)?;
        Ok((pass.looked_at, pass.used))
    }
}

/// One look at all tables.
struct Pass<'a> {
    ram: &'a GuestRam,
    marks: &'a Marks,
    /// How many it may still read.
    tables: u32,
    looked_at: u32,
    used: u32,
}

impl<'a> Pass<'a> {
    const fn new(ram: &'a GuestRam, marks: &'a Marks) -> Self {
        let tables = ram.frames() / FRAMES_A_TABLE + SOME_TABLES;
        Self { ram, marks, tables, looked_at: 0, used: 0 }
    }

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
            } else if entry & LARGE != 0 && level < TOP {
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
        // A huge page costs as much as the tables that it saves.
        let Some(left) = self.tables.checked_sub(frames / ENTRIES as u32) else { return false };
        (self.tables, self.used) = (left, self.used + 1);
        let start = page.0 & !(u64::from(frames) * PAGE_SIZE as u64 - 1);
        (0..u64::from(frames)).for_each(|n| self.mark(Gpa(start + n * PAGE_SIZE as u64)));
        true
    }

    fn mark(&self, page: Gpa) {
        if let Some(frame) = self.ram.index_of(page) {
            self.marks.found(frame, false);
        }
    }

    /// A page of the guest's, if it is in guest RAM; it stays there while this thread reads it.
    fn read<T: ByteValued>(&self, page: Gpa) -> Option<T> {
        let frame = self.ram.index_of(page)?;
        self.marks.is_resident(frame).then(|| self.ram.memory().read_obj(GuestAddress(page.0)).ok())?
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{FrameIndex, Size};

    const USED: u64 = PRESENT | ACCESSED;

    /// Guest RAM of 4 MiB, all of it resident.
    struct Guest {
        ram: GuestRam,
        marks: Marks,
    }

    impl Guest {
        fn new() -> Self {
            let ram = GuestRam::new(Size::mib(4)).expect("a little memory");
            let marks = Marks::new(ram.frames());
            for frame in (0..ram.frames()).map(FrameIndex) {
                marks.arrive(frame, false, false);
                assert!(!marks.found(frame, false), "it was looked at since");
            }
            Self { ram, marks }
        }

        /// Puts an entry into a table; tables and pages are named by their frames.
        fn set(&self, table: u64, index: u64, entry: u64) {
            self.ram.memory().write_obj(entry, GuestAddress(table << 12 | index << 3)).expect("guest RAM");
        }

        /// Tables at 512, 513, 514 and 515, one a level, under one root.
        fn with_tables() -> Self {
            let guest = Self::new();
            (512..515).for_each(|table| guest.set(table, 1, (table + 1) << 12 | USED));
            guest.ram.memory().write_obj(1u32, GuestAddress(ROOTS.0 + 8)).expect("guest RAM");
            guest.ram.memory().write_obj(512u64 << 12, GuestAddress(ROOTS.0 + 16)).expect("guest RAM");
            guest
        }

        fn pass(&self) -> (u32, u32) {
            GuestTables::default().pass(&self.ram, &self.marks).expect("guest RAM")
        }

        fn is_used(&self, frame: u32) -> bool {
            self.marks.referenced(FrameIndex(frame))
        }
    }

    #[test]
    fn marked_pages_and_the_tables_above_them_are_used() {
        let guest = Guest::with_tables();
        guest.set(515, 7, 600 << 12 | USED);
        guest.set(515, 8, 601 << 12 | PRESENT);
        guest.set(515, 9, 602 << 12 | ACCESSED);
        assert_eq!(guest.pass(), (2, 1));
        assert!(guest.is_used(600) && (512..516).all(|table| guest.is_used(table)));
        assert!(!guest.is_used(601) && !guest.is_used(602), "not used, and not there");
    }

    #[test]
    fn a_huge_page_is_all_of_its_frames() {
        let guest = Guest::with_tables();
        guest.set(514, 1, USED | LARGE);
        assert_eq!(guest.pass(), (1, 1));
        assert!((0..512).all(|frame| guest.is_used(frame)) && !guest.is_used(516));
    }

    #[test]
    fn the_next_pass_waits_for_the_kernel() {
        let guest = Guest::with_tables();
        let mut tables = GuestTables::default();
        assert!(tables.are_swept(&guest.ram, &guest.marks));
        tables.pass(&guest.ram, &guest.marks).expect("guest RAM");
        assert!(!tables.are_swept(&guest.ram, &guest.marks));
        guest.ram.memory().write_obj(1u32, GuestAddress(ROOTS.0 + 4)).expect("guest RAM");
        assert!(tables.are_swept(&guest.ram, &guest.marks));
    }

    #[test]
    fn tables_that_are_out_of_ram_are_passed_over() {
        let guest = Guest::with_tables();
        guest.set(515, 7, 600 << 12 | USED);
        guest.marks.park(FrameIndex(514));
        assert_eq!(guest.pass(), (0, 0));
        guest.marks.park(guest.ram.index_of(ROOTS).expect("a frame of RAM"));
        assert!(!GuestTables::default().are_swept(&guest.ram, &guest.marks));
    }

    #[test]
    fn a_guest_that_lies_costs_a_bounded_time_and_reaches_nothing_outside_ram() {
        let guest = Guest::with_tables();
        // Every entry of the root leads to itself; then to far away.
        (0..512).for_each(|index| guest.set(512, index, 512 << 12 | USED));
        let (looked_at, _) = guest.pass();
        assert!(looked_at <= 512 * (1024 / FRAMES_A_TABLE + SOME_TABLES), "{looked_at}");
        (0..512).for_each(|index| guest.set(512, index, u64::MAX));
        guest.pass();
        (0..512).for_each(|index| guest.set(514, index, ADDRESS | USED | LARGE));
        (0..256).for_each(|index| guest.set(512, index, 513 << 12 | USED));
        guest.pass();
        guest.ram.memory().write_obj(u32::MAX, GuestAddress(ROOTS.0 + 8)).expect("guest RAM");
        (0..510).for_each(|n| guest.set(ROOTS.0 >> 12, 2 + n, u64::MAX - n));
        assert_eq!(guest.pass(), (0, 0));
    }
}
