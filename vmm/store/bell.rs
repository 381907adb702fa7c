//! What wakes the background thread.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Wakes the background thread.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<Rung>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    work: bool,
    stop: bool,
}

impl Bell {
    /// There is work.
    pub(super) fn ring(&self) {
        self.state.lock().work = true;
        self.rung.notify_one();
    }

    /// There will be none any more.
    pub(super) fn stop(&self) {
        self.state.lock().stop = true;
        self.rung.notify_one();
    }

    /// Waits for work, or for as long as `limit`. `false` when the thread is to end.
    pub(super) fn wait(&self, limit: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        while !state.work && !state.stop {
            let Some(limit) = limit else {
                self.rung.wait(&mut state);
                continue;
            };
            if self.rung.wait_for(&mut state, limit).timed_out() {
                break;
            }
        }
        state.work = false;
        !state.stop
    }

    /// Whether the thread is to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.state.lock().stop
    }
}
