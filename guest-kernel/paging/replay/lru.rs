//! LRU: the page whose last use is longest ago goes.

use alloc::vec;

use super::{Reference, Tally};
use crate::ring::{Node, Ring};

/// What `references` to pages 0 to `pages` - 1 cost with `frames` frames, at least 1.
#[must_use]
pub fn lru(frames: u32, pages: u32, references: &[Reference]) -> Tally {
    let mut tally = Tally::default();
    // Resident pages, the one unused longest first.
    let mut queue: Ring = Ring::new(pages);
    let mut dirty = vec![false; pages as usize];
    let mut free = frames.max(1);
    for reference in references {
        let node = queue.node(reference.page());
        if queue.contains(node) {
            queue.remove(node);
        } else {
            tally.faults += 1;
            if free > 0 {
                free -= 1;
            } else if let Some(victim) = queue.next_frame(Node::SENTINEL) {
                queue.remove(queue.node(victim));
                tally.writes += u64::from(core::mem::take(&mut dirty[victim as usize]));
            }
        }
        queue.insert_before(Node::SENTINEL, node);
        dirty[reference.page() as usize] |= reference.is_write();
    }
    tally
}
