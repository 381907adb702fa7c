//! Which thread runs: round robin among those that can.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{State, Thread};

/// All threads, one of which is current.
// Boxed: the trap entry knows the current thread's registers by their address, which a growing list must not change.
#[allow(clippy::vec_box)]
pub struct Scheduler {
    threads: Vec<Box<Thread>>,
    current: usize,
}

impl Scheduler {
    /// With its first thread, which is current.
    #[must_use]
    pub fn new(first: Box<Thread>) -> Self {
        Self { threads: alloc::vec![first], current: 0 }
    }

    /// The thread that runs.
    #[inline]
    pub fn current(&mut self) -> &mut Thread {
        &mut self.threads[self.current]
    }

    /// Makes the next thread after the current one that is ready current. Returns whether that is another one; none
    /// being ready, the current one stays.
    pub fn advance(&mut self) -> bool {
        let count = self.threads.len();
        let after = (1..=count).map(|n| (self.current + n) % count);
        let chosen = after.into_iter().find(|&index| self.threads[index].state == State::Ready);
        let before = self.current;
        self.current = chosen.unwrap_or(before);
        self.current != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::addr::Gva;

    #[test]
    fn ready_threads_take_turns_and_waiting_ones_are_passed_by() {
        let thread = |id| Box::new(Thread::new(id, Gva(0), Gva(0)));
        let mut scheduler = Scheduler::new(thread(1));
        assert!(!scheduler.advance(), "a thread alone goes on");
        scheduler.threads.extend([thread(2), thread(3)]);
        scheduler.threads[1].state = State::Waiting(None);
        assert!(scheduler.advance());
        assert_eq!(scheduler.current().id, 3);
        assert!(scheduler.advance());
        assert_eq!(scheduler.current().id, 1);
        scheduler.threads.iter_mut().for_each(|thread| thread.state = State::Waiting(None));
        assert!(!scheduler.advance());
    }
}
