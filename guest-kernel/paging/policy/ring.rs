//! Frames in a circle: an intrusive doubly linked list over frame indices.
//!
//! Node 0 is a sentinel that is always in the circle; frame `f` is node `f + 1`. So a zeroed table is an
//! empty circle, and creating one costs no more than zeroed memory.

use alloc::vec;
use alloc::vec::Vec;

/// A place in the circle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Node(u32);

impl Node {
    /// The place after the last and before the first frame.
    pub(super) const SENTINEL: Self = Self(0);

    /// The place of a frame.
    pub(super) const fn of(frame: u32) -> Self {
        Self(frame + 1)
    }

    /// The frame at this place; `None` for the sentinel.
    pub(super) const fn frame(self) -> Option<u32> {
        self.0.checked_sub(1)
    }
}

const NEXT: usize = 0;
const PREVIOUS: usize = 1;

/// The circle: for each node the next and the previous one.
#[derive(Debug)]
pub(super) struct Ring {
    // Arrays of integers, because a vector of zeroed ones is not written when it is made.
    links: Vec<[u32; 2]>,
}

impl Ring {
    /// An empty circle with room for frames 0 to `frames` - 1.
    pub(super) fn new(frames: u32) -> Self {
        Self { links: vec![[0, 0]; frames as usize + 1] }
    }

    /// The node after `node`.
    pub(super) fn next(&self, node: Node) -> Node {
        Node(self.links[node.0 as usize][NEXT])
    }

    /// Whether the node is in the circle.
    pub(super) fn contains(&self, node: Node) -> bool {
        // A node outside has no next node; neither has the last one, but the sentinel knows that one.
        self.links[node.0 as usize][NEXT] != 0 || self.links[0][PREVIOUS] == node.0
    }

    /// Puts a node that is not in the circle just before `place`.
    pub(super) fn insert_before(&mut self, place: Node, node: Node) {
        debug_assert!(!self.contains(node), "{node:?} is in the circle already");
        let previous = self.links[place.0 as usize][PREVIOUS];
        self.links[node.0 as usize] = [place.0, previous];
        self.links[previous as usize][NEXT] = node.0;
        self.links[place.0 as usize][PREVIOUS] = node.0;
    }

    /// Takes a node that is in the circle out of it.
    pub(super) fn remove(&mut self, node: Node) {
        debug_assert!(self.contains(node), "{node:?} is not in the circle");
        let [next, previous] = self.links[node.0 as usize];
        self.links[previous as usize][NEXT] = next;
        self.links[next as usize][PREVIOUS] = previous;
        self.links[node.0 as usize] = [0, 0];
    }
}
