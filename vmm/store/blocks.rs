//! Where the pages lie that are not of one word: a block for each slot, in memory or in a file.
//!
//! Who reads or writes a block holds a reference to its slot, so a block is never given away under either.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use abi::addr::PAGE_SIZE;
use parking_lot::Mutex;

use super::file::BlockFile;
use super::{Origin, PageBytes, Slot};

/// The blocks.
#[derive(Debug)]
pub(super) enum Blocks {
    /// In this process's memory.
    Memory(MemoryBlocks),
    /// In a file that has no name.
    File(BlockFile),
}

impl Blocks {
    /// What a report calls the kind.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::File(_) => "file",
        }
    }

    /// Where pages are.
    pub(super) const fn origin(&self) -> Origin {
        match self {
            Self::Memory(_) => Origin::Memory,
            Self::File(_) => Origin::File,
        }
    }

    /// Whether reads and writes go past the host's page cache.
    pub(super) const fn is_direct(&self) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::File(file) => file.is_direct(),
        }
    }

    /// Writes pages to their blocks; runs of neighbours in one go.
    pub(super) fn write(&self, pages: &[(Slot, &PageBytes)]) -> io::Result<()> {
        match self {
            Self::Memory(blocks) => blocks.write(pages),
            Self::File(file) => {
                for run in pages.chunk_by(|(slot, _), (next, _)| slot.0 + 1 == next.0) {
                    let buffers: Vec<_> = run.iter().map(|(_, page)| IoSlice::new(&page.0)).collect();
                    file.write(run[0].0.0, &buffers)?;
                }
            }
        }
        Ok(())
    }

    /// Reads a block.
    pub(super) fn read(&self, slot: Slot, page: &mut PageBytes) -> io::Result<Origin> {
        match self {
            Self::Memory(blocks) => blocks.read(slot, page).map(|()| Origin::Memory),
            Self::File(file) => file.read(slot.0, page).map(|()| Origin::File),
        }
    }

    /// The slot is free: its page is needed no more.
    pub(super) fn forget(&self, slot: Slot) {
        match self {
            Self::Memory(blocks) => blocks.forget(slot),
            Self::File(_) => {}
        }
    }
}

/// Pages in memory, by slot. A reader takes a reference of its own to the page, and copies without the lock.
#[derive(Debug, Default)]
pub(super) struct MemoryBlocks(Mutex<Vec<Option<Arc<[u8; PAGE_SIZE]>>>>);

impl MemoryBlocks {
    fn write(&self, pages: &[(Slot, &PageBytes)]) {
        for (slot, page) in pages {
            let copy = Arc::new(page.0);
            let mut blocks = self.0.lock();
            if blocks.len() <= slot.0 as usize {
                blocks.resize(slot.0 as usize + 1, None);
            }
            blocks[slot.0 as usize] = Some(copy);
        }
    }

    fn read(&self, slot: Slot, page: &mut PageBytes) -> io::Result<()> {
        let block = self.0.lock().get(slot.0 as usize).cloned().flatten();
        page.0 = *block.ok_or(ErrorKind::NotFound)?;
        Ok(())
    }

    fn forget(&self, slot: Slot) {
        // Freed after the lock.
        let page = self.0.lock().get_mut(slot.0 as usize).and_then(Option::take);
        drop(page);
    }
}
