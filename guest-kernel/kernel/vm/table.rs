//! Page tables: four levels, or as many as a file without a disk needs; each table a frame, walked through the direct map.

use abi::addr::{Gpa, Gva, PAGE_SIZE};
use core::convert::Infallible;
use core::ops::Range;

use super::frame::{FrameIndex, FrameTable, Use};
use super::page::Entry;
use crate::arch::direct;
use crate::arch::tlb::{self, Tag};

/// First address past what a program can use; the last page below the canonical hole stays unmapped, so that no
/// `syscall` can return to a non-canonical address.
pub const USER_END: Gva = Gva(0x7fff_ffff_f000);
/// First address past those that the tables of the user half translate.
pub const USER_HALF_END: Gva = Gva(0x8000_0000_0000);
const ENTRIES: u64 = 512;
/// How much an entry of the last level's tables translates, times 512 a level.
const TOP: u32 = 3;

/// How much an entry of a level translates.
#[must_use]
pub const fn span(level: u32) -> u64 {
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

    /// The first address that an entry of a level translates, and in whose TLB entries, by what the frame table knows of its table.
    #[must_use]
    pub fn place(self, frames: &FrameTable, level: u32) -> (Gva, Tag) {
        let at = Gpa(self.0.get());
        match frames.get(frames.at(at.page_start())) {
            Use::Table { base, tag, .. } => (base + (at.page_offset() as u64 / 8) * span(level), tag),
            other => unreachable!("an entry in a frame that holds {other:?}"),
        }
    }

    /// Makes the CPU forget what it knows of an entry of a level, whichever address space it is in.
    pub fn flush(self, frames: &FrameTable, level: u32) {
        let (gva, tag) = self.place(frames, level);
        tag.flush_page(gva);
    }
}

/// Where a walk ended above the last level: at a table that does not exist, or at a huge page.
#[derive(Clone, Copy, Debug)]
pub struct Above {
    /// The entry that should lead to the table, or maps the page.
    pub entry: EntryRef,
    /// Its level.
    pub level: u32,
    /// First address that it translates.
    pub base: Gva,
    /// First address after those.
    pub end: u64,
}

impl Above {
    /// Whether it is a huge page.
    #[must_use]
    pub fn is_huge(&self) -> bool {
        self.entry.load().is_resident()
    }

    /// The address of the page in a huge page that holds an address.
    #[must_use]
    pub fn frame(&self, gva: Gva) -> Gpa {
        self.entry.load().address() + (gva.page_start() - self.base)
    }
}

/// Puts a table with the parts of a huge page in its place; `each` has every part.
pub fn split(
    frames: &mut FrameTable,
    huge: Above,
    table: FrameIndex,
    mut each: impl FnMut(&mut FrameTable, FrameIndex, EntryRef),
) {
    let tables = if huge.level == 1 { 0 } else { ENTRIES as u16 };
    *frames.get_mut(table) =
        Use::Table { base: huge.base, tables, tag: huge.entry.place(frames, huge.level).1 };
    let whole = huge.entry.load();
    let at = frames.gpa(table);
    for part in 0..ENTRIES {
        let gpa = whole.address() + part * span(huge.level - 1);
        let entry = EntryRef::new(at, 0, Gva(part * span(0)));
        entry.store(whole.part(gpa, huge.level));
        each(frames, frames.at(gpa), entry);
    }
    huge.entry.store(Entry::table(at));
}

/// The page table of one address space, or of a file without a disk.
pub struct PageTable {
    root: Gpa,
    /// The root's level.
    top: u32,
    /// What the TLB calls the address space.
    tag: Tag,
    /// It had a huge page once.
    has_huge: bool,
}

impl PageTable {
    /// A table whose user half is empty and whose kernel half is `kernel`'s. `root` is all zeros.
    #[must_use]
    pub fn new(frames: &mut FrameTable, root: FrameIndex, kernel: Gpa) -> Self {
        let tag = Tag::take();
        *frames.get_mut(root) = Use::Table { base: Gva(0), tables: 0, tag };
        let root = frames.gpa(root);
        let entry = |table, slot: u64| EntryRef::new(table, TOP, Gva(slot * span(TOP)));
        // The direct map, from the start of the kernel's half on, and the image at its end.
        for slot in (ENTRIES / 2..ENTRIES - 1).take_while(|&slot| entry(kernel, slot).load().is_resident()) {
            entry(root, slot).store(entry(kernel, slot).load());
        }
        entry(root, ENTRIES - 1).store(entry(kernel, ENTRIES - 1).load());
        Self { root, top: TOP, tag, has_huge: false }
    }

