//! Where each page is: the slot table, and how much of each segment is still needed.
//!
//! One lock guards it, held for nanoseconds and never across I/O, compression or a copy. Whoever finds a blob
//! here takes a reference to its segment and reads without the lock: a blob is never changed where it lies,
//! and its segment stays while anyone has a reference. So cleaning and moving down only ever replace
//! locations here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::arena::{self, footprint};
use super::entry::{Content, GRANULE, Location};
use super::fingerprint::Digest;
use super::region::{Region, SEGMENT_BYTES, Segment};
use super::table::{Order, SlotTable, Usage};
use super::{Origin, Slot, StoreError};

/// A segment that is needed no more: to be dropped after the lock, because that may be a system call.
pub(super) type Freed = Option<Segment>;

/// The index.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) slots: SlotTable,
    /// Where the segments are, if there is memory for any.
    region: Option<Arc<Region>>,
    /// By number.
    places: Vec<Option<Place>>,
    /// Whether there is a file that pages go down to, from the oldest segments.
    goes_down: bool,
    /// If so, segments that are full, the oldest first; those that hold raw pages apart, because these go first.
    /// Some are freed since, and their number may be another's now.
    packed: VecDeque<Sealed>,
    raw: VecDeque<Sealed>,
    born: u16,
    space: Space,
    /// Where the search for a sparse segment goes on.
    hand: usize,
}

/// A segment that has been full.
#[derive(Clone, Copy, Debug)]
struct Sealed {
    number: u32,
    born: u16,
}

/// A segment in use. It has the reference that was left with its number.
#[derive(Debug)]
struct Place {
    /// Tells it from others that had its number lately. One that is mistaken for an older one goes a little early.
    born: u16,
    /// Granules that its blobs take, and those of blobs that are still some slot's.
    used: u16,
    live: u16,
    state: State,
}
const _: () = assert!(size_of::<Option<Place>>() == 8, "there is one for 15 pages that do not compress");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Blobs are added.
    Filling,
    /// Full.
    Sealed,
    /// The background thread is taking its blobs elsewhere.
    Leaving,
}

/// How memory is used, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Space {
    /// By blobs.
    pub(super) used: u64,
    /// By blobs that are still some slot's.
    pub(super) live: u64,
    /// The same without headers and gaps.
    pub(super) payload: u64,
    /// Segments that are being emptied.
    pub(super) leaving: u32,
}

impl Space {
    /// Bytes that nobody needs.
    pub(super) const fn dead(self) -> u64 {
        self.used - self.live
    }
}

/// What a reader needs to get a page.
#[derive(Debug)]
pub(super) enum Held {
    SameFilled(u64),
    Memory(Segment, Location),
    /// The reader has a reference to the slot now, and gives it back.
    File(Digest),
}

impl Index {
    /// Of a store with segments in `region`, if any, whose pages go down to a file, or do not.
    pub(super) fn new(capacity: u32, region: Option<Arc<Region>>, goes_down: bool) -> Self {
        Self {
            slots: SlotTable::new(capacity, if goes_down { Order::All } else { Order::Fewest }),
            region,
            places: Vec::new(),
            goes_down,
            packed: VecDeque::new(),
            raw: VecDeque::new(),
            born: 0,
            space: Space::default(),
            hand: 0,
        }
    }

    /// Finds a slot's page for a reader.
    pub(super) fn find(&mut self, slot: Slot) -> Result<Held, StoreError> {
        Ok(match self.slots.content(slot).ok_or(StoreError::NotInUse(slot))? {
            Content::SameFilled(word) => Held::SameFilled(word),
            Content::Memory(at) => {
                Held::Memory(self.segment(at.segment).ok_or(StoreError::NotInUse(slot))?, at)
            }
            Content::File(digest) => {
                self.slots.retain(slot)?;
                Held::File(digest)
            }
            Content::Nothing => return Err(StoreError::NotInUse(slot)),
        })
    }

    /// Where a slot's page is.
    pub(super) fn origin(&self, slot: Slot) -> Option<Origin> {
        Some(match self.slots.content(slot)? {
            Content::SameFilled(_) => Origin::SameFilled,
            Content::Memory(_) => Origin::Memory,
            Content::File(_) => Origin::File,
            Content::Nothing => return None,
        })
    }

    /// The segment in use that has this number.
    pub(super) fn segment(&self, number: u32) -> Option<Segment> {
        self.place(number)?;
        self.region.as_ref()?.share(number)
    }

    fn place(&self, number: u32) -> Option<&Place> {
        self.places.get(number as usize)?.as_ref()
    }

    fn place_mut(&mut self, number: u32) -> Option<&mut Place> {
        self.places.get_mut(number as usize)?.as_mut()
    }

    /// A new segment, which is being filled.
    pub(super) fn add(&mut self, segment: &Segment) {
        let number = segment.leave() as usize;
        if self.places.len() <= number {
            self.places.resize_with(number + 1, || None);
        }
        self.born = self.born.wrapping_add(1);
        self.places[number] = Some(Place { born: self.born, state: State::Filling, used: 0, live: 0 });
    }

    /// A segment is full.
    pub(super) fn seal(&mut self, number: u32, raw: bool) -> Freed {
        let place = self.place_mut(number)?;
        place.state = State::Sealed;
        let sealed = Sealed { number, born: place.born };
        if self.goes_down {
            let queue = if raw { &mut self.raw } else { &mut self.packed };
            queue.push_back(sealed);
            self.forget_freed();
        }
        self.free_if_dead(number)
    }

