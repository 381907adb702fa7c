//! The staging area: where victims wait between guest RAM and the store.
//!
//! A row of berths of a page each, in a private mapping that is registered with the same userfaultfd, because
//! UFFDIO_MOVE wants that of its destination. The first ones are for huge pages, 512 berths each, aligned as those want it;
//! the others are for small ones. Three kinds of access keep out of each other's way by the state
//! of the frame whose page is in a berth: the frame's lock is held to fill a berth and to empty it; while the
//! frame is `Writing` the page may be read by anyone and is not changed; the reclaim thread clears a berth when
//! the frame is no longer in it.
//!
//! One more page, the doorbell, is how a thread that waits for faults is told to stop: touching it is a fault.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use abi::addr::{Hva, PAGE_SIZE};
use rustix::mm::{Advice, madvise};

use super::frames::GROUP;
use super::uffd::{Outcome, Range, Uffd, nth_page, patiently};
use crate::memory::{FrameIndex, Mapping};
use crate::store::{PageBytes, Slot};

/// Bytes of a huge page.
pub const HUGE_BYTES: usize = GROUP as usize * PAGE_SIZE;

/// A place in the staging area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Berth(pub(super) u32);

/// How a page leaves guest RAM while vCPUs run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Eviction {
    /// UFFDIO_MOVE, Linux 6.8 and newer: the page itself goes, atomically. A pinned page is refused.
    Move,
    /// Write-protect, copy, discard. A pinned page is not noticed, so no device may write to guest RAM
    /// by O_DIRECT or the like. Takes a second frame for as long as the copy lasts.
    Copy,
}

impl Eviction {
    /// What a report calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Copy => "copy",
        }
    }

    /// Frames of the budget to set aside: one for each thread that may be copying.
    pub(super) const fn reserve(self) -> u32 {
        match self {
            Self::Move => 0,
            Self::Copy => 2,
        }
    }
}

/// The area.
#[derive(Debug)]
pub struct Staging {
    _mapping: Mapping,
    /// Where the berths start, aligned to a huge page.
    start: Hva,
    eviction: Eviction,
    sizes: Sizes,
    /// For each small berth one more than the slot that its frame had when it was resident, or 0; guarded by that frame's lock.
    /// Memory of zeros takes no frame before it is used.
    slots: Box<[AtomicU32]>,
    /// How many small berths were ever used.
    used: AtomicU32,
}

/// How many berths there are of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// For a huge page each.
    pub huge: u32,
    /// For a page each.
    pub small: u32,
}

impl Sizes {
    /// The number of the first small berth.
    pub const fn first_small(self) -> u32 {
        self.huge * GROUP
    }

    /// Whether a berth is for a part of a huge page.
    pub const fn is_huge(self, berth: Berth) -> bool {
        berth.0 < self.first_small()
    }

    const fn berths(self) -> u32 {
        self.first_small() + self.small
    }
}

impl Staging {
    /// Maps an area and registers it.
    pub fn new(uffd: &Uffd, sizes: Sizes, eviction: Eviction) -> io::Result<Self> {
        let mapping = Mapping::new(bytes(sizes.berths()))?;
        let start = mapping.start();
        // SAFETY: an atomic integer of zeros is one of value 0.
        let slots = unsafe { Box::<[AtomicU32]>::new_zeroed_slice(sizes.small as usize).assume_init() };
        let staging = Self { _mapping: mapping, start, eviction, sizes, slots, used: AtomicU32::new(0) };
        let huge = u64::from(sizes.first_small()) * PAGE_SIZE as u64;
        let range = staging.range();
        if huge > 0 {
            staging.advise(Range { start, bytes: huge }, Advice::LinuxHugepage)?;
        }
        staging.advise(Range { start: start + huge, bytes: range.bytes - huge }, Advice::LinuxNoHugepage)?;
        uffd.register(range, false)?;
        Ok(staging)
    }

    /// Where it is, with the doorbell.
    pub fn range(&self) -> Range {
        Range { start: self.start, bytes: bytes(self.sizes.berths()) as u64 }
    }

    /// How many berths there are.
    pub const fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// How pages come here.
    pub const fn eviction(&self) -> Eviction {
        self.eviction
    }

    /// Where a berth is.
    pub fn at(&self, berth: Berth) -> Hva {
        nth_page(self.start, berth.0)
    }

    /// Takes up to `pages` pages from `page` on, of frames that are locked, to empty berths from `berth` on. Returns how
    /// many, at least one.
    pub fn park(&self, uffd: &Uffd, page: Hva, berth: Berth, pages: u32) -> Result<u32, Outcome> {
        match self.eviction {
            // SAFETY: the pages are guest RAM's, to which nobody has references.
            Eviction::Move => unsafe { uffd.take(self.at(berth), page, pages) },
            Eviction::Copy => {
                // From here on writes wait, and when they go on they find the page missing and fault again.
                uffd.protect(Range::page(page), true)?;
                if let Err(outcome) = uffd.copy(self.at(berth), page) {
                    uffd.protect(Range::page(page), false)?;
                    return Err(outcome);
                }
                self.discard(page, 1)?;
                Ok(1)
            }
        }
    }

