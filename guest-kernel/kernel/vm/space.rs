//! One address space: its areas, its page table, where its parts lie. Addresses are fixed: the same run, the same faults.

use core::ops::Range;

use abi::addr::{Gpa, Gva, PAGE_SIZE};

use super::area::{Area, AreaMap, Backing, Kind};
use super::page::Rights;
use super::table::{PageTable, USER_END};
use super::{Memory, OutOfMemory};

/// The stack starts here and grows down.
pub const STACK_TOP: Gva = Gva(0x7fff_ffff_f000);
/// How far the stack grows: RLIMIT_STACK's default.
pub const STACK_LIMIT: u64 = 8 << 20;
/// Room that stays free below a stack that grows (Linux: stack_guard_gap).
pub const STACK_GAP: u64 = 1 << 20;
/// Mappings are placed downwards from here.
pub const MAPPINGS_TOP: Gva = Gva(0x7fff_f7ff_f000);
/// No mapping below: a null pointer with an offset must fault (vm.mmap_min_addr).
pub const LOWEST: Gva = Gva(0x1_0000);
/// Where a position-independent program is loaded.
pub const PIE_BASE: Gva = Gva(0x5555_5555_4000);

/// An address space.
pub struct AddressSpace {
    /// The page table, which is the SPT too.
    pub table: PageTable,
    /// What may be used.
    pub areas: AreaMap,
    /// Where the heap starts and ends; brk moves its end.
    pub heap: Range<Gva>,
}

impl AddressSpace {
    /// An empty one with its stack area.
    ///
    /// # Errors
    /// There is no frame for the root table.
    pub fn new(memory: &mut Memory, kernel: Gpa) -> Result<Self, OutOfMemory> {
        let root = memory.allocate_zeroed()?;
        let table = PageTable::new(&mut memory.frames, root, kernel);
        let limit = (memory.frames.len() as usize / 4).clamp(64, 65_530);
        let mut areas = AreaMap::new(limit);
        areas.insert(Area {
            start: Gva(STACK_TOP.0 - PAGE_SIZE as u64),
            end: STACK_TOP,
            rights: Rights::new(true, true, false),
            kind: Kind::Stack,
            backing: Backing::Anonymous,
        });
        Ok(Self { table, areas, heap: LOWEST..LOWEST })
    }

    /// A page-aligned range of user addresses that starts at `start`; its length is rounded up to pages.
    #[must_use]
    pub fn range(start: Gva, bytes: u64) -> Option<Range<Gva>> {
        let bytes = bytes.checked_next_multiple_of(PAGE_SIZE as u64)?;
        let end = start.checked_add(bytes)?;
        (start.is_page_aligned() && end <= USER_END).then_some(start..end)
    }

    /// Lets the stack grow down to an address, as far as its limit and the gap to what lies below allow.
    pub(super) fn grow_stack(&mut self, gva: Gva) -> bool {
        let Some(area) = self.areas.next(gva) else { return false };
        let (Kind::Stack, start, end) = (area.kind, area.start, area.end) else { return false };
        let new = gva.page_start();
        if new < LOWEST || end - new > STACK_LIMIT {
            return false;
        }
        let below = Gva(new.0.saturating_sub(STACK_GAP))..start;
        if !self.areas.is_free(&below) {
            return false;
        }
        self.areas.grow_down(start, new);
        true
    }
}
