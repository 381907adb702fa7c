//! Clock, or second chance (Corbato, "A Paging Experiment with the Multics System", 1968): a hand goes round
//! the pages and passes over each that was used since it last came by; the first unused one goes.

use super::hand::HandRing;
use super::{Pages, Policy};

/// The pages in a circle, and the hand. 8 bytes a frame.
#[derive(Debug)]
pub struct Clock {
    face: HandRing,
}

impl Clock {
    /// A policy for frames 0 to `frames` - 1, none of which it holds yet.
    #[must_use]
    pub fn new(frames: u32) -> Self {
        Self { face: HandRing::new(frames) }
    }

    /// What its tables take if it never held a frame from `frames` on: what was never written takes no memory.
    #[must_use]
    pub const fn bytes(&self, frames: u32) -> usize {
        self.face.bytes(frames)
    }
}

impl Policy for Clock {
    fn insert(&mut self, frame: u32) {
        self.face.insert_behind_hand(frame);
    }

    fn remove(&mut self, frame: u32) {
        self.face.remove(frame);
    }

    fn victim(&mut self, pages: &mut dyn Pages) -> Option<u32> {
        self.face.take_first(|frame| pages.referenced(frame))
    }
}
