//! The thread that keeps the budget: guesses how much is resident, looks when that is much, and evicts.
//!
//! A guest that brings pages in faster than they go out is held when it is over the budget, until it is well
//! below: what direct reclaim is in the kernel.
//!
//! Where swap is written in the background (a file, not zram), MADV_PAGEOUT only starts that: the page leaves
//! guest RAM and stays in memory, in the kernel's swap cache, until the kernel itself is short. So the next
//! look, a tick later, takes victims that are there still back in and puts them out a second time: they are
//! clean then, and go at once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use abi::addr::{Hva, PAGE_SIZE};
use paging::policy::{AnyPolicy, PageKey, Policy};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

use super::residency::Residency;
use super::{KernelError, Shared, Word};
use crate::memory::FrameIndex;

/// How long it sleeps between two guesses: the kernel brings in a hundred pages in that time at most, or a
/// thousand at the start.
const PACE: Duration = Duration::from_millis(1);
/// So many pages go out between two guesses.
const BATCH: usize = 64;

/// Whether the guest stands still.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    No,
    /// With so many frames resident at the last look.
    With(u32),
    /// It did, and nothing more went out: the host's swap is full. It runs on until it is within the budget again.
    InVain,
}

/// The thread's own state.
pub struct Evictor<'a> {
    shared: &'a Shared,
    tell: &'a dyn Fn(Word),
    held: Held,
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
    pub fn new(shared: &'a Shared, tell: &'a dyn Fn(Word)) -> Result<Self, KernelError> {
        let frames = shared.ram.frames();
        Ok(Self {
            shared,
            tell,
            held: Held::No,
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
            let much = self.residency.guess().map_err(KernelError::Scan)? > budget - low;
            if much || self.held != Held::No || !self.victims.is_empty() {
                let resident = self.look()?;
                self.let_go(resident, resident <= budget - low);
                self.evict(resident.saturating_sub(budget - 2 * low), budget)?;
            }
            let mut stopping = self.shared.stopping.lock();
            if !*stopping && !matches!(self.held, Held::With(_)) {
                self.shared.stop.wait_for(&mut stopping, PACE);
            }
            if *stopping {
                return Ok(());
            }
        }
    }

    /// Holds the guest, if it is over the budget.
    fn hold(&mut self, budget: u32) -> Result<(), KernelError> {
        let resident = self.residency.guess().map_err(KernelError::Scan)?;
        if self.held == Held::No && resident > budget {
            (self.tell)(Word::Hold);
            self.held = Held::With(resident);
        }
        Ok(())
    }

    /// Lets a guest that is held go on when it is `within` the budget, or when nothing more goes out.
    fn let_go(&mut self, resident: u32, within: bool) {
        if let Held::With(before) = self.held {
            if !within && resident < before {
                self.held = Held::With(resident);
                return;
            }
            (self.tell)(Word::LetGo);
            self.held = Held::InVain;
            if !within {
                log::warn!(
                    "the host's swap is full, so guest RAM stays over its budget: make the swap larger"
                );
            }
        }
        if within {
            self.held = Held::No;
        }
    }

    /// Tells the policy what came and what went, and returns how many frames are resident. The victims of the
    /// last time are gone for good, or are resident as before.
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
        let victims = self.victims.len() as u64;
        self.victims.retain(|frame| seen[frame.0 as usize] != now);
        self.shared.stayed.add(victims - self.victims.len() as u64);
        self.shared.evicted.add(self.victims.len() as u64);
        // The host's kernel evicts, too, when the whole host is short.
        for (frame, known) in
            known.iter_mut().enumerate().filter(|(frame, known)| **known && seen[*frame] != now)
        {
            *known = false;
            policy.remove(frame as u32);
        }
        let gone = std::mem::take(&mut self.victims);
        let mut cached = 0;
        self.each_run(&gone, |start, pages| {
            let here = in_memory(start, pages)?;
            cached += here;
            if here > 0 {
                advise(start, pages, Advice::LinuxPopulateRead)?;
                advise(start, pages, Advice::LinuxPageOut)?;
            }
            Ok(())
        })?;
        self.shared.peak.fetch_max(resident + cached, Ordering::Relaxed);
        Ok(resident)
    }

    /// Puts `count` victims out, neighbours in one go.
    fn evict(&mut self, count: u32, budget: u32) -> Result<(), KernelError> {
        // Nothing tells which pages were used: accessed bits are the kernel's.
        let mut victims: Vec<_> =
            (0..count).map_while(|_| self.policy.victim(&mut |_| false)).map(FrameIndex).collect();
        victims.sort_unstable();
        for frame in &victims {
            self.known[frame.0 as usize] = false;
        }
        for batch in victims.chunks(BATCH) {
            self.hold(budget)?;
            self.each_run(batch, |start, pages| advise(start, pages, Advice::LinuxPageOut))?;
        }
        self.shared.asked.add(victims.len() as u64);
        self.victims = victims;
        Ok(())
    }

    /// Does something with each run of neighbours among `frames`, which are ascending.
    fn each_run(
        &self,
        frames: &[FrameIndex],
        mut act: impl FnMut(Hva, usize) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        let page = |frame: FrameIndex| self.shared.ram.hva(frame);
        let next = |frame| page(frame).map(|page| page + PAGE_SIZE as u64);
        for run in frames.chunk_by(|&one, &other| next(one) == page(other)) {
            // The policy holds frames of guest RAM only.
            if let Some(start) = page(run[0]) {
                act(start, run.len())?;
            }
        }
        Ok(())
    }
}

fn advise(start: Hva, pages: usize, advice: Advice) -> Result<(), KernelError> {
    let start = std::ptr::with_exposed_provenance_mut(start.0 as usize);
    // SAFETY: it changes where the pages are, not what is in them.
    match unsafe { madvise(start, pages * PAGE_SIZE, advice) } {
        // Interrupted, or short of memory: what is left is asked again in its turn.
        Ok(()) | Err(Errno::INTR | Errno::AGAIN | Errno::NOMEM) => Ok(()),
        Err(error) => Err(KernelError::Evict(error.into())),
    }
}

/// How many of the pages are in memory: in guest RAM, or in the swap cache (mincore(2)).
fn in_memory(start: Hva, pages: usize) -> Result<u32, KernelError> {
    let mut found = vec![0_u8; pages];
    let start = std::ptr::with_exposed_provenance_mut(start.0 as usize);
    // SAFETY: the pages are mapped, and the kernel writes one byte for each into a buffer of as many.
    let result = unsafe { libc::mincore(start, pages * PAGE_SIZE, found.as_mut_ptr()) };
    if result != 0 {
        return Err(KernelError::Scan(std::io::Error::last_os_error()));
    }
    Ok(found.iter().map(|byte| u32::from(byte & 1)).sum())
}
