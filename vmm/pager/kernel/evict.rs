//! The thread that keeps the budget: guesses how much is resident, looks when that is much, and evicts.
//!
//! A guest that brings pages in faster than they go out is held when it is over the budget, until it is well
//! below: what direct reclaim is in the kernel. When the budget is lowered below what the guest has, it goes on with what
//! it has, and is held when it wants more.
//!
//! Where swap is written in the background (a file, not zram), MADV_PAGEOUT only starts that: the page leaves
//! guest RAM and stays in memory, in the kernel's swap cache, until the kernel itself is short. So the next
//! look, a tick later, takes victims that are there still back in and puts them out a second time: they are
//! clean then, and go at once.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use abi::addr::{Hva, PAGE_SIZE};
use paging::policy::{AnyPolicy, PageKey, Policy};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

use super::residency::Residency;
use super::{KernelError, Shared, Word};
use crate::memory::{FrameIndex, GuestRam};

/// How long it sleeps between two guesses: the kernel brings in a hundred pages in that time at most, or a
/// thousand at the start.
const PACE: Duration = Duration::from_millis(1);
/// Most pages that are put out in one go: what a page table has.
const MOST: usize = 512;

/// Whether the guest stands still.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    No,
    Yes,
    /// It did, and nothing more went out: the host's swap is full. It runs on until it is within the budget again.
    InVain,
}

/// The thread's own state.
pub struct Evictor<'a> {
    shared: &'a Shared,
    tell: &'a dyn Fn(Word),
    held: Held,
    /// With more frames than this the guest is held: the budget, or what it had left of a higher one at the last look.
    ceiling: u32,
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
            ceiling: 0,
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
            self.ceiling = self.ceiling.max(budget);
            let much = self.guess()? > budget - a_little(budget);
            if much || self.held != Held::No || !self.victims.is_empty() {
                let (resident, gone) = self.look()?;
                if gone == 0 {
                    self.give_up();
                }
                self.mind(resident);
                self.ceiling = self.ceiling.min(resident + a_little(resident)).max(budget);
                self.evict(resident.saturating_sub(budget - 2 * a_little(budget)))?;
            }
            let mut stopping = self.shared.stopping.lock();
            if !*stopping && self.held != Held::Yes {
                self.shared.stop.wait_for(&mut stopping, PACE);
            }
            if *stopping {
                return Ok(());
            }
        }
    }

    fn guess(&self) -> Result<u32, KernelError> {
        self.residency.guess().map_err(KernelError::Scan)
    }

    /// Holds a guest that has too much, and lets it go when it is well below that.
    fn mind(&mut self, resident: u32) {
        if self.held == Held::No && resident > self.ceiling {
            (self.tell)(Word::Hold);
            self.held = Held::Yes;
        } else if resident <= self.ceiling - a_little(self.ceiling) {
            if self.held == Held::Yes {
                (self.tell)(Word::LetGo);
            }
            self.held = Held::No;
        }
    }

    /// Lets a guest go that is held while nothing goes out.
    fn give_up(&mut self) {
        if self.held == Held::Yes {
            log::warn!("the host's swap is full, so guest RAM stays over its budget: make the swap larger");
            (self.tell)(Word::LetGo);
            self.held = Held::InVain;
        }
    }

    /// Tells the policy what came and what went, and returns how many frames are resident and how many of the last
    /// victims are gone for good; the others are resident as before.
    fn look(&mut self) -> Result<(u32, u64), KernelError> {
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
        let gone = self.victims.len() as u64;
        self.shared.stayed.add(victims - gone);
        self.shared.evicted.add(gone);
        // The host's kernel evicts, too, when the whole host is short.
        for (frame, known) in
            known.iter_mut().enumerate().filter(|(frame, known)| **known && seen[*frame] != now)
        {
            *known = false;
            policy.remove(frame as u32);
        }
        let mut cached = 0;
        for (start, pages) in runs(&self.shared.ram, &std::mem::take(&mut self.victims)) {
            let here = in_memory(start, pages)?;
            cached += here;
            if here > 0 {
                advise(start, pages, Advice::LinuxPopulateRead)?;
                advise(start, pages, Advice::LinuxPageOut)?;
            }
        }
        self.shared.peak.fetch_max(resident + cached, Ordering::Relaxed);
        Ok((resident, gone))
    }

    /// Puts `count` victims out, neighbours in one go.
    fn evict(&mut self, count: u32) -> Result<(), KernelError> {
        // Nothing tells which pages were used: accessed bits are the kernel's.
        let mut victims: Vec<_> =
            (0..count).map_while(|_| self.policy.victim(&mut |_| false)).map(FrameIndex).collect();
        victims.sort_unstable();
        for frame in &victims {
            self.known[frame.0 as usize] = false;
        }
        let mut minded = Instant::now();
        for (start, pages) in runs(&self.shared.ram, &victims) {
            if minded.elapsed() >= PACE {
                let resident = self.guess()?;
                self.mind(resident);
                minded = Instant::now();
            }
            advise(start, pages, Advice::LinuxPageOut)?;
        }
        self.shared.asked.add(victims.len() as u64);
        self.victims = victims;
        Ok(())
    }
}

/// The runs of neighbours among `frames`, which are ascending: where each is, and how many pages it has.
fn runs(ram: &GuestRam, frames: &[FrameIndex]) -> impl Iterator<Item = (Hva, usize)> {
    let next = |frame| ram.hva(frame).map(|page| page + PAGE_SIZE as u64);
    let runs = frames.chunk_by(move |&one, &other| next(one) == ram.hva(other));
    // The policy holds frames of guest RAM only.
    runs.flat_map(|run| run.chunks(MOST)).filter_map(|run| Some((ram.hva(run[0])?, run.len())))
}

/// So many frames below a limit is where what has to be done about it begins, or ends.
fn a_little(frames: u32) -> u32 {
    (frames / 64).max(4)
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
