//! Frames in circles: intrusive doubly linked lists over frame indices.
//!
//! The first nodes are sentinels, one a list, that are always in their circle; frame `f` follows as node
//! `f + LISTS`. A node whose links are zero is in no list, so creating a table costs little more than zeroed memory.

use alloc::vec;
use alloc::vec::Vec;

/// A place in a circle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Node(u32);

impl Node {
    /// The place after the last and before the first frame of the only, or the first, list.
    pub(crate) const SENTINEL: Self = Self(0);

    /// The sentinel of one of several lists.
    pub(crate) const fn sentinel(list: u32) -> Self {
        Self(list)
    }
}

const NEXT: usize = 0;
const PREVIOUS: usize = 1;

/// Circles that share one table: for each node the next and the previous one. A frame is in one circle at most.
#[derive(Debug)]
pub(crate) struct Ring<const LISTS: u32 = 1> {
    // Arrays of integers, because a vector of zeroed ones is not written when it is made.
    links: Vec<[u32; 2]>,
}

impl<const LISTS: u32> Ring<LISTS> {
    /// Empty circles with room for frames 0 to `frames` - 1.
    pub(crate) fn new(frames: u32) -> Self {
        let mut links = vec![[0, 0]; frames as usize + LISTS as usize];
        (1..LISTS).for_each(|list| links[list as usize] = [list, list]);
        Self { links }
    }

    /// How many frames there is room for.
    pub(crate) fn frames(&self) -> u32 {
        self.links.len() as u32 - LISTS
    }

    /// What it takes if no frame from `frames` on was ever in a circle: links that were never written take no memory.
    pub(crate) const fn bytes(&self, frames: u32) -> usize {
        size_of::<[u32; 2]>() * (frames as usize + LISTS as usize)
    }

    /// The place of a frame.
    pub(crate) const fn node(&self, frame: u32) -> Node {
        Node(frame + LISTS)
    }

    /// The frame at this place; `None` for a sentinel.
    pub(crate) const fn frame(&self, node: Node) -> Option<u32> {
        node.0.checked_sub(LISTS)
    }

    /// The node after `node`.
    pub(crate) fn next(&self, node: Node) -> Node {
        Node(self.links[node.0 as usize][NEXT])
    }

    /// The frame that follows `node`, if that is not a sentinel.
    pub(crate) fn next_frame(&self, node: Node) -> Option<u32> {
        self.frame(self.next(node))
    }

    /// Whether the node is in a circle.
    pub(crate) fn contains(&self, node: Node) -> bool {
        // A node outside has no next node; the last one of the first list has zero there, too, but its
        // sentinel knows it.
        self.links[node.0 as usize][NEXT] != 0 || self.links[0][PREVIOUS] == node.0
    }

    /// Puts a node that is in no circle just before `place`; before a sentinel, that is at the list's end.
    pub(crate) fn insert_before(&mut self, place: Node, node: Node) {
        debug_assert!(!self.contains(node), "{node:?} is in a circle already");
        let previous = self.links[place.0 as usize][PREVIOUS];
        self.links[node.0 as usize] = [place.0, previous];
        self.links[previous as usize][NEXT] = node.0;
        self.links[place.0 as usize][PREVIOUS] = node.0;
    }

    /// Takes a node that is in a circle out of it.
    pub(crate) fn remove(&mut self, node: Node) {
        debug_assert!(self.contains(node), "{node:?} is in no circle");
        let [next, previous] = self.links[node.0 as usize];
        self.links[previous as usize][NEXT] = next;
        self.links[next as usize][PREVIOUS] = previous;
        self.links[node.0 as usize] = [0, 0];
    }
}
