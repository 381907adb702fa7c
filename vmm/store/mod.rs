//! Pages out of RAM: reference-counted slots, in memory or in a file.
//!
//! Every owner of a slot (a frame that was evicted, a block of the guest's swap disk) holds one reference.
//! A page of one repeated word, such as a page of zeros, is kept as that word. Any other page goes to the
//! block with its slot's number, and its digest is kept: every read is checked against it, and a page whose
//! fingerprint is still the slot's need not be written again.
//!
//! Locks: the slot table's, and under it that of the pages in memory; tens of nanoseconds, never across I/O.
//! A read holds a reference of its own while it lasts, so that the block cannot be given away under it.

mod blocks;
mod error;
mod file;
mod fingerprint;
mod spec;
mod table;

use abi::addr::PAGE_SIZE;
use parking_lot::Mutex;
use serde::Serialize;

use crate::measure::Counter;
use blocks::{Blocks, MemoryBlocks};
pub use error::StoreError;
use file::BlockFile;
pub use fingerprint::Fingerprint;
pub use spec::StoreSpec;
use table::SlotTable;

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

/// A place for a page in a [`Store`], below [`MAX_SLOTS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub(crate) u32);

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a page was when it was read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It was one word, repeated.
    SameFilled,
    /// It was in memory.
    Memory,
    /// It was in the file: device I/O.
    File,
}

/// A store. Any thread may use it.
#[derive(Debug)]
pub struct Store {
    seed: u64,
    blocks: Blocks,
    table: Mutex<SlotTable>,
    reads: Counter,
    writes: Counter,
}

/// What a store holds and did, at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StoreStats {
    /// `memory` or `file`; `host's swap` where the host's kernel keeps pages, of which it does not say more.
    pub kind: &'static str,
    /// Whether the file is read and written past the host's page cache (O_DIRECT).
    pub direct: bool,
    /// How many pages fit.
    pub capacity: u32,
    /// Slots in use, same-filled ones included.
    pub slots_used: u32,
    /// Most slots that were in use.
    pub slots_peak: u32,
    /// Slots in use that hold a page of one repeated word.
    pub same_filled: u32,
    /// Bytes of pages that lie in memory or in the file.
    pub bytes: u64,
    /// Pages read from memory or from the file.
    pub reads: u64,
    /// Pages written to memory or to the file.
    pub writes: u64,
}

impl Store {
    /// Opens a store with room for `capacity` pages, or [`MAX_SLOTS`] if that is less. A file's space is reserved now, so that a full disk shows
    /// before anything depends on it; its name is gone before this returns, so that nothing is left behind.
    ///
    /// # Errors
    /// The file cannot be made or its space cannot be reserved.
    pub fn open(spec: &StoreSpec, capacity: u32) -> Result<Self, StoreError> {
        let capacity = capacity.min(MAX_SLOTS);
        let blocks = match spec {
            StoreSpec::Memory => Blocks::Memory(MemoryBlocks::default()),
            StoreSpec::Temporary => Blocks::File(BlockFile::create(&spec::temporary_directory(), capacity)?),
            StoreSpec::At(path) => Blocks::File(BlockFile::create(path, capacity)?),
        };
        Ok(Self {
            seed: fingerprint::random_seed(),
            blocks,
            table: Mutex::new(SlotTable::new(capacity)),
            reads: Counter::default(),
            writes: Counter::default(),
        })
    }

    /// What identifies a page's content in this store.
    #[must_use]
    pub fn fingerprint(&self, page: &PageBytes) -> Fingerprint {
        Fingerprint::of(page, self.seed)
    }

    /// Keeps a page; the caller owns the one reference to its slot.
    ///
    /// # Errors
    /// No slot is free, or the write failed.
    pub fn put(&self, page: &PageBytes) -> Result<Slot, StoreError> {
        let slots = self.put_batch(&[(page, self.fingerprint(page))])?;
        Ok(slots[0])
    }

    /// Keeps several pages, each with [`Store::fingerprint`]'s answer for it. Neighbours in the file are
    /// written in one go. Returns a slot for each page, in order.
    ///
    /// # Errors
    /// As [`Store::put`]; then none of the pages is kept.
    pub fn put_batch(&self, pages: &[(&PageBytes, Fingerprint)]) -> Result<Vec<Slot>, StoreError> {
        let slots = self.table.lock().allocate(pages.iter().map(|&(_, fingerprint)| fingerprint))?;
        self.write(pages, &slots).inspect_err(|_| {
            slots.iter().for_each(|&slot| self.release(slot));
        })?;
        Ok(slots)
    }

    fn write(&self, pages: &[(&PageBytes, Fingerprint)], slots: &[Slot]) -> Result<(), StoreError> {
        let blocks: Vec<_> = pages
            .iter()
            .zip(slots)
            .filter(|((_, fingerprint), _)| !fingerprint.is_same_filled())
            .map(|(&(page, _), &slot)| (slot, page))
            .collect();
        self.blocks.write(&blocks).map_err(StoreError::Write)?;
        self.writes.add(blocks.len() as u64);
        Ok(())
    }

    /// Reads a slot's page and checks it against its digest. After an error the page's bytes mean nothing.
    ///
    /// # Errors
    /// The slot is not in use, cannot be read, or is not what was written.
    pub fn get(&self, slot: Slot, page: &mut PageBytes) -> Result<Origin, StoreError> {
        let fingerprint = self.table.lock().retain(slot)?;
        let read = self.read(slot, fingerprint, page);
        self.release(slot);
        read
    }

    fn read(&self, slot: Slot, expected: Fingerprint, page: &mut PageBytes) -> Result<Origin, StoreError> {
        if expected.fill(page) {
            return Ok(Origin::SameFilled);
        }
        self.reads.add(1);
        let origin = self.blocks.read(slot, page).map_err(|reason| StoreError::Read { slot, reason })?;
        if self.fingerprint(page) != expected {
            return Err(StoreError::Corrupt(slot));
        }
        Ok(origin)
    }

    /// Where a slot's page is; `None` when the slot is not in use.
    #[must_use]
    pub fn origin_of(&self, slot: Slot) -> Option<Origin> {
        let fingerprint = self.fingerprint_of(slot)?;
        Some(if fingerprint.is_same_filled() { Origin::SameFilled } else { self.blocks.origin() })
    }

    /// The fingerprint of the page that a slot holds; `None` when the slot is not in use.
    #[must_use]
    pub fn fingerprint_of(&self, slot: Slot) -> Option<Fingerprint> {
        self.table.lock().fingerprint_of(slot)
    }

    /// Adds a reference to a slot.
    ///
    /// # Errors
    /// The slot is not in use.
    pub fn retain(&self, slot: Slot) -> Result<(), StoreError> {
        self.table.lock().retain(slot).map(|_| ())
    }

    /// Gives back a reference; with the last one the slot is free. Does nothing to a slot that is not in use.
    pub fn release(&self, slot: Slot) {
        let mut table = self.table.lock();
        if table.release(slot) {
            // Before the table is unlocked, so before anyone can be given the slot.
            self.blocks.forget(slot);
        }
    }

    /// What the store holds now.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let usage = self.table.lock().usage();
        StoreStats {
            kind: self.blocks.kind(),
            direct: self.blocks.is_direct(),
            capacity: usage.capacity,
            slots_used: usage.used,
            slots_peak: usage.peak,
            same_filled: usage.same_filled,
            bytes: u64::from(usage.used - usage.same_filled) * PAGE_SIZE as u64,
            reads: self.reads.get(),
            writes: self.writes.get(),
        }
    }
}

#[cfg(test)]
mod tests;
