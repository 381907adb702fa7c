//! Clock, or second chance (Corbato, "A Paging Experiment with the Multics System", 1968): a hand goes round
//! the pages and passes over each that was used since it last came by; the first unused one goes.

use super::Policy;
use super::ring::{Node, Ring};

/// The pages in a circle, and the hand.
#[derive(Debug)]
pub struct Clock {
    face: Ring,
    /// The next page to look at. The sentinel stands for the page after it.
    hand: Node,
    held: u32,
}

impl Clock {
    /// A policy for frames 0 to `frames` - 1, none of which it holds yet.
    #[must_use]
    pub fn new(frames: u32) -> Self {
        Self { face: Ring::new(frames), hand: Node::SENTINEL, held: 0 }
    }

    fn take_out(&mut self, node: Node) {
        if self.hand == node {
            self.hand = self.face.next(node);
        }
        self.face.remove(node);
        self.held -= 1;
    }
}

impl Policy for Clock {
    /// The new page goes just behind the hand, which so meets it last.
    fn insert(&mut self, frame: u32) {
        self.face.insert_before(self.hand, Node::of(frame));
        self.held += 1;
    }

    fn remove(&mut self, frame: u32) {
        let node = Node::of(frame);
        if self.face.contains(node) {
            self.take_out(node);
        }
    }

    fn victim(&mut self, referenced: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        if self.held == 0 {
            return None;
        }
        // After a whole turn every page has been asked once. Whatever the hand points at then goes, even when
        // pages are used again faster than the hand moves: a victim takes a bounded time to find.
        let mut chances = self.held;
        loop {
            let Some(frame) = self.hand.frame() else {
                self.hand = self.face.next(Node::SENTINEL);
                continue;
            };
            if chances == 0 || !referenced(frame) {
                self.take_out(self.hand);
                return Some(frame);
            }
            chances -= 1;
            self.hand = self.face.next(self.hand);
        }
    }
}
