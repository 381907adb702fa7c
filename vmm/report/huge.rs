//! Huge pages of the guest's kernel.

use std::fmt;

use abi::stats::GuestStats;
use serde::Serialize;

use super::units::Count;

/// What the guest's kernel did with huge pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Huge {
    /// Faults that one served.
    pub faults: u64,
    /// Those made of small pages that were resident.
    pub promoted: u64,
    /// Those split.
    pub split: u64,
    /// Small pages that were part of one at the end.
    pub pages: u64,
}

impl Huge {
    /// What the kernel counted.
    #[must_use]
    pub const fn of(stats: &GuestStats) -> Self {
        Self {
            faults: stats.huge_faults,
            promoted: stats.huge_promoted,
            split: stats.huge_split,
            pages: stats.huge,
        }
    }
}

impl fmt::Display for Huge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { faults, promoted, split, pages } = self;
        let (faults, promoted, split, pages) =
            (Count(*faults), Count(*promoted), Count(*split), Count(*pages));
        write!(f, "{faults} by a fault, {promoted} promoted, {split} split; {pages} pages are in one")
    }
}
