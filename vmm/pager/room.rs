//! The budget: how many frames guest RAM and the staging area may hold, and how many they do. What the store takes of
//! memory in front of its file counts too.
//!
//! [`Units`] are the right to so many frames. They are taken before the frames are filled and given back after the
//! frames were freed, so the budget is never exceeded, not even for a moment. The fault threads take units; the
//! reclaim thread gives them back, and starts before they run out: when fewer than `low` are left it goes on
//! until there are `high`.
//!
//! A budget that is lowered below what is in use holds later: until then a ceiling does, which comes down by
//! one for every two frames that are freed. The other of the two goes to whoever waits, so faults go on at
//! half the pace of reclaim instead of waiting for all of it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::store::Store;

/// A wait after which it is time to look again.
const A_LITTLE: Duration = Duration::from_millis(1);

/// The frames that may be held.
#[derive(Debug)]
pub struct Room {
    /// How many frames guest RAM has.
    frames: u32,
    /// Most that are taken at once.
    most: u32,
    store: Arc<Store>,
    state: Mutex<State>,
    /// Units were given back, or the budget raised.
    freed: Condvar,
    /// Fewer than `low` are left.
    wanted: Condvar,
}

#[derive(Debug)]
struct State {
    budget: u32,
    /// What may be in use now: the budget, or more while a lowered budget does not hold yet.
    ceiling: u32,
    /// A frame that was freed, and that is the first of two.
    odd: bool,
    low: u32,
    high: u32,
    used: u32,
    peak: u32,
    stopping: bool,
}

impl State {
    fn set_budget(&mut self, budget: u32, frames: u32, most: u32) {
        // A write of a batch takes about as long as a handful of faults. The least keeps a tiny budget
        // moving, the most keeps a large one from idling. Where everything fits, it never runs short.
        self.low = if budget < frames { (budget / 64).clamp(4, 256).max(most) } else { 0 };
        self.high = self.low * 2;
        self.budget = budget;
        self.ceiling = budget.max(self.used);
    }

    fn free(&mut self, units: u32) {
        self.used -= units;
        let pairs = units + u32::from(self.odd);
        self.odd = pairs % 2 == 1;
        self.ceiling = self.ceiling.saturating_sub(pairs / 2).max(self.budget);
    }
}

/// The right to some frames; given back when dropped.
#[derive(Debug)]
pub struct Units<'a> {
    room: &'a Room,
    count: u32,
}

impl Units<'_> {
    /// How many are left.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// So many frames were filled: their units are now the frames', and come back with [`Room::give_back`].
    pub fn keep(&mut self, filled: u32) {
        self.count -= filled;
    }
}

impl Drop for Units<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.room.give_back(self.count);
        }
    }
}

impl Room {
    /// Room for `budget` of the `frames` that guest RAM has, which are taken up to `most` at once, less what
    /// `store` takes of it.
    pub fn new(budget: u32, frames: u32, most: u32, store: Arc<Store>) -> Self {
        let mut state =
            State { budget, ceiling: budget, odd: false, low: 0, high: 0, used: 0, peak: 0, stopping: false };
        state.set_budget(budget, frames, most);
        Self { frames, most, store, state: Mutex::new(state), freed: Condvar::new(), wanted: Condvar::new() }
    }

    /// How many frames there may be.
    pub fn budget(&self) -> u32 {
        self.state.lock().budget
    }

    /// Makes it `budget` frames: at once if that is more than are in use, and otherwise as soon as reclaim
    /// has freed the surplus.
    pub fn set_budget(&self, budget: u32) {
        self.state.lock().set_budget(budget, self.frames, self.most);
        self.freed.notify_all();
        self.wanted.notify_all();
    }

    /// Frames in use now, and the most there ever were.
    pub fn used_and_peak(&self) -> (u32, u32) {
        let state = self.state.lock();
        (state.used, state.peak)
    }

    /// Frames left within the budget.
    fn left(&self, state: &State) -> u32 {
        state.budget.saturating_sub(state.used + self.store.counted_pages())
    }

