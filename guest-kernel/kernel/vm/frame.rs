//! Frames: every place in RAM that is not the kernel's own, and what it holds.
//!
//! A frame is owned by exactly one of: the free list, a page table, the reverse map's nodes, one anonymous page, the page
//! cache. [`FrameTable`] is the only place that says which. Frames are dense indices here, in the policies and in
//! lists; page tables and devices want guest-physical addresses.

mod run;

use alloc::boxed::Box;

use abi::addr::{Gpa, Gva, PAGE_SIZE};
use abi::boot::RamRange;

use super::mappings::Mappings;
use super::swap::Slot;
use super::table::EntryRef;
use crate::arch::direct;
use crate::arch::tlb::Tag;
use crate::fs::FileId;

/// A frame's dense index: 0 for the first one that is not the kernel's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(transparent)]
pub struct FrameIndex(pub u32);

/// A link to a frame that is zero where it is none: a zeroed table is a table of no links.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Link(u32);

impl Link {
    /// No frame.
    pub const NONE: Self = Self(0);

    /// To `frame`.
    #[must_use]
    pub const fn to(frame: FrameIndex) -> Self {
        Self(frame.0 + 1)
    }

    /// The number that it is kept as, for tables of links that start zeroed.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The reverse of [`Link::raw`].
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// Where it leads.
    #[must_use]
    pub const fn frame(self) -> Option<FrameIndex> {
        match self.0.checked_sub(1) {
            Some(index) => Some(FrameIndex(index)),
            None => None,
        }
    }
}

/// What a frame holds. All zeros is [`Use::Untouched`], so that the table needs no initialisation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Use {
    /// Nothing, not since boot: it is all zeros, and the host need not have backed it. Or a part of a huge page, whose first frame
    /// says so.
    Untouched = 0,
    /// Nothing; it is on the free list, and full of old bytes.
    Free {
        /// The next one on the list.
        next: Link,
        /// The one before it.
        previous: Link,
    },
    /// The kernel's own memory.
    Kernel,
    /// The page of zeros that all processes share, and that nobody may write. It is never evicted, so nobody notes what maps it.
    Zeros,
    /// A page table.
    Table {
        /// The first address that it translates.
        base: Gva,
        /// How many tables and huge pages it leads to.
        tables: u16,
        /// What the TLB calls the address space.
        tag: Tag,
    },
    /// The kernel's lists of mappings; see mappings.rs.
    Nodes {
        /// How many of its nodes are in no list.
        unused: u16,
        /// The neighbours among frames that have such nodes.
        next: Link,
        /// See `next`.
        previous: Link,
    },
    /// A page of a process, or of several that have not written to it since a fork.
    Anonymous {
        /// A copy of the page on swap, good as long as no entry is dirty.
        slot: Option<Slot>,
        /// The entries that map it, one at least. While there are several, none lets it be written.
        mappings: Mappings,
    },
    /// The first frame of a huge page of a process; see huge.rs.
    Huge {
        /// The level of its entry: 1 for 2 MiB, 2 for 1 GiB.
        level: u8,
        /// Tables set aside for when it is split, a list. A page that has none is never split nor evicted.
        spare: Link,
        /// The entry that maps it; there is no other.
        entry: EntryRef,
    },
    /// A frame that holds nothing yet and will be a table when a huge page is split.
    Spare {
        /// The next one.
        next: Link,
    },
    /// A page of a file. It is as the disk has it, unless `dirty` or an entry says otherwise.
    Cache {
        /// Used by a system call since it was last asked.
        referenced: bool,
        /// Written through an entry that maps it no longer, and not written back yet.
        dirty: bool,
        /// Of which file.
        file: FileId,
        /// Which page of it.
        page: u32,
        /// The next frame in the same bucket of the cache.
        next: Link,
        /// The entries that map it.
        mappings: Mappings,
    },
}

/// All frames.
pub struct FrameTable {
    uses: Box<[Use]>,
    low: RamRange,
    low_frames: u32,
    high: RamRange,
    /// Frames from here on are untouched.
    untouched: u32,
    free: Link,
    free_count: u32,
}

