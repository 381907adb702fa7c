//! Which frames were used since the policy last asked: a bit a frame.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::FrameIndex;

/// The bits. They are hints: nothing else is ordered by them.
pub struct References(Vec<AtomicU64>);

impl References {
    /// No frame was used.
    pub fn new(frames: u32) -> Self {
        Self((0..frames.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// The frame was used.
    pub fn set(&self, frame: FrameIndex) {
        self.0[frame.0 as usize / 64].fetch_or(1 << (frame.0 % 64), Ordering::Relaxed);
    }

    /// Whether the frame was used; forgets it.
    pub fn test_and_clear(&self, frame: FrameIndex) -> bool {
        let bit = 1 << (frame.0 % 64);
        self.0[frame.0 as usize / 64].fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }
}
