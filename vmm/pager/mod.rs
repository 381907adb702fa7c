//! The host pager: keeps guest RAM within a budget of host memory.
//!
//! Nothing is in guest RAM at first, and userfaultfd reports every touch of a page that is not there, whether by a
//! vCPU or by a device's thread. The fault threads bring pages in (`fault`, `fill`), on demand and ahead of it (`streams`); the
//! reclaim thread takes victims out (`reclaim`). What they share is the frame table (`frames`), which says
//! where each page is, the budget (`room`), the policy (`residents`), and the staging area (`staging`) that victims pass
//! through on their way to the store. Where guest RAM is of huge pages (`huge`), these come and go whole.
//!
//! Lock order: a group of frames, then one of residents, streams, around, room, store; those are leaves. No lock is held over I/O.
//!
//! When a page cannot be read or written, `on_failure` is called once, and whoever waits for such a page goes on
//! waiting: nobody is given a wrong page. The VM must then be ended: have the vCPU leave KVM_RUN (a signal
//! interrupts its wait) and devices stop, then stop the pager. Stopping wakes every thread that still waits, with pages of
//! zeros where pages were out, so it comes after everyone who would use them.

mod any;
mod around;
mod aside;
mod awake;
mod departure;
mod desk;
mod fault;
mod fill;
mod frames;
mod ghosts;
mod huge;
mod kernel;
mod landing;
mod marks;
mod packed;
mod pagemap;
mod parked;
mod patience;
mod reclaim;
mod reference;
mod residents;
mod room;
mod staging;
mod stats;
mod streams;
mod trace;
pub mod uffd;
mod wired;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use abi::addr::{Hva, PAGE_SIZE};
use abi::boot::RamRange;
use paging::policy::PolicyKind;
use parking_lot::Mutex;
use rustix::mm::{Advice, madvise};
use thiserror::Error;

use crate::memory::{FrameIndex, GuestRam, Size};
use crate::store::{SEGMENT_PAGES, Store, StoreError};
pub use any::{AnyPager, PagerKind};
use around::Around;
use awake::Awake;
use desk::Desk;
use frames::{FrameState, FrameTable, GROUP};
use ghosts::Ghosts;
pub use huge::HugeSwap;
pub use kernel::{KernelError, KernelPager, SWAP_ON, Word, check_swap};
use marks::Marks;
use reclaim::{Reclaim, Spread};
use reference::Method;
pub use reference::{ReferenceSource, Sampling};
use residents::Residents;
use room::Room;
pub use staging::Eviction;
use staging::Staging;
use stats::Counters;
pub use stats::{FaultStats, HostStats, Source};
use streams::Streams;
use trace::Recorder;
pub use trace::TraceFile;
use uffd::{OpenError, Range, Uffd};

/// The smallest budget, in frames: what one guest instruction can need at once, with room for reclaim to work in.
pub const MIN_BUDGET: u32 = 64;

/// The smallest budget where guest RAM is of huge pages: some of them, one on its way in, one on its way out.
pub const MIN_HUGE_BUDGET: u32 = 8 * GROUP;

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
    /// What becomes of huge pages; `None`: guest RAM has none.
    pub huge: Option<HugeSwap>,
    /// Where a record of the faults goes.
    pub trace: Option<TraceFile>,
}

/// What can go wrong.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum PagerError {
    #[error("a host budget (--host-ram) of {0} is too small to run in: give at least {min}", min = Size::from_pages(MIN_BUDGET))]
    BudgetTooSmall(Size),
    #[error("a host budget of {0} is too small for guest RAM of huge pages: give at least {min} with --host-ram, or --backing 4k", min = Size::from_pages(MIN_HUGE_BUDGET))]
    BudgetTooSmallForHuge(Size),
    #[error("a host budget of {budget} is more than guest RAM, {ram}: give at most that")]
    BudgetTooLarge { budget: Size, ram: Size },
    #[error("cannot map memory to put huge pages together: {0}; the VM cannot go on")]
    Landing(io::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(
        "this kernel cannot move pages (UFFDIO_MOVE): use Linux 6.8 or newer, or evict small pages (--backing 4k) by copy"
    )]
    NoMove,
    #[error(
        "this kernel cannot scan for written pages (PAGEMAP_SCAN: {0}): use Linux 6.8 or newer, or another --host-reference"
    )]
    NoPagemap(io::Error),
    #[error(
        "pages that are scanned for writes (pagemap) cannot be evicted by copy: evict by move, or sample otherwise"
    )]
    CopyWithPagemap,
    #[error(
        "--host-reference {0} protects small pages, which splits huge ones: ask for --backing 4k or for another source"
    )]
    ProtectsHuge(ReferenceSource),
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
    #[error("there is no frame {}; this is a defect of the pager", .0.0)]
    NoFrame(FrameIndex),
    #[error("the host refused to {what} frame {frame}: {outcome}; the VM cannot go on", frame = .frame.0)]
    Refused { what: &'static str, frame: FrameIndex, outcome: uffd::Outcome },
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
    residents: Mutex<Residents>,
    reference: ReferenceSource,
    marks: Marks,
    ghosts: Ghosts,
    staging: Staging,
    room: Room,
    huge: Option<HugeSwap>,
    /// Streams of small pages, and of huge ones by the number of their group.
    streams: Mutex<Streams>,
    groups: Mutex<Streams>,
    around: Mutex<Around>,
    awake: Awake,
    store: Arc<Store>,
    counters: Counters,
    on_failure: Mutex<Option<OnFailure>>,
}

