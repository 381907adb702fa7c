//! The background thread: takes pages from memory down to the file, and makes room in sparse segments.
//!
//! ```text
//!    segment: filling --> sealed --> leaving --> freed, when its last live blob is gone
//!                                       |
//!                  moving down: blobs unpacked into a flight, written to the blocks of their slots, then
//!                               the slot table says "file"
//!                  cleaning:    blobs copied to the head, then the slot table says where
//! ```
//!
//! A page stays readable where it is until it is there where it goes. While a flight is under way it owns a
//! reference to each of its slots, so no block is given away under a write; and a page whose owners are all
//! gone is not given to anyone when the flight lands.

use std::sync::atomic::Ordering;

use abi::addr::PAGE_SIZE;

use super::arena::{self, Blob, Header, Walk};
use super::entry::Content;
use super::faults::Request;
use super::file::{BlockFile, buffer_of};
use super::inner::{Inner, RESERVE, Trouble};
use super::queue::{Batch, Queue};
use super::region::{SEGMENT_BYTES, Segment};
use super::{PageBytes, RETRY};

/// Most pages in a flight: 256 KiB, which a disk takes about as fast as more.
const FLIGHT: usize = 64;
/// Most flights at once.
const FLIGHTS: usize = 4;

/// Pages on their way to the file.
struct Flight {
    pages: Vec<Header>,
    buffer: Vec<PageBytes>,
    batch: Batch,
}

/// The thread's own state. The queue is first, so that it is emptied before the buffers go.
pub(super) struct Tiers<'a> {
    queue: Queue,
    flights: Vec<Flight>,
    /// The segment whose blobs are next.
    walk: Option<Walk>,
    inner: &'a Inner,
}

impl<'a> Tiers<'a> {
    pub(super) fn new(inner: &'a Inner) -> Self {
        let queue = if inner.file.is_some() { Queue::new() } else { Queue::plain() };
        inner.counters.io_uring.store(queue.is_ring(), Ordering::Relaxed);
        Self { queue, flights: Vec::new(), walk: None, inner }
    }

    /// Does what is to be done until the store is closed.
    pub(super) fn run(mut self) {
        loop {
            self.take_off();
            if self.land() || self.clean() {
                if self.inner.bell.is_stopping() {
                    return;
                }
                continue;
            }
            let full = matches!(self.inner.trouble(), Some(Trouble::Full(_)));
            if !self.inner.bell.wait(full.then_some(RETRY)) {
                return;
            }
            if full {
                self.retry();
            }
        }
    }

    /// Starts flights while there are pages to go down.
    fn take_off(&mut self) {
        let Some(file) = &self.inner.file else { return };
        for number in 0..FLIGHTS {
            if self.inner.trouble().is_some() {
                return;
            }
            if self.flights.len() == number {
                self.flights.push(Flight {
                    pages: Vec::with_capacity(FLIGHT),
                    buffer: vec![PageBytes::zeroed(); FLIGHT],
                    batch: Batch::new(Request::Write),
                });
            }
            if self.flights[number].pages.is_empty() && !self.board(number, file) {
                return;
            }
        }
    }

    /// Fills a flight and sends it off. `false` if there was nothing to take.
    fn board(&mut self, number: usize, file: &BlockFile) -> bool {
        let flight = &mut self.flights[number];
        let mut sources = Vec::new();
        while flight.pages.len() < FLIGHT {
            if self.walk.is_none() {
                self.walk = self.inner.next_to_move().map(Walk::new);
            }
            let Some(walk) = &mut self.walk else { break };
            let room = FLIGHT - flight.pages.len();
            let before = flight.pages.len();
            flight.pages.extend(walk.by_ref().take(room));
            if flight.pages.len() - before < room {
                sources.extend(self.walk.take().map(|walk| walk.segment));
            } else {
                sources.push(walk.segment.clone());
            }
            self.inner.hold_live(&mut flight.pages, before);
        }
        if flight.pages.is_empty() {
            return false;
        }
        flight.pages.sort_unstable_by_key(|page| page.slot);
        flight.batch.clear();
        for (page, buffer) in flight.pages.iter().zip(&mut flight.buffer) {
            unpack(self.inner, &sources, page, buffer);
            flight.batch.push(page.slot.0, buffer_of(buffer));
        }
        // SAFETY: the flight's buffers are touched only when it has landed, and the queue is emptied before
        // they go.
        unsafe { flight.batch.submit(&mut self.queue, file, number as u32) };
        true
    }

