//! One address space: its areas, its page table, where its parts lie. Addresses are fixed: the same run, the same faults.

use core::ops::Range;

use abi::addr::{Gpa, Gva, PAGE_SIZE};

use super::area::{Area, AreaMap, Kind, LOWEST, PageSize};
use super::page::Rights;
use super::scope::Scope;
use super::table::{EntryRef, PageTable, USER_END};
use super::working_set::WorkingSet;
use super::{Memory, OutOfMemory};

/// The stack starts here and grows down.
pub const STACK_TOP: Gva = Gva(0x7fff_ffff_f000);
/// Mappings are placed downwards from here.
pub const MAPPINGS_TOP: Gva = Gva(0x7fff_f7ff_f000);
/// Where a position-independent program is loaded.
pub const PIE_BASE: Gva = Gva(0x5555_5555_4000);

/// Where the interpreter of a dynamic program is loaded: between the mappings and the stack.
pub const INTERPRETER_BASE: Gva = Gva(0x7fff_f7ff_f000);

/// One area may be used for so many frames of RAM: the kernel's memory is bounded, and so must be what programs make it keep.
const FRAMES_AN_AREA: usize = 16;

/// An address space.
pub struct AddressSpace {
    /// The page table, which is the SPT too.
    pub table: PageTable,
    /// What may be used.
    pub areas: AreaMap,
    /// Where the heap starts and ends; brk moves its end.
    pub heap: Range<Gva>,
    /// A number that no other address space has had.
    pub number: u32,
    /// How many processes use it.
    pub users: u32,
    /// Where its anonymous pages are replaced.
    pub scope: Scope,
    /// How many bytes it may have mapped.
    pub limit: u64,
    /// When it last ran, in ticks.
    pub last_run: u64,
    /// How much of it is in use.
    pub working_set: WorkingSet,
    /// Areas that come are locked.
    pub locks_all: bool,
    /// Small pages may become huge ones.
    pub promotes: bool,
    /// Where to look for some next.
    pub promote_at: Gva,
}

impl AddressSpace {
    /// An empty one with its stack area.
    ///
    /// # Errors
    /// There is no frame for the root table.
    pub fn new(memory: &mut Memory, kernel: Gpa) -> Result<Self, OutOfMemory> {
        let table = new_table(memory, kernel)?;
        let limit = (memory.frames.len() as usize / FRAMES_AN_AREA).clamp(256, 65_530);
        let mut areas = AreaMap::new(limit);
        let first = Gva(STACK_TOP.0 - PAGE_SIZE as u64)..STACK_TOP;
        let stack = Area::anonymous(first, Rights::new(true, true, false));
        areas.insert(Area { kind: Kind::Stack, size: PageSize::Small, ..stack });
        let promotes = memory.largest > 0;
        memory.spaces += 1;
        Ok(Self { promotes, number: memory.spaces, ..Self::with(table, areas) })
    }

    /// One with the same areas, none of them locked, and no page.
    ///
    /// # Errors
    /// There is no frame for the root table.
    pub fn copy_of(memory: &mut Memory, other: &Self) -> Result<Self, OutOfMemory> {
        let mut areas = other.areas.try_clone().map_err(|_| OutOfMemory)?;
        if areas.all().iter().any(|area| area.locked) {
            // A child does not inherit locks.
            areas.change(&(LOWEST..USER_END), |area| area.locked = false);
        }
        let table = new_table(memory, other.table.root())?;
        let (heap, promotes, limit) = (other.heap.clone(), other.promotes, other.limit);
        memory.spaces += 1;
        Ok(Self { heap, promotes, limit, number: memory.spaces, ..Self::with(table, areas) })
    }

    /// What runs the kernel between the end of a process and the next one: no user, no areas, and the kernel's own table.
    #[must_use]
    pub fn without_pages(kernel: Gpa) -> Self {
        Self { users: 0, ..Self::with(PageTable::of_kernel(kernel), AreaMap::new(0)) }
    }

    const fn with(table: PageTable, areas: AreaMap) -> Self {
        let heap = LOWEST..LOWEST;
        Self {
            table,
            areas,
            heap,
            number: 0,
            users: 1,
            scope: Scope::GLOBAL,
            limit: u64::MAX,
            last_run: 0,
            working_set: WorkingSet::UNKNOWN,
            locks_all: false,
            promotes: false,
            promote_at: Gva(0),
        }
    }

    /// Whether it may have so many bytes more mapped.
    #[must_use]
    pub fn may_map(&self, bytes: u64) -> bool {
        let mapped = |area: &Area| area.end - area.start;
        self.limit == u64::MAX
            || self.areas.all().iter().map(mapped).sum::<u64>().saturating_add(bytes) <= self.limit
    }

    /// Takes the CPU's marks of use away, from the page at `from` on and of at most `most` pages.
    ///
    /// # Errors
    /// There are more: the page to go on with.
    pub fn take_marks(&self, from: Gva, most: u32) -> Result<(), Gva> {
        let (mut left, mut any_marked) = (most, false);
        let mut take = |entry: EntryRef| {
            let old = entry.load();
            any_marked |= old.is_marked();
            if old.is_marked() {
                entry.store(old.not_marked());
            }
        };
        if from == Gva(0) {
            self.table.for_each_huge(from..USER_END, |above| take(above.entry));
        }
        let all = self.table.try_for_each(from..USER_END, |page, entry| {
            left = left.checked_sub(1).ok_or(page)?;
            take(entry);
            Ok(())
        });
        if any_marked {
            self.table.flush();
        }
        all
    }

    /// A page-aligned range of user addresses that starts at `start`; its length is rounded up to pages.
    #[must_use]
    pub fn range(start: Gva, bytes: u64) -> Option<Range<Gva>> {
        let bytes = bytes.checked_next_multiple_of(PAGE_SIZE as u64)?;
        let end = start.checked_add(bytes)?;
        (start.is_page_aligned() && end <= USER_END).then_some(start..end)
    }
}

fn new_table(memory: &mut Memory, kernel: Gpa) -> Result<PageTable, OutOfMemory> {
    let root = memory.allocate_zeroed()?;
    memory.stats.kernel_frames += 1;
    Ok(PageTable::new(&mut memory.frames, root, kernel))
}
