//! The guest's swap disk: 4 KiB blocks, each in a slot of the store that the host's own evictions go to.

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use abi::addr::PAGE_SIZE;

use super::disk::{Disk, DiskError};
use super::guest_slices::GuestSlices;
use crate::memory::Size;
use crate::store::{Fingerprint, PageBytes, RETRY, Slot, Store, StoreError};

const BLOCK: u64 = PAGE_SIZE as u64;
/// The most blocks that go to the store at once, where neighbours are one write.
const BATCH: usize = 32;

/// A disk that takes no room for what was never written or was discarded.
pub struct SwapDisk {
    store: Arc<Store>,
    /// Where each block is: one more than its slot; `None` reads as zeros. The disk owns one reference to each slot. A new
    /// table is zeroed memory, which takes none where no block was ever written.
    blocks: Vec<Option<NonZeroU32>>,
    /// Blocks on their way between guest and store: as many as the largest batch so far, at least one.
    pages: Vec<PageBytes>,
}

/// The part of one block that a request covers.
struct Part {
    block: usize,
    within: Range<usize>,
}

impl Part {
    const fn is_whole(&self) -> bool {
        self.within.end - self.within.start == PAGE_SIZE
    }
}

impl SwapDisk {
    /// An empty disk that keeps its blocks in `store`.
    #[must_use]
    pub fn new(size: Size, store: Arc<Store>) -> Self {
        Self { store, blocks: vec![None; size.pages() as usize], pages: vec![PageBytes::zeroed()] }
    }

    fn slot(&self, block: usize) -> Option<Slot> {
        slot_in(&self.blocks, block)
    }

    /// Brings the content of a block into `self.pages[page]`.
    fn load(&mut self, block: usize, page: usize) -> Result<(), DiskError> {
        let slot = self.slot(block);
        let page = &mut self.pages[page];
        match slot {
            Some(slot) => self.store.get(slot, page).map(drop)?,
            None => page.0.fill(0),
        }
        Ok(())
    }

    /// Brings the content of a batch's blocks into `self.pages`, those that have some: what is in the file is read all at once.
    fn load_batch(&mut self, batch: &[Part]) -> Result<(), DiskError> {
        self.grow(batch.len());
        let pages = batch.iter().zip(&mut self.pages);
        let mut pages: Vec<_> =
            pages.filter_map(|(part, page)| Some((slot_in(&self.blocks, part.block)?, page))).collect();
        self.store.get_batch(&mut pages).into_iter().try_for_each(|result| Ok(result.map(drop)?))
    }

    fn grow(&mut self, pages: usize) {
        if self.pages.len() < pages {
            self.pages.resize(pages, PageBytes::zeroed());
        }
    }

    /// Brings the new content of a batch's blocks into `self.pages`.
    fn gather(&mut self, batch: &[Part], from: &mut GuestSlices<'_>) -> Result<(), DiskError> {
        self.grow(batch.len());
        for (page, part) in batch.iter().enumerate() {
            if !part.is_whole() {
                self.load(part.block, page)?;
            }
            let source = from.split_first(part.within.len()).unwrap_or_default();
            source.copy_to(&mut self.pages[page].0[part.within.clone()]);
        }
        Ok(())
    }

    /// Makes `self.pages` the content of a batch's blocks. The old content goes first, so that a store with room for
    /// every block is always large enough; after an error the blocks read as zeros.
    fn save(&mut self, batch: &[Part]) -> Result<(), DiskError> {
        for part in batch {
            self.release(part.block);
        }
        let pages: Vec<_> =
            self.pages[..batch.len()].iter().map(|page| (page, self.store.fingerprint(page))).collect();
        let slots = put(&self.store, &pages)?;
        for (part, slot) in batch.iter().zip(slots) {
            self.blocks[part.block] = NonZeroU32::new(slot.0 + 1);
        }
        Ok(())
    }

    fn release(&mut self, block: usize) {
        if let Some(slot) = self.slot(block) {
            self.blocks[block] = None;
            self.store.release(slot);
        }
    }
}

impl Disk for SwapDisk {
    const ID: &'static str = "bifold-swap";

    fn size(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK
    }

    fn read_only(&self) -> bool {
        false
    }

    fn can_discard(&self) -> bool {
        true
    }

    fn read(&mut self, offset: u64, mut into: GuestSlices<'_>) -> Result<(), DiskError> {
        let mut parts = parts(offset, into.len());
        loop {
            let batch: Vec<_> = parts.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            self.load_batch(&batch)?;
            for (part, page) in batch.into_iter().zip(&self.pages) {
                let target = into.split_first(part.within.len()).unwrap_or_default();
                if self.blocks[part.block].is_some() {
                    target.copy_from(&page.0[part.within]);
                } else {
                    target.zero();
                }
            }
        }
    }

    fn write(&mut self, offset: u64, mut from: GuestSlices<'_>) -> Result<(), DiskError> {
        let mut parts = parts(offset, from.len());
        loop {
            let batch: Vec<_> = parts.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            self.gather(&batch, &mut from)?;
            self.save(&batch)?;
        }
    }

