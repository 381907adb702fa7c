//! Small pages between the two hands: parked in a ring of berths, oldest first.
//!
//! The staging area has berths for the largest budget that there can be, but the ring is only as long as the budget wants it: going
//! round, each of its berths is used. It becomes longer where it ends, when all that are parked lie before that, and never shorter.

use std::collections::VecDeque;

use super::staging::Berth;
use crate::memory::FrameIndex;

/// The ring.
#[derive(Debug)]
pub struct Parked {
    /// The number of its first berth.
    first: u32,
    /// Berths in it, and how many are wanted.
    length: u32,
    wanted: u32,
    /// The next one to use.
    next: u32,
    /// Whose page each of the last berths was used for. A page that was rescued keeps its entry until the back hand comes by.
    frames: VecDeque<FrameIndex>,
}

impl Parked {
    /// None, from this berth on.
    pub const fn new(first: Berth) -> Self {
        Self { first: first.0, length: 0, wanted: 0, next: 0, frames: VecDeque::new() }
    }

    /// So many berths are wanted from now on.
    pub fn want(&mut self, berths: u32) {
        self.wanted = berths;
        if self.next == 0 || self.frames.is_empty() {
            self.go_to(self.length);
        }
    }

    /// How many are parked.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// How many berths are free.
    pub fn room(&self) -> u32 {
        self.length - self.frames.len() as u32
    }

    /// The next berth to use, and how many there are in a row from it on.
    pub const fn row(&self) -> (Berth, u32) {
        (Berth(self.first + self.next), self.length - self.next)
    }

    /// A frame's page is in the next berth.
    pub fn push(&mut self, frame: FrameIndex) {
        self.frames.push_back(frame);
        self.go_to(self.next + 1);
    }

    fn go_to(&mut self, next: u32) {
        if next == self.length && self.wanted > self.length {
            self.length = self.wanted;
            self.frames.reserve_exact(self.room() as usize);
        }
        self.next = if next == self.length { 0 } else { next };
    }

    /// Takes out the `count` oldest.
    pub fn take(&mut self, count: usize) -> Vec<(Berth, FrameIndex)> {
        let oldest = self.next + self.room();
        let berth = |place| Berth(self.first + (oldest + place) % self.length);
        self.frames.drain(..count).zip(0..).map(|(frame, place)| (berth(place), frame)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Want(u32),
        Park(u32),
        Take(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => (1_u32..30).prop_map(Step::Want),
            4 => (1_u32..6).prop_map(Step::Park),
            4 => (1_usize..6).prop_map(Step::Take),
        ]
    }

    proptest! {
        #[test]
        fn pages_leave_in_turn_from_the_berths_they_were_given_which_nobody_else_was(
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let (mut parked, mut model) = (Parked::new(Berth(7)), VecDeque::new());
            let (mut frame, mut most) = (0, 0);
            for step in steps {
                match step {
                    Step::Want(berths) => {
                        most = most.max(berths);
                        parked.want(berths);
                        let is_empty = model.is_empty();
                        prop_assert!(!is_empty || parked.room() >= berths, "an empty ring has all that are wanted");
                    }
                    Step::Park(count) => for _ in 0..count.min(parked.room()) {
                        let (berth, row) = parked.row();
                        prop_assert!(row > 0 && (7..7 + most).contains(&berth.0));
                        prop_assert!(model.iter().all(|&(other, _)| other != berth), "{berth:?} is in use");
                        parked.push(FrameIndex(frame));
                        model.push_back((berth, FrameIndex(frame)));
                        frame += 1;
                    },
                    Step::Take(count) => {
                        let count = count.min(model.len());
                        prop_assert_eq!(parked.take(count), model.drain(..count).collect::<Vec<_>>());
                    }
                }
                prop_assert_eq!(parked.len(), model.len());
            }
        }
    }
}
