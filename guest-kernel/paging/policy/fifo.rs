//! First in, first out: the page that came in longest ago goes, however much it is used.

use super::{Pages, Policy};
use crate::ring::{Node, Ring};

/// The queue, oldest page first. 8 bytes a frame.
#[derive(Debug)]
pub struct Fifo {
    queue: Ring,
}

impl Fifo {
    /// A policy for frames 0 to `frames` - 1, none of which it holds yet.
    #[must_use]
    pub fn new(frames: u32) -> Self {
        Self { queue: Ring::new(frames) }
    }

    /// What its tables take if it never held a frame from `frames` on: what was never written takes no memory.
    #[must_use]
    pub const fn bytes(&self, frames: u32) -> usize {
        self.queue.bytes(frames)
    }
}

impl Policy for Fifo {
    fn insert(&mut self, frame: u32) {
        self.queue.insert_before(Node::SENTINEL, self.queue.node(frame));
    }

    fn remove(&mut self, frame: u32) {
        let node = self.queue.node(frame);
        if self.queue.contains(node) {
            self.queue.remove(node);
        }
    }

    fn victim(&mut self, _pages: &mut dyn Pages) -> Option<u32> {
        let frame = self.queue.next_frame(Node::SENTINEL)?;
        self.queue.remove(self.queue.node(frame));
        Some(frame)
    }
}
