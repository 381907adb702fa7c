//! What the pager did and what it holds.

use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use super::around::AroundStats;
use super::ghosts::DISTANCES;
use super::reference::Sampling;
use super::{PagerKind, Shared};
use crate::measure::{Counter, Latency, LatencySummary};
use crate::store::{Origin, StoreStats};

/// Where a page came from when a host fault was served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Source {
    /// It was all zeros, and kept nowhere (minor).
    Zero = 0,
    /// It was on its way out, still in memory (minor).
    Rescued = 1,
    /// It was one word, repeated (minor).
    SameFilled = 2,
    /// The store's memory (minor).
    Memory = 3,
    /// The store's file (major).
    File = 4,
}

impl Source {
    /// Every source, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Zero, Self::Rescued, Self::SameFilled, Self::Memory, Self::File];

    /// Of two sources of the parts of a huge page, the one that took longer.
    pub(super) fn farther(self, other: Self) -> Self {
        if other as usize > self as usize { other } else { self }
    }
}

impl From<Origin> for Source {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::SameFilled => Self::SameFilled,
            Origin::Memory => Self::Memory,
            Origin::File => Self::File,
        }
    }
}

/// The pager's counters.
#[derive(Debug, Default)]
pub struct Counters {
    latencies: [Mutex<Latency>; Source::ALL.len()],
    pub(super) parked: Counter,
    pub(super) evicted_clean: Counter,
    pub(super) evicted_dirty: Counter,
    pub(super) evicted_zero: Counter,
    pub(super) refused: Counter,
    /// Small pages that were brought in ahead of their faults, and those that proved of use.
    pub(super) ahead: Counter,
    pub(super) used_ahead: Counter,
    /// Huge pages that came in, went out, and were split.
    pub(super) whole_in: Counter,
    pub(super) whole_out: Counter,
    pub(super) split: Counter,
    /// Faults of pages that were protected to see writes.
    pub(super) caught: Counter,
    pub(super) sampling: Mutex<Sampling>,
}

impl Counters {
    /// A fault was served from `source` in `time`.
    pub fn served(&self, source: Source, time: Duration) {
        self.latencies[source as usize].lock().record(time);
    }
}

/// The host pager's side of a report, at one moment. Frames and pages are of 4 KiB.
#[derive(Clone, Default, Debug, Serialize)]
pub struct HostStats {
    /// Who pages: `uffd` or `kernel`.
    pub pager: &'static str,
    /// The replacement policy.
    pub policy: &'static str,
    /// How it finds out which pages are used.
    pub reference: &'static str,
    /// How pages leave guest RAM: `move` (UFFDIO_MOVE), `copy` (write-protect, copy, discard) or `pageout` (MADV_PAGEOUT).
    pub eviction: &'static str,
    /// Frames that may be held.
    pub budget: u64,
    /// Frames that are held now: in guest RAM and in the staging area.
    pub resident: u64,
    /// The most that ever were.
    pub resident_peak: u64,
    /// Faults that took no device I/O.
    pub minor: u64,
    /// Faults that read the store's file, or the host's swap.
    pub major: u64,
    /// Faults by where the page came from, from reading the event to the wake.
    pub faults: FaultStats,
    /// Victims that were taken out of guest RAM; those that were not rescued went on and were evicted.
    pub parked: u64,
    /// Evicted pages that the store held already: not written.
    pub evicted_clean: u64,
    /// Evicted pages that were handed to the store.
    pub evicted_dirty: u64,
    /// Evicted pages that were all zeros: kept nowhere.
    pub evicted_zero: u64,
    /// Victims that were pinned and stayed.
    pub refused: u64,
    /// Pages that were brought in ahead of their faults.
    pub ahead: Ahead,
    /// Neighbours that came along with a page.
    pub around: AroundStats,
    /// Huge pages; `None`: guest RAM has none.
    pub huge: Option<HugeStats>,
    /// Pages that came back while they were among the last evicted: about as many as the budget has frames.
    pub refaults: u64,
    /// Those by how many pages were evicted in between, in sixths of the budget.
    pub refault_distance: [u64; DISTANCES],
    /// Faults on pages that were protected to see writes; they are no page's arrival, and in no other count.
    pub protection_faults: u64,
    /// What the reference source was asked.
    pub sampling: Sampling,
    /// Bytes of the tables of resident pages: the policy's, and which frame each is in.
    pub policy_bytes: u64,
    /// Bytes of all tables with an entry for each frame, resident page or parked one: what of them was used.
    pub metadata_bytes: u64,
    /// The store.
    pub store: StoreStats,
}

