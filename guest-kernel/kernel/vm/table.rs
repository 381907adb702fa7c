//! Page tables: four levels, each table a frame, walked through the direct map.

use abi::addr::{Gpa, Gva, PAGE_SIZE};
use core::convert::Infallible;
use core::ops::Range;

use super::frame::{FrameIndex, FrameTable, Use};
use super::page::Entry;
use crate::arch::direct;

/// First address past what a program can use; the last page below the canonical hole stays unmapped, so that no
/// `syscall` can return to a non-canonical address.
pub const USER_END: Gva = Gva(0x7fff_ffff_f000);
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

    /// The address that the entry translates, by what the frame table knows of its table.
    #[must_use]
    pub fn gva(self, frames: &FrameTable) -> Gva {
        let at = Gpa(self.0.get());
        match frames.get(frames.at(at.page_start())) {
            Use::Table { base } => base + (at.page_offset() as u64 / 8) * PAGE_SIZE as u64,
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

/// The page table of one address space.
pub struct PageTable {
    root: Gpa,
}

impl PageTable {
    /// A table whose user half is empty and whose kernel half is `kernel`'s. `root` is all zeros.
    #[must_use]
    pub fn new(frames: &mut FrameTable, root: FrameIndex, kernel: Gpa) -> Self {
        *frames.get_mut(root) = Use::Table { base: Gva(0) };
        let root = frames.gpa(root);
        for gva in (ENTRIES / 2..ENTRIES).map(|slot| Gva(slot * span(TOP))) {
            let entry = EntryRef::new(kernel, TOP, gva).load();
            if entry != Entry::UNTOUCHED {
                EntryRef::new(root, TOP, gva).store(entry);
            }
        }
        Self { root }
    }

    /// What CR3 takes.
    #[must_use]
    pub const fn root(&self) -> Gpa {
        self.root
    }

    /// The entry for an address below [`USER_END`].
    ///
    /// # Errors
    /// The first table on the way that does not exist.
    #[inline]
    pub fn find(&self, gva: Gva) -> Result<EntryRef, Missing> {
        let mut table = self.root;
        let mut level = TOP;
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
        *frames.get_mut(table) = Use::Table { base: missing.base };
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
        while at < range.end.0 {
            match self.find(Gva(at)) {
                Err(missing) => at = missing.end,
                Ok(first) => {
                    let end = range.end.0.min((at | (span(1) - 1)) + 1);
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

    /// Frees every table. All pages are untouched, and the CPU does not use them.
    pub fn free(mut self, frames: &mut FrameTable) {
        self.prune(frames, Gva(0)..USER_END, Gva(0)..Gva(span(TOP + 1)));
        frames.free(frames.at(self.root));
    }

    /// Frees the tables in `range` that translate nothing outside `hole`, all of whose pages are untouched.
    pub fn prune(&mut self, frames: &mut FrameTable, range: Range<Gva>, hole: Range<Gva>) {
        prune(frames, self.root, TOP, range, &hole);
    }
}

fn prune(frames: &mut FrameTable, table: Gpa, level: u32, range: Range<Gva>, hole: &Range<Gva>) {
    let mut at = range.start.0;
    while at < range.end.0 {
        let parent = EntryRef::new(table, level, Gva(at));
        let start = at & !(span(level) - 1);
        let end = start + span(level);
        let entry = parent.load();
        if entry.is_resident() {
            if level > 1 {
                prune(frames, entry.address(), level - 1, Gva(at)..Gva(end.min(range.end.0)), hole);
            }
            if start >= hole.start.0 && end <= hole.end.0 {
                parent.store(Entry::UNTOUCHED);
                frames.free(frames.at(entry.address()));
            }
        }
        at = end;
    }
}
