//! A queue with a hand that goes round it: what Clock, SIEVE and WSClock have in common.

use crate::ring::{Node, Ring};

/// Pages in the order in which they were put there, and the next one to look at.
#[derive(Debug)]
pub(super) struct HandRing {
    ring: Ring,
    /// The sentinel stands for the page after it.
    hand: Node,
    held: u32,
}

impl HandRing {
    pub(super) fn new(frames: u32) -> Self {
        Self { ring: Ring::new(frames), hand: Node::SENTINEL, held: 0 }
    }

    /// What it takes if no frame from `frames` on was ever there.
    pub(super) const fn bytes(&self, frames: u32) -> usize {
        self.ring.bytes(frames)
    }

    /// How many frames there are.
    pub(super) const fn held(&self) -> u32 {
        self.held
    }

    /// The frame goes just behind the hand, which so meets it last.
    pub(super) fn insert_behind_hand(&mut self, frame: u32) {
        self.insert_before(self.hand, frame);
    }

    /// The frame goes to the end, wherever the hand is.
    pub(super) fn insert_last(&mut self, frame: u32) {
        self.insert_before(Node::SENTINEL, frame);
    }

    fn insert_before(&mut self, place: Node, frame: u32) {
        self.ring.insert_before(place, self.ring.node(frame));
        self.held += 1;
    }

    /// Takes the frame out, if it is there; a hand that points at it moves on.
    pub(super) fn remove(&mut self, frame: u32) {
        let node = self.ring.node(frame);
        if !self.ring.contains(node) {
            return;
        }
        if self.hand == node {
            self.advance();
        }
        self.ring.remove(node);
        self.held -= 1;
    }

    /// The frame that the hand points at; `None` when there are none.
    pub(super) fn at_hand(&mut self) -> Option<u32> {
        if self.hand == Node::SENTINEL {
            self.advance();
        }
        self.ring.frame(self.hand)
    }

    /// Moves the hand to the next frame.
    pub(super) fn advance(&mut self) {
        self.hand = self.ring.next(self.hand);
    }

    /// Goes round until `passed_over` refuses to pass over a frame, takes that one out and returns it.
    ///
    /// After a whole turn every page has been asked once. Whatever the hand points at then goes, even when pages
    /// are used again faster than the hand moves: a victim takes a bounded time to find.
    pub(super) fn take_first(&mut self, mut passed_over: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut chances = self.held;
        loop {
            let frame = self.at_hand()?;
            if chances == 0 || !passed_over(frame) {
                self.remove(frame);
                return Some(frame);
            }
            chances -= 1;
            self.advance();
        }
    }
}
