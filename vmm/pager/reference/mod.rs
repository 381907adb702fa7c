//! Reference sources: how the pager finds out which pages the guest uses.
//!
//! ```text
//!   source         sees                how                                              it costs
//!   soft-fault     reads and writes    parked pages that are touched come back          a soft fault each
//!   guest-tables   reads and writes    accessed bits in the guest's page tables         a sweep of the guest's kernel
//!   write-protect  writes              pages are protected; a write is a fault          a round trip each
//!   pagemap        writes              PAGEMAP_SCAN: the kernel notes writes itself     a fault in the kernel each
//! ```
//!
//! Soft faults are always there: a page goes by way of the staging area. The other sources add to them. What they find goes to the
//! frames' marks, which a policy asks. They look around while the reclaim thread works, at a pace of its evictions; where nothing is
//! evicted, nothing is sampled.

mod guest_tables;
mod writes;

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Instant;

use abi::addr::PAGE_SIZE;
use serde::Serialize;

use self::guest_tables::GuestTables;
use self::writes::Writes;
use super::uffd::{Outcome, Range};
use super::{PagerError, Shared};
use crate::memory::FrameIndex;
use crate::named::by_name;

/// How the pager finds out which pages are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReferenceSource {
    /// Only from what is touched on its way out.
    #[default]
    SoftFault,
    /// From the accessed bits in the guest's page tables.
    GuestTables,
    /// From faults on pages that were write-protected.
    WriteProtect,
    /// From the kernel's record of writes, by PAGEMAP_SCAN.
    Pagemap,
}

impl ReferenceSource {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::SoftFault, Self::GuestTables, Self::WriteProtect, Self::Pagemap];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SoftFault => "soft-fault",
            Self::GuestTables => "guest-tables",
            Self::WriteProtect => "write-protect",
            Self::Pagemap => "pagemap",
        }
    }

    /// Whether guest RAM is registered for write protection.
    pub(super) const fn protects(self) -> bool {
        matches!(self, Self::WriteProtect | Self::Pagemap)
    }
}

impl fmt::Display for ReferenceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ReferenceSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        by_name(Self::ALL, Self::name, text)
    }
}

/// What was sampled so far.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sampling {
    /// Times that the source was asked.
    pub passes: u64,
    /// Frames, or page-table entries, that were looked at.
    pub looked_at: u64,
    /// Those that were found used.
    pub used: u64,
    /// Time that took, in nanoseconds.
    pub ns: u64,
}

/// Frames that are sampled at once: enough to share the cost of a system call and of a TLB flush.
const CHUNK: u32 = 256;
/// How often each frame of guest RAM is sampled while a budget of pages is evicted. Policies ask about a page about once in that time.
const ROUNDS_A_BUDGET: u64 = 2;

/// A source at work, in the reclaim thread.
pub struct Sampler<'a> {
    shared: &'a Shared,
    method: Method,
    /// The next frame to look at.
    next: u32,
    /// Frames that should have been looked at by now, times the budget.
    due: u64,
}

/// What a source needs to be at work.
pub enum Method {
    /// Nothing is asked: soft faults come by themselves.
    None,
    GuestTables(GuestTables),
    WriteProtect,
    Pagemap(Writes),
}

impl Method {
    /// Finds out whether the host has what a source needs.
    pub fn of(source: ReferenceSource) -> Result<Self, PagerError> {
        Ok(match source {
            ReferenceSource::SoftFault => Self::None,
            ReferenceSource::GuestTables => Self::GuestTables(GuestTables::default()),
            ReferenceSource::WriteProtect => Self::WriteProtect,
            ReferenceSource::Pagemap => Self::Pagemap(Writes::open().map_err(PagerError::NoPagemap)?),
        })
    }
}

impl<'a> Sampler<'a> {
    /// Nothing was looked at.
    pub const fn new(shared: &'a Shared, method: Method) -> Self {
        Self { shared, method, next: 0, due: 0 }
    }

    /// So many pages more are going.
    pub fn keep_up(&mut self, evicted: u32) -> Result<(), PagerError> {
        if matches!(self.method, Method::None) {
            return Ok(());
        }
        let (frames, budget) = (self.shared.ram.frames(), u64::from(self.shared.room.budget()));
        self.due += u64::from(evicted) * u64::from(frames) * ROUNDS_A_BUDGET;
        if let Method::GuestTables(tables) = &mut self.method {
            // All tables at once: they are not in the order of frames.
            let Shared { ram, marks, .. } = self.shared;
            if self.due < u64::from(frames) * budget || !tables.are_swept(ram, marks) {
                return Ok(());
            }
            self.due = 0;
            return record(self.shared, || tables.pass(ram, marks)).map_err(PagerError::Sample);
        }
        while self.due >= u64::from(CHUNK) * budget {
            self.due -= u64::from(CHUNK) * budget;
            self.sample()?;
        }
        Ok(())
    }

    /// Looks at the next chunk.
    fn sample(&mut self) -> Result<(), PagerError> {
        let Some((first, range)) = self.chunk() else { return Ok(()) };
        let frames = (range.bytes / PAGE_SIZE as u64) as u32;
        self.next = first.0 + frames;
        let shared = self.shared;
        let sampled = match &mut self.method {
            // What is written from here on is a fault, which the fault thread marks.
            Method::WriteProtect => record(shared, || match shared.uffd.protect(range, true) {
                // Threads come and go in this address space: another time, then.
                Ok(()) | Err(Outcome::Again) => Ok((frames, 0)),
                Err(outcome) => Err(io::Error::other(outcome)),
            }),
            Method::Pagemap(writes) => record(shared, || Ok((frames, writes.sample(shared, range)?))),
            Method::None | Method::GuestTables(_) => Ok(()),
        };
        sampled.map_err(PagerError::Sample)
    }

    /// The next frames that are neighbours in this process, too.
    fn chunk(&self) -> Option<(FrameIndex, Range)> {
        let frames = self.shared.ram.frames();
        let next = FrameIndex(if self.next < frames { self.next } else { 0 });
        let start = self.shared.ram.hva(next)?;
        let regions = self.shared.ram.regions();
        let region = regions.iter().rev().find(|region| region.first <= next)?;
        let left = region.range.bytes - (start.0 - region.start.0);
        Some((next, Range { start, bytes: left.min(u64::from(CHUNK) * PAGE_SIZE as u64) }))
    }
}

/// Counts what a look at some frames cost, and how many of them it found used.
fn record(shared: &Shared, look: impl FnOnce() -> io::Result<(u32, u32)>) -> io::Result<()> {
    let start = Instant::now();
    let (looked_at, used) = look()?;
    let mut sampling = shared.counters.sampling.lock();
    sampling.passes += 1;
    sampling.looked_at += u64::from(looked_at);
    sampling.used += u64::from(used);
    sampling.ns += start.elapsed().as_nanos() as u64;
    Ok(())
}
