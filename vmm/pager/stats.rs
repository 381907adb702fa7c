//! What the pager did and what it holds.

use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use super::Shared;
use super::ghosts::DISTANCES;
use super::reference::Sampling;
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
#[derive(Clone, Debug, Serialize)]
pub struct HostStats {
    /// The replacement policy.
    pub policy: &'static str,
    /// How it finds out which pages are used.
    pub reference: &'static str,
    /// How pages leave guest RAM: `move` (UFFDIO_MOVE) or `copy` (write-protect, copy, discard).
    pub eviction: &'static str,
    /// Frames that may be held.
    pub budget: u64,
    /// Frames that are held now: in guest RAM and in the staging area.
    pub resident: u64,
    /// The most that ever were.
    pub resident_peak: u64,
    /// Faults that took no device I/O.
    pub minor: u64,
    /// Faults that read the store's file.
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
    /// Pages that came back while they were among the last evicted: about as many as the budget has frames.
    pub refaults: u64,
    /// Those by how many pages were evicted in between, in sixths of the budget.
    pub refault_distance: [u64; DISTANCES],
    /// Faults on pages that were protected to see writes; they are no page's arrival, and in no other count.
    pub protection_faults: u64,
    /// What the reference source was asked.
    pub sampling: Sampling,
    /// Bytes of the policy's tables.
    pub policy_bytes: u64,
    /// Bytes of all tables with an entry for each frame, the policy's among them.
    pub metadata_bytes: u64,
    /// The store.
    pub store: StoreStats,
}

/// Latencies by [`Source`].
#[derive(Clone, Copy, Debug, Serialize)]
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
        let (resident, peak) = shared.room.used_and_peak();
        let refault_distance = shared.ghosts.refaults();
        let (policy, policy_bytes) = {
            let policy = shared.policy.lock();
            (policy.kind().name(), policy.bytes() as u64)
        };
        let tables = shared.frames.bytes() + shared.marks.bytes();
        Self {
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
