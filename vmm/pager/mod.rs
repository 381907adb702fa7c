//! The host pager: keeps guest RAM within a budget of host memory.
//!
//! Nothing is in guest RAM at first, and userfaultfd reports every touch of a page that is not there, whether by a
//! vCPU or by a device's thread. Two threads do the rest: the fault thread brings pages in (`fault`), the
//! reclaim thread takes victims out (`reclaim`). What they share is the frame table (`frames`), which says
//! where each page is, the budget (`room`), the policy, and the staging area (`staging`) that victims pass
//! through on their way to the store.
//!
//! Lock order: a frame's shard, then one of policy, room, store; those are leaves. No lock is held over I/O.
//!
//! When a page cannot be read or written, `on_failure` is called once, and whoever waits for such a page goes on
//! waiting: nobody is given a wrong page. The VM must then be ended: have the vCPU leave KVM_RUN (a signal
//! interrupts its wait) and devices stop, then stop the pager. Stopping wakes every thread that still waits, with pages of
//! zeros where pages were out, so it comes after everyone who would use them.

mod fault;
mod frames;
mod ghosts;
mod marks;
mod reclaim;
mod reference;
mod room;
mod staging;
mod stats;
mod trace;
pub mod uffd;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use abi::addr::Hva;
use paging::policy::{AnyPolicy, PolicyKind};
use parking_lot::Mutex;
use rustix::mm::{Advice, madvise};
use thiserror::Error;

use crate::memory::{FrameIndex, GuestRam, Size};
use crate::store::{Store, StoreError};
use frames::{FrameState, FrameTable};
use ghosts::Ghosts;
use marks::Marks;
use reclaim::{Reclaim, Spread};
use reference::Method;
pub use reference::{ReferenceSource, Sampling};
use room::Room;
pub use staging::Eviction;
use staging::Staging;
use stats::Counters;
pub use stats::{FaultStats, HostStats, Source};
use trace::Recorder;
pub use trace::TraceFile;
use uffd::{OpenError, Range, Uffd};

/// The smallest budget, in frames: what one guest instruction can need at once, with room for reclaim to work in.
pub const MIN_BUDGET: u32 = 64;

/// Most slots that the pager takes for guest RAM of this size: one a frame, and those of a batch that is being
/// written while its pages are rescued.
#[must_use]
pub const fn slots_needed(ram: Size) -> u64 {
    ram.pages() + reclaim::MAX_BATCH as u64
}

/// What the pager is to do.
#[derive(Debug)]
pub struct PagerConfig {
    /// Most host memory that guest RAM may take, the staging area included.
    pub budget: Size,
    /// Who goes when it is short.
    pub policy: PolicyKind,
    /// Where evicted pages go. The pager takes up to [`slots_needed`] of its slots.
    pub store: Arc<Store>,
    /// How it finds out which pages are used.
    pub reference: ReferenceSource,
    /// How pages leave guest RAM; `None` is the best that the kernel can do.
    pub eviction: Option<Eviction>,
    /// Where a record of the faults goes.
    pub trace: Option<TraceFile>,
}

/// What can go wrong.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum PagerError {
    #[error("a host budget of {0} is too small to run in: give at least {min} with --host-ram", min = Size::from_pages(MIN_BUDGET))]
    BudgetTooSmall(Size),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("this kernel cannot move pages (UFFDIO_MOVE): use Linux 6.8 or newer, or evict by copy")]
    NoMove,
    #[error(
        "this kernel cannot scan for written pages (PAGEMAP_SCAN: {0}): use Linux 6.8 or newer, or another --host-reference"
    )]
    NoPagemap(io::Error),
    #[error(
        "pages that are scanned for writes (pagemap) cannot be evicted by copy: evict by move, or sample otherwise"
    )]
    CopyWithPagemap,
    #[error("cannot find out which pages were used: {0}; choose another --host-reference")]
    Sample(io::Error),
    #[error("cannot have guest RAM's faults reported: {0}; check the kernel's userfaultfd support")]
    Register(io::Error),
    #[error("cannot start the pager's threads: {0}; check the limit on processes (ulimit -u)")]
    Thread(io::Error),
    #[error("cannot wait for guest RAM's faults: {0}; the VM cannot go on")]
    Wait(io::Error),
    #[error("a fault at {0}, which is not guest RAM; this is a defect of the pager")]
    Stray(Hva),
    #[error("frame {frame}: {outcome}; the VM cannot go on", frame = .frame.0)]
    Refused { frame: FrameIndex, outcome: uffd::Outcome },
    #[error("frame {frame} cannot be brought back: {error}", frame = .frame.0)]
    Read { frame: FrameIndex, error: StoreError },
    #[error("evicted pages cannot be kept: {0}")]
    Write(StoreError),
    #[error("the host does not take back evicted memory: {0}; the VM cannot go on")]
    Discard(io::Error),
}

/// What is called when the pager fails.
type OnFailure = Box<dyn FnOnce(PagerError) + Send>;

/// What the threads share.
struct Shared {
    ram: GuestRam,
    uffd: Uffd,
    frames: FrameTable,
    policy: Mutex<AnyPolicy>,
    reference: ReferenceSource,
    marks: Marks,
    ghosts: Ghosts,
    staging: Staging,
    room: Room,
    store: Arc<Store>,
    counters: Counters,
    on_failure: Mutex<Option<OnFailure>>,
}

