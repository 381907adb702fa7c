//! The last part of a page's way out: from the staging area to the store.
//!
//! A page that is all zeros goes nowhere; one that its slot still holds goes back to that; any other is written, with its batch. Until its frame's
//! state says where it is, the page is `Writing`, and a fault takes a copy of it.

use std::thread;

use super::frames::{FrameState, GROUP, Hints, Whole};
use super::reclaim::MAX_BATCH;
use super::staging::Berth;
use super::{PagerError, Shared};
use crate::memory::FrameIndex;
use crate::store::{Fingerprint, PageBytes, RETRY, Slot, StoreError};

/// A page on its way to the store.
struct Leaving {
    frame: FrameIndex,
    berth: Berth,
    /// The slot that its frame had; ours since the page is being written.
    slot: Option<Slot>,
    fingerprint: Fingerprint,
}

/// How far a full disk has come, and what was said about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DiskFull {
    No,
    /// Nothing is evicted.
    Stuck,
    /// There is no frame left, so whoever needs one waits.
    Paused,
}

/// The reclaim thread's way to the store.
pub struct Departure<'a> {
    shared: &'a Shared,
    full: DiskFull,
}

impl<'a> Departure<'a> {
    /// The disk has room, as far as is known.
    pub const fn new(shared: &'a Shared) -> Self {
        Self { shared, full: DiskFull::No }
    }

    /// Takes parked pages to the store, except those that were rescued. Returns how many frames that freed.
    pub fn of_pages(&mut self, batch: &[(Berth, FrameIndex)]) -> Result<u32, PagerError> {
        let leaving: Vec<_> = batch.iter().filter_map(|&(berth, frame)| self.leave(berth, frame)).collect();
        if !self.put_away(&leaving)? {
            return Ok(0);
        }
        self.clear(batch)?;
        self.shared.room.give_back(leaving.len() as u32);
        Ok(leaving.len() as u32)
    }

    /// The same for a parked huge page.
    pub fn of_huge_page(&mut self, berth: Berth, frame: FrameIndex) -> Result<u32, PagerError> {
        let Some(slots) = self.leave_whole(berth, frame) else { return Ok(0) };
        let pages: Vec<_> = (0..GROUP).zip(slots).collect();
        for batch in pages.chunks(MAX_BATCH as usize) {
            let leaving = batch
                .iter()
                .map(|&(page, slot)| self.leaving(FrameIndex(frame.0 + page), Berth(berth.0 + page), slot));
            if !self.put_away(&leaving.collect::<Vec<_>>())? {
                return Ok(0);
            }
        }
        self.shared.staging.clear(berth, GROUP).map_err(PagerError::Discard)?;
        self.shared.room.give_back(GROUP);
        self.shared.counters.whole_out.add(1);
        Ok(GROUP)
    }

    /// From here on the huge page stays where it is until it is cleared. Returns the slots that its pages had; they are ours
    /// now. `None` if it was rescued.
    fn leave_whole(&self, berth: Berth, frame: FrameIndex) -> Option<Vec<Option<Slot>>> {
        let mut guard = self.shared.frames.lock(frame);
        if guard.whole() != Whole::Parked(berth) {
            return None;
        }
        guard.set_whole(Whole::No);
        *guard.hints() = Hints::default();
        let slots = guard.frames().map(|frame| guard.state(frame).slot()).collect();
        for (page, frame) in (0..).zip(guard.frames()) {
            guard.set(frame, FrameState::Writing(Berth(berth.0 + page)));
        }
        Some(slots)
    }

    /// Takes pages to where they are kept. `false` when the pager stops before there was room for them.
    fn put_away(&mut self, leaving: &[Leaving]) -> Result<bool, PagerError> {
        let mut dirty = Vec::new();
        for page in leaving {
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
        self.write(&dirty)
    }

    /// From here on the page stays in its berth until it is cleared. `None` if it was rescued.
    fn leave(&self, berth: Berth, frame: FrameIndex) -> Option<Leaving> {
        let mut guard = self.shared.frames.lock(frame);
        if guard.state(frame) != FrameState::Parked(berth) {
            return None;
        }
        guard.set(frame, FrameState::Writing(berth));
        drop(guard);
        Some(self.leaving(frame, berth, self.shared.staging.slot(berth)))
    }

    fn leaving(&self, frame: FrameIndex, berth: Berth, slot: Option<Slot>) -> Leaving {
        Leaving { frame, berth, slot, fingerprint: self.shared.store.fingerprint(self.page(berth)) }
    }

    /// A page that is leaving.
    fn page(&self, berth: Berth) -> &'a PageBytes {
        // SAFETY: every caller has a page of the batch in hand, which `leave` made `Writing`; the batch's berths are
        // cleared after the last use.
        unsafe { self.shared.staging.page(berth) }
    }

    fn holds(&self, slot: Slot, page: &Leaving) -> bool {
        self.shared.store.holds(slot, page.fingerprint)
    }

    /// Takes pages to the store. `false` when the pager stops before there was room for them.
    fn write(&mut self, dirty: &[&Leaving]) -> Result<bool, PagerError> {
        let pages: Vec<_> = dirty.iter().map(|page| (self.page(page.berth), page.fingerprint)).collect();
        let slots = loop {
            match self.shared.store.put_batch(&pages) {
                Err(error @ StoreError::NoSpace(_)) => self.disk_is_full(&error),
                result => break result.map_err(PagerError::Write)?,
            }
            if self.shared.room.is_stopping() {
                return Ok(false);
            }
        };
        if std::mem::replace(&mut self.full, DiskFull::No) == DiskFull::Paused {
            log::warn!("there is room on the store's disk again: the guest goes on");
        }
        for (page, slot) in dirty.iter().zip(slots) {
            if !self.arrive(page, FrameState::Stored(slot)) {
                self.release(Some(slot));
            }
        }
        self.shared.counters.evicted_dirty.add(dirty.len() as u64);
        Ok(true)
    }

    /// The pages stay in their berths, from where a fault still rescues them, until the disk has room. Waits a little.
    fn disk_is_full(&mut self, error: &StoreError) {
        if self.full == DiskFull::No {
            log::warn!("{error}; nothing is evicted until there is room");
            self.full = DiskFull::Stuck;
        }
        if self.full == DiskFull::Stuck && self.shared.room.is_exhausted() {
            log::warn!("the guest is paused until there is room on the store's disk");
            self.full = DiskFull::Paused;
        }
        thread::sleep(RETRY);
    }

    /// The page is where `state` says, unless it was rescued by copy meanwhile.
    fn arrive(&self, page: &Leaving, state: FrameState) -> bool {
        let mut guard = self.shared.frames.lock(page.frame);
        let left = guard.state(page.frame) == FrameState::Writing(page.berth);
        if left {
            guard.set(page.frame, state);
            self.shared.ghosts.evict(&self.shared.marks, page.frame);
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
