//! The host pagers by name, and the one that was chosen.

use std::str::FromStr;

use abi::boot::RamRange;

use super::kernel::KernelPager;
use super::{HostStats, Pager, PagerError};
use crate::memory::Size;
use crate::named::by_name;

/// Who brings guest RAM's pages in and puts them out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PagerKind {
    /// [`Pager`]: this process, by userfaultfd, to its own store.
    #[default]
    Uffd,
    /// [`KernelPager`]: this process chooses victims, the host's kernel takes them to its swap and back.
    Kernel,
}

impl PagerKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Uffd, Self::Kernel];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uffd => "uffd",
            Self::Kernel => "kernel",
        }
    }
}

impl FromStr for PagerKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        by_name(Self::ALL, Self::name, name)
    }
}

/// The pager that was chosen. Stops when dropped.
pub enum AnyPager {
    /// By userfaultfd.
    Uffd(Pager),
    /// By the host's kernel.
    Kernel(KernelPager),
}

impl AnyPager {
    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> HostStats {
        match self {
            Self::Uffd(pager) => pager.stats(),
            Self::Kernel(pager) => pager.stats(),
        }
    }

    /// Keeps these pages of guest RAM in, where victims are ours to choose and the budget has room for them.
    pub fn wire(&self, pages: RamRange) {
        if let Self::Uffd(pager) = self {
            pager.wire(pages);
        }
    }

    /// Changes the budget while the guest runs. A larger one holds at once; a smaller one as soon as its
    /// surplus has been evicted.
    ///
    /// # Errors
    /// Too small to run in, or more than guest RAM.
    pub fn set_budget(&self, budget: Size) -> Result<(), PagerError> {
        match self {
            Self::Uffd(pager) => pager.set_budget(budget),
            Self::Kernel(pager) => pager.set_budget(budget),
        }
    }
}
