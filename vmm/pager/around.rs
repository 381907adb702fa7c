//! Fault-around: whether a page that is brought in should bring its neighbours along.
//!
//! A host without accessed bits cannot see which of them are used. So some neighbours are left out, as probes: one that is
//! faulted in after a while would have been of use. A page brought in now stays for about one budget of evictions, so from how long
//! the probes have waited and how many of them were asked for follows the *chance* that a neighbour is asked for while it would be
//! there. Against it stands the *regret*: to make room for a neighbour a page is evicted, which may be asked for as
//! well. The part of evicted pages that are is known (`ghosts`). Neighbours come along while the chance is
//! greater than the regret by more than they cost themselves.
//!
//! Where visits are evenly spread over more than the budget the two are equal, and pages come one by one. Where a part of memory
//! comes back into use after another it is the chance that is greater.

use std::collections::VecDeque;

use super::frames::GROUP;
use crate::measure::Random;
use crate::memory::FrameIndex;

/// How many neighbours there are, the page itself among them; they are aligned.
const WINDOW: u32 = 16;
const _: () = assert!(GROUP.is_multiple_of(WINDOW), "neighbours have one lock");
/// How many probes there are at a time.
const PROBES: usize = 128;
/// With fewer uses nothing is said. With twice as many as [`ENOUGH`] the older half of what was seen is forgotten.
const FEWEST: f64 = 4.0;
const ENOUGH: f64 = 32.0;
/// Evictions over which the regret is taken: a part of the lifetime, and fewest that say something.
const PERIODS: u64 = 8;
const SHORTEST: u64 = 16;
/// What it costs to read a page along and to evict another, in faults.
const COST: f64 = 1.0 / 6.0;

/// Some pages of a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbours {
    first: u32,
    /// A bit for each page.
    chosen: u16,
}
const _: () = assert!(WINDOW == u16::BITS);

/// A neighbour that was left out.
#[derive(Clone, Copy, Debug)]
struct Probe {
    frame: FrameIndex,
    /// The eviction clock then.
    since: u64,
}

/// What is known of neighbours.
#[derive(Debug)]
pub struct Around {
    /// How many evictions a page outlives.
    lifetime: u64,
    /// The eviction clock: how many pages have been evicted.
    now: u64,
    /// The oldest first.
    probes: VecDeque<Probe>,
    /// Probes that were asked for, and evictions that all together have waited.
    uses: f64,
    waited: f64,
    regret: Regret,
    random: Random,
    stats: AroundStats,
}

/// The part of evicted pages that come back within their lifetime.
#[derive(Clone, Copy, Debug)]
struct Regret {
    /// That of the last periods, of each half as much as of the one after it.
    part: f64,
    period: u64,
    /// The current period.
    began: u64,
    returns: u64,
}

/// A fault that no stream foresaw.
#[derive(Clone, Copy, Debug)]
pub struct Missed {
    /// Its page.
    pub frame: FrameIndex,
    /// How many pages have been evicted.
    pub evicted: u64,
    /// Whether this one was, within the last budget of evictions.
    pub came_back: bool,
}

/// What fault-around saw and did.
#[derive(Clone, Copy, Default, Debug, serde::Serialize)]
pub struct AroundStats {
    /// Neighbours that were left out on purpose.
    pub probes: u64,
    /// Those of them that were asked for in time.
    pub used: u64,
    /// Faults whose neighbours came along.
    pub windows: u64,
    /// Pages that came along.
    pub pages: u64,
}

impl Around {
    /// Nothing is known yet; a page stays for about `lifetime` evictions.
    pub fn new(lifetime: u32) -> Self {
        Self {
            lifetime: u64::from(lifetime).max(1),
            now: 0,
            probes: VecDeque::with_capacity(PROBES),
            uses: 0.0,
            waited: 0.0,
            regret: Regret::new(u64::from(lifetime) / PERIODS),
            random: Random::new(1),
            stats: AroundStats::default(),
        }
    }

