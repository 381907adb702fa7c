//! What guest RAM consists of on the host: which sizes of pages, and whose decision that is.
//!
//! KVM maps guest RAM at the second level with pages no larger than those that back it, and only where guest-physical and
//! host-virtual addresses agree modulo their size. The ranges of guest RAM start at multiples of 1 GiB;
//! mappings of the pool's pages do at multiples of their size, and all others at multiples of 2 MiB.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use rustix::mm::{Advice, madvise};
use thiserror::Error;
use vm_memory::mmap::MmapRegion;

use super::Size;
use crate::named::by_name;

/// A backing that a user can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// Pages of 4 KiB, never joined.
    Small,
    /// Transparent huge pages of 2 MiB, wherever the host's kernel finds one.
    Transparent,
    /// Huge pages of 2 MiB or 1 GiB from the host's pool: set aside now, so that none is missing later.
    Pool(Size),
}

const HUGE_2M: Size = Size::mib(2);
const HUGE_1G: Size = Size::mib(1 << 10);

/// Why guest RAM cannot be backed as asked.
#[derive(Debug, Error)]
pub enum BackingError {
    /// The pool is too short.
    #[error(
        "guest RAM takes {needed} huge pages of {page}, and the host has {free} free: as root, echo {total} > {path}"
    )]
    Pool {
        /// How many are needed.
        needed: u64,
        /// Their size.
        page: Size,
        /// How many are free and promised to nobody.
        free: u64,
        /// How large the pool would have to be.
        total: u64,
        /// Where its size is set.
        path: String,
    },
    /// RAM is no multiple of the page size.
    #[error("--backing {0} takes pages of {1}: give --ram as a multiple of that")]
    Multiple(Backing, Size),
    /// There is no such pool.
    #[error("this host's CPU or kernel has no huge pages of {0}: ask for another --backing")]
    NoPool(Size),
    /// The host never makes any.
    #[error("transparent huge pages are switched off on this host: as root, echo madvise > {THP}")]
    TransparentOff,
    /// Pages of the host's pool cannot be moved, so the pager cannot evict them.
    #[error(
        "--backing {0} cannot be paged by the host, because userfaultfd moves no pages of a hugetlb pool: leave --host-ram out, or ask for --backing thp or 4k"
    )]
    Paged(Backing),
}

/// Where the host's kernel says when it makes transparent huge pages.
pub const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const POOLS: &str = "/sys/kernel/mm/hugepages";

impl BackingError {
    /// What root types to enable what is missing, where that is all it takes.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        match self {
            Self::Pool { total, path, .. } => Some(format!("echo {total} > {path}")),
            Self::TransparentOff => Some(format!("echo madvise > {THP}")),
            _ => None,
        }
    }
}

impl Backing {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Small, Self::Transparent, Self::Pool(HUGE_2M), Self::Pool(HUGE_1G)];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "4k",
            Self::Transparent => "thp",
            Self::Pool(HUGE_2M) => "hugetlb-2m",
            Self::Pool(_) => "hugetlb-1g",
        }
    }

    /// Whether guest RAM of `ram` can be backed so on this host, by what can be known before. `paged`: the host pages it.
    ///
    /// # Errors
    /// It cannot; the message says what would help.
    pub fn check(self, ram: Size, paged: bool) -> Result<(), BackingError> {
        if paged && matches!(self, Self::Pool(_)) {
            return Err(BackingError::Paged(self));
        }
        match self {
            Self::Transparent if fs::read_to_string(THP).is_ok_and(|modes| modes.contains("[never]")) => {
                Err(BackingError::TransparentOff)
            }
            Self::Pool(page) if !ram.bytes().is_multiple_of(page.bytes()) => {
                Err(BackingError::Multiple(self, page))
            }
            Self::Pool(page) => check_pool(ram, page),
            _ => Ok(()),
        }
    }

    /// The flags of mmap(2) that take pages of the host's pool.
    pub(super) const fn pool_flags(self) -> Option<i32> {
        match self {
            Self::Pool(page) => {
                Some(libc::MAP_HUGETLB | (page.bytes().trailing_zeros() as i32) << libc::MAP_HUGE_SHIFT)
            }
            Self::Small | Self::Transparent => None,
        }
    }

    /// Tells the kernel which pages a new mapping wants.
    pub(super) fn advise(self, region: &MmapRegion) -> rustix::io::Result<()> {
        let advice = match self {
            Self::Small => Advice::LinuxNoHugepage,
            Self::Transparent => Advice::LinuxHugepage,
            Self::Pool(_) => return Ok(()),
        };
        // SAFETY: it changes how the mapping is backed, not what is in it.
        unsafe { madvise(region.as_ptr().cast(), region.size(), advice) }
    }
}

impl std::fmt::Display for Backing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backing {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        by_name(Self::ALL, Self::name, name)
    }
}

/// Whether the host's pool has as many free pages as `ram` takes.
fn check_pool(ram: Size, page: Size) -> Result<(), BackingError> {
    let pool = PathBuf::from(POOLS).join(format!("hugepages-{}kB", page.bytes() >> 10));
    if !pool.is_dir() {
        return Err(BackingError::NoPool(page));
    }
    let read = |name| fs::read_to_string(pool.join(name)).ok().and_then(|text| text.trim().parse().ok());
    let number = |name| read(name).unwrap_or(0_u64);
    let needed = ram.bytes() / page.bytes();
    // Those that are reserved are free, but promised.
    let free = number("free_hugepages").saturating_sub(number("resv_hugepages"));
    if free >= needed {
        return Ok(());
    }
    let total = number("nr_hugepages") + needed - free;
    Err(BackingError::Pool {
        needed,
        page,
        free,
        total,
        path: pool.join("nr_hugepages").display().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backing_is_found_by_its_name() {
        for backing in Backing::ALL {
            assert_eq!(backing.name().parse(), Ok(backing));
        }
        assert!("2m".parse::<Backing>().is_err_and(|error| error.contains("hugetlb-2m")));
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_would_help() {
        let refusal = |backing: &str, ram, paged| {
            let backing = backing.parse::<Backing>().expect("a name");
            backing.check(ram, paged).expect_err("refused").to_string()
        };
        assert!(refusal("hugetlb-2m", Size::mib(3), false).contains("multiple"));
        assert!(refusal("hugetlb-2m", Size::mib(4), true).contains("--host-ram"));
        // More than any machine has.
        let short = refusal("hugetlb-2m", Size::mib(2 << 40), false);
        assert!(short.contains("echo") && short.contains("hugepages-2048kB/nr_hugepages"), "{short}");
    }
}