    /// A table that no CPU uses and that grows with what it is to translate: one level to begin with. `root` is all zeros.
    #[must_use]
    pub fn small(frames: &mut FrameTable, root: FrameIndex) -> Self {
        *frames.get_mut(root) = Use::Table { base: Gva(0), tables: 0, tag: Tag::NONE };
        Self { root: frames.gpa(root), top: 0, tag: Tag::NONE, has_huge: false }
    }

    /// Whether it has as many levels as an address needs.
    #[must_use]
    pub const fn reaches(&self, gva: Gva) -> bool {
        gva.0 < span(self.top + 1)
    }

    /// Adds a level on top, in a zeroed frame.
    pub fn grow(&mut self, frames: &mut FrameTable, root: FrameIndex) {
        *frames.get_mut(root) = Use::Table { base: Gva(0), tables: 1, tag: self.tag };
        let root = frames.gpa(root);
        self.top += 1;
        EntryRef::new(root, self.top, Gva(0)).store(Entry::table(self.root));
        self.root = root;
    }

    /// The kernel's own table, whose user half stays empty.
    #[must_use]
    pub const fn of_kernel(root: Gpa) -> Self {
        Self { root, top: TOP, tag: Tag::NONE, has_huge: false }
    }

    /// Makes the CPU forget all that it knows of it.
    pub fn flush(&self) {
        self.tag.flush();
    }

    /// Where its root is.
    #[must_use]
    pub const fn root(&self) -> Gpa {
        self.root
    }

    /// Makes the CPU use it.
    ///
    /// # Safety
    /// It has the kernel's half.
    pub unsafe fn load(&self) {
        // SAFETY: the caller vouches for it.
        unsafe { tlb::load(self.root, self.tag) };
    }

    /// The entry for an address below [`USER_END`] that the table [reaches](Self::reaches).
    ///
    /// # Errors
    /// The first table on the way that does not exist, or the huge page.
    #[inline]
    pub fn find(&self, gva: Gva) -> Result<EntryRef, Above> {
        let mut table = self.root;
        let mut level = self.top;
        while level > 0 {
            let parent = EntryRef::new(table, level, gva);
            let entry = parent.load();
            if !entry.is_table() {
                let base = gva.0 & !(span(level) - 1);
                return Err(Above { entry: parent, level, base: Gva(base), end: base + span(level) });
            }
            table = entry.address();
            level -= 1;
        }
        Ok(EntryRef::new(table, 0, gva))
    }

    /// Puts a zeroed frame where a walk missed a table.
    pub fn add(&mut self, frames: &mut FrameTable, missing: Above, table: FrameIndex) {
        *frames.get_mut(table) = Use::Table { base: missing.base, tables: 0, tag: self.tag };
        missing.entry.count(frames, 1);
        missing.entry.store(Entry::table(frames.gpa(table)));
    }

    /// Maps a huge page where a walk missed a table.
    pub fn add_huge(&mut self, frames: &mut FrameTable, missing: Above, entry: Entry) {
        self.has_huge = true;
        missing.entry.count(frames, 1);
        missing.entry.store(entry);
    }

    /// Puts a huge page in the place of the last level's table for an address. Returns its entry, and the table, which is nobody's then.
    pub fn join(&mut self, frames: &FrameTable, gva: Gva, huge: Entry) -> (EntryRef, FrameIndex) {
        self.has_huge = true;
        let entry = self.parent(gva, 1);
        let table = frames.at(entry.load().address());
        entry.store(huge);
        (entry, table)
    }

    /// Whether there may be a huge page.
    #[must_use]
    pub const fn has_huge(&self) -> bool {
        self.has_huge
    }

    /// Calls `visit` for each huge page that holds a part of a range.
    pub fn for_each_huge(&self, range: Range<Gva>, mut visit: impl FnMut(Above)) {
        let mut at = range.start.0;
        let last = if self.has_huge { range.end.0.min(span(self.top + 1)) } else { 0 };
        while at < last {
            at = match self.find(Gva(at)) {
                Ok(_) => (at | (span(1) - 1)) + 1,
                Err(above) => {
                    if above.is_huge() {
                        visit(above);
                    }
                    above.end
                }
            }
        }
    }

    /// Calls `visit` for each small page of a range that is not untouched.
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
                Err(above) => at = above.end,
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
                Err(above) => at = above.end,
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
        frames.free(frames.at(Gpa(entry.0.get()).page_start()));
        self.clear(frames, gva, 1);
    }

    /// Clears the entry above the last level for an address, and frees the tables that lead nowhere then.
    pub fn clear(&self, frames: &mut FrameTable, gva: Gva, from: u32) {
        for level in from..=self.top {
            let parent = self.parent(gva, level);
            parent.store(Entry::UNTOUCHED);
            if level == self.top || parent.count(frames, -1) > 0 {
                return;
            }
            frames.free(frames.at(Gpa(parent.0.get()).page_start()));
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
        self.tag.free();
        frames.free(frames.at(self.root));
    }
}
