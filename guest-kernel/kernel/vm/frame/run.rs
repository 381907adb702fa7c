//! Runs of frames: neighbours in RAM that lie as a huge page must, for huge pages and for what the kernel itself wants in one piece.

use abi::addr::PAGE_SIZE;

use super::{FrameIndex, FrameTable, Link, Use};

impl FrameTable {
    /// Takes a run of `count` frames, a power of two, aligned to its own length in RAM, whose bytes are all zeros. Frames that were used
    /// before are cleared, and come first, as for [`FrameTable::take_zeroed`].
    pub fn take_run(&mut self, count: u32) -> Option<FrameIndex> {
        let first = self.find_run(count)?;
        let (end, mark) = (first + count, self.untouched);
        self.untouched = mark.max(end);
        (mark..first).for_each(|frame| self.free(FrameIndex(frame)));
        for frame in (first..end.min(mark)).map(FrameIndex) {
            self.unlink(frame);
            *self.get_mut(frame) = Use::Untouched;
            self.zero(frame);
        }
        Some(FrameIndex(first))
    }

    fn find_run(&self, count: u32) -> Option<u32> {
        if self.free_frames() < count {
            return None;
        }
        let is_used = |&frame: &u32| {
            frame < self.untouched && !matches!(self.peek(FrameIndex(frame)), Use::Free { .. })
        };
        let mut first = self.aligned(0, count)?;
        while let Some(used) = (first..first + count).rev().find(is_used) {
            first = self.aligned(used + 1, count)?;
        }
        Some(first)
    }

    /// The first frame from one on that starts a run, which lies in one range of RAM.
    fn aligned(&self, from: u32, count: u32) -> Option<u32> {
        let bytes = u64::from(count) * PAGE_SIZE as u64;
        let start = |from: u32| {
            let gpa = self.gpa(FrameIndex(from)).0;
            from + ((gpa.next_multiple_of(bytes) - gpa) / PAGE_SIZE as u64) as u32
        };
        let (border, end) = (self.low_frames, self.len());
        if from < border && start(from) + count <= border {
            return Some(start(from));
        }
        let first = start(from.max(border));
        (first + count <= end).then_some(first)
    }

    /// Frees a run.
    pub fn free_all(&mut self, first: FrameIndex, count: u32) {
        (first.0..first.0 + count).for_each(|frame| self.free(FrameIndex(frame)));
    }

    /// A frame joins a list of spare ones.
    pub fn set_aside(&mut self, frame: FrameIndex, list: &mut Link) {
        *self.get_mut(frame) = Use::Spare { next: *list };
        *list = Link::to(frame);
    }

    /// Takes a frame from a list of spare ones.
    pub fn take_spare(&mut self, list: &mut Link) -> Option<FrameIndex> {
        let frame = list.frame()?;
        let Use::Spare { next } = self.get(frame) else { unreachable!("a list of spare frames") };
        *list = next;
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::addr::Gpa;
    use abi::boot::RamRange;
    use proptest::prelude::*;

    proptest! {
        /// Against a list of what is taken: a run is aligned, zero, in one range and nobody else's; one is found where there is one.
        #[test]
        fn runs_are_aligned_zero_and_nobody_elses(steps in prop::collection::vec((0u8..4, 0u32..5, any::<prop::sample::Index>()), 0..120)) {
            let low = RamRange { start: Gpa(0x10_3000), bytes: 37 << 12 };
            let high = RamRange { start: Gpa(0x20_0000), bytes: 24 << 12 };
            let mut frames = FrameTable::new(low, high);
            (0..frames.len()).for_each(|frame| frames.zero(FrameIndex(frame)));
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for (step, order, which) in steps {
                let count = if step == 0 { 1 } else { 1 << order };
                if step == 3 && !taken.is_empty() {
                    let (first, count) = taken.swap_remove(which.index(taken.len()));
                    frames.free_all(FrameIndex(first), count);
                } else {
                    let is_free = |frame: u32| !taken.iter().any(|&(first, count)| first <= frame && frame < first + count);
                    let possible = (0..frames.len()).any(|first| {
                        let gpa = frames.gpa(FrameIndex(first));
                        let last = first + count - 1;
                        gpa.0.is_multiple_of(u64::from(count) << 12) && last < frames.len()
                            && frames.gpa(FrameIndex(last)) == gpa + (u64::from(count - 1) << 12) && (first..=last).all(is_free)
                    });
                    let run = if step == 0 { frames.take() } else { frames.take_run(count) };
                    prop_assert_eq!(run.is_some(), possible);
                    let Some(first) = run else { continue };
                    for frame in first.0..first.0 + count {
                        prop_assert!(is_free(frame));
                        let mut bytes = [1; PAGE_SIZE];
                        frames.read(FrameIndex(frame), 0, &mut bytes);
                        prop_assert!(step == 0 || bytes == [0; PAGE_SIZE]);
                        frames.write(FrameIndex(frame), 0, &[0xa5; PAGE_SIZE]);
                        *frames.get_mut(FrameIndex(frame)) = Use::Kernel;
                    }
                    prop_assert!(frames.gpa(first).0.is_multiple_of(u64::from(count) << 12));
                    taken.push((first.0, count));
                }
                let held: u32 = taken.iter().map(|&(_, count)| count).sum();
                prop_assert_eq!(frames.free_frames() + held, frames.len());
            }
        }
    }
}
