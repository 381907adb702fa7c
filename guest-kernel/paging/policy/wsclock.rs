//! WSClock (Carr and Hennessy, "WSClock: A Simple and Effective Algorithm for Virtual Memory Management", SOSP 1981):
//! a clock whose hand takes pages that have left the working set, that is, were not used for a while of virtual time,
//! and of those the clean ones. A dirty one is passed over, and its owner may begin to write it.
//!
//! Where the paper's hand goes round until a page has been cleaned, or a process stopped, ours looks at [`LOOKS`] pages
//! at most, so that a victim takes a bounded time to find: then the one that was unused longest goes.

use alloc::vec;
use alloc::vec::Vec;

use super::hand::HandRing;
use super::{FRAMES_A_TICK, Pages, Policy};

/// At how many pages the hand looks before it takes the best that it saw.
const LOOKS: u32 = 32;
/// The window of the working set: as many ticks as look at each frame this many times, and at least
/// [`SHORTEST_WINDOW`].
const LOOKS_A_WINDOW: u32 = 4;
const SHORTEST_WINDOW: u32 = 32;

/// The pages in a circle, each with the time of its last use. 12 bytes a frame.
#[derive(Debug)]
pub struct WsClock {
    face: HandRing,
    /// When a page was last seen to have been used, in ticks.
    used_at: Vec<u32>,
    /// Virtual time in ticks. It wraps, and so do differences of it.
    now: u32,
    /// A page unused for more than this has left the working set, in ticks.
    window: u32,
}

impl WsClock {
    /// A policy for frames 0 to `frames` - 1, none of which it holds yet.
    #[must_use]
    pub fn new(frames: u32) -> Self {
        Self {
            face: HandRing::new(frames),
            used_at: vec![0; frames as usize],
            now: 0,
            window: (frames / FRAMES_A_TICK * LOOKS_A_WINDOW).max(SHORTEST_WINDOW),
        }
    }

    /// How long the page has been unused, in ticks.
    fn idle(&mut self, frame: u32, pages: &mut dyn Pages) -> u32 {
        let used_at = &mut self.used_at[frame as usize];
        if pages.referenced(frame) {
            *used_at = self.now;
        }
        self.now.wrapping_sub(*used_at)
    }

    /// What its tables take if it never held a frame from `frames` on: what was never written takes no memory.
    #[must_use]
    pub const fn bytes(&self, frames: u32) -> usize {
        self.face.bytes(frames) + size_of::<u32>() * frames as usize
    }
}

impl Policy for WsClock {
    fn insert(&mut self, frame: u32) {
        self.used_at[frame as usize] = self.now;
        self.face.insert_behind_hand(frame);
    }

    fn remove(&mut self, frame: u32) {
        self.face.remove(frame);
    }

    fn victim(&mut self, pages: &mut dyn Pages) -> Option<u32> {
        let mut longest: Option<(u32, u32)> = None;
        for _ in 0..self.face.held().min(LOOKS) {
            let frame = self.face.at_hand()?;
            let idle = self.idle(frame, pages);
            if idle > self.window && !pages.is_dirty(frame) {
                self.face.remove(frame);
                return Some(frame);
            }
            if longest.is_none_or(|(other, _)| idle > other) {
                longest = Some((idle, frame));
            }
            self.face.advance();
        }
        let (_, frame) = longest?;
        self.face.remove(frame);
        Some(frame)
    }

    fn tick(&mut self, _pages: &mut dyn Pages) {
        self.now = self.now.wrapping_add(1);
    }
}