    /// Takes units, after waiting for them if need be. `None` when the pager stops.
    pub fn take(&self, count: u32) -> Option<Units<'_>> {
        let mut state = self.state.lock();
        while state.used + self.store.counted_pages() + count > state.ceiling && !state.stopping {
            // Whoever needs many must not wait for what nobody makes.
            self.wanted.notify_one();
            // What the store gives up comes without notice.
            self.freed.wait_for(&mut state, A_LITTLE);
        }
        self.grant(&mut state, count)
    }

    /// Takes units if there are so many, and `spare` are left. `None` otherwise, and when the pager stops.
    pub fn try_take(&self, count: u32, spare: u32) -> Option<Units<'_>> {
        let mut state = self.state.lock();
        if self.left(&state) < count + spare {
            return None;
        }
        self.grant(&mut state, count)
    }

    fn grant(&self, state: &mut State, count: u32) -> Option<Units<'_>> {
        if state.stopping {
            return None;
        }
        state.used += count;
        state.peak = state.peak.max(state.used);
        if self.left(state) < state.low {
            self.wanted.notify_one();
        }
        Some(Units { room: self, count })
    }

    /// What should be left for faults by whoever works ahead of them.
    pub fn spare(&self) -> u32 {
        self.state.lock().low / 2
    }

    /// Gives units back: their frames are free.
    pub fn give_back(&self, units: u32) {
        self.state.lock().free(units);
        self.freed.notify_all();
    }

    /// Waits until room runs short. `false` when the pager stops.
    pub fn wait_until_short(&self) -> bool {
        let mut state = self.state.lock();
        while self.left(&state) >= state.low && !state.stopping {
            self.wanted.wait(&mut state);
        }
        !state.stopping
    }

    /// Whether reclaim can rest.
    pub fn is_ample(&self) -> bool {
        let state = self.state.lock();
        self.left(&state) >= state.high || state.stopping
    }

    /// Whether no frame is left.
    pub fn is_exhausted(&self) -> bool {
        self.left(&self.state.lock()) == 0
    }

    /// Whether the pager stops.
    pub fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }

    /// Waits a little, for when every page is pinned and nothing can be done but look again.
    pub fn pause(&self) {
        let mut state = self.state.lock();
        if !state.stopping {
            self.wanted.wait_for(&mut state, A_LITTLE);
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
    use crate::store::StoreSpec;

    fn room(budget: u32, frames: u32) -> Room {
        let store = Store::open(&StoreSpec::Memory, 1).expect("memory");
        Room::new(budget, frames, 1, Arc::new(store))
    }

    fn fill(room: &Room, count: u32) {
        room.take(count).expect("within the budget").keep(count);
    }

    #[test]
    fn units_run_out_at_the_budget_and_a_waiter_gets_the_next_that_come_back() {
        let room = room(64, 100);
        (0..64).for_each(|_| fill(&room, 1));
        assert!(!room.is_ample());
        assert!(room.try_take(1, 0).is_none());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| room.take(3).map(|mut units| units.keep(3)).is_some());
            room.give_back(2);
            room.give_back(1);
            assert!(waiter.join().expect("no panic"));
        });
        assert_eq!(room.used_and_peak(), (64, 64));
        room.give_back(4);
        assert!(room.try_take(2, 3).is_none(), "three are to be spared");
        let mut units = room.try_take(2, 2).expect("there are four");
        units.keep(1);
        drop(units);
        assert_eq!(room.used_and_peak(), (61, 64), "a unit that is not kept comes back");
    }

    #[test]
    fn a_lowered_budget_lets_one_in_for_every_two_that_leave_until_it_holds() {
        let room = room(64, 100);
        (0..64).for_each(|_| fill(&room, 1));
        room.set_budget(16);
        let mut came = 0;
        for left in 1..=96 {
            room.give_back(1);
            let may_enter = |state: &State| state.used < state.ceiling;
            if may_enter(&room.state.lock()) {
                fill(&room, 1);
                came += 1;
            }
            assert_eq!(came, u32::div_ceil(left, 2), "{left} have left");
        }
        let state = room.state.lock();
        assert_eq!((state.used, state.ceiling), (16, 16), "from here on the budget holds");
    }

    #[test]
    fn a_raised_budget_lets_waiters_in_at_once() {
        let room = room(8, 100);
        (0..8).for_each(|_| fill(&room, 1));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| room.take(1).map(|mut units| units.keep(1)).is_some());
            room.set_budget(9);
            assert!(waiter.join().expect("no panic"));
        });
        assert_eq!((room.budget(), room.used_and_peak()), (9, (9, 9)));
    }

    #[test]
    fn stopping_ends_every_wait() {
        let room = room(8, 100);
        fill(&room, 8);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| room.take(1).is_none());
            room.stop();
            assert!(taker.join().expect("no panic"));
        });
        assert!(!room.wait_until_short());
    }
}
