//! Load control: when the working sets of all who run do not fit into RAM together, some wait, so that the others do not thrash.
//!
//! Each running process has an estimate of its working set (vm/working_set.rs). While their sum is larger than RAM, the process that has run
//! longest is held back; when there is room again, or after its share of time, the one that has waited longest goes on. At least
//! one always runs.

use alloc::vec::Vec;

use super::tasks::{ProcessSlot, Tasks};
use crate::vm::Memory;

/// After so many ticks of waiting a process goes on, and others wait.
const SHARE: u64 = 100;

/// A process that is held back.
struct Held {
    process: ProcessSlot,
    since: u64,
    pages: u64,
}

/// How load is controlled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadControl {
    /// Not at all.
    Off,
    /// Working sets are estimated.
    Watch,
    /// And processes are held back.
    On,
}

/// The state of load control.
pub struct Load {
    control: LoadControl,
    held: Vec<Held>,
    now: u64,
}

impl Load {
    /// Nobody is held back.
    #[must_use]
    pub const fn new(control: LoadControl) -> Self {
        Self { control, held: Vec::new(), now: 0 }
    }

    /// A timer tick, in the time of the process that runs.
    pub fn tick(&mut self, tasks: &mut Tasks, memory: &mut Memory) {
        if self.control == LoadControl::Off {
            return;
        }
        self.now += 1;
        let estimated = memory.pass_window(&mut tasks.space);
        if self.control == LoadControl::On && (estimated || !self.held.is_empty()) {
            self.balance(tasks, memory);
        }
    }

    fn balance(&mut self, tasks: &mut Tasks, memory: &mut Memory) {
        let room = u64::from(memory.frames.free_frames()) + memory.stats.resident;
        let mut needed: u64 = running(tasks, &self.held).map(|(_, pages)| pages).sum();
        if let Some(first) = self.held.first()
            && (needed + first.pages <= room || first.since + SHARE <= self.now)
        {
            needed += first.pages;
            self.release_first(tasks);
        }
        while needed > room {
            let others: Vec<_> = running(tasks, &self.held).collect();
            // Who was released last has run shortest; it is last in the order of holds, too.
            let Some(&(process, pages)) = others.iter().max_by_key(|(process, _)| self.ran(tasks, *process))
            else {
                return;
            };
            if others.len() < 2 {
                return;
            }
            needed -= pages;
            self.hold(tasks, memory, process, pages);
        }
    }

    fn ran(&self, tasks: &mut Tasks, process: ProcessSlot) -> u64 {
        self.now - tasks.at(process).map_or(self.now, |process| process.active_since)
    }

    fn hold(&mut self, tasks: &mut Tasks, memory: &mut Memory, process: ProcessSlot, pages: u64) {
        self.held.push(Held { process, since: self.now, pages });
        tasks.others.hold(process);
        memory.stats.held_back += 1;
    }

    /// Lets go on who has waited longest. Returns whether anyone has.
    pub fn release_first(&mut self, tasks: &mut Tasks) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let Held { process, .. } = self.held.remove(0);
        tasks.others.release(process);
        if let Some(process) = tasks.at(process) {
            process.active_since = self.now;
        }
        true
    }

    /// A process has ended, or has to.
    pub fn forget(&mut self, tasks: &mut Tasks, process: ProcessSlot) {
        if let Some(at) = self.held.iter().position(|held| held.process == process) {
            self.held.remove(at);
            tasks.others.release(process);
        }
    }
}

/// Processes that are not held back, with their working sets.
fn running<'a>(tasks: &'a mut Tasks, held: &'a [Held]) -> impl Iterator<Item = (ProcessSlot, u64)> + 'a {
    tasks.working_sets().into_iter().filter(|(process, _)| held.iter().all(|held| held.process != *process))
}
