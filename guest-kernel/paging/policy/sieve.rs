//! SIEVE (Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is Simpler than LRU", NSDI 2024): a queue whose hand goes
//! from the oldest page to the newest and takes the first that was not used since it last came by.
//!
//! It is Clock but for one thing: a new page goes to the end of the queue, not behind the hand. So pages that
//! survive keep their place among the old, which the hand leaves alone while it sifts the new ones.

use super::hand::HandRing;
use super::{Pages, Policy};

/// The queue, oldest page first, and the hand. 8 bytes a frame.
#[derive(Debug)]
pub struct Sieve {
    queue: HandRing,
}

impl Sieve {
    /// A policy for frames 0 to `frames` - 1, none of which it holds yet.
    #[must_use]
    pub fn new(frames: u32) -> Self {
        Self { queue: HandRing::new(frames) }
    }

    /// What its tables take if it never held a frame from `frames` on: what was never written takes no memory.
    #[must_use]
    pub const fn bytes(&self, frames: u32) -> usize {
        self.queue.bytes(frames)
    }
}

impl Policy for Sieve {
    fn insert(&mut self, frame: u32) {
        self.queue.insert_last(frame);
    }

    fn remove(&mut self, frame: u32) {
        self.queue.remove(frame);
    }

    fn victim(&mut self, pages: &mut dyn Pages) -> Option<u32> {
        self.queue.take_first(|frame| pages.referenced(frame))
    }
}
