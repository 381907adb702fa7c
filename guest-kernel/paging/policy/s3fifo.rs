//! S3-FIFO (Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023): new pages
//! pass through a small queue, a tenth of all. Those that were used again there move to the main queue, the others
//! go and leave a ghost. A page whose ghost is still remembered when it comes back enters the main queue at once.
//!
//! The paper counts up to three uses of a page; an accessed bit cannot count, so here one use is what matters, in both queues.

use alloc::vec;
use alloc::vec::Vec;

use super::ghost::{Fingerprint, Ghosts};
use super::{PageKey, Pages, Policy};
use crate::ring::{Node, Ring};

const SMALL: u32 = 0;
const MAIN: u32 = 1;
/// The small queue's part of all pages is one in this many.
const SMALL_PART: u32 = 10;

/// The queues, oldest page first, and the ghosts. 25 to 29 bytes a frame.
#[derive(Debug)]
pub struct S3Fifo {
    queues: Ring<2>,
    lengths: [u32; 2],
    /// Which queue a frame is in.
    queue_of: Vec<u8>,
    pages: Vec<Fingerprint>,
    ghosts: Ghosts,
}

impl S3Fifo {
    /// A policy for frames 0 to `frames` - 1, none of which it holds yet.
    #[must_use]
    pub fn new(frames: u32) -> Self {
        Self {
            queues: Ring::new(frames),
            lengths: [0, 0],
            queue_of: vec![0; frames as usize],
            pages: vec![Fingerprint::UNKNOWN; frames as usize],
            ghosts: Ghosts::new(frames),
        }
    }

    fn put(&mut self, queue: u32, frame: u32) {
        self.queues.insert_before(Node::sentinel(queue), self.queues.node(frame));
        self.queue_of[frame as usize] = queue as u8;
        self.lengths[queue as usize] += 1;
    }

    fn take(&mut self, frame: u32) {
        self.queues.remove(self.queues.node(frame));
        self.lengths[usize::from(self.queue_of[frame as usize])] -= 1;
    }

    /// The small queue's share; at least one page.
    fn small_share(&self) -> u32 {
        (self.held() / SMALL_PART).max(1)
    }

    const fn held(&self) -> u32 {
        self.lengths[SMALL as usize] + self.lengths[MAIN as usize]
    }

    /// The queue that has to give up a page.
    fn queue_to_shrink(&self) -> u32 {
        if self.lengths[SMALL as usize] >= self.small_share() || self.lengths[MAIN as usize] == 0 {
            SMALL
        } else {
            MAIN
        }
    }

    /// What its tables take if it never held a frame from `frames` on: what was never written takes no memory.
    /// Fingerprints and ghosts have room for all frames from the start.
    #[must_use]
    pub const fn bytes(&self, frames: u32) -> usize {
        self.queues.bytes(frames) + frames as usize + size_of_val(self.pages.as_slice()) + self.ghosts.bytes()
    }
}

impl Policy for S3Fifo {
    /// A page without a key has no history, and leaves none.
    fn insert(&mut self, frame: u32) {
        self.pages[frame as usize] = Fingerprint::UNKNOWN;
        self.put(SMALL, frame);
    }

    fn insert_page(&mut self, frame: u32, page: PageKey) {
        let page = Fingerprint::of(page);
        // As many ghosts as the main queue has room for pages; the new page is one of those held.
        let remembered = self.held() + 1 - self.small_share();
        let queue = if self.ghosts.take(page, remembered) { MAIN } else { SMALL };
        self.pages[frame as usize] = page;
        self.put(queue, frame);
    }

    fn remove(&mut self, frame: u32) {
        if self.queues.contains(self.queues.node(frame)) {
            self.take(frame);
        }
    }

    /// As many pages are asked at most as there are; then whatever comes next goes, so that a victim takes a bounded
    /// time to find.
    fn victim(&mut self, pages: &mut dyn Pages) -> Option<u32> {
        let mut chances = self.held();
        loop {
            let queue = self.queue_to_shrink();
            let frame = self.queues.next_frame(Node::sentinel(queue))?;
            self.take(frame);
            if chances == 0 || !pages.referenced(frame) {
                if queue == SMALL {
                    self.ghosts.remember(self.pages[frame as usize]);
                }
                return Some(frame);
            }
            chances -= 1;
            self.put(MAIN, frame);
        }
    }
}
