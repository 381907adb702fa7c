//! The threads that do not run: those that can, in the order of their turns, those that wait, and those whose process is held back. A
//! switch looks at the first of the former only, however many there are.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::tasks::ProcessSlot;
use super::{State, Thread};

/// Threads. Boxed: the trap entry knows a thread's registers by their address.
#[allow(clippy::vec_box)]
pub struct Queue {
    ready: VecDeque<Box<Thread>>,
    waiting: Vec<Box<Thread>>,
    /// Those that could go on, but for their process.
    held: Vec<Box<Thread>>,
    /// Processes that are held back, one that is so twice, for two reasons, twice.
    holds: Vec<ProcessSlot>,
    /// No wait ends by time before this, in nanoseconds since boot.
    pub earliest: u64,
}

impl Queue {
    /// No threads.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ready: VecDeque::new(),
            waiting: Vec::new(),
            held: Vec::new(),
            holds: Vec::new(),
            earliest: u64::MAX,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ready.len() + self.waiting.len() + self.held.len()
    }

    /// Whether there is none that can go on.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// Adds a thread; its turn comes last.
    pub fn push(&mut self, thread: Box<Thread>) {
        match thread.state {
            State::Ready | State::Again => self.push_ready(thread),
            State::Waiting(_, until) => {
                self.earliest = self.earliest.min(until.unwrap_or(u64::MAX));
                self.waiting.push(thread);
            }
        }
    }

    fn push_ready(&mut self, thread: Box<Thread>) {
        if self.is_held(thread.process) {
            self.held.push(thread);
        } else {
            self.ready.push_back(thread);
        }
    }

    /// Whether a process is held back.
    #[must_use]
    pub fn is_held(&self, process: ProcessSlot) -> bool {
        !self.holds.is_empty() && self.holds.contains(&process)
    }

    /// Holds a process back: none of its threads runs until it is released as often.
    pub fn hold(&mut self, process: ProcessSlot) {
        self.holds.push(process);
        for thread in core::mem::take(&mut self.ready) {
            self.push_ready(thread);
        }
    }

    /// Takes one hold off a process.
    pub fn release(&mut self, process: ProcessSlot) {
        let Some(at) = self.holds.iter().position(|&held| held == process) else { return };
        self.holds.swap_remove(at);
        for thread in core::mem::take(&mut self.held) {
            self.push_ready(thread);
        }
    }

    /// Takes the thread whose turn it is.
    pub fn next(&mut self) -> Option<Box<Thread>> {
        self.ready.pop_front()
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Thread> {
        self.ready.iter_mut().chain(&mut self.waiting).chain(&mut self.held).map(Box::as_mut)
    }

    /// Lets each waiting thread look again for which `is` holds. It may change the thread, but for its state.
    pub fn wake(&mut self, mut is: impl FnMut(&mut Thread) -> bool) {
        let mut at = 0;
        while let Some(thread) = self.waiting.get_mut(at) {
            if is(thread) {
                let mut thread = self.waiting.remove(at);
                thread.state = State::Again;
                self.push_ready(thread);
            } else {
                at += 1;
            }
        }
    }

    /// Drops the threads for which `is` does not hold.
    pub fn retain(&mut self, mut is: impl FnMut(&Thread) -> bool) {
        self.ready.retain(|thread| is(thread));
        self.waiting.retain(|thread| is(thread));
        self.held.retain(|thread| is(thread));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Event;
    use crate::process::tasks::ProcessSlot;
    use abi::addr::Gva;

    #[test]
    fn threads_take_turns_and_waiting_ones_get_theirs_when_they_are_woken() {
        let thread = |id, state| {
            let mut thread = Box::new(Thread::new(id, ProcessSlot(0), Gva(0), Gva(0)));
            thread.state = state;
            thread
        };
        let mut queue = Queue::new();
        let states = [State::Ready, State::Waiting(Event::Child, None), State::Waiting(Event::Time, Some(7))];
        for (id, state) in (1..).zip(states) {
            queue.push(thread(id, state));
        }
        assert_eq!((queue.len(), queue.earliest), (3, 7));
        queue.wake(|thread| matches!(thread.state, State::Waiting(Event::Time, _)));
        assert_eq!(queue.next().map(|thread| (thread.id, thread.state)), Some((1, State::Ready)));
        assert_eq!(queue.next().map(|thread| (thread.id, thread.state)), Some((3, State::Again)));
        assert!(queue.is_idle() && queue.next().is_none());
        queue.retain(|thread| thread.id != 2);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_process_that_is_held_back_twice_runs_after_two_releases() {
        let mut queue = Queue::new();
        let thread = |id, process| Box::new(Thread::new(id, ProcessSlot(process), Gva(0), Gva(0)));
        queue.push(thread(1, 1));
        queue.push(thread(2, 2));
        queue.hold(ProcessSlot(1));
        queue.hold(ProcessSlot(1));
        queue.push(thread(3, 1));
        assert_eq!(queue.next().map(|thread| thread.id), Some(2));
        queue.release(ProcessSlot(1));
        assert!(queue.is_idle() && queue.len() == 2);
        queue.release(ProcessSlot(1));
        assert_eq!(
            [queue.next(), queue.next()].map(|thread| thread.map(|thread| thread.id)),
            [Some(1), Some(3)]
        );
    }
}