impl Shared {
    /// Reports the first failure; those that follow from it are only logged.
    fn fail(&self, error: PagerError) {
        match self.on_failure.lock().take() {
            Some(on_failure) => on_failure(error),
            None => log::error!("{error}"),
        }
    }
}

/// A running pager. Stops when dropped.
pub struct Pager {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Pager {
    /// Takes charge of guest RAM, which nobody may have touched yet. `on_failure` is called at most once, from one of
    /// the pager's threads, so it must not stop the pager itself.
    ///
    /// # Errors
    /// The budget is too small, or the host does not let this process page.
    pub fn start(
        ram: &GuestRam,
        config: PagerConfig,
        on_failure: impl FnOnce(PagerError) + Send + 'static,
    ) -> Result<Self, PagerError> {
        // More than all of RAM is never used.
        let budget = config.budget.pages().min(ram.size().pages()) as u32;
        if budget < MIN_BUDGET {
            return Err(PagerError::BudgetTooSmall(config.budget));
        }
        let method = Method::of(config.reference)?;
        // A policy that asks for no references needs none.
        let method = if config.policy.asks_for_references() { method } else { Method::None };
        let uffd = open(config.reference)?;
        let eviction = choose_eviction(&config, &uffd)?;
        let hands = Spread::new(config.policy, budget);
        let staging = Staging::new(&uffd, hands.berths(), eviction).map_err(PagerError::Register)?;
        let protect = eviction == Eviction::Copy || config.reference.protects();
        register(&uffd, ram, protect).map_err(PagerError::Register)?;
        let shared = Arc::new(Shared {
            ram: ram.clone(),
            uffd,
            frames: FrameTable::new(ram.frames()),
            policy: Mutex::new(AnyPolicy::new(config.policy, ram.frames())),
            reference: config.reference,
            marks: Marks::new(ram.frames()),
            ghosts: Ghosts::new(budget),
            staging,
            room: Room::new(budget - eviction.reserve(), ram.frames()),
            store: config.store,
            counters: Counters::default(),
            on_failure: Mutex::new(Some(Box::new(on_failure))),
        });
        let mut pager = Self { shared, threads: Vec::new() };
        let recorder = config.trace.map(|file| pager.record_to(file)).transpose()?;
        pager.spawn("host-fault", move |shared| fault::run(shared, recorder))?;
        pager.spawn("host-reclaim", move |shared| Reclaim::new(shared, hands, method).run())?;
        Ok(pager)
    }

    fn record_to(&mut self, file: TraceFile) -> Result<Recorder, PagerError> {
        let (recorder, writer) = trace::start(file);
        self.spawn("host-trace", move |_| writer.run())?;
        Ok(recorder)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce(&Shared) + Send + 'static) -> Result<(), PagerError> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared));
        self.threads.push(thread.map_err(PagerError::Thread)?);
        Ok(())
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> HostStats {
        HostStats::of(&self.shared)
    }

    /// Ends it, releases its slots, and returns what it did. Everyone who uses guest RAM must have stopped: pages
    /// that are out are lost.
    pub fn stop(self) -> HostStats {
        self.stats()
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        self.shared.room.stop();
        if !self.threads.is_empty() {
            self.shared.staging.ring();
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
        for range in ranges(&self.shared.ram) {
            // Wakes who still waits. Closing the userfaultfd would too, but a child of this process may have it.
            let _ = self.shared.uffd.unregister(range);
        }
        for frame in self.shared.frames.all() {
            let slot = match self.shared.frames.lock(frame).state() {
                FrameState::Parked(berth) => self.shared.staging.slot(berth),
                state => state.slot(),
            };
            slot.into_iter().for_each(|slot| self.shared.store.release(slot));
        }
    }
}

/// Opens a userfaultfd that can do what a reference source needs.
fn open(reference: ReferenceSource) -> Result<Uffd, PagerError> {
    if reference != ReferenceSource::Pagemap {
        return Ok(Uffd::open()?);
    }
    Uffd::open_async().map_err(|error| match error {
        OpenError::Unsupported(error) => PagerError::NoPagemap(error),
        error @ OpenError::Permission => error.into(),
    })
}

/// How pages leave guest RAM: as was asked for, if the kernel can.
fn choose_eviction(config: &PagerConfig, uffd: &Uffd) -> Result<Eviction, PagerError> {
    match config.eviction {
        Some(Eviction::Move) if !uffd.can_move() => Err(PagerError::NoMove),
        Some(Eviction::Copy) if config.reference == ReferenceSource::Pagemap => {
            Err(PagerError::CopyWithPagemap)
        }
        Some(eviction) => Ok(eviction),
        None if uffd.can_move() => Ok(Eviction::Move),
        None => Ok(Eviction::Copy),
    }
}

/// Has every fault in guest RAM reported; with `protect` also writes to protected pages.
fn register(uffd: &Uffd, ram: &GuestRam, protect: bool) -> io::Result<()> {
    for range in ranges(ram) {
        let start = std::ptr::with_exposed_provenance_mut(range.start.0 as usize);
        // Pages come and go one by one, so the kernel must not join them; and a page that a fork shares cannot
        // be moved any more.
        for advice in [Advice::LinuxNoHugepage, Advice::LinuxDontFork] {
            // SAFETY: neither changes what this process sees.
            unsafe { madvise(start, range.bytes as usize, advice)? };
        }
        uffd.register(range, protect)?;
    }
    Ok(())
}

fn ranges(ram: &GuestRam) -> impl Iterator<Item = Range> {
    ram.regions().iter().map(|region| Range { start: region.start, bytes: region.range.bytes })
}
