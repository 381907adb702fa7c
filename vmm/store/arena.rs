//! The memory tier: a log of blobs in segments.
//!
//! ```text
//!    segment (64 KiB, full)                        head (being filled)
//!    +---+------+---+----+---+--------+            +---+------+---+---+~~~~~~~~~~~~
//!    | h | blob | h |dead| h | blob   |  ...       | h | blob | h | . |   free
//!    +---+------+---+----+---+--------+            +---+------+---+---+~~~~~~~~~~~~
//!      h: slot, length, digest
//! ```
//!
//! A blob is added at the end of the head, under the heads' lock, and then becomes a slot's content, under
//! the index's. So a full segment does not change any more but that its blobs die, and each thread that finds
//! a blob in the index finds it whole.
//!
//! Pages that do not compress have a head of their own where there is a file: they only wait to be written
//! there.

use std::sync::Arc;

use parking_lot::Mutex;

use super::entry::{Content, GRANULE, Location};
use super::fingerprint::Digest;
use super::index::{Freed, Index};
use super::region::{Region, SEGMENT_BYTES, Segment};
use super::{Slot, StoreError};

/// Bytes before a blob: its slot (4), length (2), nothing (2) and digest (8).
const HEADER: usize = 16;
const _: () = assert!(HEADER.is_multiple_of(GRANULE));

/// Bytes that a blob takes in its segment.
pub(super) const fn footprint(length: usize) -> usize {
    HEADER + length.next_multiple_of(GRANULE)
}

/// A page as it is kept in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blob<'a> {
    pub(super) slot: Slot,
    pub(super) digest: Digest,
    pub(super) bytes: &'a [u8],
}

/// What a blob's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) slot: Slot,
    pub(super) digest: Digest,
    pub(super) at: Location,
}

/// The segments that are being filled.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) region: Arc<Region>,
    /// For compressed pages and for raw ones.
    heads: Mutex<[Option<Head>; 2]>,
}

#[derive(Debug)]
struct Head {
    segment: Segment,
    used: usize,
}

impl Arena {
    /// An empty one, of at most so many segments.
    pub(super) fn new(segments: u32) -> Result<Self, StoreError> {
        let region = Region::new(segments).map_err(|errno| StoreError::Memory(errno.into()))?;
        Ok(Self { region, heads: Mutex::default() })
    }

    /// Adds a blob and makes it its slot's content, if that still is `from`. Leaves `reserve` segments to
    /// others; `None` where that leaves no room, else whether a segment has become full.
    pub(super) fn append(
        &self,
        index: &Mutex<Index>,
        blob: Blob<'_>,
        from: Content,
        raw: bool,
        reserve: u32,
    ) -> Option<bool> {
        let mut heads = self.heads.lock();
        let head = &mut heads[usize::from(raw)];
        let bytes = footprint(blob.bytes.len());
        let full = head.take_if(|head| head.used + bytes > SEGMENT_BYTES);
        if let Some(full) = &full {
            full.end();
            let freed: Freed = index.lock().seal(full.segment.number, raw);
            drop(freed);
        }
        if head.is_none() {
            let segment = self.region.take(reserve)?;
            index.lock().add(&segment);
            *head = Some(Head { segment, used: 0 });
        }
        let at = head.as_mut()?.write(blob);
        let freed = index.lock().replace(blob.slot, from, at);
        drop(heads);
        drop(freed);
        Some(full.is_some())
    }
}

impl Head {
    /// Marks the end, for the memory may have been used before.
    fn end(&self) {
        let rest = (SEGMENT_BYTES - self.used).min(HEADER);
        // SAFETY: what is past `used` is no blob's, and this thread has the heads' lock.
        unsafe { self.segment.write(self.used, &[0; HEADER][..rest]) };
    }

    fn write(&mut self, blob: Blob<'_>) -> Location {
        let length = blob.bytes.len() as u16;
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&blob.slot.0.to_ne_bytes());
        header[4..6].copy_from_slice(&length.to_ne_bytes());
        header[8..].copy_from_slice(&blob.digest.0.to_ne_bytes());
        // SAFETY: what is past `used` is no blob's yet, and this thread has the heads' lock.
        unsafe {
            self.segment.write(self.used, &header);
            self.segment.write(self.used + HEADER, blob.bytes);
        }
        let granule = (self.used / GRANULE) as u16;
        self.used += footprint(blob.bytes.len());
        Location { segment: self.segment.number, granule }
    }
}

/// The bytes of the blob at `at`, which the index said is there.
pub(super) fn bytes(segment: &Segment, at: Location) -> &[u8] {
    let offset = usize::from(at.granule) * GRANULE + HEADER;
    // SAFETY: a blob that is in the index is not written any more.
    unsafe { segment.bytes(offset, length(segment.region(), at).into()) }
}

/// How many bytes the blob at `at` has, to whose segment the index or the caller has a reference.
pub(super) fn length(region: &Region, at: Location) -> u16 {
    let offset = usize::from(at.granule) * GRANULE + 4;
    // SAFETY: a header is written before the index knows of its blob, and not any more.
    let bytes = unsafe { region.bytes(at.segment, offset, 2) };
    bytes.try_into().map_or(0, u16::from_ne_bytes)
}

/// The digest of the blob at `at`, which the index said is there.
pub(super) fn digest(segment: &Segment, at: Location) -> Digest {
    let offset = usize::from(at.granule) * GRANULE + 8;
    // SAFETY: as above.
    let bytes = unsafe { segment.bytes(offset, 8) };
    Digest(bytes.try_into().map_or(0, u64::from_ne_bytes))
}

/// Goes through the blobs of a full segment, live and dead.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) segment: Segment,
    offset: usize,
}

impl Walk {
    pub(super) const fn new(segment: Segment) -> Self {
        Self { segment, offset: 0 }
    }
}

impl Iterator for Walk {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        if self.offset + HEADER > SEGMENT_BYTES {
            return None;
        }
        // SAFETY: the segment is full, so nobody writes to it.
        let header = unsafe { self.segment.bytes(self.offset, HEADER) };
        let (words, _) = header.as_chunks::<4>();
        let length = u32::from_ne_bytes(words[1]) as u16;
        if length == 0 || self.offset + footprint(length.into()) > SEGMENT_BYTES {
            return None;
        }
        let at = Location { segment: self.segment.number, granule: (self.offset / GRANULE) as u16 };
        self.offset += footprint(length.into());
        let slot = Slot(u32::from_ne_bytes(words[0]));
        Some(Header { slot, digest: digest(&self.segment, at), at })
    }
}
