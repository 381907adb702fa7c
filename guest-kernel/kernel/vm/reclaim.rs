//! Reclaim: the policy names a victim, its page leaves, its frame is free.
//!
//! ```text
//!   page                                  on eviction
//!   file, in the page cache               dropped: the file has it; written back first if a shared mapping wrote to it
//!   anonymous, not dirty, with a slot     dropped: swap has it; the entry keeps the slot
//!   anonymous, not dirty, no slot         dropped: it is zeros still; the entry becomes untouched
//!   anonymous, dirty                      written to a fresh slot, together with other dirty victims
//!   huge                                  split; its parts are asked about next
//!   file without a disk                   as if anonymous; its file's table keeps the slot
//! ```
//!
//! The dirty bit says whether a page is as it was when it became resident. Nothing clears it while the page is resident. Of a page
//! that several entries map, each entry's bits count.

use abi::addr::Gpa;
use paging::policy::Policy;

use super::frame::{FrameIndex, FrameTable, Use};
use super::huge;
use super::mappings::Mappings;
use super::page::Entry;
use super::swap::{CLUSTER, Slot, Swap};
use super::{Memory, OutOfMemory};

/// With fewer resident pages than this for each page of a write cluster, clusters are smaller: evicting pages
/// ahead of need must not change what a small program keeps.
const RESIDENT_A_CLUSTER_PAGE: u64 = 256;

/// What became of a victim.
pub(super) enum Outcome {
    Freed,
    /// Anonymous or of a file without a disk, and dirty: has to be written to swap first.
    Dirty,
    /// It has to stay: locked, in use by a device, or refused by one.
    Pinned,
    /// A huge page, which is many small ones now.
    Split,
}

impl Memory {
    /// Evicts until at least one frame is free.
    pub(super) fn reclaim(&mut self) -> Result<(), OutOfMemory> {
        let most = (self.stats.resident / RESIDENT_A_CLUSTER_PAGE).clamp(1, CLUSTER as u64) as usize;
        let mut dirty = [FrameIndex(0); CLUSTER];
        let mut count = 0;
        // Each page is looked at once at most: a pass that finds nothing has seen them all.
        for _ in 0..self.stats.resident {
            let Some(victim) = self.victim() else { break };
            match self.drop_clean(victim) {
                Outcome::Freed => {
                    self.write_out(&dirty[..count]);
                    return Ok(());
                }
                Outcome::Dirty => {
                    dirty[count] = victim;
                    count += 1;
                    if count == most {
                        if self.write_out(&dirty[..count]) {
                            return Ok(());
                        }
                        count = 0;
                    }
                }
                Outcome::Pinned => self.policy.insert(victim.0),
                Outcome::Split => {}
            }
        }
        if self.write_out(&dirty[..count]) { Ok(()) } else { Err(OutOfMemory) }
    }

    fn victim(&mut self) -> Option<FrameIndex> {
        let frames = &mut self.frames;
        self.policy.victim(&mut |frame| was_referenced(frames, FrameIndex(frame))).map(FrameIndex)
    }

    /// Whether a page must not leave its frame now.
    fn is_pinned(&self, frame: FrameIndex) -> bool {
        let (entry, frames) = match self.frames.get(frame) {
            Use::Huge { level, entry, .. } => (entry.load().is_locked(), huge::pages(level.into())),
            _ => (self.frames.mappings(frame).any(&self.frames, |entry| entry.load().is_locked()), 1),
        };
        entry || self.pinned.iter().any(|pinned| (frame.0..frame.0 + frames).contains(&pinned.0))
    }

    pub(super) fn drop_clean(&mut self, victim: FrameIndex) -> Outcome {
        if self.is_pinned(victim) {
            return Outcome::Pinned;
        }
        match self.frames.get(victim) {
            Use::Huge { .. } => {
                self.split_victim(victim);
                return Outcome::Split;
            }
            Use::Anonymous { slot, mappings } => {
                if self.is_dirty(victim) {
                    return Outcome::Dirty;
                }
                self.unmap(mappings, slot);
            }
            Use::Cache { file, .. } if file.memory_number().is_some() && self.is_dirty(victim) => {
                return Outcome::Dirty;
            }
            Use::Cache { mappings, .. } => {
                // Written back before it is unmapped: a page that the device refuses stays.
                if self.write_back(victim).is_err() {
                    return Outcome::Pinned;
                }
                self.unmap(mappings, None);
                self.cache.remove(&mut self.frames, victim);
            }
            other => unreachable!("the policy chose a frame that holds {other:?}"),
        }
        self.frames.free(victim);
        self.stats.resident -= 1;
        self.stats.evicted_clean += 1;
        Outcome::Freed
    }

