//! Ghosts: pages that were evicted lately. One that comes back is a refault: with a better choice, or a little more memory, it
//! would not have gone (Linux's mm/workingset.c has the idea).
//!
//! The eviction clock counts evictions in parts of a sixth of the budget, and an evicted page's mark keeps the part in which it
//! went. So what lies between its going and its coming back, the refault distance, is known to a sixth, and a page is
//! forgotten after one budget of evictions, or up to a sixth more. A number of its own for each frame would cost 16 or 32 bits; this
//! takes bits that are idle while the page is out.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::marks::{Marks, Stamp};
use crate::measure::Counter;
use crate::memory::FrameIndex;

/// Parts of the clock that a budget of evictions takes.
const PARTS_A_BUDGET: u32 = 6;
/// How many distances are told apart: those parts, and the one that has just begun.
pub const DISTANCES: usize = Stamp::COUNT as usize;
const _: () = assert!(DISTANCES == PARTS_A_BUDGET as usize + 1);

/// The eviction clock, and what came back.
pub struct Ghosts {
    /// Evictions in a part.
    part: AtomicU32,
    /// Evictions in the current one, and all there were. Only the reclaim thread moves the clock.
    in_part: AtomicU32,
    evictions: Counter,
    /// The current part.
    now: AtomicU64,
    refaults: [Counter; DISTANCES],
}

impl Ghosts {
    /// None yet; the last `budget` are remembered.
    pub fn new(budget: u32) -> Self {
        Self {
            part: AtomicU32::new(part_of(budget)),
            in_part: AtomicU32::new(0),
            evictions: Counter::default(),
            now: AtomicU64::new(0),
            refaults: Default::default(),
        }
    }

    /// From now on so many are remembered.
    pub fn set_budget(&self, budget: u32) {
        self.part.store(part_of(budget), Ordering::Relaxed);
    }

    /// A page was evicted. Its frame is locked, or nobody else knows where the page is.
    pub fn evict(&self, marks: &Marks, frame: FrameIndex) {
        let now = self.now.load(Ordering::Relaxed);
        marks.evict(frame, Stamp::of(now));
        self.evictions.add(1);
        let in_part = self.in_part.load(Ordering::Relaxed) + 1;
        let is_full = in_part >= self.part.load(Ordering::Relaxed);
        self.in_part.store(if is_full { 0 } else { in_part }, Ordering::Relaxed);
        if is_full {
            // Those of the last time that the clock showed this are too old by now.
            marks.forget(Stamp::of(now + 1));
            self.now.store(now + 1, Ordering::Relaxed);
        }
    }

    /// How many pages were evicted so far.
    pub fn evictions(&self) -> u64 {
        self.evictions.get()
    }

    /// A page came in that was evicted at `stamp`.
    pub fn return_of(&self, stamp: Stamp) {
        self.refaults[stamp.age(self.now.load(Ordering::Relaxed))].add(1);
    }

    /// Refaults by how many parts had begun since the page went.
    pub fn refaults(&self) -> [u64; DISTANCES] {
        std::array::from_fn(|distance| self.refaults[distance].get())
    }
}

/// Evictions in a part.
fn part_of(budget: u32) -> u32 {
    budget.div_ceil(PARTS_A_BUDGET).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evicts frames 0 to `between` - 1 and says at which distance the first comes back.
    fn distance(budget: u32, between: u32) -> Option<usize> {
        let (marks, ghosts) = (Marks::new(between), Ghosts::new(budget));
        (0..between).for_each(|frame| ghosts.evict(&marks, FrameIndex(frame)));
        ghosts.return_of(marks.arrive(FrameIndex(0), false, false)?);
        ghosts.refaults().iter().position(|&count| count == 1)
    }

    #[test]
    fn the_distance_of_a_refault_is_known_to_a_sixth_of_the_budget() {
        assert_eq!(distance(600, 1), Some(0));
        assert_eq!(distance(600, 250), Some(2));
        assert_eq!(distance(600, 599), Some(5));
    }

    #[test]
    fn a_changed_budget_changes_what_is_remembered() {
        let (marks, ghosts) = (Marks::new(1000), Ghosts::new(600));
        ghosts.set_budget(6000);
        (0..1000).for_each(|frame| ghosts.evict(&marks, FrameIndex(frame)));
        assert_eq!(ghosts.evictions(), 1000);
        assert!(marks.arrive(FrameIndex(0), false, false).is_some(), "within the larger budget");
        ghosts.set_budget(60);
        (0..100).for_each(|frame| ghosts.evict(&marks, FrameIndex(500 + frame)));
        assert!(marks.arrive(FrameIndex(1), false, false).is_none(), "not within the smaller one");
    }

    #[test]
    fn a_page_is_forgotten_after_a_budget_of_evictions_and_a_sixth() {
        assert_eq!(distance(600, 601), Some(6));
        assert_eq!(distance(600, 700), None);
        assert_eq!(distance(6, 600), None);
    }
}
