//! The working set: how many pages a process used in the last window of its own time (Denning, "The Working Set Model for Program
//! Behavior", CACM 1968).
//!
//! Its own time is that in which it runs and does not wait for pages: ticks without a fault. A process that thrashes has next to none,
//! and its window ends when it has brought in half as many pages as there is room for.
//!
//! What it used and still has in RAM, the entries' marks tell. What it used and lost again in the same window, they do not; but then it
//! brought in more pages than it used and kept. So the larger of the two numbers is the estimate, and never more than
//! it has.

use abi::addr::Gva;

use super::Memory;
use super::space::AddressSpace;
use super::table::USER_END;

/// A process's window, in ticks of its own time.
const WINDOW: u32 = 20;

/// What an address space knows of its working set.
#[derive(Clone, Copy, Default)]
pub struct WorkingSet {
    /// The last estimate, in pages; `None` until the first window is over.
    pub pages: Option<u32>,
    /// How much of its own time has passed in the window, in ticks.
    ticks: u32,
    /// Pages that came in since the window began, until the last tick, and until now.
    before: u32,
    brought_in: u32,
}

impl WorkingSet {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { pages: None, ticks: 0, before: 0, brought_in: 0 };

    /// A page came in.
    #[inline]
    pub fn count(&mut self) {
        self.brought_in += 1;
    }
}

impl Memory {
    /// A timer tick while a process runs. Returns whether there is a new estimate.
    pub fn pass_window(&mut self, space: &mut AddressSpace) -> bool {
        let room = u64::from(self.frames.free_frames()) + self.stats.resident;
        let set = &mut space.working_set;
        set.ticks += u32::from(set.brought_in == set.before);
        set.before = set.brought_in;
        if set.ticks < WINDOW && u64::from(set.brought_in) < room / 2 {
            return false;
        }
        let most = u32::try_from(self.size(space)).unwrap_or(u32::MAX);
        let pages = self.count_used(space).max(space.working_set.brought_in).min(most);
        space.working_set = WorkingSet { pages: Some(pages), ..WorkingSet::UNKNOWN };
        true
    }

    /// How many resident pages were used since this was last asked; forgets it.
    fn count_used(&mut self, space: &AddressSpace) -> u32 {
        let mut used = 0;
        let mut any_marked = false;
        space.table.for_each(Gva(0)..USER_END, |_, reference| {
            let entry = reference.load();
            if entry.is_resident() && entry.is_in_working_set() {
                any_marked |= entry.is_marked();
                reference.store(entry.not_in_working_set());
                used += 1;
            }
        });
        space.table.for_each_huge(Gva(0)..USER_END, |above| {
            let entry = above.entry.load();
            if entry.is_in_working_set() {
                any_marked |= entry.is_marked();
                above.entry.store(entry.not_in_working_set());
                used += super::huge::pages(above.level);
            }
        });
        if any_marked {
            space.table.flush();
        }
        used
    }
}
