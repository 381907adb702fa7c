//! The frame table: where the page of each guest frame is.
//!
//! ```text
//!            first touch                    victim                      oldest parked
//!    Zero ------------------> Resident ---------------> Parked ------------------------> Writing
//!     ^                       ^  ^  ^                     |                               |  |
//!     |        read from store|  |  +------ rescue -------+                               |  |
//!     |                       |  +--------- rescue ---------------------------------------+  |
//!     |                     Stored <--------------------- in the store ----------------------+
//!     +-------------------------------------------------- all zeros -------------------------+
//! ```
//!
//! A frame's state is behind the lock of its shard; with the lock free it is the truth, and only its holder
//! changes state and page. The lock is held across the userfaultfd operation that goes with the change
//! (microseconds), never across I/O. The reclaim thread may hold several of these locks, any other thread one.

use parking_lot::{Mutex, MutexGuard};

use super::reclaim::MAX_BATCH;
use super::staging::Berth;
use crate::memory::FrameIndex;
use crate::store::{MAX_SLOTS, Slot};

/// Where a frame's page is. A slot in a state is a reference that the frame owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameState {
    /// Nowhere: it is all zeros.
    Zero,
    /// In guest RAM, and in the policy. The slot holds the page as it was when it came in; whether it still is
    /// the same shows at the next eviction.
    Resident(Option<Slot>),
    /// In the staging area; going back costs no I/O. The berth keeps the slot that it had when resident.
    Parked(Berth),
    /// In the staging area, from where it is being written to the store. The page must stay there until that is
    /// done, so whoever needs it takes a copy.
    Writing(Berth),
    /// In the store.
    Stored(Slot),
}

/// Enough for every slot and every berth.
const PAYLOAD_BITS: u32 = 29;
const _: () = assert!(MAX_SLOTS == 1 << PAYLOAD_BITS);

impl FrameState {
    /// 4 bytes: the kind in the upper 3 bits, zero for [`FrameState::Zero`], so that a new table is zeroed memory.
    const fn pack(self) -> u32 {
        let (kind, payload) = match self {
            Self::Zero => (0, 0),
            Self::Resident(None) => (1, 0),
            Self::Resident(Some(slot)) => (2, slot.0),
            Self::Parked(berth) => (3, berth.0),
            Self::Writing(berth) => (4, berth.0),
            Self::Stored(slot) => (5, slot.0),
        };
        kind << PAYLOAD_BITS | payload
    }

    /// The slot that it owns.
    pub const fn slot(self) -> Option<Slot> {
        match self {
            Self::Resident(slot) => slot,
            Self::Stored(slot) => Some(slot),
            Self::Zero | Self::Parked(_) | Self::Writing(_) => None,
        }
    }

    const fn unpack(word: u32) -> Self {
        let payload = word & (MAX_SLOTS - 1);
        match word >> PAYLOAD_BITS {
            0 => Self::Zero,
            1 => Self::Resident(None),
            2 => Self::Resident(Some(Slot(payload))),
            3 => Self::Parked(Berth(payload)),
            4 => Self::Writing(Berth(payload)),
            _ => Self::Stored(Slot(payload)),
        }
    }
}

/// More than threads, so that two seldom meet; few enough to cost nothing. More than a batch, so that neighbours that are
/// locked together are all in different shards.
const SHARDS: u32 = 64;
const _: () = assert!(SHARDS > MAX_BATCH);

/// The table.
pub struct FrameTable {
    frames: u32,
    shards: Vec<Mutex<Vec<u32>>>,
}

impl FrameTable {
    /// A table in which every frame is [`FrameState::Zero`].
    pub fn new(frames: u32) -> Self {
        let shard = || Mutex::new(vec![0; frames.div_ceil(SHARDS) as usize]);
        Self { frames, shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    /// What it takes.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len() * size_of::<u32>()).sum()
    }

    /// Locks a frame of guest RAM.
    pub fn lock(&self, frame: FrameIndex) -> FrameGuard<'_> {
        let shard = self.shards[(frame.0 % SHARDS) as usize].lock();
        FrameGuard { shard, index: (frame.0 / SHARDS) as usize }
    }

    /// Every frame, for use when no thread is left that could change one.
    pub fn all(&self) -> impl Iterator<Item = FrameIndex> {
        (0..self.frames).map(FrameIndex)
    }
}

/// A frame that is locked.
pub struct FrameGuard<'a> {
    shard: MutexGuard<'a, Vec<u32>>,
    index: usize,
}

impl FrameGuard<'_> {
    /// Its state.
    pub fn state(&self) -> FrameState {
        FrameState::unpack(self.shard[self.index])
    }

    /// Gives it another.
    pub fn set(&mut self, state: FrameState) {
        self.shard[self.index] = state.pack();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_its_word() {
        let table = FrameTable::new(200);
        for payload in [0, 1, MAX_SLOTS - 1] {
            for state in [
                FrameState::Zero,
                FrameState::Resident(None),
                FrameState::Resident(Some(Slot(payload))),
                FrameState::Parked(Berth(payload)),
                FrameState::Writing(Berth(payload)),
                FrameState::Stored(Slot(payload)),
            ] {
                table.lock(FrameIndex(199)).set(state);
                assert_eq!(table.lock(FrameIndex(199)).state(), state);
                assert_eq!(
                    table.lock(FrameIndex(198)).state(),
                    FrameState::Zero,
                    "the neighbour is untouched"
                );
            }
        }
    }
}
