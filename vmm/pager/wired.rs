//! Wired pages: once in, they stay, whatever the policy says.
//!
//! They are the guest kernel's own, its image and its page tables. Every interrupt needs some thirty of them, so when a budget's worth
//! of pages goes out and they go with the rest, the next tick of the timer stops the guest for that many faults: 5 ms where
//! KVM interprets a guest's kernel, 0.8 with them wired (`cargo bench --bench stalls`).
//!
//! The policy holds them like all others. One that it chooses is kept here instead of being evicted, and the policy does not have it any more.
//! That holds while all of them take a small part of the budget; when it is lowered below that, those that were kept go back to the
//! policy.

use std::ops::Range;

use crate::memory::FrameIndex;

/// The part of the budget that may be wired: one of so many.
const PART: u32 = 8;

/// Which pages are wired, and which of them were kept.
#[derive(Debug)]
pub struct Wired {
    frames: Range<u32>,
    budget: u32,
    kept: Vec<FrameIndex>,
}

impl Wired {
    /// None yet, with a budget in frames.
    pub const fn new(budget: u32) -> Self {
        Self { frames: 0..0, budget, kept: Vec::new() }
    }

    /// From now on these are.
    pub const fn set(&mut self, frames: Range<u32>) {
        self.frames = frames;
    }

    /// Whether a victim stays.
    pub fn keeps(&mut self, victim: FrameIndex) -> bool {
        let keeps = self.fit() && self.frames.contains(&victim.0);
        if keeps {
            self.kept.push(victim);
        }
        keeps
    }

    /// Changes the budget, and gives back the pages that the new one is too small for.
    pub fn set_budget(&mut self, budget: u32) -> Vec<FrameIndex> {
        self.budget = budget;
        if self.fit() { Vec::new() } else { std::mem::take(&mut self.kept) }
    }

    /// What the table takes.
    pub const fn bytes(&self) -> usize {
        self.kept.capacity() * size_of::<FrameIndex>()
    }

    const fn fit(&self) -> bool {
        self.frames.end - self.frames.start <= self.budget / PART
    }
}
