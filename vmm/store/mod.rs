//! Pages out of RAM: reference-counted slots, in tiers.
//!
//! ```text
//!    put --> same-filled: the word is all that is kept
//!        --> memory: compressed, in a log of segments       -- oldest first, when it is full -->  file
//!        --> file: a block for each slot (at once, where there is no memory tier)
//! ```
//!
//! Every owner of a slot (a frame that was evicted, a block of the guest's swap disk) holds one reference. A
//! page's digest is kept with it: every read is checked against it, and a page whose fingerprint is still the
//! slot's need not be written again.
//!
//! Locks, in this order: the heads' (`arena`), under which one blob is copied; the index's (`index`), held
//! for nanoseconds. None is held across I/O or compression. `index` says why readers need no more than that,
//! `tiers` how pages move.

mod arena;
mod bell;
mod codec;
mod create;
mod entry;
mod error;
mod faults;
mod file;
mod fingerprint;
mod index;
mod inner;
mod queue;
mod region;
mod spec;
mod stats;
mod table;
mod tiers;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use abi::addr::PAGE_SIZE;
use parking_lot::Mutex;

use crate::memory::Size;
use arena::Arena;
use bell::Bell;
pub use codec::Codec;
use codec::Workspaces;
use entry::MAX_SEGMENTS;
pub use error::StoreError;
pub use faults::{FaultSpec, FaultSpecError};
use file::BlockFile;
pub use fingerprint::Fingerprint;
use index::Index;
use inner::{Counters, Inner};
use region::SEGMENT_BYTES;
pub use region::SEGMENT_PAGES;
pub use spec::{StoreConfig, StoreSpec};
pub use stats::StoreStats;
use tiers::Tiers;

/// A page's bytes, aligned so that the file behind a store can be read and written directly.
#[derive(Clone)]
#[repr(C, align(4096))]
pub struct PageBytes(pub [u8; PAGE_SIZE]);

impl PageBytes {
    /// A page of zeros.
    #[must_use]
    pub const fn zeroed() -> Self {
        Self([0; PAGE_SIZE])
    }
}

/// Most slots that a store has: 2 TiB of pages. The pager keeps a slot in 29 bits.
pub const MAX_SLOTS: u32 = 1 << 29;

/// How long after [`StoreError::NoSpace`] it is worth trying again.
pub const RETRY: Duration = Duration::from_millis(100);

/// A place for a page in a [`Store`], below [`MAX_SLOTS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub(crate) u32);

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a slot's page is, or was when it was read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// One word, repeated.
    SameFilled,
    /// In memory.
    Memory,
    /// In the file: device I/O.
    File,
}

/// Segments without which the memory tier cannot work: two that are filled, one on its way down, and one to
/// clean with.
const MIN_SEGMENTS: u32 = 4;
/// The same in bytes.
const MIN_COMPRESSED: u64 = MIN_SEGMENTS as u64 * SEGMENT_BYTES as u64;

/// A store. Any thread may use it.
#[derive(Debug)]
pub struct Store {
    inner: Arc<Inner>,
    /// Whether the memory tier has no limit but the number of slots.
    unlimited: bool,
    /// Moves pages between the tiers.
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens a store with the usual tiers; see [`Store::with`].
    ///
    /// # Errors
    /// As there.
    pub fn open(spec: &StoreSpec, capacity: u32) -> Result<Self, StoreError> {
        Self::with(&spec.clone().into(), capacity)
    }

    /// Opens a store with room for `capacity` pages, or [`MAX_SLOTS`] if that is less. A file's space is
    /// reserved now, so that a full disk shows before anything depends on it; its name is gone before this
    /// returns, so that nothing is left behind.
    ///
    /// # Errors
    /// The file cannot be made or its space cannot be reserved; or the host has no memory or thread to give.
    pub fn with(config: &StoreConfig, capacity: u32) -> Result<Self, StoreError> {
        let capacity = capacity.min(MAX_SLOTS);
        let faults = config.faults.clone();
        let file = match &config.place {
            StoreSpec::Memory if faults != FaultSpec::default() => return Err(StoreError::NoFile),
            StoreSpec::Memory => None,
            StoreSpec::Temporary => Some(BlockFile::open(&spec::temporary_directory(), capacity, faults)?),
            StoreSpec::At(path) => Some(BlockFile::open(path, capacity, faults)?),
        };
        let unlimited = file.is_none() && config.compressed.is_none();
        let segments = match config.compressed {
            None if unlimited => enough_segments(capacity),
            None | Some(0) => 0,
            Some(bytes) if bytes < MIN_COMPRESSED => {
                return Err(StoreError::TierTooSmall(Size::from_pages((bytes / PAGE_SIZE as u64) as u32)));
            }
            Some(bytes) => u32::try_from(bytes / SEGMENT_BYTES as u64)
                .map_or(enough_segments(capacity), |wanted| wanted.min(enough_segments(capacity))),
        };
        let arena = (segments > 0).then(|| Arena::new(segments)).transpose()?;
        let region = arena.as_ref().map(|arena| Arc::clone(&arena.region));
        let inner = Arc::new(Inner {
            seed: fingerprint::random_seed(),
            codec: config.codec,
            index: Mutex::new(Index::new(capacity, region, file.is_some())),
            arena,
            file,
            workspaces: Workspaces::default(),
            queue: Mutex::default(),
            trouble: Mutex::default(),
            bell: Bell::default(),
            counters: Counters::default(),
        });
        let mut store = Self { inner, unlimited, thread: None };
        if store.inner.arena.is_some() {
            let inner = Arc::clone(&store.inner);
            let thread =
                thread::Builder::new().name("store".to_owned()).spawn(move || Tiers::new(&inner).run());
            store.thread = Some(thread.map_err(StoreError::Thread)?);
        }
        Ok(store)
    }

