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
use paging::policy::{PageKey, Pages};

use super::cache::PageCache;
use super::frame::{FrameIndex, FrameTable, Use};
use super::huge;
use super::mappings::Mappings;
use super::page::Entry;
use super::scope::Scope;
use super::swap::{CLUSTER, Slot, Swap};
use super::table::EntryRef;
use super::{Memory, OutOfMemory};

/// With fewer resident pages than this for each page of a write cluster, clusters are smaller: evicting pages
/// ahead of need must not change what a small program keeps.
pub(super) const RESIDENT_A_CLUSTER_PAGE: u64 = 256;

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
        match self.reclaim_in(Scope::GLOBAL) {
            Ok(()) => Ok(()),
            Err(error) => self.scopes.largest().map_or(Err(error), |scope| self.reclaim_in(scope)),
        }
    }

    /// Makes room in the current scope for one more page, if it is full.
    #[inline]
    pub(super) fn keep_limit(&mut self) {
        if self.scopes.is_full(self.scopes.current) {
            // Where none of its pages can leave, the next one is everybody's.
            let _ = self.reclaim_in(self.scopes.current);
        }
    }

    /// Evicts a page of a scope at least.
    fn reclaim_in(&mut self, scope: Scope) -> Result<(), OutOfMemory> {
        let resident = match scope {
            Scope::GLOBAL => self.stats.resident,
            local => self.scopes.resident(local).into(),
        };
        let most = (resident / RESIDENT_A_CLUSTER_PAGE).clamp(1, CLUSTER as u64) as usize;
        let mut dirty = [(FrameIndex(0), scope); CLUSTER];
        let mut count = 0;
        // Each page is looked at once at most: a pass that finds nothing has seen them all.
        for _ in 0..resident {
            let Some(victim) = self.victim(scope) else { break };
            match self.drop_clean(victim) {
                Outcome::Freed => {
                    self.write_out(&dirty[..count]);
                    return Ok(());
                }
                Outcome::Dirty => {
                    dirty[count].0 = victim;
                    count += 1;
                    if count == most {
                        if self.write_out(&dirty[..count]) {
                            return Ok(());
                        }
                        count = 0;
                    }
                }
                Outcome::Pinned => self.stay(victim, scope),
                Outcome::Split => {}
            }
        }
        if self.write_out(&dirty[..count]) { Ok(()) } else { Err(OutOfMemory) }
    }

    fn victim(&mut self, scope: Scope) -> Option<FrameIndex> {
        let Self { scopes, frames, .. } = self;
        scopes.victim(scope, frames)
    }

    /// Virtual time passes for the policies.
    pub fn tick(&mut self) {
        let Self { scopes, frames, .. } = self;
        scopes.tick(frames);
    }

    /// A page that was to leave stays after all.
    pub(super) fn stay(&mut self, frame: FrameIndex, scope: Scope) {
        self.scopes.insert(frame, scope, self.key(frame));
    }

    /// What tells the page in a frame apart from all others.
    fn key(&self, frame: FrameIndex) -> PageKey {
        match self.frames.get(frame) {
            Use::Cache { file, page, .. } => PageCache::key(file, page),
            Use::Huge { entry, .. } => PageKey(entry.raw()),
            _ => PageKey(self.frames.mappings(frame).single().map_or(0, EntryRef::raw)),
        }
    }

    /// Whether a page must not leave its frame now.
    fn is_pinned(&self, frame: FrameIndex) -> bool {
        let (is_locked, frames) = match self.frames.get(frame) {
            Use::Huge { level, entry, .. } => (entry.load().is_locked(), huge::pages(level.into())),
            _ => (self.frames.mappings(frame).any(&self.frames, |entry| entry.load().is_locked()), 1),
        };
        is_locked || self.pinned.iter().any(|pinned| (frame.0..frame.0 + frames).contains(&pinned.0))
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
                if self.frames.is_dirty(victim.0) {
                    return Outcome::Dirty;
                }
                self.unmap(mappings, slot);
            }
            Use::Cache { file, .. } if file.memory_number().is_some() && self.frames.is_dirty(victim.0) => {
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
    pub(super) fn write_out(&mut self, victims: &[(FrameIndex, Scope)]) -> bool {
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
        for &(frame, scope) in rest {
            self.stay(frame, scope);
        }
        freed
    }

    fn write_run(&mut self, first: Slot, victims: &[(FrameIndex, Scope)]) -> bool {
        let mut pages = [Gpa(0); CLUSTER];
        for (page, (frame, _)) in pages.iter_mut().zip(victims) {
            *page = self.frames.gpa(*frame);
        }
        let written = self.swap.write(first, &pages[..victims.len()]).is_ok();
        for (n, &(frame, scope)) in victims.iter().enumerate() {
            let slot = Swap::nth(first, n);
            if !written {
                self.swap.slots.free(slot);
                self.stay(frame, scope);
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

impl Pages for FrameTable {
    /// Whether a page was used since it was last asked; forgets the use. The flush makes the CPU mark the next use.
    fn referenced(&mut self, frame: u32) -> bool {
        let (mappings, level) = match self.get_mut(FrameIndex(frame)) {
            Use::Cache { referenced: referenced @ true, .. } => {
                *referenced = false;
                return true;
            }
            Use::Anonymous { mappings, .. } | Use::Cache { mappings, .. } => (*mappings, 0),
            Use::Huge { entry, level, .. } => (Mappings::one(*entry), u32::from(*level)),
            _ => return false,
        };
        mappings.any(self, |reference| {
            let entry = reference.load();
            if entry.is_accessed() {
                reference.store(entry.not_accessed());
                reference.flush(self, level);
            }
            entry.is_accessed()
        })
    }

    fn is_dirty(&mut self, frame: u32) -> bool {
        let frame = FrameIndex(frame);
        let marked = matches!(self.get(frame), Use::Cache { dirty: true, .. });
        marked || self.mappings(frame).any(self, |entry| entry.load().is_dirty())
    }
}
