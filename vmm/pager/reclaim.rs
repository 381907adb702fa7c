//! The reclaim thread: makes room before it is needed.
//!
//! Two hands, as in 3BSD (Babaoglu and Joy, "Converting a Swap-Based System to do Paging in an Architecture Lacking
//! Page-Referenced Bits", 1981), because the host does not see accessed bits that it could test cheaply:
//!
//! - the front hand asks the policy for victims and parks them in the staging area: out of the guest's
//!   sight, but still in memory;
//! - the back hand follows at a distance, the spread, and takes what is still parked to the store.
//!
//! A page that is touched in between is rescued by the fault thread, at the price of a soft fault, and counts as
//! referenced when the policy next comes by. A page that was only brought in does not: that says that it was used
//! once, which is true of every page. Fifo asks for no references, so its spread is none.

use std::collections::VecDeque;

use abi::addr::PAGE_SIZE;
use paging::policy::{Policy, PolicyKind};

use super::frames::FrameState;
use super::staging::Berth;
use super::uffd::Outcome;
use super::{PagerError, Shared};
use crate::memory::FrameIndex;
use crate::store::{Fingerprint, PageBytes, Slot};

/// Most pages that a hand takes at once: a write large enough to keep a disk busy, small enough to be over soon.
pub const MAX_BATCH: u32 = 32;

/// How far the hands are apart, and how many pages each takes at once.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    spread: u32,
    batch: u32,
}

impl Spread {
    /// For a policy, a budget in frames, and how many are in use: more than the budget, when it was lowered.
    pub fn new(policy: PolicyKind, budget: u32, used: u32) -> Self {
        let spread = if policy.asks_for_references() { budget / 8 } else { 0 };
        Self { spread, batch: (budget.max(used) / 16).clamp(1, MAX_BATCH) }
    }

    /// How many berths that takes.
    pub const fn berths(self) -> u32 {
        self.spread + self.batch
    }
}

/// A page on its way to the store.
struct Leaving {
    frame: FrameIndex,
    berth: Berth,
    /// The slot that its frame had; ours since the page is being written.
    slot: Option<Slot>,
    fingerprint: Fingerprint,
}

/// The thread's own state.
pub struct Reclaim<'a> {
    shared: &'a Shared,
    policy: PolicyKind,
    /// By the budget as it is now.
    hands: Spread,
    /// Between the hands, oldest first: berths in the order of the staging area, going round. A page that
    /// was rescued keeps its entry until the back hand comes by.
    parked: VecDeque<(Berth, FrameIndex)>,
    next: u32,
}

impl<'a> Reclaim<'a> {
    /// Nothing is parked yet.
    pub fn new(shared: &'a Shared, policy: PolicyKind) -> Self {
        let hands = Spread::new(policy, shared.room.budget(), 0);
        let parked = VecDeque::with_capacity(hands.berths() as usize);
        Self { shared, policy, hands, parked, next: 0 }
    }

    /// Makes room whenever it runs short, until the pager stops or a page cannot be written.
    pub fn run(mut self) {
        while self.shared.room.wait_until_short() {
            while !self.shared.room.is_ample() {
                if let Err(error) = self.turn() {
                    self.shared.fail(error);
                    return;
                }
            }
        }
    }

    /// Moves both hands on by a batch.
    fn turn(&mut self) -> Result<(), PagerError> {
        let room = &self.shared.room;
        self.hands = Spread::new(self.policy, room.budget(), room.used_and_peak().0);
        let (spread, batch) = (self.hands.spread as usize, self.hands.batch as usize);
        // More than that is between the hands when the budget was lowered. Then the back hand goes on alone.
        let parked = if self.parked.len() <= spread { self.park()? } else { 0 };
        let due = if parked > 0 {
            self.parked.len().saturating_sub(spread)
        } else {
            // Or there are no victims: most pages are parked already, so the back hand catches up.
            batch
        };
        let freed = self.write_out(due.min(self.parked.len()))?;
        if parked == 0 && freed == 0 {
            self.shared.room.pause();
        }
        Ok(())
    }

    /// The front hand: parks up to a batch of victims and returns how many there were.
    fn park(&mut self) -> Result<u32, PagerError> {
        let mut victims = self.choose();
        victims.sort_unstable();
        let (mut parked, mut rest) = (0, &victims[..]);
        while let Some(&frame) = rest.first() {
            let run = self.run_of(rest);
            match self.park_run(&rest[..run]) {
                Ok(taken) => {
                    parked += taken;
                    rest = &rest[taken as usize..];
                }
                // A device is writing to it. It cannot go now, and is asked again in its turn.
                Err(Outcome::Busy | Outcome::Again) => {
                    self.shared.counters.refused.add(1);
                    self.shared.policy.lock().insert(frame.0);
                    rest = &rest[1..];
                }
                Err(outcome) => return Err(PagerError::Refused { frame, outcome }),
            }
        }
        Ok(parked)
    }

    fn choose(&self) -> Vec<FrameIndex> {
        let mut policy = self.shared.policy.lock();
        let mut victim =
            || policy.victim(&mut |frame| self.shared.references.test_and_clear(FrameIndex(frame)));
        (0..self.hands.batch).map_while(|_| victim()).map(FrameIndex).collect()
    }