    /// What identifies a page's content in this store.
    #[must_use]
    pub fn fingerprint(&self, page: &PageBytes) -> Fingerprint {
        Fingerprint::of(page, self.inner.seed)
    }

    /// Keeps a page; the caller owns the one reference to its slot.
    ///
    /// # Errors
    /// No slot is free, or the page can be kept nowhere.
    pub fn put(&self, page: &PageBytes) -> Result<Slot, StoreError> {
        let slots = self.put_batch(&[(page, self.fingerprint(page))])?;
        Ok(slots[0])
    }

    /// Keeps several pages, each with [`Store::fingerprint`]'s answer for it. Neighbours are written to the
    /// file in one go, most of the time later. Returns a slot for each page, in order.
    ///
    /// # Errors
    /// As [`Store::put`]; then none of the pages is kept. After [`StoreError::NoSpace`] the same may succeed
    /// later. An error may be that of a write of other pages, which are still in memory then.
    pub fn put_batch(&self, pages: &[(&PageBytes, Fingerprint)]) -> Result<Vec<Slot>, StoreError> {
        let slots = self.inner.allocate(pages.len())?;
        self.inner.keep(pages, &slots).inspect_err(|_| {
            slots.iter().for_each(|&slot| self.release(slot));
        })?;
        Ok(slots)
    }

    /// Reads a slot's page and checks it against its digest. After an error the page's bytes mean nothing.
    ///
    /// # Errors
    /// The slot is not in use, cannot be read, or is not what was written.
    pub fn get(&self, slot: Slot, page: &mut PageBytes) -> Result<Origin, StoreError> {
        self.inner.get(slot, page)
    }

    /// Reads several slots' pages, those in the file all at once. The answers are in the same order.
    pub fn get_batch(&self, pages: &mut [(Slot, &mut PageBytes)]) -> Vec<Result<Origin, StoreError>> {
        self.inner.get_batch(pages)
    }

    /// Where a slot's page is now; `None` when the slot is not in use.
    #[must_use]
    pub fn origin_of(&self, slot: Slot) -> Option<Origin> {
        self.inner.index.lock().origin(slot)
    }

    /// Whether a slot holds the page with this fingerprint.
    #[must_use]
    pub fn holds(&self, slot: Slot, fingerprint: Fingerprint) -> bool {
        self.inner.holds(slot, fingerprint)
    }

    /// Adds a reference to a slot.
    ///
    /// # Errors
    /// The slot is not in use.
    pub fn retain(&self, slot: Slot) -> Result<(), StoreError> {
        self.inner.index.lock().slots.retain(slot)
    }

    /// Gives back a reference; with the last one the slot is free. Does nothing to a slot that is not in use.
    pub fn release(&self, slot: Slot) {
        self.inner.release(slot);
    }

    /// Pages of memory that the store takes now and that count against the host's budget: those of the tier
    /// in front of a file, which is no place of its own.
    #[must_use]
    pub fn counted_pages(&self) -> u32 {
        self.counted(|arena| arena.region.held())
    }

    /// The most that [`Store::counted_pages`] can be.
    #[must_use]
    pub fn most_counted_pages(&self) -> u32 {
        self.counted(|arena| arena.region.segments())
    }

    fn counted(&self, segments: impl FnOnce(&Arena) -> u32) -> u32 {
        match (&self.inner.arena, &self.inner.file) {
            (Some(arena), Some(_)) => segments(arena) * SEGMENT_PAGES,
            _ => 0,
        }
    }

    /// Bytes that the store's own tables take.
    #[must_use]
    pub fn metadata_bytes(&self) -> u64 {
        self.inner.index.lock().bytes() as u64
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.inner.bell.stop();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Segments for `slots` pages that do not compress, and for as much dead space as there may be before it is
/// cleaned; at most as many as there can be.
const fn enough_segments(slots: u32) -> u32 {
    let pages_in_one = (SEGMENT_BYTES / arena::footprint(PAGE_SIZE)) as u32;
    let full = slots.div_ceil(pages_in_one);
    let enough = full + full / 2 + 2 * MIN_SEGMENTS;
    if enough < MAX_SEGMENTS { enough } else { MAX_SEGMENTS }
}

#[cfg(test)]
mod tests;