impl FrameTable {
    /// All of two ranges of RAM (the second may be empty), fresh from the host.
    #[must_use]
    pub fn new(low: RamRange, high: RamRange) -> Self {
        let frames = ((low.bytes + high.bytes) / PAGE_SIZE as u64) as usize;
        // SAFETY: zeros are `Use::Untouched`: with repr(u8) the tag is the first byte and its 0 has no fields.
        let uses = unsafe { Box::new_zeroed_slice(frames).assume_init() };
        Self {
            uses,
            low,
            low_frames: (low.bytes / PAGE_SIZE as u64) as u32,
            high,
            untouched: 0,
            free: Link::NONE,
            free_count: 0,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.uses.len() as u32
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty()
    }

    /// How many hold nothing.
    #[must_use]
    pub fn free_frames(&self) -> u32 {
        self.free_count + self.len() - self.untouched
    }

    /// Where a frame is.
    #[must_use]
    #[inline]
    pub fn gpa(&self, frame: FrameIndex) -> Gpa {
        let (range, index) = if frame.0 < self.low_frames {
            (&self.low, frame.0)
        } else {
            (&self.high, frame.0 - self.low_frames)
        };
        range.start + u64::from(index) * PAGE_SIZE as u64
    }

    /// The frame at an address that came from [`FrameTable::gpa`].
    #[must_use]
    #[inline]
    pub fn at(&self, gpa: Gpa) -> FrameIndex {
        let low = gpa.0.wrapping_sub(self.low.start.0);
        if low < self.low.bytes {
            FrameIndex((low / PAGE_SIZE as u64) as u32)
        } else {
            FrameIndex(self.low_frames + ((gpa.0 - self.high.start.0) / PAGE_SIZE as u64) as u32)
        }
    }

    /// What a frame holds.
    #[must_use]
    #[inline]
    pub fn get(&self, frame: FrameIndex) -> Use {
        self.uses[frame.0 as usize]
    }

    /// The same, where it is.
    #[must_use]
    #[inline]
    pub fn peek(&self, frame: FrameIndex) -> &Use {
        &self.uses[frame.0 as usize]
    }

    /// The same, to change.
    #[inline]
    pub fn get_mut(&mut self, frame: FrameIndex) -> &mut Use {
        &mut self.uses[frame.0 as usize]
    }

    /// Which entries map the page that a frame holds.
    #[must_use]
    #[inline]
    pub fn mappings(&self, frame: FrameIndex) -> Mappings {
        match self.get(frame) {
            Use::Anonymous { mappings, .. } | Use::Cache { mappings, .. } => mappings,
            _ => Mappings::NONE,
        }
    }

    /// Notes which entries map the page that a frame holds.
    #[inline]
    pub fn set_mappings(&mut self, frame: FrameIndex, list: Mappings) {
        if let Use::Anonymous { mappings, .. } | Use::Cache { mappings, .. } = self.get_mut(frame) {
            *mappings = list;
        }
    }

    /// Takes a frame that holds nothing and is all zeros. Its use is the caller's to set.
    ///
    /// A used one is cleared before an untouched one is taken: the host has backed the used one already, and clearing it costs less
    /// than what the host would do for another one.
    pub fn take_zeroed(&mut self) -> Option<FrameIndex> {
        match self.take_used() {
            Some(frame) => {
                self.zero(frame);
                Some(frame)
            }
            None => self.take_untouched(),
        }
    }

    /// Takes a frame that holds nothing, to be overwritten whole.
    pub fn take(&mut self) -> Option<FrameIndex> {
        self.take_used().or_else(|| self.take_untouched())
    }

    fn take_untouched(&mut self) -> Option<FrameIndex> {
        let frame = self.untouched;
        (frame < self.len()).then(|| {
            self.untouched += 1;
            FrameIndex(frame)
        })
    }

    fn take_used(&mut self) -> Option<FrameIndex> {
        let frame = self.free.frame()?;
        self.unlink(frame);
        Some(frame)
    }

    /// Takes a frame off the free list.
    fn unlink(&mut self, frame: FrameIndex) {
        let Use::Free { next: after, previous: before } = self.get(frame) else {
            unreachable!("the free list holds free frames")
        };
        match before.frame().map(|before| self.get_mut(before)) {
            Some(Use::Free { next, .. }) => *next = after,
            _ => self.free = after,
        }
        if let Some(Use::Free { previous, .. }) = after.frame().map(|after| self.get_mut(after)) {
            *previous = before;
        }
        self.free_count -= 1;
    }

    /// Gives a frame back. Nothing refers to it any more.
    pub fn free(&mut self, frame: FrameIndex) {
        let next = core::mem::replace(&mut self.free, Link::to(frame));
        *self.get_mut(frame) = Use::Free { next, previous: Link::NONE };
        if let Some(Use::Free { previous, .. }) = next.frame().map(|after| self.get_mut(after)) {
            *previous = Link::to(frame);
        }
        self.free_count += 1;
    }

    /// A page of bytes; the frame is one of ours, never the kernel's own memory.
    fn bytes(&self, frame: FrameIndex) -> *mut u8 {
        assert!(frame.0 < self.len());
        direct::pointer(self.gpa(frame))
    }

    /// Makes a frame that was taken the kernel's own, for ever.
    pub fn give_away(&mut self, frame: FrameIndex) -> &'static mut [u8; PAGE_SIZE] {
        *self.get_mut(frame) = Use::Kernel;
        // SAFETY: a whole frame of ours that holds nothing, and is never handed out again.
        unsafe { &mut *self.bytes(frame).cast() }
    }