    /// How many victims, from the first on, are neighbours in guest RAM and get neighbouring berths: these can
    /// be moved in one go.
    fn run_of(&self, victims: &[FrameIndex]) -> usize {
        let berths = (self.shared.staging.berths() - self.next) as usize;
        let page = |frame| self.shared.ram.hva(frame).map(|page| page.0);
        let next = |frame| page(frame).map(|page| page + PAGE_SIZE as u64);
        let run = victims.windows(2).take_while(|pair| next(pair[0]) == page(pair[1])).count() + 1;
        run.min(berths)
    }

    /// Parks some of a run, at least one, and returns how many. Only this thread ever locks more than one frame, so nobody
    /// else's locks can close a circle; neighbours are in different shards, so neither can its own.
    fn park_run(&mut self, run: &[FrameIndex]) -> Result<u32, Outcome> {
        let shared = self.shared;
        let mut guards: Vec<_> = run.iter().map(|&frame| shared.frames.lock(frame)).collect();
        let first = Berth(self.next);
        // The policy holds resident frames only, and only this thread takes one out.
        let page = shared.ram.hva(run[0]).ok_or(Outcome::Missing)?;
        let taken = shared.staging.park(&shared.uffd, page, first, run.len() as u32)?;
        for (berth, (guard, &frame)) in
            (first.0..).map(Berth).zip(guards.iter_mut().zip(run)).take(taken as usize)
        {
            shared.staging.set_slot(berth, guard.state().slot());
            guard.set(FrameState::Parked(berth));
            self.parked.push_back((berth, frame));
        }
        shared.counters.parked.add(taken.into());
        self.next = (first.0 + taken) % self.shared.staging.berths();
        Ok(taken)
    }

    /// The back hand: takes the `count` oldest to the store, unless they were rescued. Returns how many frames
    /// that freed.
    fn write_out(&mut self, count: usize) -> Result<u32, PagerError> {
        let batch: Vec<_> = self.parked.drain(..count).collect();
        let leaving: Vec<_> = batch.iter().filter_map(|&(berth, frame)| self.leave(berth, frame)).collect();
        let mut dirty = Vec::new();
        for page in &leaving {
            if page.fingerprint == Fingerprint::ZERO {
                self.arrive(page, FrameState::Zero);
                self.release(page.slot);
                self.shared.counters.evicted_zero.add(1);
            } else if let Some(slot) = page.slot.filter(|&slot| self.holds(slot, page)) {
                if !self.arrive(page, FrameState::Stored(slot)) {
                    self.release(Some(slot));
                }
                self.shared.counters.evicted_clean.add(1);
            } else {
                self.release(page.slot);
                dirty.push(page);
            }
        }
        self.write(&dirty)?;
        self.clear(&batch)?;
        self.shared.room.give_back(leaving.len() as u32);
        Ok(leaving.len() as u32)
    }

    /// From here on the page stays in its berth until it is cleared. `None` if it was rescued.
    fn leave(&self, berth: Berth, frame: FrameIndex) -> Option<Leaving> {
        let mut guard = self.shared.frames.lock(frame);
        if guard.state() != FrameState::Parked(berth) {
            return None;
        }
        guard.set(FrameState::Writing(berth));
        drop(guard);
        let slot = self.shared.staging.slot(berth);
        let fingerprint = self.shared.store.fingerprint(self.page(berth));
        Some(Leaving { frame, berth, slot, fingerprint })
    }

    /// A page that is leaving.
    fn page(&self, berth: Berth) -> &'a PageBytes {
        // SAFETY: every caller has a page of the batch in hand, which `leave` made `Writing`; the batch's berths are
        // cleared after the last use, by `write_out`.
        unsafe { self.shared.staging.page(berth) }
    }

    fn holds(&self, slot: Slot, page: &Leaving) -> bool {
        self.shared.store.fingerprint_of(slot) == Some(page.fingerprint)
    }

    fn write(&self, dirty: &[&Leaving]) -> Result<(), PagerError> {
        let pages: Vec<_> = dirty.iter().map(|page| (self.page(page.berth), page.fingerprint)).collect();
        let slots = self.shared.store.put_batch(&pages).map_err(PagerError::Write)?;
        for (page, slot) in dirty.iter().zip(slots) {
            if !self.arrive(page, FrameState::Stored(slot)) {
                self.release(Some(slot));
            }
        }
        self.shared.counters.evicted_dirty.add(dirty.len() as u64);
        Ok(())
    }

    /// The page is where `state` says, unless it was rescued by copy meanwhile.
    fn arrive(&self, page: &Leaving, state: FrameState) -> bool {
        let mut guard = self.shared.frames.lock(page.frame);
        let left = guard.state() == FrameState::Writing(page.berth);
        if left {
            guard.set(state);
        }
        left
    }

    fn release(&self, slot: Option<Slot>) {
        slot.into_iter().for_each(|slot| self.shared.store.release(slot));
    }

    /// Frees the berths of a batch: a run, or two where the area goes round. Those of rescued pages are empty.
    fn clear(&self, batch: &[(Berth, FrameIndex)]) -> Result<(), PagerError> {
        for run in batch.chunk_by(|(berth, _), (next, _)| berth.0 + 1 == next.0) {
            self.shared.staging.clear(run[0].0, run.len() as u32).map_err(PagerError::Discard)?;
        }
        Ok(())
    }
}