/// How well the pager foresaw faults.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub struct Ahead {
    /// Pages that were brought in ahead.
    pub pages: u64,
    /// Those that were used: their stream went on behind them.
    pub used: u64,
    /// Part of the pages brought in ahead that were used.
    pub accuracy: f64,
    /// Part of the pages that were used that were brought in ahead, and not by a fault.
    pub coverage: f64,
}

impl Ahead {
    fn of(pages: u64, used: u64, faults: u64) -> Self {
        let part = |of: u64| if of == 0 { 0.0 } else { used as f64 / of as f64 };
        Self { pages, used, accuracy: part(pages), coverage: part(used + faults) }
    }
}

/// What became of huge pages of guest RAM.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HugeStats {
    /// What becomes of those that are victims: `keep`, `split` or `auto`.
    pub swap: &'static str,
    /// How often one was brought in, on demand or ahead.
    pub brought_in: u64,
    /// How often one was evicted whole.
    pub evicted: u64,
    /// How often one was split.
    pub split: u64,
}

/// Latencies by [`Source`]; nothing where the host's kernel serves the faults.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct FaultStats {
    /// [`Source::Zero`].
    pub zero: LatencySummary,
    /// [`Source::Rescued`].
    pub rescued: LatencySummary,
    /// [`Source::SameFilled`].
    pub same_filled: LatencySummary,
    /// [`Source::Memory`].
    pub memory: LatencySummary,
    /// [`Source::File`].
    pub file: LatencySummary,
    /// The first four together.
    pub minor: LatencySummary,
}

impl HostStats {
    pub(super) fn of(shared: &Shared) -> Self {
        let faults = shared.counters.faults();
        let refault_distance = shared.ghosts.refaults();
        let (policy, policy_bytes) = {
            let residents = shared.residents.lock();
            (residents.policy().name(), residents.bytes() as u64)
        };
        let tables = shared.frames.bytes() + shared.marks.bytes() + shared.staging.bytes();
        let (resident, peak) = shared.room.used_and_peak();
        Self {
            pager: PagerKind::Uffd.name(),
            policy,
            reference: shared.reference.name(),
            eviction: shared.staging.eviction().name(),
            budget: shared.room.budget().into(),
            resident: resident.into(),
            resident_peak: peak.into(),
            minor: faults.minor.count,
            major: faults.file.count,
            faults,
            parked: shared.counters.parked.get(),
            evicted_clean: shared.counters.evicted_clean.get(),
            evicted_dirty: shared.counters.evicted_dirty.get(),
            evicted_zero: shared.counters.evicted_zero.get(),
            refused: shared.counters.refused.get(),
            ahead: Ahead::of(
                shared.counters.ahead.get(),
                shared.counters.used_ahead.get(),
                faults.minor.count - faults.rescued.count + faults.file.count,
            ),
            around: shared.around.lock().stats(),
            huge: shared.huge.map(|swap| HugeStats {
                swap: swap.name(),
                brought_in: shared.counters.whole_in.get(),
                evicted: shared.counters.whole_out.get(),
                split: shared.counters.split.get(),
            }),
            refaults: refault_distance.iter().sum(),
            refault_distance,
            protection_faults: shared.counters.caught.get(),
            sampling: *shared.counters.sampling.lock(),
            policy_bytes,
            metadata_bytes: policy_bytes + tables as u64,
            store: shared.store.stats(),
        }
    }
}

impl Counters {
    fn faults(&self) -> FaultStats {
        let mut minor = Latency::default();
        let mut of = |source: Source| {
            let latency = self.latencies[source as usize].lock();
            if source != Source::File {
                minor.merge(&latency);
            }
            latency.summary()
        };
        let [zero, rescued, same_filled, memory, file] = Source::ALL.map(&mut of);
        FaultStats { zero, rescued, same_filled, memory, file, minor: minor.summary() }
    }
}