    /// It stays so long from now on. What is known so far holds no more.
    pub fn set_lifetime(&mut self, lifetime: u32) {
        *self = Self { now: self.now, stats: self.stats, ..Self::new(lifetime) };
        self.regret.began = self.now;
    }

    /// Takes a fault in. Returns the neighbours that should come along, if they should. `is_near` says of one whether
    /// it is in the store's memory: to read another from a file costs about as much as to read the first.
    pub fn observe(&mut self, missed: Missed, is_near: impl Fn(FrameIndex) -> bool) -> Option<Neighbours> {
        // It is read while it is moved, and may seem to go back.
        self.now = self.now.max(missed.evicted);
        self.regret.observe(self.now, missed.came_back);
        self.settle(missed.frame);
        if self.probes.len() < PROBES {
            self.leave_one_out(missed.frame, &is_near);
        }
        if !self.pays() {
            return None;
        }
        self.stats.windows += 1;
        Some(Neighbours::of(missed.frame).filter(|frame| is_near(frame) && !self.is_probe(frame)))
    }

    /// So many neighbours came along.
    pub fn brought(&mut self, pages: u32) {
        self.stats.pages += u64::from(pages);
    }

    /// What it saw and did.
    pub const fn stats(&self) -> AroundStats {
        self.stats
    }

    /// Learns from probes that are asked for, and from those that are too old.
    fn settle(&mut self, frame: FrameIndex) {
        if let Some(place) = self.probes.iter().position(|probe| probe.frame == frame)
            && let Some(probe) = self.probes.remove(place)
        {
            self.uses += 1.0;
            self.stats.used += 1;
            self.waited += (self.now - probe.since) as f64;
        }
        while let Some(waited) = self.probes.front().map(|probe| self.now - probe.since)
            && waited > self.lifetime
        {
            self.waited += waited as f64;
            self.probes.pop_front();
        }
        if self.uses > ENOUGH * 2.0 || self.waited > self.lifetime as f64 * ENOUGH * 2.0 {
            self.uses /= 2.0;
            self.waited /= 2.0;
        }
    }

    fn leave_one_out(&mut self, frame: FrameIndex, is_near: impl Fn(FrameIndex) -> bool) {
        let other = FrameIndex(frame.0 ^ (1 + self.random.below(WINDOW as usize - 1) as u32));
        if is_near(other) && !self.is_probe(other) {
            self.probes.push_back(Probe { frame: other, since: self.now });
            self.stats.probes += 1;
        }
    }

    fn is_probe(&self, frame: FrameIndex) -> bool {
        self.probes.iter().any(|probe| probe.frame == frame)
    }

    fn pays(&self) -> bool {
        self.uses >= FEWEST && self.chance() > self.regret.part(self.now) + COST
    }

    /// Of a neighbour to be asked for within its lifetime, where that is as likely at any time.
    fn chance(&self) -> f64 {
        let waiting: u64 = self.probes.iter().map(|probe| self.now - probe.since).sum();
        let waited = (self.waited + waiting as f64).max(1.0);
        1.0 - (-self.uses / waited * self.lifetime as f64).exp()
    }
}

impl Regret {
    /// At its greatest until something is known.
    fn new(period: u64) -> Self {
        Self { part: 1.0, period: period.max(SHORTEST), began: 0, returns: 0 }
    }

    fn observe(&mut self, now: u64, came_back: bool) {
        if now - self.began >= self.period {
            let part = f64::midpoint(self.part, self.current(now));
            *self = Self { part, began: now, returns: 0, ..*self };
        }
        self.returns += u64::from(came_back);
    }

    /// It rises at once.
    fn part(&self, now: u64) -> f64 {
        self.part.max(self.current(now))
    }

    fn current(&self, now: u64) -> f64 {
        (self.returns as f64 / (now - self.began).max(SHORTEST) as f64).min(1.0)
    }
}