    /// Nothing to do: swap does not outlive the run.
    fn flush(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    /// Gives up the blocks that are wholly inside `range`; they read as zeros from now on.
    fn discard(&mut self, range: Range<u64>) -> Result<(), DiskError> {
        for block in range.start.div_ceil(BLOCK)..range.end / BLOCK {
            self.release(block as usize);
        }
        Ok(())
    }
}

impl Drop for SwapDisk {
    fn drop(&mut self) {
        for block in 0..self.blocks.len() {
            self.release(block);
        }
    }
}

fn slot_in(blocks: &[Option<NonZeroU32>], block: usize) -> Option<Slot> {
    blocks[block].map(|next| Slot(next.get() - 1))
}

/// Hands pages to the store. While its disk is full the guest, which waits for its own disk, is paused.
fn put(store: &Store, pages: &[(&PageBytes, Fingerprint)]) -> Result<Vec<Slot>, StoreError> {
    let mut paused = false;
    loop {
        match store.put_batch(pages) {
            Err(error @ StoreError::NoSpace(_)) => {
                if !paused {
                    log::warn!("{error}; the guest is paused until there is room");
                    paused = true;
                }
                thread::sleep(RETRY);
            }
            result => {
                if paused {
                    log::warn!("there is room on the store's disk again: the guest goes on");
                }
                return result;
            }
        }
    }
}

/// Cuts `len` bytes at `offset` at the block boundaries.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = Part> {
    let end = offset + len as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let block = at / BLOCK;
        let until = end.min((block + 1) * BLOCK);
        let within = (at - block * BLOCK) as usize..(until - block * BLOCK) as usize;
        at = until;
        Some(Part { block: block as usize, within })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vm_memory::{GuestAddress, GuestMemoryMmap};

    use super::*;
    use crate::store::StoreSpec;

    /// More than a batch.
    const BLOCKS: u64 = 40;
    const LEN: usize = (BLOCKS * BLOCK) as usize;

    struct Fixture {
        memory: GuestMemoryMmap,
        store: Arc<Store>,
        disk: SwapDisk,
    }

    impl Fixture {
        fn new(capacity: u32) -> Self {
            let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), LEN)]).expect("160 KiB");
            let store = Arc::new(Store::open(&StoreSpec::Memory, capacity).expect("in memory"));
            let size = Size::from_bytes(LEN as u64).expect("whole pages");
            Self { memory, disk: SwapDisk::new(size, store.clone()), store }
        }

        fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
            let slices = slices(&self.memory, bytes.len());
            slices.copy_from(bytes);
            self.disk.write(offset, slices)
        }

        fn read(&mut self, offset: u64, len: usize) -> Vec<u8> {
            let slices = slices(&self.memory, len);
            slices.copy_from(&vec![0xee; len]);
            self.disk.read(offset, slices.clone()).expect("readable");
            let mut bytes = vec![0; len];
            slices.copy_to(&mut bytes);
            bytes
        }
    }

    fn slices(memory: &GuestMemoryMmap, len: usize) -> GuestSlices<'_> {
        let mut slices = GuestSlices::default();
        slices.append(memory, GuestAddress(0), len).expect("inside RAM");
        slices
    }

    #[test]
    fn what_was_never_written_takes_no_slot_and_reads_as_zeros() {
        let mut guest = Fixture::new(1);
        assert_eq!(guest.read(0, LEN), vec![0; LEN]);
        assert_eq!(guest.store.stats().slots_used, 0);
    }

    #[test]
    fn a_full_store_is_an_error_that_costs_no_other_block() {
        let mut guest = Fixture::new(1);
        guest.write(0, &[1; 4096]).expect("one slot");
        assert!(matches!(guest.write(BLOCK, &[2; 4096]), Err(DiskError::Store(_))));
        assert_eq!(guest.read(0, 4096), vec![1; 4096]);
        assert_eq!(guest.read(BLOCK, 4096), vec![0; 4096]);
        guest.disk.discard(0..BLOCK).expect("always");
        guest.write(BLOCK, &[2; 4096]).expect("the slot is free again");
    }

    #[derive(Clone, Debug)]
    enum Act {
        Read,
        Write(u8),
        Discard,
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_disk_is_an_array_and_owns_a_slot_for_each_block_that_it_holds(
            acts in prop::collection::vec(
                (prop_oneof![Just(Act::Read), any::<u8>().prop_map(Act::Write), Just(Act::Discard)],
                    0..LEN / 512, 1..300_usize),
                1..60,
            ),
        ) {
            let mut guest = Fixture::new(BLOCKS as u32);
            let mut model = vec![0; LEN];
            let mut held = [false; BLOCKS as usize];
            for (act, sector, sectors) in acts {
                let range = sector * 512..((sector + sectors) * 512).min(LEN);
                match act {
                    Act::Read => {
                        prop_assert_eq!(guest.read(range.start as u64, range.len()), &model[range]);
                    }
                    Act::Write(fill) => {
                        let bytes: Vec<u8> = range.clone().map(|at| fill.wrapping_mul(at as u8)).collect();
                        guest.write(range.start as u64, &bytes).expect("there is room");
                        held[range.start / 4096..range.end.div_ceil(4096)].fill(true);
                        model[range].copy_from_slice(&bytes);
                    }
                    Act::Discard => {
                        guest.disk.discard(range.start as u64..range.end as u64).expect("always");
                        for block in range.start.div_ceil(4096)..range.end / 4096 {
                            held[block] = false;
                            model[block * 4096..][..4096].fill(0);
                        }
                    }
                }
                let blocks = held.iter().filter(|held| **held).count() as u32;
                prop_assert_eq!(guest.store.stats().slots_used, blocks);
            }
            drop(guest.disk);
            prop_assert_eq!(guest.store.stats().slots_used, 0);
        }
    }
}
