//! Page tables: four levels, or as many as a file without a disk needs; each table a frame, walked through the direct map.

use abi::addr::{Gpa, Gva, PAGE_SIZE};
use core::convert::Infallible;
use core::ops::Range;

use super::frame::{FrameIndex, FrameTable, Use};
use super::page::Entry;
use crate::arch::direct;

/// First address past what a program can use; the last page below the canonical hole stays unmapped, so that no
/// `syscall` can return to a non-canonical address.
pub const USER_END: Gva = Gva(0x7fff_ffff_f000);
/// First address past those that the tables of the user half translate.
pub const USER_HALF_END: Gva = Gva(0x8000_0000_0000);
const ENTRIES: u64 = 512;
/// How much an entry of the last level's tables translates, times 512 a level.
const TOP: u32 = 3;

const fn span(level: u32) -> u64 {
    (PAGE_SIZE as u64) << (9 * level)
}

/// Where an entry is: its guest-physical address. Only walks make one, so it always lies in a page table; the kernel
/// forgets every reference to a table before it frees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct EntryRef(core::num::NonZeroU64);

impl EntryRef {
    #[inline]
    fn new(table: Gpa, level: u32, gva: Gva) -> Self {
        let at = table.0 | (gva.0 >> (12 + 9 * level) & (ENTRIES - 1)) << 3;
        // Frame 0 is never a table; the fallback is as wrong as any other address and never taken.
        Self(core::num::NonZeroU64::new(at).unwrap_or(core::num::NonZeroU64::MIN))
    }

    /// The number that lists of mappings keep.
    #[must_use]
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0.get()
    }

    /// The reverse of [`EntryRef::raw`]; `None` for 0.
    #[must_use]
    #[inline]
    pub(super) const fn from_raw(raw: u64) -> Option<Self> {
        match core::num::NonZeroU64::new(raw) {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }

    #[inline]
    fn pointer(self) -> *mut u64 {
        direct::pointer(Gpa(self.0.get()))
    }

    /// Reads the entry.
    #[must_use]
    #[inline]
    pub fn load(self) -> Entry {
        // SAFETY: it lies in a page table (see the type). Volatile because the CPU sets its marks there.
        Entry(unsafe { self.pointer().read_volatile() })
    }

    /// Writes the entry. Where the CPU may have seen the old one, the caller flushes it.
    #[inline]
    pub fn store(self, entry: Entry) {
        // SAFETY: as for `load`.
        unsafe { self.pointer().write_volatile(entry.0) };
    }

    /// The entry so many pages before, in the same table.
    #[must_use]
    pub fn before(self, pages: u32) -> Self {
        debug_assert!(Gpa(self.0.get()).page_offset() >= pages as usize * 8);
        self.0.get().checked_sub(u64::from(pages) * 8).and_then(Self::from_raw).unwrap_or(self)
    }

    /// The next page's entry; in the same table unless this is the last one.
    #[must_use]
    pub const fn after(self) -> Self {
        Self(self.0.saturating_add(8))
    }

    /// Adds to the number of tables that the table with this entry leads to. Returns how many there are now.
    fn count(self, frames: &mut FrameTable, change: i16) -> u16 {
        let frame = frames.at(Gpa(self.0.get()).page_start());
        match frames.get_mut(frame) {
            Use::Table { tables, .. } => {
                *tables = tables.wrapping_add_signed(change);
                *tables
            }
            other => unreachable!("an entry in a frame that holds {other:?}"),
        }
    }

    /// The address that the entry translates, by what the frame table knows of its table.
    #[must_use]
    pub fn gva(self, frames: &FrameTable) -> Gva {
        let at = Gpa(self.0.get());
        match frames.get(frames.at(at.page_start())) {
            Use::Table { base, .. } => base + (at.page_offset() as u64 / 8) * PAGE_SIZE as u64,
            other => unreachable!("an entry in a frame that holds {other:?}"),
        }
    }
}

/// A table that a walk did not find.
#[derive(Clone, Copy, Debug)]
pub struct Missing {
    /// The entry that should lead to it.
    parent: EntryRef,
    base: Gva,
    /// First address after those that it would translate.
    pub end: u64,
}

/// The page table of one address space, or of a file without a disk.
pub struct PageTable {
    root: Gpa,
    /// The root's level.
    top: u32,
}

impl PageTable {
    /// A table whose user half is empty and whose kernel half is `kernel`'s. `root` is all zeros.
    #[must_use]
    pub fn new(frames: &mut FrameTable, root: FrameIndex, kernel: Gpa) -> Self {
        *frames.get_mut(root) = Use::Table { base: Gva(0), tables: 0 };
        let root = frames.gpa(root);
        let entry = |table, slot: u64| EntryRef::new(table, TOP, Gva(slot * span(TOP)));
        // The direct map, from the start of the kernel's half on, and the image at its end.
        for slot in (ENTRIES / 2..ENTRIES - 1).take_while(|&slot| entry(kernel, slot).load().is_resident()) {
            entry(root, slot).store(entry(kernel, slot).load());
        }
        entry(root, ENTRIES - 1).store(entry(kernel, ENTRIES - 1).load());
        Self { root, top: TOP }
    }

