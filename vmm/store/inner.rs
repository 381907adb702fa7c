//! What a store's users and its background thread share, and the ways of a page in and out.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use abi::addr::PAGE_SIZE;
use libc::iovec;
use parking_lot::Mutex;
use rustix::io::Errno;

use super::arena::{self, Arena, Blob};
use super::bell::Bell;
use super::codec::{Codec, Workspaces};
use super::entry::Content;
use super::faults::Request;
use super::file::{BlockFile, buffer_of};
use super::fingerprint::{Digest, Kind};
use super::index::{Held, Index};
use super::queue::{Batch, Queue};
use super::{Fingerprint, Origin, PageBytes, Slot, StoreError};
use crate::measure::Counter;

/// Segments that only the background thread may take, so that it can always clean.
pub(super) const RESERVE: u32 = 1;
/// About as long as a write takes.
const A_WRITE: Duration = Duration::from_millis(1);

/// Why pages do not go down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// There is no room now.
    Full(Errno),
    /// The file cannot be written.
    Broken(Errno),
}

impl Trouble {
    /// Of a write that failed.
    pub(super) const fn of(errno: Errno) -> Self {
        match errno {
            Errno::NOSPC | Errno::DQUOT => Self::Full(errno),
            errno => Self::Broken(errno),
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full(errno) => Self::NoSpace(errno.into()),
            Trouble::Broken(errno) => Self::Write(errno.into()),
        }
    }
}

/// What is shared.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) seed: u64,
    pub(super) codec: Codec,
    pub(super) index: Mutex<Index>,
    pub(super) arena: Option<Arena>,
    pub(super) file: Option<BlockFile>,
    pub(super) workspaces: Workspaces,
    /// For the requests of whoever reads or writes several pages; made when it is first needed.
    pub(super) queue: Mutex<Option<Queue>>,
    pub(super) trouble: Mutex<Option<Trouble>>,
    pub(super) bell: Bell,
    pub(super) counters: Counters,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) reads: Counter,
    pub(super) writes: Counter,
    pub(super) moved_down: Counter,
    pub(super) cleaned: Counter,
    pub(super) in_flight: AtomicU32,
    pub(super) io_uring: AtomicBool,
}

impl Inner {
    /// Whether a blob waits to be written as it is.
    pub(super) const fn is_raw(&self, blob: &[u8]) -> bool {
        blob.len() == PAGE_SIZE && self.file.is_some()
    }

    pub(super) fn release(&self, slot: Slot) {
        let freed = self.index.lock().release(slot);
        drop(freed);
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        *self.trouble.lock()
    }

    pub(super) fn set_trouble(&self, trouble: Option<Trouble>) {
        *self.trouble.lock() = trouble;
    }

    /// Takes slots. Some that their owners gave back may still be a flight's: these are waited for. A flight
    /// counts its pages from before they are its to after they are free, so with the index locked none is
    /// missed.
    pub(super) fn allocate(&self, count: usize) -> Result<Vec<Slot>, StoreError> {
        loop {
            let mut index = self.index.lock();
            let slots = index.slots.allocate(count);
            if slots.is_ok() || self.counters.in_flight.load(Ordering::Relaxed) == 0 {
                return slots;
            }
            drop(index);
            self.must_have_no_trouble()?;
            thread::sleep(A_WRITE);
        }
    }

    /// Pages go down, as far as is known.
    fn must_have_no_trouble(&self) -> Result<(), StoreError> {
        self.trouble().map_or(Ok(()), |trouble| Err(trouble.into()))
    }

    /// Keeps pages in slots that were allocated for them.
    pub(super) fn keep(&self, pages: &[(&PageBytes, Fingerprint)], slots: &[Slot]) -> Result<(), StoreError> {
        if let Some(broken @ Trouble::Broken(_)) = self.trouble() {
            return Err(broken.into());
        }
        let mut mixed = Vec::with_capacity(pages.len());
        for (&(page, fingerprint), &slot) in pages.iter().zip(slots) {
            match fingerprint.0 {
                Kind::SameFilled(word) => self.index.lock().slots.set(slot, Content::SameFilled(word)),
                Kind::Mixed(digest) => mixed.push((slot, page, digest)),
            }
        }
        match (&self.arena, &self.file) {
            (Some(arena), _) => self.pack(arena, &mixed)?,
            (None, Some(file)) => self.write(file, &mixed)?,
            (None, None) => {}
        }
        self.counters.writes.add(mixed.len() as u64);
        Ok(())
    }

    fn pack(&self, arena: &Arena, pages: &[(Slot, &PageBytes, Digest)]) -> Result<(), StoreError> {
        self.workspaces.with(|workspace| {
            for &(slot, page, digest) in pages {
                let bytes = workspace.pack(self.codec, page).unwrap_or(&page.0);
                self.add(arena, Blob { slot, digest, bytes })?;
            }
            Ok(())
        })
    }

    /// Adds a page to memory; waits for room as long as there is hope for it.
    fn add(&self, arena: &Arena, blob: Blob<'_>) -> Result<(), StoreError> {
        let raw = self.is_raw(blob.bytes);
        loop {
            if let Some(sealed) = arena.append(&self.index, blob, Content::Nothing, raw, RESERVE) {
                if sealed && self.has_work() {
                    self.bell.ring();
                }
                return Ok(());
            }
            self.must_have_no_trouble()?;
            // In this order: what was cleaned meanwhile is room.
            if self.file.is_none() && !self.cleaning_is_due() && arena.region.is_full(RESERVE) {
                return Err(StoreError::MemoryFull(arena.region.size()));
            }
            self.bell.ring();
            arena.region.wait(RESERVE);
        }
    }

