//! Offline replay: how many faults a recorded string of references costs under a policy, with a number of frames.
//!
//! The policies are those that run live. Two more are only possible here: LRU without approximation, which has
//! to see each reference, and OPT, which has to see those to come.

mod live;
mod lru;
mod opt;

pub use live::replay;
pub use lru::lru;
pub use opt::{NextUses, opt};

/// A use of a page. Pages are numbered densely from 0 in a replay, up to [`Reference::MOST_PAGES`] of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Reference(u32);

impl Reference {
    /// How many pages there can be.
    pub const MOST_PAGES: u32 = 1 << 31;

    /// A use of `page`, which is less than [`Reference::MOST_PAGES`].
    #[must_use]
    pub const fn new(page: u32, is_write: bool) -> Self {
        Self(page << 1 | is_write as u32)
    }

    /// Which page.
    #[must_use]
    pub const fn page(self) -> u32 {
        self.0 >> 1
    }

    /// Whether it makes the page dirty.
    #[must_use]
    pub const fn is_write(self) -> bool {
        self.0 & 1 != 0
    }
}

/// What a replay cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Pages brought in.
    pub faults: u64,
    /// Pages written out, because they were dirty when they went or, by a policy that writes ahead, before.
    pub writes: u64,
}

#[cfg(test)]
mod tests;
