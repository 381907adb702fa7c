//! Who answers faults: one of several threads at a time.
//!
//! The one in the lead waits for faults and answers them. Before it does something slow, such as I/O, it passes the lead on, with the faults
//! that it has read and not answered, so that a fault that waits for I/O holds up no other. Then it gets in line again.
//! (Leader and followers: Schmidt and others, "Pattern-Oriented Software Architecture 2", 2000.)

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

use super::trace::Recorder;
use super::uffd::Fault;

/// How many threads there are.
pub const THREADS: u32 = 3;

/// The place where the lead is passed on.
pub struct Desk {
    state: Mutex<State>,
    vacant: Condvar,
    /// Takes down what was answered, if that is wanted.
    pub recorder: Option<Mutex<Recorder>>,
}

#[derive(Debug, Default)]
struct State {
    is_led: bool,
    closed: bool,
    unanswered: VecDeque<Fault>,
    /// Threads that do something slow.
    busy: u32,
}

impl Desk {
    /// Nobody leads yet.
    pub fn new(recorder: Option<Recorder>) -> Self {
        Self { state: Mutex::default(), vacant: Condvar::new(), recorder: recorder.map(Mutex::new) }
    }

    /// Waits for the lead. `busy`: since the last time this thread did something slow. `false` when the desk is closed.
    pub fn lead(&self, busy: bool) -> bool {
        let mut state = self.state.lock();
        state.busy -= u32::from(busy);
        while state.is_led && !state.closed {
            self.vacant.wait(&mut state);
        }
        state.is_led = true;
        !state.closed
    }

    /// Gives the lead up to do something slow.
    pub fn pass(&self, unanswered: impl Iterator<Item = Fault>) {
        let mut state = self.state.lock();
        state.is_led = false;
        state.busy += 1;
        state.unanswered.extend(unanswered);
        self.vacant.notify_one();
    }

    /// A fault that was read by an earlier leader.
    pub fn unanswered(&self) -> Option<Fault> {
        self.state.lock().unanswered.pop_front()
    }

    /// Threads that do something slow.
    pub fn busy(&self) -> u32 {
        self.state.lock().busy
    }

    /// Nobody leads any more.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.vacant.notify_all();
    }
}
