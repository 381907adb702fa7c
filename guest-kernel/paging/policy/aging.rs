//! Aging, an approximation of LRU (Tanenbaum and Bos, "Modern Operating Systems", 3.4.7): each page has an 8-bit age that
//! is shifted right now and then, with the accessed bit coming in at the top. The page of the lowest age goes.
//!
//! One list for each age makes the lowest one known at once. Among equals, the one that reached its age first goes.

use alloc::vec;
use alloc::vec::Vec;

use super::{FRAMES_A_TICK, Pages, Policy};
use crate::ring::{Node, Ring};

const AGES: u32 = 256;
/// The bit of a use since the last shift.
const USED: u8 = 0x80;

/// Pages by age. 9 bytes a frame and 2 KiB.
#[derive(Debug)]
pub struct Aging {
    lists: Ring<AGES>,
    /// A bit for each list that may hold a page; it is cleared when the list is found empty.
    filled: [u64; AGES as usize / 64],
    ages: Vec<u8>,
    held: u32,
    /// The next frame to age.
    sweep: u32,
}

impl Aging {
    /// A policy for frames 0 to `frames` - 1, none of which it holds yet.
    #[must_use]
    pub fn new(frames: u32) -> Self {
        Self {
            lists: Ring::new(frames),
            filled: [0; AGES as usize / 64],
            ages: vec![0; frames as usize],
            held: 0,
            sweep: 0,
        }
    }

    fn put(&mut self, frame: u32, age: u8) {
        self.ages[frame as usize] = age;
        self.filled[usize::from(age) / 64] |= 1 << (age % 64);
        self.lists.insert_before(Node::sentinel(age.into()), self.lists.node(frame));
    }

    fn change(&mut self, frame: u32, age: u8) {
        if age != self.ages[frame as usize] {
            self.lists.remove(self.lists.node(frame));
            self.put(frame, age);
        }
    }

    /// The page that is first in the list of the lowest age.
    fn lowest(&mut self) -> Option<u32> {
        for (word, bits) in self.filled.iter_mut().enumerate() {
            while *bits != 0 {
                let age = word as u32 * 64 + bits.trailing_zeros();
                if let Some(frame) = self.lists.next_frame(Node::sentinel(age)) {
                    return Some(frame);
                }
                *bits &= *bits - 1;
            }
        }
        None
    }

    /// What its tables take if it never held a frame from `frames` on: what was never written takes no memory.
    #[must_use]
    pub const fn bytes(&self, frames: u32) -> usize {
        self.lists.bytes(frames) + frames as usize
    }
}

impl Policy for Aging {
    /// A new page was used just now.
    fn insert(&mut self, frame: u32) {
        self.put(frame, USED);
        self.held += 1;
    }

    fn remove(&mut self, frame: u32) {
        let node = self.lists.node(frame);
        if self.lists.contains(node) {
            self.lists.remove(node);
            self.held -= 1;
        }
    }

    /// A page that was used since it was last aged is not as old as its age says: it is put right and passed over,
    /// each page once at most.
    fn victim(&mut self, pages: &mut dyn Pages) -> Option<u32> {
        let mut chances = self.held;
        loop {
            let frame = self.lowest()?;
            if chances == 0 || !pages.referenced(frame) {
                self.remove(frame);
                return Some(frame);
            }
            chances -= 1;
            self.change(frame, self.ages[frame as usize] | USED);
        }
    }

    fn tick(&mut self, pages: &mut dyn Pages) {
        let frames = self.lists.frames();
        for _ in 0..FRAMES_A_TICK.min(frames) {
            let frame = self.sweep;
            self.sweep = if frame + 1 == frames { 0 } else { frame + 1 };
            if self.lists.contains(self.lists.node(frame)) {
                let used = if pages.referenced(frame) { USED } else { 0 };
                self.change(frame, self.ages[frame as usize] >> 1 | used);
            }
        }
    }
}
