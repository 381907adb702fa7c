//! The reclaim thread: makes room before it is needed.
//!
//! Two hands, as in 3BSD (Babaoglu and Joy, "Converting a Swap-Based System to do Paging in an Architecture Lacking
//! Page-Referenced Bits", 1981), because the host does not see accessed bits that it could test cheaply:
//!
//! - the front hand asks the policy for victims and parks them in the staging area: out of the guest's
//!   sight, but still in memory;
//! - the back hand follows at a distance, the spread, and takes what is still parked to the store.
//!
//! A page that is touched in between is rescued by the fault thread, at the price of a soft fault, and counts as
//! referenced when the policy next comes by. A page that was only brought in does not: that says that it was used
//! once, which is true of every page. Fifo asks for no references, so its spread is none.
//!
//! A huge page goes through the staging area as one, with a spread of its own, and is written page by page. One that is to be
//! split becomes 512 victims, which go first.

use std::collections::VecDeque;

use paging::policy::PolicyKind;

use super::departure::Departure;
use super::frames::{FrameState, GROUP, Hints, Whole, head};
use super::parked::Parked;
use super::reference::{Method, Sampler};
use super::staging::{Berth, Sizes};
use super::uffd::Outcome;
use super::{PagerError, Shared};
use crate::memory::FrameIndex;

/// Most pages that a hand takes at once: a write large enough to keep a disk busy, small enough to be over soon.
pub const MAX_BATCH: u32 = 32;

/// How far the hands are apart, and how many pages each takes at once.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    small: u32,
    batch: u32,
    /// In huge pages; they are taken one at a time. `None`: there are none.
    huge: Option<u32>,
}

impl Spread {
    /// For a policy, a budget in frames, and how many are in use: more than the budget, when it was lowered. `huge`: some of
    /// them may be huge.
    pub fn new(policy: PolicyKind, budget: u32, huge: bool, used: u32) -> Self {
        let spread = if policy.asks_for_references() { budget / 8 } else { 0 };
        let batch = (budget.max(used) / 16).clamp(1, MAX_BATCH);
        Self { small: spread, batch, huge: huge.then_some(spread / GROUP) }
    }

    /// How many berths that takes.
    pub fn berths(self) -> Sizes {
        Sizes { huge: self.huge.map_or(0, |spread| spread + 1), small: self.small + self.batch }
    }
}

/// The thread's own state.
pub struct Reclaim<'a> {
    shared: &'a Shared,
    policy: PolicyKind,
    /// By the budget as it is now.
    hands: Spread,
    /// Between the hands.
    parked: Parked,
    /// The same for huge pages, oldest first: the first berth of each, and its group's first frame.
    parked_whole: VecDeque<(Berth, FrameIndex)>,
    next_whole: u32,
    /// Small pages of huge ones that were split: the next victims.
    split: VecDeque<FrameIndex>,
    departure: Departure<'a>,
    sampler: Sampler<'a>,
    /// Victims since the policy's last tick.
    since_tick: u32,
}

/// Virtual time is counted in victims: with this, a tick of the policy passes about as often as in a replay, which counts
/// references, most of which are hits.
const VICTIMS_A_TICK: u32 = 8;

impl<'a> Reclaim<'a> {
    /// Nothing is parked yet.
    pub fn new(shared: &'a Shared, policy: PolicyKind, method: Method) -> Self {
        Self {
            shared,
            policy,
            hands: Spread::new(policy, shared.room.budget(), shared.huge.is_some(), 0),
            parked: Parked::new(Berth(shared.staging.sizes().first_small())),
            parked_whole: VecDeque::new(),
            next_whole: 0,
            split: VecDeque::new(),
            departure: Departure::new(shared),
            sampler: Sampler::new(shared, method),
            since_tick: 0,
        }
    }

    /// Makes room whenever it runs short, until the pager stops or a page cannot be written.
    pub fn run(mut self) {
        while self.shared.room.wait_until_short() {
            while !self.shared.room.is_ample() {
                if let Err(error) = self.turn() {
                    self.shared.fail(error);
                    return;
                }
            }
        }
    }

    /// Moves both hands on by a batch.
    fn turn(&mut self) -> Result<(), PagerError> {
        let room = &self.shared.room;
        let (used, _) = room.used_and_peak();
        self.hands = Spread::new(self.policy, room.budget(), self.shared.huge.is_some(), used);
        self.parked.want(self.hands.berths().small);
        let (small, whole) = (self.hands.small as usize, self.hands.huge.unwrap_or(0) as usize);
        // More than that is between the hands when the budget was lowered, and there may be too few berths for it yet when
        // it was raised. Then the back hands go on alone.
        let full = self.parked.len() > small
            || self.parked_whole.len() > whole
            || self.parked.room() < self.hands.batch;
        let parked = if full { 0 } else { self.park()? };
        let (due, whole_due) = if parked > 0 {
            (self.parked.len().saturating_sub(small), self.parked_whole.len().saturating_sub(whole))
        } else {
            // Or there are no victims: most pages are parked already, so the back hands catch up.
            ((self.hands.batch as usize).min(self.parked.len()), self.parked_whole.len().min(1))
        };
        let mut freed = self.write_out(due)?;
        for _ in 0..whole_due {
            freed += self.write_whole_out()?;
        }
        if parked == 0 && freed == 0 {
            self.shared.room.pause();
        }
        Ok(())
    }

