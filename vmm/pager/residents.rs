//! The residents: the pages that may be evicted, and the policy that chooses among them.
//!
//! A policy's tables have an entry for each page that it may hold. The host's pages are few of guest RAM's, so a page that comes in
//! gets a *cell*, the lowest that is free, and the policy goes by cells instead of frames. There are as many cells as frames, since the
//! budget may grow to that, but no table is written before its cell is used: together they take what the most pages that were in at a time
//! need. Nobody looks for the cell of a frame, because pages leave as victims only.
//!
//! A victim that is wired stays, and leaves the policy without being evicted (`wired`).

use std::ops::Range;

use paging::policy::{AnyPolicy, PageKey, Pages, Policy, PolicyKind};

use super::marks::Marks;
use super::packed::Packed;
use super::wired::Wired;
use crate::memory::FrameIndex;

/// The pages, by cell.
#[derive(Debug)]
pub struct Residents {
    policy: AnyPolicy,
    /// The frame of each cell that is in use. A free cell has the next free one here, and the last of them itself.
    frames: Packed,
    /// The first of the free cells that were in use before.
    free: Option<u32>,
    /// From here on no cell was ever used.
    used: u32,
    wired: Wired,
}

/// What the policy asks of a cell, as the marks know it of a frame.
struct ByCell<'a> {
    frames: &'a Packed,
    marks: &'a Marks,
}

impl Pages for ByCell<'_> {
    fn referenced(&mut self, cell: u32) -> bool {
        self.marks.referenced(FrameIndex(self.frames.get(cell)))
    }

    fn is_dirty(&mut self, cell: u32) -> bool {
        self.marks.is_dirty(FrameIndex(self.frames.get(cell)))
    }
}

impl Residents {
    /// None yet, of guest RAM of so many frames, with a budget of so many.
    pub fn new(policy: PolicyKind, frames: u32, budget: u32) -> Self {
        let policy = AnyPolicy::new(policy, frames);
        Self { policy, frames: Packed::new(frames, frames), free: None, used: 0, wired: Wired::new(budget) }
    }

    /// From now on these frames are wired.
    pub const fn wire(&mut self, frames: Range<u32>) {
        self.wired.set(frames);
    }

    /// The budget is another one.
    pub fn set_budget(&mut self, budget: u32) {
        self.wired.set_budget(budget).into_iter().for_each(|frame| self.insert(frame));
    }

    /// From now on the frame's page may be evicted. It is not among the residents yet.
    pub fn insert(&mut self, frame: FrameIndex) {
        let cell = self.take_cell();
        self.frames.set(cell, frame.0);
        self.policy.insert_page(cell, PageKey(frame.0.into()));
    }

    fn take_cell(&mut self) -> u32 {
        let Some(cell) = self.free else {
            self.used += 1;
            return self.used - 1;
        };
        let next = self.frames.get(cell);
        self.free = (next != cell).then_some(next);
        cell
    }

    /// Chooses a victim and takes it out; `None` when there is none.
    pub fn victim(&mut self, marks: &Marks) -> Option<FrameIndex> {
        loop {
            let victim = self.choose(marks)?;
            if !self.wired.keeps(victim) {
                return Some(victim);
            }
        }
    }

    fn choose(&mut self, marks: &Marks) -> Option<FrameIndex> {
        let cell = self.policy.victim(&mut ByCell { frames: &self.frames, marks })?;
        let frame = self.frames.get(cell);
        self.frames.set(cell, self.free.unwrap_or(cell));
        self.free = Some(cell);
        Some(FrameIndex(frame))
    }

    /// Virtual time passes.
    pub fn tick(&mut self, marks: &Marks) {
        self.policy.tick(&mut ByCell { frames: &self.frames, marks });
    }

    /// The policy that chooses.
    pub const fn policy(&self) -> PolicyKind {
        self.policy.kind()
    }

    /// What the tables take.
    pub const fn bytes(&self) -> usize {
        self.policy.bytes(self.used) + self.frames.bytes(self.used) + self.wired.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const FRAMES: u32 = 40;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u32),
        Use(u32),
        Victim,
        Tick,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..FRAMES).prop_map(Step::Insert),
            2 => (0..FRAMES).prop_map(Step::Use),
            4 => Just(Step::Victim),
            1 => Just(Step::Tick),
        ]
    }

    proptest! {
        #[test]
        fn each_page_that_came_in_leaves_once_and_only_the_lowest_cells_are_used(
            steps in prop::collection::vec(step(), 0..300),
        ) {
            for kind in PolicyKind::ALL {
                let (mut residents, marks) = (Residents::new(kind, FRAMES, FRAMES), Marks::new(FRAMES));
                let (mut held, mut most) = (BTreeSet::new(), 0);
                for step in &steps {
                    match *step {
                        Step::Insert(frame) if held.insert(frame) => {
                            marks.arrive(FrameIndex(frame), false, false);
                            residents.insert(FrameIndex(frame));
                        }
                        Step::Insert(_) => {}
                        Step::Use(frame) => marks.written(FrameIndex(frame)),
                        Step::Victim => match residents.victim(&marks) {
                            Some(victim) => prop_assert!(held.remove(&victim.0), "{kind}: {victim:?} is not in"),
                            None => prop_assert!(held.is_empty(), "{kind}: {held:?} are in"),
                        },
                        Step::Tick => residents.tick(&marks),
                    }
                    most = most.max(held.len());
                }
                prop_assert_eq!(residents.used as usize, most);
                while let Some(victim) = residents.victim(&marks) {
                    prop_assert!(held.remove(&victim.0), "{}: {:?} is not in", kind, victim);
                }
                prop_assert!(held.is_empty(), "{}: {:?} never left", kind, held);
            }
        }
    }

    #[test]
    fn a_wired_page_stays_and_comes_back_to_the_policy_when_the_budget_is_too_small_for_it() {
        const WIRED: Range<u32> = 10..13;
        for kind in PolicyKind::ALL {
            let (mut residents, marks) = (Residents::new(kind, FRAMES, 24), Marks::new(FRAMES));
            residents.wire(WIRED);
            for frame in (0..FRAMES).map(FrameIndex) {
                marks.arrive(frame, false, false);
                residents.insert(frame);
            }
            let victims = |residents: &mut Residents| -> BTreeSet<u32> {
                std::iter::from_fn(|| residents.victim(&marks)).map(|frame| frame.0).collect()
            };
            assert_eq!(
                victims(&mut residents),
                (0..FRAMES).filter(|frame| !WIRED.contains(frame)).collect(),
                "{kind}"
            );
            residents.set_budget(24);
            assert!(victims(&mut residents).is_empty(), "{kind}: there is room for three");
            residents.set_budget(23);
            assert_eq!(victims(&mut residents), WIRED.collect(), "{kind}");
        }
    }
}