    /// Writes pages to their blocks at once.
    fn write(&self, file: &BlockFile, pages: &[(Slot, &PageBytes, Digest)]) -> Result<(), StoreError> {
        let mut batch = Batch::new(Request::Write);
        for (slot, page, _) in pages {
            let bytes = page.0.as_ptr().cast_mut().cast();
            batch.push(slot.0, iovec { iov_base: bytes, iov_len: PAGE_SIZE });
        }
        self.run(file, &mut batch);
        if let Some(errno) = batch.first_failure() {
            return Err(Trouble::of(errno).into());
        }
        let mut index = self.index.lock();
        pages.iter().for_each(|&(slot, _, digest)| index.slots.set(slot, Content::File(digest)));
        Ok(())
    }

    /// Does a batch of requests, of which this thread has the buffers.
    fn run(&self, file: &BlockFile, batch: &mut Batch) {
        // One request is as fast without the io_uring; two batches at once are rare, and the second does
        // without, too.
        let mut shared = if batch.requests() > 1 { self.queue.try_lock() } else { None };
        let mut own = Queue::plain();
        let queue = match &mut shared {
            Some(queue) => queue.get_or_insert_with(|| {
                let queue = Queue::new();
                self.counters.io_uring.store(queue.is_ring(), Ordering::Relaxed);
                queue
            }),
            None => &mut own,
        };
        // SAFETY: the buffers are pages that the caller lends to this call, to read into if they are
        // exclusive.
        unsafe { batch.run(queue, file) };
    }

    /// Brings a slot's page into `page`.
    pub(super) fn get(&self, slot: Slot, page: &mut PageBytes) -> Result<Origin, StoreError> {
        let held = self.index.lock().find(slot)?;
        let Held::File(digest) = held else { return self.unpack(slot, &held, page) };
        self.counters.reads.add(1);
        let read = self.file.as_ref().map_or(Ok(()), |file| file.read(slot.0, page));
        self.release(slot);
        read.map_err(|reason| StoreError::Read { slot, reason })?;
        self.check(slot, page, digest)?;
        Ok(Origin::File)
    }

    /// The same for several, with the requests to the file all at once.
    pub(super) fn get_batch(&self, pages: &mut [(Slot, &mut PageBytes)]) -> Vec<Result<Origin, StoreError>> {
        if let [(slot, page)] = pages {
            return vec![self.get(*slot, page)];
        }
        let mut results = Vec::with_capacity(pages.len());
        let mut in_file = Vec::new();
        for (number, (slot, page)) in pages.iter_mut().enumerate() {
            let held = self.index.lock().find(*slot);
            results.push(match held {
                Ok(Held::File(digest)) => {
                    in_file.push((*slot, number, digest));
                    Ok(Origin::File)
                }
                Ok(held) => self.unpack(*slot, &held, page),
                Err(error) => Err(error),
            });
        }
        let Some(file) = &self.file else { return results };
        in_file.sort_unstable_by_key(|&(slot, ..)| slot);
        let mut batch = Batch::new(Request::Read);
        let runs: Vec<_> =
            in_file.iter().map(|&(slot, number, _)| batch.push(slot.0, buffer_of(pages[number].1))).collect();
        self.run(file, &mut batch);
        self.counters.reads.add(in_file.len() as u64);
        for ((slot, number, digest), run) in in_file.into_iter().zip(runs) {
            self.release(slot);
            results[number] = match batch.failure(run) {
                Some(errno) => Err(StoreError::Read { slot, reason: errno.into() }),
                None => self.check(slot, pages[number].1, digest).map(|()| Origin::File),
            };
        }
        results
    }

    /// Makes a page that is not in the file.
    fn unpack(&self, slot: Slot, held: &Held, page: &mut PageBytes) -> Result<Origin, StoreError> {
        match held {
            Held::SameFilled(word) => {
                let (words, _) = page.0.as_chunks_mut::<8>();
                words.fill(word.to_ne_bytes());
                Ok(Origin::SameFilled)
            }
            Held::Memory(segment, at) => {
                self.counters.reads.add(1);
                if !self.workspaces.unpack(self.codec, arena::bytes(segment, *at), page) {
                    return Err(StoreError::Corrupt(slot));
                }
                self.check(slot, page, arena::digest(segment, *at))?;
                Ok(Origin::Memory)
            }
            Held::File(_) => Ok(Origin::File),
        }
    }

    /// Whether a page is what was kept.
    fn check(&self, slot: Slot, page: &PageBytes, digest: Digest) -> Result<(), StoreError> {
        if Digest::of(page, self.seed) == digest { Ok(()) } else { Err(StoreError::Corrupt(slot)) }
    }

    /// Whether a slot holds the page with this fingerprint.
    pub(super) fn holds(&self, slot: Slot, fingerprint: Fingerprint) -> bool {
        let index = self.index.lock();
        match (index.slots.content(slot), fingerprint.0) {
            (Some(Content::SameFilled(word)), Kind::SameFilled(other)) => word == other,
            (Some(Content::File(digest)), Kind::Mixed(other)) => digest == other,
            (Some(Content::Memory(at)), Kind::Mixed(other)) => {
                let Some(segment) = index.segment(at.segment) else { return false };
                drop(index);
                arena::digest(&segment, at) == other
            }
            _ => false,
        }
    }
}