    /// The front hand: parks up to a batch of victims, or one huge page. Returns how many pages that were.
    fn park(&mut self) -> Result<u32, PagerError> {
        let (mut victims, whole) = self.choose();
        self.sampler.keep_up(victims.len() as u32 + whole.map_or(0, |_| GROUP))?;
        let mut parked = whole.map_or(Ok(0), |frame| self.park_whole(frame))?;
        victims.sort_unstable();
        let mut rest = &victims[..];
        while let Some(&frame) = rest.first() {
            let run = self.run_of(rest);
            match self.park_run(&rest[..run]) {
                Ok(taken) => {
                    parked += taken;
                    rest = &rest[taken as usize..];
                }
                Err(outcome) => {
                    self.put_back(frame, outcome)?;
                    rest = &rest[1..];
                }
            }
        }
        Ok(parked)
    }

    /// A device is writing to the victim. It cannot go now, and is asked again in its turn.
    fn put_back(&self, frame: FrameIndex, outcome: Outcome) -> Result<(), PagerError> {
        if !matches!(outcome, Outcome::Busy | Outcome::Again) {
            return Err(PagerError::Refused { what: "park", frame, outcome });
        }
        self.shared.counters.refused.add(1);
        self.shared.admit(frame);
        Ok(())
    }

    /// Chooses small victims, and the first frame of a huge one when the policy comes to one.
    fn choose(&mut self) -> (Vec<FrameIndex>, Option<FrameIndex>) {
        let mut victims = Vec::new();
        while victims.len() < self.hands.batch as usize {
            let Some(frame) = self.split.pop_front().or_else(|| self.victim()) else { break };
            if self.hands.huge.is_some() && self.is_whole(frame) {
                return (victims, Some(frame));
            }
            victims.push(frame);
        }
        (victims, None)
    }

    fn victim(&mut self) -> Option<FrameIndex> {
        let mut residents = self.shared.residents.lock();
        let victim = residents.victim(&self.shared.marks)?;
        self.since_tick += 1;
        if self.since_tick == VICTIMS_A_TICK {
            self.since_tick = 0;
            residents.tick(&self.shared.marks);
        }
        Some(victim)
    }

    /// Whether the victim is a huge page. One that is to be split ceases to be, and the rest of it is chosen next.
    fn is_whole(&mut self, frame: FrameIndex) -> bool {
        let mut guard = self.shared.frames.lock(frame);
        if guard.whole() == Whole::No {
            return false;
        }
        if self.shared.huge.is_none_or(|huge| huge.splits(*guard.hints())) {
            guard.set_whole(Whole::No);
            *guard.hints() = Hints::default();
            for other in guard.frames().filter(|&other| other != frame) {
                self.shared.marks.arrive(other, false, true);
                self.split.push_back(other);
            }
            self.shared.counters.split.add(1);
            return false;
        }
        true
    }

    /// Parks a huge page, and returns how many small ones that are.
    fn park_whole(&mut self, frame: FrameIndex) -> Result<u32, PagerError> {
        let shared = self.shared;
        let berths = shared.staging.sizes().huge;
        // The area is full of huge pages: the oldest goes on.
        while self.parked_whole.len() >= berths as usize {
            self.write_whole_out()?;
        }
        let berth = Berth(self.next_whole * GROUP);
        let mut guard = shared.frames.lock(frame);
        if let Err(outcome) = shared.staging.park_whole(&shared.uffd, shared.hva(frame)?, berth) {
            drop(guard);
            return self.put_back(frame, outcome).map(|()| 0);
        }
        guard.set_whole(Whole::Parked(berth));
        shared.marks.park(frame);
        self.parked_whole.push_back((berth, frame));
        self.next_whole = (self.next_whole + 1) % berths;
        shared.counters.parked.add(GROUP.into());
        Ok(GROUP)
    }

    /// How many victims, from the first on, are neighbours in guest RAM and get neighbouring berths: these can
    /// be moved in one go.
    fn run_of(&self, victims: &[FrameIndex]) -> usize {
        let (_, berths) = self.parked.row();
        let neighbours = |pair: &[FrameIndex]| pair[0].0 + 1 == pair[1].0 && head(pair[0]) == head(pair[1]);
        let run = victims.windows(2).take_while(|pair| neighbours(pair)).count() + 1;
        run.min(berths as usize)
    }

    /// Parks some of a run of one group's frames, at least one, and returns how many.
    fn park_run(&mut self, run: &[FrameIndex]) -> Result<u32, Outcome> {
        let shared = self.shared;
        let mut guard = shared.frames.lock(run[0]);
        let (first, _) = self.parked.row();
        // The policy holds resident frames only, and only this thread takes one out.
        let page = shared.ram.hva(run[0]).ok_or(Outcome::Missing)?;
        let taken = shared.staging.park(&shared.uffd, page, first, run.len() as u32)?;
        for (berth, &frame) in (first.0..).map(Berth).zip(run).take(taken as usize) {
            shared.staging.set_slot(berth, guard.state(frame).slot());
            guard.set(frame, FrameState::Parked(berth));
            shared.marks.park(frame);
            self.parked.push(frame);
        }
        shared.counters.parked.add(taken.into());
        Ok(taken)
    }

    /// The back hand: takes the `count` oldest to the store, unless they were rescued. Returns how many frames
    /// that freed.
    fn write_out(&mut self, count: usize) -> Result<u32, PagerError> {
        self.departure.of_pages(&self.parked.take(count))
    }

    /// The back hand for huge pages: takes the oldest to the store, unless it was rescued.
    fn write_whole_out(&mut self) -> Result<u32, PagerError> {
        self.parked_whole
            .pop_front()
            .map_or(Ok(0), |(berth, frame)| self.departure.of_huge_page(berth, frame))
    }
}