impl Neighbours {
    /// The others in a frame's window.
    fn of(frame: FrameIndex) -> Self {
        let all = Self { first: frame.0 - frame.0 % WINDOW, chosen: u16::MAX };
        all.filter(|other| other != frame)
    }

    /// Those of them that are `wanted`.
    fn filter(self, wanted: impl Fn(FrameIndex) -> bool) -> Self {
        let chosen =
            self.frames().filter(|&frame| wanted(frame)).map(|frame| 1 << (frame.0 - self.first)).sum();
        Self { chosen, ..self }
    }

    /// Their frames, in order.
    pub fn frames(self) -> impl Iterator<Item = FrameIndex> {
        let chosen = move |place: &u32| self.chosen >> place & 1 == 1;
        (0..WINDOW).filter(chosen).map(move |place| FrameIndex(self.first + place))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use super::*;

    const BUDGET: u32 = 1024;

    /// Memory that evicts the oldest page first, full of pages that nobody asks for.
    struct Memory {
        around: Around,
        order: VecDeque<u32>,
        evicted: u64,
        /// When a page that is out was evicted; one that is in is not here.
        out: HashMap<u32, u64>,
        faults: u32,
    }

    impl Memory {
        fn new(pages: u32) -> Self {
            let order = (pages..pages + BUDGET).collect();
            let out = (0..pages).map(|page| (page, 0)).collect();
            Self { around: Around::new(BUDGET), order, evicted: BUDGET.into(), out, faults: 0 }
        }

        fn visit(&mut self, page: u32) {
            let Some(&went) = self.out.get(&page) else { return };
            self.faults += 1;
            let came_back = went > 0 && self.evicted - went < BUDGET.into();
            let missed = Missed { frame: FrameIndex(page), evicted: self.evicted, came_back };
            let wanted = self.around.observe(missed, |other| self.out.contains_key(&other.0));
            self.bring(page);
            for other in wanted.into_iter().flat_map(Neighbours::frames) {
                if self.out.contains_key(&other.0) {
                    self.bring(other.0);
                }
            }
        }

        fn bring(&mut self, page: u32) {
            self.out.remove(&page);
            self.order.push_back(page);
            if let Some(oldest) = self.order.pop_front() {
                self.out.insert(oldest, self.evicted);
                self.evicted += 1;
            }
        }
    }

    fn visits(pages: u32, visits: u32) -> Memory {
        let (mut memory, mut random) = (Memory::new(pages), Random::new(1));
        (0..visits).for_each(|_| memory.visit(random.below(pages as usize) as u32));
        memory
    }

    #[test]
    fn a_part_of_memory_that_comes_back_into_use_brings_neighbours_along() {
        let memory = visits(BUDGET / 2, BUDGET * 2);
        assert!(memory.around.stats().windows > 8, "{:?}", memory.around.stats());
        assert!(memory.faults < BUDGET / 4, "{} faults for {} pages", memory.faults, BUDGET / 2);
    }

    #[test]
    fn evenly_spread_visits_of_more_than_fits_bring_pages_one_by_one() {
        let memory = visits(BUDGET * 4, BUDGET * 64);
        let stats = memory.around.stats();
        assert!(stats.used > 100 && stats.windows < u64::from(memory.faults) / 100, "{stats:?}");
    }

    #[test]
    fn pages_apart_from_each_other_come_one_by_one() {
        let mut memory = Memory::new(BUDGET * WINDOW);
        let mut random = Random::new(1);
        (0..BUDGET * 4).for_each(|_| memory.visit(random.below(BUDGET as usize / 2) as u32 * WINDOW));
        assert_eq!((memory.around.stats().windows, memory.faults), (0, BUDGET / 2));
    }

    #[test]
    fn neighbours_are_the_aligned_others_but_for_those_that_are_left_out() {
        let neighbours = Neighbours::of(FrameIndex(37)).filter(|frame| frame.0 != 32);
        assert_eq!(
            neighbours.frames().map(|frame| frame.0).collect::<Vec<_>>(),
            [33, 34, 35, 36, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47]
        );
    }
}