    /// Keeps the queues as short as there are segments, more or less.
    fn forget_freed(&mut self) {
        if self.packed.len() > 2 * self.places.len() + 64 {
            let places = &self.places;
            let is_there = |sealed: &Sealed| {
                places[sealed.number as usize].as_ref().is_some_and(|place| place.born == sealed.born)
            };
            self.packed.retain(is_there);
        }
    }

    /// A blob was written to `to`. It is the slot's content from now on, if that still is `from`; else the
    /// blob is dead.
    pub(super) fn replace(&mut self, slot: Slot, from: Content, to: Location) -> Freed {
        let current = self.slots.content(slot).unwrap_or(Content::Nothing) == from;
        let length = self.length(to)?;
        let granules = granules(length);
        let place = self.place_mut(to.segment)?;
        place.used += granules;
        place.live += if current { granules } else { 0 };
        self.space.used += bytes(granules);
        if !current {
            return None;
        }
        self.space.live += bytes(granules);
        self.space.payload += u64::from(length);
        self.slots.set(slot, Content::Memory(to));
        self.abandon(from)
    }

    /// A blob was written to the slot's block, whose slot the writer has a reference to.
    pub(super) fn moved_down(&mut self, slot: Slot, from: Location, digest: Digest) -> Freed {
        self.slots.set(slot, Content::File(digest));
        self.abandon(Content::Memory(from))
    }

    /// Gives back a reference to a slot.
    pub(super) fn release(&mut self, slot: Slot) -> Freed {
        let content = self.slots.release(slot)?;
        self.abandon(content)
    }

    /// Content is no slot's any more.
    fn abandon(&mut self, content: Content) -> Freed {
        let Content::Memory(at) = content else { return None };
        let length = self.length(at)?;
        let granules = granules(length);
        self.place_mut(at.segment)?.live -= granules;
        self.space.live -= bytes(granules);
        self.space.payload -= u64::from(length);
        self.free_if_dead(at.segment)
    }

    /// How many bytes a blob has.
    fn length(&self, at: Location) -> Option<u16> {
        self.place(at.segment)?;
        Some(arena::length(self.region.as_deref()?, at))
    }

    fn free_if_dead(&mut self, number: u32) -> Freed {
        let place = self.place(number)?;
        if place.live > 0 || place.state == State::Filling {
            return None;
        }
        let place = self.places[number as usize].take()?;
        self.space.used -= bytes(place.used);
        self.space.leaving -= u32::from(place.state == State::Leaving);
        // SAFETY: it was the place's, which is no more.
        self.region.as_ref().map(|region| unsafe { region.take_left(number) })
    }

    /// The oldest full segment of those with raw pages, or of the others. It is leaving from now on.
    pub(super) fn oldest(&mut self, raw: bool) -> Option<Segment> {
        loop {
            let Sealed { number, born } = if raw { &mut self.raw } else { &mut self.packed }.pop_front()?;
            let valid = |place: &&mut Place| place.born == born && place.state == State::Sealed;
            if let Some(place) = self.place_mut(number).filter(valid) {
                place.state = State::Leaving;
                self.space.leaving += 1;
                return self.segment(number);
            }
        }
    }

    /// A full segment of which at least half as large a part is dead as of all together, if one is soon
    /// found. It is leaving from now on.
    pub(super) fn sparse(&mut self) -> Option<Segment> {
        let Space { used, live, .. } = self.space;
        for _ in 0..self.places.len().min(LOOKS) {
            self.hand = (self.hand + 1) % self.places.len();
            let Some(place) = &mut self.places[self.hand] else { continue };
            // A segment of average density would do; one that is being filled may be sparser than all others.
            let dead = bytes(place.used - place.live);
            let is_sparse = 2 * dead * used >= (used - live) * bytes(place.used);
            if place.state == State::Sealed && is_sparse && dead > 0 {
                place.state = State::Leaving;
                self.space.leaving += 1;
                return self.segment(self.hand as u32);
            }
        }
        None
    }

    /// A segment that was leaving could not be emptied.
    pub(super) fn stay(&mut self, number: u32) {
        let Some(place) = self.place_mut(number) else { return };
        place.state = State::Sealed;
        let sealed = Sealed { number, born: place.born };
        if self.goes_down {
            self.packed.push_front(sealed);
        }
        self.space.leaving -= 1;
    }

    /// Whether full segments of raw pages wait to be written.
    pub(super) fn has_raw(&self) -> bool {
        !self.raw.is_empty()
    }

    /// How many searches for a sparse segment go through all of them.
    pub(super) fn rounds(&self) -> usize {
        self.places.len().div_ceil(LOOKS)
    }

    pub(super) const fn space(&self) -> Space {
        self.space
    }

    pub(super) const fn usage(&self) -> Usage {
        self.slots.usage()
    }

    /// Bytes that the index takes.
    pub(super) fn bytes(&self) -> usize {
        self.slots.bytes()
            + self.places.len() * (size_of::<Option<Place>>() + size_of::<AtomicU32>())
            + (self.packed.capacity() + self.raw.capacity()) * size_of::<Sealed>()
    }
}

/// How many segments are looked at with the lock held.
const LOOKS: usize = 256;

/// Granules that a blob takes in its segment.
const fn granules(length: u16) -> u16 {
    (footprint(length as usize) / GRANULE) as u16
}

/// The same in bytes.
const fn bytes(granules: u16) -> u64 {
    granules as u64 * GRANULE as u64
}
const _: () = assert!(SEGMENT_BYTES / GRANULE < u16::MAX as usize);