    /// Makes a run that was taken the kernel's own, for ever.
    pub fn give_run_away(&mut self, first: FrameIndex, count: u32) -> &'static mut [u8] {
        for frame in first.0..first.0 + count {
            *self.get_mut(FrameIndex(frame)) = Use::Kernel;
        }
        // SAFETY: whole frames of ours, neighbours in RAM, that hold nothing and are never handed out again.
        unsafe { core::slice::from_raw_parts_mut(self.bytes(first), count as usize * PAGE_SIZE) }
    }

    /// Clears a frame.
    pub fn zero(&mut self, frame: FrameIndex) {
        // SAFETY: a whole frame of ours; no reference to its bytes exists outside these methods.
        unsafe { self.bytes(frame).cast::<u64>().write_bytes(0, PAGE_SIZE / 8) };
    }

    /// Copies a whole frame.
    pub fn copy(&mut self, from: FrameIndex, to: FrameIndex) {
        assert!(from != to);
        // SAFETY: two different whole frames of ours; no reference to their bytes exists outside these methods.
        unsafe {
            self.bytes(to).cast::<u64>().copy_from_nonoverlapping(self.bytes(from).cast(), PAGE_SIZE / 8)
        };
    }

    /// Reads bytes of a frame.
    pub fn read(&self, frame: FrameIndex, offset: usize, to: &mut [u8]) {
        assert!(offset + to.len() <= PAGE_SIZE);
        // SAFETY: inside one frame of ours, see `copy`; `to` is kernel memory and so does not overlap it.
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(self.bytes(frame).add(offset), to.len()) };
    }

    /// Writes bytes of a frame.
    pub fn write(&mut self, frame: FrameIndex, offset: usize, from: &[u8]) {
        assert!(offset + from.len() <= PAGE_SIZE);
        // SAFETY: inside one frame of ours, see `copy`; `from` is kernel memory and so does not overlap it.
        unsafe { self.bytes(frame).add(offset).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
    }

    /// Reads words of a frame, from an offset that is a multiple of 8.
    #[must_use]
    pub fn words<const N: usize>(&self, frame: FrameIndex, offset: usize) -> [u64; N] {
        assert!(offset.is_multiple_of(8) && offset + N * 8 <= PAGE_SIZE);
        // SAFETY: inside one frame of ours, see `copy`; the frame is aligned, and so is the offset.
        unsafe { self.bytes(frame).add(offset).cast::<[u64; N]>().read() }
    }

    /// Writes words of a frame, from an offset that is a multiple of 8.
    pub fn set_words<const N: usize>(&mut self, frame: FrameIndex, offset: usize, words: [u64; N]) {
        assert!(offset.is_multiple_of(8) && offset + N * 8 <= PAGE_SIZE);
        // SAFETY: as for `words`.
        unsafe { self.bytes(frame).add(offset).cast::<[u64; N]>().write(words) };
    }

    /// Copies bytes between frames, or in one: a program may write a page of a file from where it maps it.
    pub fn copy_part(&mut self, from: (FrameIndex, usize), to: (FrameIndex, usize), len: usize) {
        assert!(from.1 + len <= PAGE_SIZE && to.1 + len <= PAGE_SIZE);
        // SAFETY: inside frames of ours, see `copy`; it does not matter if the bytes overlap.
        unsafe { self.bytes(to.0).add(to.1).copy_from(self.bytes(from.0).add(from.1), len) };
    }

    /// Clears bytes of a frame.
    pub fn fill_zero(&mut self, frame: FrameIndex, offset: usize, len: usize) {
        assert!(offset + len <= PAGE_SIZE);
        // SAFETY: inside one frame of ours, see `copy`.
        unsafe { self.bytes(frame).add(offset).write_bytes(0, len) };
    }
}

const _: () = assert!(size_of::<Use>() <= 24);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> FrameTable {
        FrameTable::new(
            RamRange { start: Gpa(0x10_0000), bytes: 6 << 12 },
            RamRange { start: Gpa(0x20_0000), bytes: 4 << 12 },
        )
    }

    #[test]
    fn a_frame_and_its_address_lead_to_each_other() {
        let frames = table();
        for index in (0..frames.len()).map(FrameIndex) {
            assert_eq!(frames.at(frames.gpa(index)), index);
        }
        assert_eq!(frames.gpa(FrameIndex(6)), Gpa(0x20_0000));
    }

    proptest! {
        /// Against a list of what each frame was filled with: no frame twice, and zeros where zeros are promised.
        #[test]
        fn frames_are_given_out_once_and_clean_when_asked(steps in prop::collection::vec((0u8..3, any::<prop::sample::Index>()), 0..100)) {
            let mut frames = table();
            for index in (0..frames.len()).map(FrameIndex) {
                frames.zero(index);
            }
            let mut taken = Vec::new();
            for (step, which) in steps {
                if step == 2 && !taken.is_empty() {
                    let frame = taken.swap_remove(which.index(taken.len()));
                    frames.free(frame);
                } else if let Some(frame) = if step == 0 { frames.take() } else { frames.take_zeroed() } {
                    prop_assert!(!taken.contains(&frame));
                    let mut bytes = [1; PAGE_SIZE];
                    frames.read(frame, 0, &mut bytes);
                    prop_assert!(step == 0 || bytes == [0; PAGE_SIZE]);
                    frames.write(frame, 0, &[0xa5; PAGE_SIZE]);
                    taken.push(frame);
                } else {
                    prop_assert_eq!(taken.len() as u32, frames.len());
                }
                prop_assert_eq!(frames.free_frames() as usize + taken.len(), 10);
            }
        }
    }
}
