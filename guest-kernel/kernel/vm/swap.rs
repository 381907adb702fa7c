//! The swap disk: which of its slots hold a page.

use alloc::vec;
use alloc::vec::Vec;

use abi::addr::{Gpa, PAGE_SIZE};

use crate::drivers::block::{Block, Failed, SECTORS_A_PAGE};

/// A page's place on the swap disk. Place 0 stays empty, so that an `Option<Slot>` is four bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(transparent)]
pub struct Slot(core::num::NonZeroU32);

impl Slot {
    /// `None` for 0.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match core::num::NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its position on the disk, in pages.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }

    /// The slot `n` places on.
    fn plus(self, n: usize) -> Self {
        Self(self.0.saturating_add(n as u32))
    }
}

/// Slots in use, as a bitmap. Search goes on where the last one ended, so that pages that leave together
/// lie together.
///
/// A slot in use has an owner: the entry that says that its page is there, or the frame that the page was read into, as long as its
/// copy is good. After a fork it has several.
pub struct Slots {
    words: Vec<u64>,
    /// How many owners a slot has beside the first.
    others: Vec<u16>,
    count: u32,
    next: u32,
    used: u32,
}

impl Slots {
    /// `count` slots, of which the first is never given out.
    #[must_use]
    pub fn new(count: u32) -> Self {
        let mut words = vec![0; (count as usize).div_ceil(64)];
        if let Some(first) = words.first_mut() {
            *first = 1;
        }
        Self { words, others: vec![0; count as usize], count, next: 1, used: 0 }
    }

    /// How many hold a page.
    #[must_use]
    pub const fn used(&self) -> u32 {
        self.used
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.into()
    }

    fn is_used(&self, number: u32) -> bool {
        self.words[number as usize / 64] >> (number % 64) & 1 != 0
    }

    /// The first free slot from `from` on.
    fn free_from(&self, from: u32) -> Option<u32> {
        let mut number = from;
        while number < self.count {
            let rest = !self.words[number as usize / 64] >> (number % 64);
            if rest != 0 {
                number += rest.trailing_zeros();
                return (number < self.count).then_some(number);
            }
            number = (number / 64 + 1) * 64;
        }
        None
    }

    /// Takes up to `wanted` slots in a row; fewer where the row is shorter, `None` when all are in use.
    pub fn take(&mut self, wanted: usize) -> Option<(Slot, usize)> {
        let first = self.free_from(self.next).or_else(|| self.free_from(1))?;
        let mut number = first;
        while number < self.count && ((number - first) as usize) < wanted && !self.is_used(number) {
            self.words[number as usize / 64] |= 1 << (number % 64);
            number += 1;
        }
        self.next = number;
        self.used += number - first;
        Some((Slot::new(first)?, (number - first) as usize))
    }

    /// A slot in use gets `more` owners. They are processes, of which there are fewer than a u16 counts.
    pub fn share(&mut self, slot: Slot, more: u32) {
        debug_assert!(self.is_used(slot.number()));
        self.others[slot.number() as usize] += more as u16;
    }

    /// How many own a slot.
    pub fn owners(&self, slot: Slot) -> u32 {
        u32::from(self.is_used(slot.number())) + u32::from(self.others[slot.number() as usize])
    }

    /// An owner gives a slot up; the last one frees it.
    pub fn free(&mut self, slot: Slot) {
        debug_assert!(self.is_used(slot.number()));
        let others = &mut self.others[slot.number() as usize];
        if *others > 0 {
            *others -= 1;
            return;
        }
        self.words[slot.number() as usize / 64] &= !(1 << (slot.number() % 64));
        self.used -= 1;
    }
}

/// The slots and the disk that holds them. A VM without swap has no disk and no slots.
pub struct Swap {
    /// Which slots are in use.
    pub slots: Slots,
    disk: Option<Block>,
}

/// Most pages that one request writes.
pub const CLUSTER: usize = 8;

impl Swap {
    /// All of `disk`.
    #[must_use]
    pub fn new(disk: Option<Block>) -> Self {
        let pages = disk.as_ref().map_or(0, |disk| disk.sectors() / SECTORS_A_PAGE);
        Self { slots: Slots::new(u32::try_from(pages).unwrap_or(u32::MAX)), disk }
    }

    /// Reads the slots from `first` on, in one request.
    ///
    /// # Errors
    /// The device failed.
    pub fn read(&mut self, first: Slot, frames: &[(Gpa, u32)]) -> Result<(), Failed> {
        let disk = self.disk.as_mut().ok_or(Failed)?;
        disk.read(u64::from(first.number()) * SECTORS_A_PAGE, frames)
    }

    /// Writes frames to the slots from `first` on, in one request.
    ///
    /// # Errors
    /// The device failed; what the slots hold is unknown.
    pub fn write(&mut self, first: Slot, frames: &[Gpa]) -> Result<(), Failed> {
        let disk = self.disk.as_mut().ok_or(Failed)?;
        let mut segments = [(Gpa(0), PAGE_SIZE as u32); CLUSTER];
        for (segment, frame) in segments.iter_mut().zip(frames) {
            segment.0 = *frame;
        }
        disk.write(u64::from(first.number()) * SECTORS_A_PAGE, &segments[..frames.len().min(CLUSTER)])
    }

    /// Lets every request from now on fail.
    #[cfg(test)]
    pub fn break_disk(&mut self) {
        self.disk.iter_mut().for_each(|disk| disk.broken = true);
    }

    /// The `n`-th slot after `first`, one that [`Slots::take`] gave together with it.
    #[must_use]
    pub fn nth(first: Slot, n: usize) -> Slot {
        first.plus(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Against a plain map from slot to owners: never 0, never one in use, a row is a row, all can be used.
        #[test]
        fn slots_are_given_out_once_until_they_come_back(
            count in 1u32..200,
            steps in prop::collection::vec((0..4, 1usize..10, any::<prop::sample::Index>()), 0..300),
        ) {
            let mut slots = Slots::new(count);
            let mut model = BTreeMap::new();
            for (step, wanted, which) in steps {
                let numbers: Vec<u32> = model.keys().copied().collect();
                if step == 0 {
                    match slots.take(wanted) {
                        None => prop_assert_eq!(model.len() as u32, count - 1),
                        Some((first, got)) => {
                            prop_assert!(got >= 1 && got <= wanted);
                            for n in 0..got {
                                let slot = Swap::nth(first, n).number();
                                prop_assert!(slot > 0 && slot < count && model.insert(slot, 1).is_none());
                            }
                        }
                    }
                } else if !numbers.is_empty() {
                    let number = *which.get(&numbers);
                    let owners = model.get_mut(&number).unwrap();
                    let slot = Slot::new(number).unwrap();
                    if step == 1 {
                        slots.share(slot, wanted as u32);
                        *owners += wanted;
                    } else {
                        slots.free(slot);
                        *owners -= 1;
                    }
                    model.retain(|_, owners| *owners > 0);
                }
                prop_assert_eq!(slots.used() as usize, model.len());
            }
        }
    }

    #[test]
    fn no_disk_means_no_slots() {
        assert_eq!(Swap::new(None).slots.take(1), None);
    }
}