    /// A table that no CPU uses and that grows with what it is to translate: one level to begin with. `root` is all zeros.
    #[must_use]
    pub fn small(frames: &mut FrameTable, root: FrameIndex) -> Self {
        *frames.get_mut(root) = Use::Table { base: Gva(0), tables: 0 };
        Self { root: frames.gpa(root), top: 0 }
    }

    /// Whether it has as many levels as an address needs.
    #[must_use]
    pub const fn reaches(&self, gva: Gva) -> bool {
        gva.0 < span(self.top + 1)
    }

    /// Adds a level on top, in a zeroed frame.
    pub fn grow(&mut self, frames: &mut FrameTable, root: FrameIndex) {
        *frames.get_mut(root) = Use::Table { base: Gva(0), tables: 1 };
        let root = frames.gpa(root);
        self.top += 1;
        EntryRef::new(root, self.top, Gva(0)).store(Entry::table(self.root));
        self.root = root;
    }

    /// The kernel's own table, whose user half stays empty.
    #[must_use]
    pub const fn of_kernel(root: Gpa) -> Self {
        Self { root, top: TOP }
    }

    /// What CR3 takes.
    #[must_use]
    pub const fn root(&self) -> Gpa {
        self.root
    }

    /// The entry for an address below [`USER_END`] that the table [reaches](Self::reaches).
    ///
    /// # Errors
    /// The first table on the way that does not exist.
    #[inline]
    pub fn find(&self, gva: Gva) -> Result<EntryRef, Missing> {
        let mut table = self.root;
        let mut level = self.top;
        while level > 0 {
            let parent = EntryRef::new(table, level, gva);
            let entry = parent.load();
            if !entry.is_resident() {
                let base = gva.0 & !(span(level) - 1);
                return Err(Missing { parent, base: Gva(base), end: base + span(level) });
            }
            table = entry.address();
            level -= 1;
        }
        Ok(EntryRef::new(table, 0, gva))
    }

    /// Puts a zeroed frame where a walk missed a table.
    pub fn add(&mut self, frames: &mut FrameTable, missing: Missing, table: FrameIndex) {
        *frames.get_mut(table) = Use::Table { base: missing.base, tables: 0 };
        missing.parent.count(frames, 1);
        missing.parent.store(Entry::table(frames.gpa(table)));
    }

    /// Calls `visit` for each page of a range that is not untouched.
    pub fn for_each(&self, range: Range<Gva>, mut visit: impl FnMut(Gva, EntryRef)) {
        let all: Result<(), Infallible> = self.try_for_each(range, |page, entry| {
            visit(page, entry);
            Ok(())
        });
        match all {
            Ok(()) => {}
        }
    }

    /// The same, until `visit` returns an error.
    ///
    /// # Errors
    /// What `visit` returned.
    pub fn try_for_each<E>(
        &self,
        range: Range<Gva>,
        mut visit: impl FnMut(Gva, EntryRef) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = range.start.0;
        let last = range.end.0.min(span(self.top + 1));
        while at < last {
            match self.find(Gva(at)) {
                Err(missing) => at = missing.end,
                Ok(first) => {
                    let end = last.min((at | (span(1) - 1)) + 1);
                    let pages = (end - at) / PAGE_SIZE as u64;
                    for n in 0..pages {
                        let entry = EntryRef(first.0.saturating_add(n * 8));
                        if entry.load() != Entry::UNTOUCHED {
                            visit(Gva(at + n * PAGE_SIZE as u64), entry)?;
                        }
                    }
                    at = end;
                }
            }
        }
        Ok(())
    }

    /// Frees the tables that translate something in `range` and nothing outside `hole`, all of whose pages are untouched, and the
    /// tables above that lead nowhere then.
    pub fn prune(&self, frames: &mut FrameTable, range: &Range<Gva>, hole: &Range<Gva>) {
        let mut at = range.start.0 & !(span(1) - 1);
        // The root is never freed here.
        let last = if self.top == 0 { 0 } else { range.end.0.min(span(self.top + 1)) };
        while at < last {
            let end = at + span(1);
            match self.find(Gva(at)) {
                Err(missing) => at = missing.end,
                Ok(first) => {
                    if at >= hole.start.0 && end <= hole.end.0 {
                        self.free_above(frames, Gva(at), first);
                    }
                    at = end;
                }
            }
        }
    }

    /// Frees the last level's table that an entry is in.
    fn free_above(&self, frames: &mut FrameTable, gva: Gva, entry: EntryRef) {
        let mut table = Gpa(entry.0.get()).page_start();
        for level in 1..=self.top {
            frames.free(frames.at(table));
            let parent = self.parent(gva, level);
            parent.store(Entry::UNTOUCHED);
            table = Gpa(parent.0.get()).page_start();
            if level == self.top || parent.count(frames, -1) > 0 {
                return;
            }
        }
    }

    /// The entry for an address at a level above the last; the tables above it are there.
    fn parent(&self, gva: Gva, level: u32) -> EntryRef {
        let above = (level + 1..=self.top).rev();
        let table = above.fold(self.root, |table, above| EntryRef::new(table, above, gva).load().address());
        EntryRef::new(table, level, gva)
    }

    /// Frees the root. All other tables are free, and the CPU does not use it.
    pub fn free(self, frames: &mut FrameTable) {
        frames.free(frames.at(self.root));
    }
}