impl Shared {
    /// Where a frame is mapped.
    fn hva(&self, frame: FrameIndex) -> Result<Hva, PagerError> {
        self.ram.hva(frame).ok_or(PagerError::NoFrame(frame))
    }

    /// From now on the frame's page may be evicted.
    fn admit(&self, frame: FrameIndex) {
        self.residents.lock().insert(frame);
    }

    /// Reports the first failure; those that follow from it are only logged.
    fn fail(&self, error: PagerError) {
        match self.on_failure.lock().take() {
            Some(on_failure) => on_failure(error),
            None => log::error!("{error}"),
        }
    }
}

/// How many CPUs this process may use.
fn cpus() -> u32 {
    thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32)
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
        let huge = config.huge.is_some();
        let budget = frames_of(config.budget.min(ram.size()), ram.size(), huge)?;
        let method = Method::of(config.reference)?;
        // A policy that asks for no references needs none.
        let method = if config.policy.asks_for_references() { method } else { Method::None };
        let uffd = open(config.reference)?;
        let eviction = choose_eviction(&config, &uffd)?;
        // For the largest budget that there can ever be: berths that are never used cost address space only.
        let berths = Spread::new(config.policy, ram.frames(), huge, 0).berths();
        let staging = Staging::new(&uffd, berths, eviction).map_err(PagerError::Register)?;
        let protect = eviction == Eviction::Copy || config.reference.protects();
        register(&uffd, ram, protect, huge).map_err(PagerError::Register)?;
        let shared = Arc::new(Shared {
            ram: ram.clone(),
            uffd,
            frames: FrameTable::new(ram.frames()),
            residents: Mutex::new(Residents::new(config.policy, ram.frames(), budget)),
            reference: config.reference,
            marks: Marks::new(ram.frames()),
            ghosts: Ghosts::new(budget),
            staging,
            room: Room::new(
                budget - reserve(eviction, &config.store),
                ram.frames(),
                if huge { GROUP } else { 1 },
                Arc::clone(&config.store),
            ),
            huge: config.huge,
            streams: Mutex::new(Streams::new(most_ahead(budget))),
            groups: Mutex::new(Streams::new(most_groups_ahead(budget))),
            around: Mutex::new(Around::new(budget)),
            awake: Awake::new(cpus()),
            store: config.store,
            counters: Counters::default(),
            on_failure: Mutex::new(Some(Box::new(on_failure))),
        });
        let mut pager = Self { shared, threads: Vec::new() };
        let recorder = config.trace.map(|file| pager.record_to(file)).transpose()?;
        // Gone with the last of the threads: its end is the record's.
        let desk = Arc::new(Desk::new(recorder));
        for _ in 0..desk::THREADS {
            let desk = Arc::clone(&desk);
            pager.spawn("host-fault", move |shared| fault::run(shared, &desk))?;
        }
        pager.spawn("host-reclaim", move |shared| Reclaim::new(shared, config.policy, method).run())?;
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

    /// Changes the budget while the guest runs. A larger one holds at once; a smaller one as soon as its surplus has been
    /// evicted, which goes on in the background.
    ///
    /// # Errors
    /// Too small to run in, or more than guest RAM.
    pub fn set_budget(&self, budget: Size) -> Result<(), PagerError> {
        let budget = frames_of(budget, self.shared.ram.size(), self.shared.huge.is_some())?;
        let Shared { room, residents, ghosts, streams, groups, around, staging, store, .. } = &*self.shared;
        room.set_budget(budget - reserve(staging.eviction(), store));
        residents.lock().set_budget(budget);
        ghosts.set_budget(budget);
        streams.lock().set_most(most_ahead(budget));
        groups.lock().set_most(most_groups_ahead(budget));
        around.lock().set_lifetime(budget);
        Ok(())
    }

    /// Keeps these pages in guest RAM once they are there, while they take no more than an eighth of the budget. They are the
    /// kernel's that the guest cannot go on without.
    pub fn wire(&self, pages: RamRange) {
        let Shared { ram, residents, huge, .. } = &*self.shared;
        let Some(FrameIndex(first)) = ram.index_of(pages.start) else { return };
        let last = first + (pages.bytes / PAGE_SIZE as u64) as u32;
        // Huge pages stay whole.
        let unit = if huge.is_some() { GROUP } else { 1 };
        residents.lock().wire(first / unit * unit..last.next_multiple_of(unit));
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
            let slot = match self.shared.frames.lock(frame).state(frame) {
                FrameState::Parked(berth) => self.shared.staging.slot(berth),
                state => state.slot(),
            };
            slot.into_iter().for_each(|slot| self.shared.store.release(slot));
        }
    }
}

