//! First in, first out: the page that came in longest ago goes, however much it is used.

use super::Policy;
use super::ring::{Node, Ring};

/// The queue, oldest page first.
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
}

impl Policy for Fifo {
    fn insert(&mut self, frame: u32) {
        self.queue.insert_before(Node::SENTINEL, Node::of(frame));
    }

    fn remove(&mut self, frame: u32) {
        let node = Node::of(frame);
        if self.queue.contains(node) {
            self.queue.remove(node);
        }
    }

    fn victim(&mut self, _referenced: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        let oldest = self.queue.next(Node::SENTINEL);
        let frame = oldest.frame()?;
        self.queue.remove(oldest);
        Some(frame)
    }
}
