//! Marks: what is known of the use of each frame's page, in four bits.
//!
//! ```text
//!   8 + used 1 + written 2 + fresh 4   its page is in guest RAM
//!   1 to 7                             it was evicted: the part of the eviction clock (ghosts.rs)
//!   0                                  it never came in, is parked, or went too long ago
//! ```
//!
//! One word serves a page while it is in and while it is out, since nobody asks about use of a page that is out, or when a
//! page left that is in. Marks are hints, and nothing else is ordered by them. Only the reclaim thread takes the resident mark
//! away, so what it finds resident stays so until it goes on.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::FrameIndex;

/// The page was used since the policy last asked.
const USED: u64 = 1;
/// It would have to be written if it went now, as far as is known.
const WRITTEN: u64 = 2;
/// Nobody has looked since it came in: a use that is found may be its arrival.
const FRESH: u64 = 4;
const RESIDENT: u64 = 8;

const BITS: u32 = 4;
const A_WORD: u32 = u64::BITS / BITS;
const MASK: u64 = (1 << BITS) - 1;

/// When a page was evicted, in parts of the eviction clock: 1 to [`Stamp::COUNT`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp(u64);

impl Stamp {
    /// How many there are.
    pub const COUNT: u64 = RESIDENT - 1;

    /// That of the `n`th part, counted from 0.
    pub const fn of(n: u64) -> Self {
        Self(n % Self::COUNT + 1)
    }

    /// How many parts have begun since, if that are fewer than [`Stamp::COUNT`]; `now` is the current part.
    pub const fn age(self, now: u64) -> usize {
        ((Self::of(now).0 + Self::COUNT - self.0) % Self::COUNT) as usize
    }
}

/// The marks of every frame.
pub struct Marks(Vec<AtomicU64>);

impl Marks {
    /// No page came in yet.
    pub fn new(frames: u32) -> Self {
        Self((0..frames.div_ceil(A_WORD)).map(|_| AtomicU64::new(0)).collect())
    }

    /// What they take.
    pub const fn bytes(&self) -> usize {
        self.0.len() * size_of::<AtomicU64>()
    }

    /// The page is in guest RAM. Returns when it was evicted, if that is still known.
    pub fn arrive(&self, frame: FrameIndex, used: bool, written: bool) -> Option<Stamp> {
        let marks = RESIDENT | FRESH | u64::from(used) | u64::from(written) << 1;
        let before = self.change(frame, |_| marks);
        (1..RESIDENT).contains(&before).then_some(Stamp(before))
    }

    /// The page is on its way out.
    pub fn park(&self, frame: FrameIndex) {
        self.change(frame, |_| 0);
    }

    /// The page was evicted.
    pub fn evict(&self, frame: FrameIndex, stamp: Stamp) {
        self.change(frame, |_| stamp.0);
    }

    /// The page was written to.
    pub fn written(&self, frame: FrameIndex) {
        self.change_resident(frame, |marks| marks | USED | WRITTEN);
    }

    /// The page was found used, or written to: since it was last looked at, or else since it came in, and then it may be no
    /// more than what brought it in, and does not count. Returns whether it counts.
    pub fn found(&self, frame: FrameIndex, written: bool) -> bool {
        let use_of_it = USED | if written { WRITTEN } else { 0 };
        let seen = |marks| if marks & FRESH == 0 { marks | use_of_it } else { marks & !FRESH };
        self.change_resident(frame, seen) & (RESIDENT | FRESH) == RESIDENT
    }

    /// Whether the page is in guest RAM.
    pub fn is_resident(&self, frame: FrameIndex) -> bool {
        self.get(frame) & RESIDENT != 0
    }

    /// Whether the page was evicted, and that is not forgotten.
    pub fn is_ghost(&self, frame: FrameIndex) -> bool {
        (1..RESIDENT).contains(&self.get(frame))
    }

    /// Whether the page was used since this was last asked, or else since it came in; forgets the use.
    pub fn referenced(&self, frame: FrameIndex) -> bool {
        self.change_resident(frame, |marks| marks & !USED) & (RESIDENT | USED) == RESIDENT | USED
    }

    /// Whether the page would have to be written if it went now, as far as is known.
    pub fn is_dirty(&self, frame: FrameIndex) -> bool {
        self.get(frame) & (RESIDENT | WRITTEN) == RESIDENT | WRITTEN
    }

    /// Forgets every eviction with this stamp.
    pub fn forget(&self, stamp: Stamp) {
        for word in &self.0 {
            // The closure always has a value.
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |marks| {
                let stamped = |place: &u32| marks >> (place * BITS) & MASK == stamp.0;
                let gone = (0..A_WORD).filter(stamped).map(|place| MASK << (place * BITS)).sum::<u64>();
                (gone != 0).then_some(marks & !gone)
            });
        }
    }

    fn get(&self, frame: FrameIndex) -> u64 {
        let (word, shift) = self.place(frame);
        word.load(Ordering::Relaxed) >> shift & MASK
    }

    fn change_resident(&self, frame: FrameIndex, change: impl Fn(u64) -> u64) -> u64 {
        self.change(frame, |marks| if marks & RESIDENT == 0 { marks } else { change(marks) })
    }

    /// Changes a frame's marks and returns what they were.
    fn change(&self, frame: FrameIndex, change: impl Fn(u64) -> u64) -> u64 {
        let (word, shift) = self.place(frame);
        let changed = |marks: u64| marks & !(MASK << shift) | change(marks >> shift & MASK) << shift;
        let before = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |marks| Some(changed(marks)));
        let (Ok(before) | Err(before)) = before;
        before >> shift & MASK
    }

    fn place(&self, frame: FrameIndex) -> (&AtomicU64, u32) {
        (&self.0[(frame.0 / A_WORD) as usize], frame.0 % A_WORD * BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_resident_page_is_used_and_a_use_is_told_once() {
        let marks = Marks::new(40);
        let frame = FrameIndex(17);
        marks.written(frame);
        assert!(!marks.referenced(frame), "nothing came in");
        assert_eq!(marks.arrive(frame, false, true), None);
        assert!(!marks.referenced(frame) && marks.is_dirty(frame));
        marks.written(frame);
        assert!(marks.referenced(frame) && !marks.referenced(frame));
        assert!(!marks.is_resident(FrameIndex(16)) && !marks.is_resident(FrameIndex(18)));
    }

    #[test]
    fn a_use_that_may_be_the_arrival_is_none() {
        let marks = Marks::new(1);
        let frame = FrameIndex(0);
        marks.arrive(frame, false, false);
        assert!(!marks.found(frame, false) && !marks.referenced(frame));
        assert!(marks.found(frame, false) && marks.referenced(frame) && !marks.is_dirty(frame));
        assert!(marks.found(frame, true) && marks.referenced(frame) && marks.is_dirty(frame));
    }

    #[test]
    fn a_page_that_comes_back_tells_when_it_went_unless_that_is_forgotten() {
        let marks = Marks::new(20);
        for frame in 0..20 {
            marks.arrive(FrameIndex(frame), true, true);
            marks.evict(FrameIndex(frame), Stamp::of(frame.into()));
        }
        marks.forget(Stamp::of(3));
        for frame in 0..20 {
            let known = (frame % 7 != 3).then(|| Stamp::of(frame.into()));
            assert_eq!(marks.arrive(FrameIndex(frame), false, false), known, "frame {frame}");
        }
        assert_eq!((Stamp::of(5).age(5), Stamp::of(5).age(11)), (0, 6));
    }
}