/// How far ahead a stream of small pages is followed, with a budget in frames.
fn most_ahead(budget: u32) -> u32 {
    (budget / 16).min(MOST_AHEAD)
}

/// The same for huge pages.
fn most_groups_ahead(budget: u32) -> u32 {
    (budget / 16 / GROUP).clamp(1, MOST_GROUPS_AHEAD)
}

/// Frames of the budget that are set aside: for copies, and for what the store may grow by while a batch goes there.
fn reserve(eviction: Eviction, store: &Store) -> u32 {
    let growth = if store.most_counted_pages() > 0 { reclaim::MAX_BATCH + SEGMENT_PAGES } else { 0 };
    eviction.reserve() + growth
}

/// A budget that something can run in, in frames.
fn frames_of(budget: Size, ram: Size, huge: bool) -> Result<u32, PagerError> {
    if budget > ram {
        return Err(PagerError::BudgetTooLarge { budget, ram });
    }
    let frames = budget.pages() as u32;
    match frames {
        ..MIN_BUDGET => Err(PagerError::BudgetTooSmall(budget)),
        ..MIN_HUGE_BUDGET if huge => Err(PagerError::BudgetTooSmallForHuge(budget)),
        _ => Ok(frames),
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
    if config.huge.is_some() && config.reference.protects() {
        return Err(PagerError::ProtectsHuge(config.reference));
    }
    match config.eviction {
        Some(Eviction::Move) if !uffd.can_move() => Err(PagerError::NoMove),
        Some(Eviction::Copy) if config.reference == ReferenceSource::Pagemap => {
            Err(PagerError::CopyWithPagemap)
        }
        Some(Eviction::Copy) | None if config.huge.is_some() && !uffd.can_move() => Err(PagerError::NoMove),
        Some(eviction) => Ok(eviction),
        None if uffd.can_move() => Ok(Eviction::Move),
        None => Ok(Eviction::Copy),
    }
}

/// Has every fault in guest RAM reported; with `protect` also writes to protected pages.
fn register(uffd: &Uffd, ram: &GuestRam, protect: bool, huge: bool) -> io::Result<()> {
    for range in ranges(ram) {
        let start = std::ptr::with_exposed_provenance_mut(range.start.0 as usize);
        // Small pages come and go one by one, so the kernel must not join them; and a page that a fork shares cannot
        // be moved any more.
        let size = if huge { Advice::LinuxHugepage } else { Advice::LinuxNoHugepage };
        for advice in [size, Advice::LinuxDontFork] {
            // SAFETY: neither changes what this process sees.
            unsafe { madvise(start, range.bytes as usize, advice)? };
        }
        uffd.register(range, protect)?;
    }
    Ok(())
}

/// How far ahead of a stream the pager works at most, in pages and in huge pages.
const MOST_AHEAD: u32 = 256;
const MOST_GROUPS_AHEAD: u32 = 2;

fn ranges(ram: &GuestRam) -> impl Iterator<Item = Range> {
    ram.regions().iter().map(|region| Range { start: region.start, bytes: region.range.bytes })
}
