//! Huge pages that survive a trip to the store, or do not: who decides.

use std::fmt;
use std::str::FromStr;

use super::frames::{FrameState, GroupGuard, Hints};
use crate::named::by_name;

/// What becomes of a huge page of guest RAM when it is a victim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugeSwap {
    /// It goes whole, and comes back whole.
    Keep,
    /// It is split, and its small pages come and go one by one.
    Split,
    /// It goes whole, unless it was touched again and again at one spot; then it is split, so that
    /// the spot can stay. It comes back whole ahead of a program that walks through memory, else page by page.
    Auto,
}

impl HugeSwap {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Keep, Self::Split, Self::Auto];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Split => "split",
            Self::Auto => "auto",
        }
    }

    /// Whether a group that is out, and of which one page is asked for, comes whole. `walks`: by a program that seems to walk
    /// through memory.
    pub(super) fn brings_whole(self, group: &GroupGuard<'_>, walks: bool) -> bool {
        group.is_out()
            && (self == Self::Keep
                || walks && self == Self::Auto
                // What was never used costs nothing but room.
                || group.frames().all(|frame| group.state(frame) == FrameState::Zero))
    }

    /// Whether a group that is out comes whole ahead of a program that seems to walk through memory.
    pub(super) fn brings_whole_ahead(self, group: &GroupGuard<'_>) -> bool {
        self != Self::Split && group.is_out()
    }

    /// Whether every group comes whole, so that it is groups that follow each other.
    pub(super) fn follows_groups(self) -> bool {
        self == Self::Keep
    }

    /// Whether a huge page that is a victim is split.
    pub(super) const fn splits(self, hints: Hints) -> bool {
        match self {
            Self::Keep => false,
            Self::Split => true,
            Self::Auto => hints.is_narrow,
        }
    }
}

impl fmt::Display for HugeSwap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HugeSwap {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        by_name(Self::ALL, Self::name, name)
    }
}