    /// Waits for a write and takes in its result. `false` if none is under way.
    fn land(&mut self) -> bool {
        let (Some(file), Some((token, result))) = (&self.inner.file, self.queue.next()) else {
            return false;
        };
        let number = (token >> 32) as usize;
        let flight = &mut self.flights[number];
        flight.batch.completed(token, result);
        // SAFETY: as in `board`.
        unsafe { flight.batch.submit(&mut self.queue, file, number as u32) };
        if flight.batch.is_under_way() {
            return true;
        }
        if let Some(errno) = flight.batch.first_failure() {
            self.inner.set_trouble(Some(Trouble::of(errno)));
            return true;
        }
        self.inner.arrived_in_file(&flight.pages);
        flight.pages.clear();
        if self.flights.iter().all(|flight| flight.pages.is_empty() || flight.batch.is_under_way()) {
            self.inner.set_trouble(None);
        }
        true
    }

    /// Sends off again what found no room.
    fn retry(&mut self) {
        let Some(file) = &self.inner.file else { return };
        for (number, flight) in (0..).zip(&mut self.flights) {
            if !flight.pages.is_empty() && !flight.batch.is_done() {
                flight.batch.retry();
                // SAFETY: as in `board`.
                unsafe { flight.batch.submit(&mut self.queue, file, number) };
            }
        }
    }

    /// Copies what is live in a sparse segment to the head. `false` if there was nothing to do.
    fn clean(&mut self) -> bool {
        let inner = self.inner;
        let (Some(arena), Some(sparse)) = (&inner.arena, inner.next_to_clean()) else { return false };
        for Header { slot, digest, at } in Walk::new(sparse.clone()) {
            let content = Content::Memory(at);
            if inner.index.lock().slots.content(slot) != Some(content) {
                continue;
            }
            let blob = Blob { slot, digest, bytes: arena::bytes(&sparse, at) };
            let raw = inner.is_raw(blob.bytes);
            if arena.append(&inner.index, blob, content, raw, 0).is_none() {
                inner.index.lock().stay(sparse.number);
                return false;
            }
            inner.counters.cleaned.add(1);
        }
        true
    }
}

/// What does not unpack is written all the same: whoever reads it sees that it is not what it was.
fn unpack(inner: &Inner, sources: &[Segment], page: &Header, buffer: &mut PageBytes) {
    let segment = sources.iter().find(|segment| segment.number == page.at.segment);
    if let Some(segment) = segment {
        inner.workspaces.unpack(inner.codec, arena::bytes(segment, page.at), buffer);
    }
}

impl Inner {
    /// Whether the thread has something to do.
    pub(super) fn has_work(&self) -> bool {
        let moves = self.file.is_some() && (self.index.lock().has_raw() || self.is_near_limit());
        moves || self.cleaning_is_due()
    }

    /// Whether memory is so full that pages are to go down: early enough that whoever keeps a page seldom
    /// waits.
    fn is_near_limit(&self) -> bool {
        let Some(arena) = &self.arena else { return false };
        let limit = arena.region.segments();
        let stay = arena.region.in_use().saturating_sub(self.index.lock().space().leaving);
        stay > limit - (limit / 8).max(2)
    }

    fn next_to_move(&self) -> Option<Segment> {
        let raw = self.index.lock().oldest(true);
        raw.or_else(|| self.is_near_limit().then(|| self.index.lock().oldest(false)).flatten())
    }

    /// Whether much of memory is dead; or some of it, where there is no other room.
    pub(super) fn cleaning_is_due(&self) -> bool {
        let Some(arena) = &self.arena else { return false };
        let space = self.index.lock().space();
        let few = 4 * SEGMENT_BYTES as u64;
        let is_short = arena.region.is_full(RESERVE);
        space.dead() > (space.used / 4).max(few) || is_short && space.dead() > (space.used / 16).max(few / 2)
    }

    fn next_to_clean(&self) -> Option<Segment> {
        if !self.cleaning_is_due() {
            return None;
        }
        let rounds = self.index.lock().rounds();
        (0..rounds).find_map(|_| self.index.lock().sparse())
    }

    /// Takes a reference to each slot that still holds what a header says, from the `first` header on, and
    /// drops the other headers. The lock is taken for each, so that no reader waits for all.
    fn hold_live(&self, pages: &mut Vec<Header>, first: usize) {
        let mut at = 0;
        pages.retain(|page| {
            at += 1;
            let hold = || {
                let mut index = self.index.lock();
                let held = index.slots.content(page.slot) == Some(Content::Memory(page.at))
                    && index.slots.retain(page.slot).is_ok();
                self.counters.in_flight.fetch_add(u32::from(held), Ordering::Relaxed);
                held
            };
            at <= first || hold()
        });
    }

    /// Pages of a flight are in the file.
    fn arrived_in_file(&self, pages: &[Header]) {
        for page in pages {
            let freed = self.index.lock().moved_down(page.slot, page.at, page.digest);
            drop(freed);
            self.release(page.slot);
            // After the release: see `Inner::allocate`.
            self.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        self.counters.moved_down.add(pages.len() as u64);
    }
}

const _: () = assert!(FLIGHT * PAGE_SIZE >= SEGMENT_BYTES);
