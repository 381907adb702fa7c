//! The other host pager: our victims, evicted by MADV_PAGEOUT to the swap that the host has, and brought back
//! by the host's kernel. It is the baseline for the one that goes by userfaultfd.
//!
//! The kernel reports no fault. So a thread looks which pages are resident (`residency`): what it finds new
//! is an arrival that the policy is told of, and when there are too many, victims go out. Between two looks
//! guest RAM may take more than the budget; the guest is held then, and the peak says by how much it was.

mod evict;
mod residency;

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{Builder, JoinHandle};

use paging::policy::PolicyKind;
use parking_lot::{Condvar, Mutex};
use rustix::mm::{Advice, madvise};
use thiserror::Error;

use super::stats::HostStats;
use super::{PagerError, PagerKind, frames_of};
use crate::measure::Counter;
use crate::memory::{GuestRam, Size};
use crate::store::StoreStats;
use evict::Evictor;
use residency::Residency;

/// What the host's kernel lacks for it.
#[derive(Debug, Error)]
pub enum KernelError {
    /// Nowhere to evict to.
    #[error(
        "--host-pager kernel evicts to the host's swap, and this host has none: as root, {SWAP_ON}, or ask for --host-pager uffd"
    )]
    NoSwap,
    /// Which pages are resident cannot be seen.
    #[error("cannot see which pages of guest RAM are resident (PAGEMAP_SCAN): {0}; use Linux 6.7 or newer")]
    Scan(io::Error),
    /// MADV_PAGEOUT failed.
    #[error("the host's kernel does not evict (MADV_PAGEOUT): {0}; use Linux 5.4 or newer")]
    Evict(io::Error),
}

/// How root makes swap, compressed in memory.
pub const SWAP_ON: &str =
    "modprobe zram; zramctl -a lz4 -s 1G /dev/zram0 && mkswap /dev/zram0 && swapon /dev/zram0";

/// Whether this host's kernel can evict at all.
///
/// # Errors
/// It has no swap.
pub fn check_swap() -> Result<(), KernelError> {
    if swap_areas() > 0 { Ok(()) } else { Err(KernelError::NoSwap) }
}

fn swap_areas() -> usize {
    // The first line is a heading (proc_swaps(5)).
    fs::read_to_string("/proc/swaps").map_or(0, |swaps| swaps.lines().skip(1).count())
}

/// What the thread and its owner share.
struct Shared {
    ram: GuestRam,
    policy: PolicyKind,
    budget: AtomicU32,
    peak: AtomicU32,
    /// Victims that were put out.
    asked: Counter,
    /// Those of them that the next look found gone.
    evicted: Counter,
    /// Those that were still there, or there again.
    stayed: Counter,
    stopping: Mutex<bool>,
    stop: Condvar,
}

/// What the pager has to say to whoever runs the guest.
#[derive(Debug)]
pub enum Word {
    /// Keep the vCPU out of the guest: it is over the budget.
    Hold,
    /// Let it in again.
    LetGo,
    /// Said at most once, and last: there is no paging any more.
    Failed(PagerError),
}

/// A running pager. Stops when dropped; what is in swap comes back by itself.
pub struct KernelPager {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The process's faults when it started.
    before: Faults,
}

impl KernelPager {
    /// Takes charge of guest RAM. `tell` is called from the pager's thread.
    ///
    /// # Errors
    /// The budget is too small, or the host has no swap.
    pub fn start(
        ram: &GuestRam,
        budget: Size,
        policy: PolicyKind,
        tell: impl Fn(Word) + Send + 'static,
    ) -> Result<Self, PagerError> {
        let budget = frames_of(budget.min(ram.size()), ram.size(), false)?;
        check_swap()?;
        for region in ram.regions() {
            let start = std::ptr::with_exposed_provenance_mut(region.start.0 as usize);
            // SAFETY: it changes how the mapping is backed, not what is in it.
            let advised = unsafe { madvise(start, region.range.bytes as usize, Advice::LinuxNoHugepage) };
            advised.map_err(|error| PagerError::Register(error.into()))?;
        }
        // Shows now whether the host can do it.
        Residency::new(ram).map_err(KernelError::Scan)?;
        let shared = Arc::new(Shared {
            ram: ram.clone(),
            policy,
            budget: AtomicU32::new(budget),
            peak: AtomicU32::new(0),
            asked: Counter::default(),
            evicted: Counter::default(),
            stayed: Counter::default(),
            stopping: Mutex::new(false),
            stop: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let run = move || {
            if let Err(error) = Evictor::new(&of_thread, &tell).and_then(Evictor::run) {
                tell(Word::Failed(error.into()));
            }
        };
        let thread = Builder::new().name("host-evict".into()).spawn(run).map_err(PagerError::Thread)?;
        Ok(Self { shared, thread: Some(thread), before: Faults::now() })
    }

    /// Changes the budget while the guest runs: the next look goes by it.
    ///
    /// # Errors
    /// Too small to run in, or more than guest RAM.
    pub fn set_budget(&self, budget: Size) -> Result<(), PagerError> {
        self.shared.budget.store(frames_of(budget, self.shared.ram.size(), false)?, Ordering::Relaxed);
        Ok(())
    }

    /// What it did so far. Faults are counted by the kernel, and only as a sum: those of the whole process,
    /// with no times.
    #[must_use]
    pub fn stats(&self) -> HostStats {
        let Faults { minor, major } = Faults::now().since(self.before);
        let resident = Residency::new(&self.shared.ram).map(|now| now.resident());
        let resident = resident.inspect_err(|error| log::warn!("guest RAM: {error}")).unwrap_or(0);
        let peak = self.shared.peak.fetch_max(resident, Ordering::Relaxed).max(resident);
        HostStats {
            pager: PagerKind::Kernel.name(),
            policy: self.shared.policy.name(),
            eviction: "pageout",
            budget: self.shared.budget.load(Ordering::Relaxed).into(),
            resident: resident.into(),
            resident_peak: peak.into(),
            minor,
            major,
            reference: "none",
            parked: self.shared.asked.get(),
            evicted_dirty: self.shared.evicted.get(),
            refused: self.shared.stayed.get(),
            store: StoreStats { kind: "host's swap", ..StoreStats::default() },
            ..HostStats::default()
        }
    }
}

impl Drop for KernelPager {
    fn drop(&mut self) {
        *self.shared.stopping.lock() = true;
        self.shared.stop.notify_all();
        // A thread that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Faults of this process, as the kernel counts them: those that KVM takes for the guest are among them.
#[derive(Clone, Copy)]
struct Faults {
    minor: u64,
    major: u64,
}

impl Faults {
    fn now() -> Self {
        // SAFETY: the structure is plain numbers, for which zero is valid, and the call writes no more than
        // it.
        let usage = unsafe {
            let mut usage = std::mem::zeroed::<libc::rusage>();
            libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
            usage
        };
        Self { minor: usage.ru_minflt as u64, major: usage.ru_majflt as u64 }
    }

    const fn since(self, before: Self) -> Self {
        Self {
            minor: self.minor.saturating_sub(before.minor),
            major: self.major.saturating_sub(before.major),
        }
    }
}
