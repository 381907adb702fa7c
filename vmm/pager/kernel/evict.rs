//! The thread that keeps the budget: guesses how much is resident, looks when that is much, and evicts.

use std::sync::atomic::Ordering;
use std::time::Duration;

use abi::addr::{Hva, PAGE_SIZE};
use paging::policy::{AnyPolicy, PageKey, Policy};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

use super::residency::Residency;
use super::{KernelError, Shared};
use crate::memory::FrameIndex;

/// How long it sleeps between two guesses: the kernel brings in a hundred pages in that time at most, or a
/// thousand at the start.
const PACE: Duration = Duration::from_millis(1);

/// The thread's own state.
pub struct Evictor<'a> {
    shared: &'a Shared,
    residency: Residency,
    policy: AnyPolicy,
    /// By frame: whether it is in the policy.
    known: Vec<bool>,
    /// By frame: the number of the last look that found it resident.
    seen: Vec<u32>,
    look: u32,
    /// The victims since the last look.
    victims: Vec<FrameIndex>,
}

impl<'a> Evictor<'a> {
    /// Knows of no page yet.
    pub fn new(shared: &'a Shared) -> Result<Self, KernelError> {
        let frames = shared.ram.frames();
        Ok(Self {
            shared,
            residency: Residency::new(&shared.ram).map_err(KernelError::Scan)?,
            policy: AnyPolicy::new(shared.policy, frames),
            known: vec![false; frames as usize],
            seen: vec![0; frames as usize],
            look: 0,
            victims: Vec::new(),
        })
    }

    /// Keeps the budget until the pager stops.
    pub fn run(mut self) -> Result<(), KernelError> {
        loop {
            let budget = self.shared.budget.load(Ordering::Relaxed);
            // As with the other pager: room is made before it is needed.
            let low = (budget / 64).max(4);
            if self.residency.guess().map_err(KernelError::Scan)? > budget - low {
                let resident = self.look()?;
                self.evict(resident.saturating_sub(budget - 2 * low))?;
            }
            let mut stopping = self.shared.stopping.lock();
            if !*stopping {
                self.shared.stop.wait_for(&mut stopping, PACE);
            }
            if *stopping {
                return Ok(());
            }
        }
    }

    /// Tells the policy what came and what went, and returns how many frames are resident.
    fn look(&mut self) -> Result<u32, KernelError> {
        self.look += 1;
        let (now, known, policy, seen) = (self.look, &mut self.known, &mut self.policy, &mut self.seen);
        let resident = self.residency.look(|frame| {
            let at = frame.0 as usize;
            seen[at] = now;
            if !known[at] {
                known[at] = true;
                policy.insert_page(frame.0, PageKey(frame.0.into()));
            }
        });
        let resident = resident.map_err(KernelError::Scan)?;
        for frame in self.victims.drain(..) {
            let stayed = seen[frame.0 as usize] == now;
            if stayed { self.shared.stayed.add(1) } else { self.shared.evicted.add(1) }
        }
        // The host's kernel evicts, too, when the whole host is short.
        for (frame, known) in
            known.iter_mut().enumerate().filter(|(frame, known)| **known && seen[*frame] != now)
        {
            *known = false;
            policy.remove(frame as u32);
        }
        self.shared.peak.fetch_max(resident, Ordering::Relaxed);
        Ok(resident)
    }

    /// Puts `count` victims out, neighbours in one go.
    fn evict(&mut self, count: u32) -> Result<(), KernelError> {
        // Nothing tells which pages were used: accessed bits are the kernel's.
        self.victims.extend((0..count).map_while(|_| self.policy.victim(&mut |_| false)).map(FrameIndex));
        self.victims.sort_unstable();
        for frame in &self.victims {
            self.known[frame.0 as usize] = false;
        }
        let page = |frame: FrameIndex| self.shared.ram.hva(frame);
        let next = |frame| page(frame).map(|page| page + PAGE_SIZE as u64);
        for run in self.victims.chunk_by(|&one, &other| next(one) == page(other)) {
            // The policy holds frames of guest RAM only.
            if let Some(start) = page(run[0]) {
                page_out(start, run.len() * PAGE_SIZE)?;
            }
        }
        self.shared.asked.add(self.victims.len() as u64);
        Ok(())
    }
}

fn page_out(start: Hva, bytes: usize) -> Result<(), KernelError> {
    let start = std::ptr::with_exposed_provenance_mut(start.0 as usize);
    // SAFETY: it changes where the pages are, not what is in them.
    match unsafe { madvise(start, bytes, Advice::LinuxPageOut) } {
        // Interrupted, or short of memory: what is left stays resident, and is asked again in its turn.
        Ok(()) | Err(Errno::INTR | Errno::AGAIN | Errno::NOMEM) => Ok(()),
        Err(error) => Err(KernelError::Evict(error.into())),
    }
}