    /// Writes dirty victims to swap and frees their frames; those that find no slot, or that the device does not take, stay
    /// resident. Returns whether any frame was freed.
    pub(super) fn write_out(&mut self, victims: &[FrameIndex]) -> bool {
        let mut rest = victims;
        let mut freed = false;
        while !rest.is_empty() {
            let Some((first, got)) = self.swap.slots.take(rest.len()) else { break };
            let (now, later) = rest.split_at(got);
            if self.write_run(first, now) {
                freed = true;
            }
            rest = later;
        }
        for frame in rest {
            self.policy.insert(frame.0);
        }
        freed
    }

    fn write_run(&mut self, first: Slot, victims: &[FrameIndex]) -> bool {
        let mut pages = [Gpa(0); CLUSTER];
        for (page, frame) in pages.iter_mut().zip(victims) {
            *page = self.frames.gpa(*frame);
        }
        let written = self.swap.write(first, &pages[..victims.len()]).is_ok();
        for (n, &frame) in victims.iter().enumerate() {
            let slot = Swap::nth(first, n);
            if !written {
                self.swap.slots.free(slot);
                self.policy.insert(frame.0);
                continue;
            }
            self.leave_for(frame, slot);
            self.frames.free(frame);
            self.stats.resident -= 1;
            self.stats.evicted_dirty += 1;
            self.stats.swapped_out += 1;
        }
        if !written {
            log::error!("the swap disk failed to write {} pages; they stay in RAM", victims.len());
        }
        written
    }

    /// A page that was written to a slot leaves its frame.
    fn leave_for(&mut self, frame: FrameIndex, slot: Slot) {
        match self.frames.get(frame) {
            Use::Anonymous { slot: stale, mappings } => {
                if let Some(stale) = stale {
                    self.swap.slots.free(stale);
                }
                self.unmap(mappings, Some(slot));
            }
            Use::Cache { file, page, mappings, .. } => {
                self.keep_in_slot(file, page, slot);
                self.unmap(mappings, None);
                self.cache.remove(&mut self.frames, frame);
            }
            other => unreachable!("the policy chose a frame that holds {other:?}"),
        }
    }

    /// The page is where the entries that mapped it say from now on: in the slot, which each of them owns, or where the area's
    /// recipe says.
    pub(super) fn unmap(&mut self, mappings: Mappings, slot: Option<Slot>) {
        let recipe = slot.map_or(Entry::UNTOUCHED, Entry::swapped);
        let mut owners = 0;
        mappings.for_each(&self.frames, |entry| {
            entry.store(recipe);
            entry.flush(&self.frames, 0);
            owners += 1;
        });
        if let Some(slot) = slot
            && owners > 1
        {
            self.swap.slots.share(slot, owners - 1);
        }
        self.reverse.clear(&mut self.frames, mappings);
    }
}

/// Whether a page was used since it was last asked; forgets the use. The flush makes the CPU mark the next use.
fn was_referenced(frames: &mut FrameTable, frame: FrameIndex) -> bool {
    let mappings = match frames.get_mut(frame) {
        Use::Cache { referenced: referenced @ true, .. } => {
            *referenced = false;
            return true;
        }
        Use::Anonymous { mappings, .. } | Use::Cache { mappings, .. } => *mappings,
        Use::Huge { entry, level, .. } => {
            let (reference, level) = (*entry, u32::from(*level));
            let entry = reference.load();
            if entry.is_accessed() {
                reference.store(entry.not_accessed());
                reference.flush(frames, level);
            }
            return entry.is_accessed();
        }
        _ => return false,
    };
    mappings.any(frames, |reference| {
        let entry = reference.load();
        if entry.is_accessed() {
            reference.store(entry.not_accessed());
            reference.flush(frames, 0);
        }
        entry.is_accessed()
    })
}
