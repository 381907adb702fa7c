//! What a store holds and did.

use std::sync::atomic::Ordering;

use abi::addr::PAGE_SIZE;
use serde::Serialize;

use super::Store;
use super::region::SEGMENT_BYTES;

/// What a store holds and did, at one moment. Slots and pages are of 4 KiB.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StoreStats {
    /// The last tier: `memory`, `file` or `device`; `host's swap` where the host's kernel keeps pages, of which it does not say more.
    pub kind: &'static str,
    /// Whether the file is read and written past the host's page cache (O_DIRECT).
    pub direct: bool,
    /// Whether the file's requests go by io_uring. It is asked for when it is first needed.
    pub io_uring: bool,
    /// How pages in memory are compressed.
    pub codec: &'static str,
    /// How many pages fit.
    pub capacity: u32,
    /// Slots in use, same-filled ones included.
    pub slots_used: u32,
    /// Most slots that were in use.
    pub slots_peak: u32,
    /// Slots in use that hold a page of one repeated word.
    pub same_filled: u32,
    /// Slots in use whose pages are in memory.
    pub in_memory: u32,
    /// Slots in use whose pages are in the file.
    pub in_file: u32,
    /// Bytes of the pages that lie in memory or in the file, before compression.
    pub bytes: u64,
    /// Most bytes that the memory tier may take; `null`: no limit. 0: there is no memory tier.
    pub memory_limit: Option<u64>,
    /// Bytes that it takes.
    pub memory_held: u64,
    /// Bytes of compressed pages in it.
    pub memory_pages: u64,
    /// Bytes in it that nobody needs any more and that are not free yet.
    pub memory_dead: u64,
    /// How many bytes of pages there are for each byte in memory; `null` where there are none.
    pub compression: Option<f64>,
    /// Pages that went from memory to the file.
    pub moved_down: u64,
    /// Pages that were copied within memory to make room.
    pub cleaned: u64,
    /// Pages on their way to the file.
    pub writing: u32,
    /// Bytes that the store's tables take.
    pub metadata_bytes: u64,
    /// Pages read from memory or from the file.
    pub reads: u64,
    /// Pages written to memory or to the file.
    pub writes: u64,
}

impl Store {
    /// What the store holds now.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let inner = &*self.inner;
        let index = inner.index.lock();
        let (usage, space) = (index.usage(), index.space());
        drop(index);
        let pages = |count: u32| u64::from(count) * PAGE_SIZE as u64;
        let segments = |count: u32| u64::from(count) * SEGMENT_BYTES as u64;
        let region = inner.arena.as_ref().map(|arena| &arena.region);
        let limit = region.map_or(0, |region| segments(region.segments()));
        StoreStats {
            kind: inner.file.as_ref().map_or("memory", |file| file.kind),
            direct: inner.file.as_ref().is_some_and(|file| file.direct),
            io_uring: inner.counters.io_uring.load(Ordering::Relaxed),
            codec: inner.codec.name(),
            capacity: usage.capacity,
            slots_used: usage.used,
            slots_peak: usage.peak,
            same_filled: usage.same_filled,
            in_memory: usage.in_memory,
            in_file: usage.in_file,
            bytes: pages(usage.in_memory) + pages(usage.in_file),
            memory_limit: (!self.unlimited).then_some(limit),
            memory_held: region.map_or(0, |region| segments(region.held())),
            memory_pages: space.payload,
            memory_dead: space.dead(),
            compression: (space.payload > 0).then(|| pages(usage.in_memory) as f64 / space.payload as f64),
            moved_down: inner.counters.moved_down.get(),
            cleaned: inner.counters.cleaned.get(),
            writing: inner.counters.in_flight.load(Ordering::Relaxed),
            metadata_bytes: self.metadata_bytes(),
            reads: inner.counters.reads.get(),
            writes: inner.counters.writes.get(),
        }
    }
}
