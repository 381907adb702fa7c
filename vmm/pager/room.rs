//! The budget: how many frames guest RAM and the staging area may hold, and how many they do.
//!
//! A [`Unit`] is the right to one frame. It is taken before the frame is filled and given back after the
//! frame was freed, so the budget is never exceeded, not even for a moment. The fault thread takes units; the reclaim
//! thread gives them back, and starts before they run out: when fewer than `low` are left it goes
//! on until there are `high`.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The frames that may be held.
#[derive(Debug)]
pub struct Room {
    budget: u32,
    low: u32,
    high: u32,
    state: Mutex<State>,
    /// A unit was given back.
    freed: Condvar,
    /// Fewer than `low` are left.
    wanted: Condvar,
}

#[derive(Debug)]
struct State {
    used: u32,
    peak: u32,
    stopping: bool,
}

/// The right to one frame; given back when dropped.
#[derive(Debug)]
pub struct Unit<'a>(&'a Room);

impl Unit<'_> {
    /// The frame was filled: the unit is now the frame's, and comes back with [`Room::give_back`].
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unit<'_> {
    fn drop(&mut self) {
        self.0.give_back(1);
    }
}

impl Room {
    /// Room for `budget` of the `frames` that guest RAM has.
    pub fn new(budget: u32, frames: u32) -> Self {
        // A write of a batch takes about as long as a handful of faults. The least keeps a tiny budget moving, the
        // most keeps a large one from idling. Where everything fits, it never runs short.
        let low = if budget < frames { (budget / 64).clamp(4, 256) } else { 0 };
        Self {
            budget,
            low,
            high: low * 2,
            state: Mutex::new(State { used: 0, peak: 0, stopping: false }),
            freed: Condvar::new(),
            wanted: Condvar::new(),
        }
    }

    /// How many frames there may be.
    pub const fn budget(&self) -> u32 {
        self.budget
    }

    /// Frames in use now, and the most there ever were.
    pub fn used_and_peak(&self) -> (u32, u32) {
        let state = self.state.lock();
        (state.used, state.peak)
    }

    /// Takes a unit, after waiting for one if need be. `None` when the pager stops.
    pub fn take(&self) -> Option<Unit<'_>> {
        let mut state = self.state.lock();
        while state.used == self.budget && !state.stopping {
            self.freed.wait(&mut state);
        }
        if state.stopping {
            return None;
        }
        state.used += 1;
        state.peak = state.peak.max(state.used);
        if self.budget - state.used < self.low {
            self.wanted.notify_one();
        }
        Some(Unit(self))
    }

    /// Gives units back: their frames are free.
    pub fn give_back(&self, units: u32) {
        self.state.lock().used -= units;
        self.freed.notify_one();
    }

    /// Waits until room runs short. `false` when the pager stops.
    pub fn wait_until_short(&self) -> bool {
        let mut state = self.state.lock();
        while self.budget - state.used >= self.low && !state.stopping {
            self.wanted.wait(&mut state);
        }
        !state.stopping
    }

    /// Whether reclaim can rest.
    pub fn is_ample(&self) -> bool {
        let state = self.state.lock();
        self.budget - state.used >= self.high || state.stopping
    }

    /// Whether no frame is left.
    pub fn is_exhausted(&self) -> bool {
        self.state.lock().used == self.budget
    }

    /// Whether the pager stops.
    pub fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }

    /// Waits a little, for when every page is pinned and nothing can be done but look again.
    pub fn pause(&self) {
        let mut state = self.state.lock();
        if !state.stopping {
            self.wanted.wait_for(&mut state, Duration::from_millis(1));
        }
    }

    /// Ends every wait, now and later.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.freed.notify_all();
        self.wanted.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_run_out_at_the_budget_and_a_waiter_gets_the_next_that_comes_back() {
        let room = Room::new(64, 100);
        for _ in 0..64 {
            room.take().expect("within the budget").keep();
        }
        assert!(!room.is_ample());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| room.take().map(Unit::keep).is_some());
            room.give_back(1);
            assert!(waiter.join().expect("no panic"));
        });
        assert_eq!(room.used_and_peak(), (64, 64));
        drop(Unit(&room));
        assert_eq!(room.used_and_peak(), (63, 64), "a unit that is not kept comes back");
    }

    #[test]
    fn stopping_ends_every_wait() {
        let room = Room::new(8, 100);
        (0..8).for_each(|_| room.take().expect("within the budget").keep());
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| room.take().is_none());
            room.stop();
            assert!(taker.join().expect("no panic"));
        });
        assert!(!room.wait_until_short());
    }
}
