//! Replay under a policy that runs live, too.

use alloc::vec;
use alloc::vec::Vec;

use super::{Reference, Tally};
use crate::policy::{AnyPolicy, FRAMES_A_TICK, PageKey, Pages, Policy, PolicyKind};

/// What a frame holds.
#[derive(Clone, Copy, Default)]
struct Frame {
    page: u32,
    used: bool,
    dirty: bool,
}

struct Memory {
    frames: Vec<Frame>,
    tally: Tally,
}

impl Pages for Memory {
    fn referenced(&mut self, frame: u32) -> bool {
        core::mem::take(&mut self.frames[frame as usize].used)
    }

    /// Writes the page at once if it is dirty.
    fn is_dirty(&mut self, frame: u32) -> bool {
        let was_dirty = core::mem::take(&mut self.frames[frame as usize].dirty);
        self.tally.writes += u64::from(was_dirty);
        was_dirty
    }
}

const NOWHERE: u32 = u32::MAX;

/// What `references` to pages 0 to `pages` - 1 cost with `frames` frames, at least 1.
///
/// Virtual time is counted in references: as many as there are frames age each frame once, except that a few
/// frames are aged more often, so that eight ages span as many references as there are frames.
#[must_use]
pub fn replay(kind: PolicyKind, frames: u32, pages: u32, references: &[Reference]) -> Tally {
    let frames = frames.min(pages).max(1);
    let mut policy = AnyPolicy::new(kind, frames);
    let mut memory = Memory { frames: vec![Frame::default(); frames as usize], tally: Tally::default() };
    let mut frame_of = vec![NOWHERE; pages as usize];
    let mut resident = 0;
    let interval = (frames / 8).clamp(1, FRAMES_A_TICK);
    for stretch in references.chunks(interval as usize) {
        for &reference in stretch {
            let mut frame = frame_of[reference.page() as usize];
            let is_fault = frame == NOWHERE;
            if is_fault {
                frame = resident;
                if resident < frames {
                    resident += 1;
                } else if let Some(victim) = policy.victim(&mut memory) {
                    memory.is_dirty(victim);
                    frame_of[memory.frames[victim as usize].page as usize] = NOWHERE;
                    frame = victim;
                }
                memory.tally.faults += 1;
                memory.frames[frame as usize] =
                    Frame { page: reference.page(), used: kind.counts_arrival(), dirty: false };
                frame_of[reference.page() as usize] = frame;
                policy.insert_page(frame, PageKey(reference.page().into()));
            }
            let held = &mut memory.frames[frame as usize];
            held.used |= !is_fault;
            held.dirty |= reference.is_write();
        }
        policy.tick(&mut memory);
    }
    memory.tally
}
