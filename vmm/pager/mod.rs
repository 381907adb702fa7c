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

mod any;
mod fault;
mod frames;
mod kernel;
mod reclaim;
mod references;
mod room;
mod staging;
mod stats;
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
pub use any::{AnyPager, PagerKind};
use frames::{FrameState, FrameTable};
pub use kernel::{KernelError, KernelPager, SWAP_ON, check_swap};
use reclaim::{Reclaim, Spread};
use references::References;
use room::Room;
pub use staging::Eviction;
use staging::Staging;
use stats::Counters;
pub use stats::{FaultStats, HostStats, Source};
use uffd::{Range, Uffd};

/// The smallest budget, in frames: what one guest instruction can need at once, with room for reclaim to work in.
pub const MIN_BUDGET: u32 = 64;

/// Most slots that the pager takes for guest RAM of this size: one a frame, and those of a batch that is being
/// written while its pages are rescued.
#[must_use]
pub const fn slots_needed(ram: Size) -> u64 {
    ram.pages() + reclaim::MAX_BATCH as u64
}

/// What the pager is to do.
#[derive(Clone, Debug)]
pub struct PagerConfig {
    /// Most host memory that guest RAM may take, the staging area included.
    pub budget: Size,
    /// Who goes when it is short.
    pub policy: PolicyKind,
    /// Where evicted pages go. The pager takes up to [`slots_needed`] of its slots.
    pub store: Arc<Store>,
    /// How pages leave guest RAM; `None` is the best that the kernel can do.
    pub eviction: Option<Eviction>,
}

/// What can go wrong.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum PagerError {
    #[error("a host budget (--host-ram) of {0} is too small to run in: give at least {min}", min = Size::from_pages(MIN_BUDGET))]
    BudgetTooSmall(Size),
    #[error("a host budget of {budget} is more than guest RAM, {ram}: give at most that")]
    BudgetTooLarge { budget: Size, ram: Size },
    #[error(transparent)]
    Open(#[from] uffd::OpenError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("this kernel cannot move pages (UFFDIO_MOVE): use Linux 6.8 or newer, or evict by copy")]
    NoMove,
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
    references: References,
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
        let budget = frames_of(config.budget.min(ram.size()), ram.size())?;
        let uffd = Uffd::open()?;
        let eviction = match config.eviction {
            Some(Eviction::Move) if !uffd.can_move() => return Err(PagerError::NoMove),
            Some(eviction) => eviction,
            None if uffd.can_move() => Eviction::Move,
            None => Eviction::Copy,
        };
        // For the largest budget that there can ever be: berths that are not used cost address space.
        let berths = Spread::new(config.policy, ram.frames(), 0).berths();
        let staging = Staging::new(&uffd, berths, eviction).map_err(PagerError::Register)?;
        register(&uffd, ram, eviction).map_err(PagerError::Register)?;
        let shared = Arc::new(Shared {
            ram: ram.clone(),
            uffd,
            frames: FrameTable::new(ram.frames()),
            policy: Mutex::new(AnyPolicy::new(config.policy, ram.frames())),
            references: References::new(ram.frames()),
            staging,
            room: Room::new(budget - eviction.reserve(), ram.frames()),
            store: config.store,
            counters: Counters::default(),
            on_failure: Mutex::new(Some(Box::new(on_failure))),
        });
        let mut pager = Self { shared, threads: Vec::new() };
        pager.spawn("host-fault", fault::run)?;
        pager.spawn("host-reclaim", move |shared| Reclaim::new(shared, config.policy).run())?;
        Ok(pager)
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

    /// Changes the budget while the guest runs. A larger one holds at once; a smaller one as soon as its surplus has been
    /// evicted, which goes on in the background.
    ///
    /// # Errors
    /// Too small to run in, or more than guest RAM.
    pub fn set_budget(&self, budget: Size) -> Result<(), PagerError> {
        let budget = frames_of(budget, self.shared.ram.size())?;
        self.shared.room.set_budget(budget - self.shared.staging.eviction().reserve());
        Ok(())
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

/// A budget that something can run in, in frames.
fn frames_of(budget: Size, ram: Size) -> Result<u32, PagerError> {
    if budget > ram {
        return Err(PagerError::BudgetTooLarge { budget, ram });
    }
    let frames = budget.pages() as u32;
    if frames < MIN_BUDGET { Err(PagerError::BudgetTooSmall(budget)) } else { Ok(frames) }
}

/// Has every fault in guest RAM reported.
fn register(uffd: &Uffd, ram: &GuestRam, eviction: Eviction) -> io::Result<()> {
    for range in ranges(ram) {
        let start = std::ptr::with_exposed_provenance_mut(range.start.0 as usize);
        // Pages come and go one by one, so the kernel must not join them; and a page that a fork shares cannot
        // be moved any more.
        for advice in [Advice::LinuxNoHugepage, Advice::LinuxDontFork] {
            // SAFETY: neither changes what this process sees.
            unsafe { madvise(start, range.bytes as usize, advice)? };
        }
        uffd.register(range, eviction == Eviction::Copy)?;
    }
    Ok(())
}

fn ranges(ram: &GuestRam) -> impl Iterator<Item = Range> {
    ram.regions().iter().map(|region| Range { start: region.start, bytes: region.range.bytes })
}