    /// Takes a parked page back to `page`. The berth is empty afterwards.
    pub fn unpark(&self, uffd: &Uffd, berth: Berth, page: Hva) -> Result<(), Outcome> {
        match self.eviction {
            // SAFETY: the frame is `Parked`, and references into the staging area are to `Writing` frames' pages.
            Eviction::Move => patiently(|| unsafe { uffd.take(page, self.at(berth), 1) }).map(drop),
            Eviction::Copy => {
                uffd.copy(page, self.at(berth))?;
                Ok(self.clear(berth, 1)?)
            }
        }
    }

    /// Takes a huge page from `page` on, of a group that is locked, to empty berths from `berth` on: all of it or nothing.
    pub fn park_whole(&self, uffd: &Uffd, page: Hva, berth: Berth) -> Result<(), Outcome> {
        // SAFETY: the pages are guest RAM's, to which nobody has references.
        unsafe { take_whole(uffd, self.at(berth), page) }
    }

    /// Takes a huge page back to `page`. Its berths are empty afterwards.
    pub fn unpark_whole(&self, uffd: &Uffd, berth: Berth, page: Hva) -> Result<(), Outcome> {
        // SAFETY: the group is parked, and references into the staging area are to `Writing` frames' pages.
        patiently(|| unsafe { take_whole(uffd, page, self.at(berth)) })
    }

    /// Frees the pages of `count` berths from `first` on. None of them is in use.
    pub fn clear(&self, first: Berth, count: u32) -> io::Result<()> {
        self.discard(self.at(first), count)
    }

    /// Frees whatever the kernel has for `pages` pages, of guest RAM or of berths, that nobody needs there any more.
    pub fn discard(&self, start: Hva, pages: u32) -> io::Result<()> {
        self.advise(Range::pages(start, pages), Advice::LinuxDontNeed)
    }

    /// The page in a berth.
    ///
    /// # Safety
    /// The berth holds a page since its frame was made `Writing`, and is not cleared while the answer is used.
    pub unsafe fn page(&self, berth: Berth) -> &PageBytes {
        assert!(berth.0 < self.sizes.berths(), "{berth:?} is not in the staging area");
        // SAFETY: the address is a page of our mapping, which lives as long as `self`, and is aligned. Nobody
        // has a mutable reference into the mapping. A page whose frame is or was `Writing` is neither moved nor
        // changed, only copied, until the caller clears the berth.
        unsafe { &*ptr::with_exposed_provenance(self.at(berth).0 as usize) }
    }

    /// The slot that a parked page had.
    pub fn slot(&self, berth: Berth) -> Option<Slot> {
        self.slot_of(berth).load(Ordering::Relaxed).checked_sub(1).map(Slot)
    }

    /// Remembers the slot that a page had when it is parked.
    pub fn set_slot(&self, berth: Berth, slot: Option<Slot>) {
        self.used.fetch_max(berth.0 + 1 - self.sizes.first_small(), Ordering::Relaxed);
        self.slot_of(berth).store(slot.map_or(0, |slot| slot.0 + 1), Ordering::Relaxed);
    }

    /// What is kept of the small berths that were ever used: their pages' slots, and frames (`parked`).
    pub fn bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed) as usize * (size_of::<AtomicU32>() + size_of::<FrameIndex>())
    }

    fn slot_of(&self, berth: Berth) -> &AtomicU32 {
        &self.slots[(berth.0 - self.sizes.first_small()) as usize]
    }

    /// The page whose touch tells the fault thread to stop.
    pub fn doorbell(&self) -> Hva {
        self.at(Berth(self.sizes.berths()))
    }

    /// Touches the doorbell: returns when the fault thread has answered, or no longer listens.
    pub fn ring(&self) {
        // SAFETY: the doorbell is a page of our mapping, readable, and read as one byte of plain data.
        unsafe { ptr::with_exposed_provenance::<u8>(self.doorbell().0 as usize).read_volatile() };
    }

    fn advise(&self, range: Range, advice: Advice) -> io::Result<()> {
        let start = ptr::with_exposed_provenance_mut(range.start.0 as usize);
        // SAFETY: the pages are ours or guest RAM, where nothing is but what the guest and this pager put there;
        // dropping a page's content is the point, and the frame's lock or state says that it is not needed.
        Ok(unsafe { madvise(start, range.bytes as usize, advice) }?)
    }
}

/// Moves the 512 pages of a huge page, most often as one. Where a page is pinned, those before it go back.
///
/// # Safety
/// Nobody has a reference to the pages at `from`.
pub unsafe fn take_whole(uffd: &Uffd, to: Hva, from: Hva) -> Result<(), Outcome> {
    let mut done = 0;
    while done < GROUP {
        // SAFETY: as the caller says.
        match unsafe { uffd.take(nth_page(to, done), nth_page(from, done), GROUP - done) } {
            Ok(pages) => done += pages,
            Err(outcome) => {
                let mut back = 0;
                while back < done {
                    // SAFETY: these pages came from there a moment ago, and nobody was told where they are.
                    back += unsafe { uffd.take(nth_page(from, back), nth_page(to, back), done - back)? };
                }
                return Err(outcome);
            }
        }
    }
    Ok(())
}

/// Bytes of an area with so many berths and the doorbell.
const fn bytes(berths: u32) -> usize {
    (berths as usize + 1) * PAGE_SIZE
}

/// What a frame without content is filled from.
pub fn zeros() -> Hva {
    static ZEROS: PageBytes = PageBytes::zeroed();
    hva(&ZEROS)
}

/// Where a page of ours is.
pub fn hva(page: &PageBytes) -> Hva {
    Hva(ptr::from_ref(page).expose_provenance() as u64)
}
