//! Memory in segments: one mapping of address space, of which only the segments in use take memory.
//!
//! A segment that nobody needs any more goes back to the kernel by MADV_DONTNEED, which, unlike munmap, keeps
//! out of the way of page faults in other threads. A few are kept for the next who needs one.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

use abi::addr::PAGE_SIZE;
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::memory::Size;

/// Blobs in a segment leave it together: a large write. Small enough that a budget of a megabyte has several.
pub(super) const SEGMENT_BYTES: usize = 64 << 10;
/// The same in pages.
pub const SEGMENT_PAGES: u32 = (SEGMENT_BYTES / PAGE_SIZE) as u32;
/// Segments that are kept, empty, for the next who needs one.
const MAX_SPARE: usize = 2;

/// The mapping.
#[derive(Debug)]
pub(super) struct Region {
    start: usize,
    segments: u32,
    /// Segments that take memory: in use, or spare.
    held: AtomicU32,
    in_use: AtomicU32,
    /// How many references there are to each segment. Memory of zeros takes no frame before it is used.
    references: Box<[AtomicU32]>,
    free: Mutex<Free>,
    /// A segment was given back.
    freed: Condvar,
}

/// Segments that nobody has.
#[derive(Debug, Default)]
struct Free {
    /// From here on none was ever used.
    next: u32,
    /// They take no memory.
    empty: Vec<u32>,
    /// They still do.
    spare: Vec<u32>,
}

/// A reference to a segment. Its memory may go back to the kernel when the last one is dropped.
#[derive(Debug)]
pub(super) struct Segment {
    region: Arc<Region>,
    pub(super) number: u32,
}

impl Region {
    /// Address space for so many segments.
    pub(super) fn new(segments: u32) -> Result<Arc<Self>, Errno> {
        let bytes = segments as usize * SEGMENT_BYTES;
        let (protection, flags) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: a new mapping at an address of the kernel's choice takes nobody's memory.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, flags)? };
        let start = start.expose_provenance();
        // SAFETY: an atomic integer of zeros is one of value 0.
        let references = unsafe { Box::<[AtomicU32]>::new_zeroed_slice(segments as usize).assume_init() };
        let region = Self {
            start,
            segments,
            held: AtomicU32::new(0),
            in_use: AtomicU32::new(0),
            references,
            free: Mutex::default(),
            freed: Condvar::new(),
        };
        // A huge page would be held as a whole, and is not what was counted. Kernels without them refuse.
        let _ = region.advise(0, bytes, Advice::LinuxNoHugepage);
        Ok(Arc::new(region))
    }

    /// How many segments there may be.
    pub(super) const fn segments(&self) -> u32 {
        self.segments
    }

    /// The same in bytes.
    pub(super) const fn size(&self) -> Size {
        Size::from_pages(self.segments * SEGMENT_PAGES)
    }

    /// How many take memory now.
    pub(super) fn held(&self) -> u32 {
        self.held.load(Ordering::Relaxed)
    }

    /// How many are in use.
    pub(super) fn in_use(&self) -> u32 {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Whether all but `reserve` are in use.
    pub(super) fn is_full(&self, reserve: u32) -> bool {
        self.in_use() + reserve >= self.segments
    }

    /// Takes a segment, but leaves `reserve` of them to others.
    pub(super) fn take(self: &Arc<Self>, reserve: u32) -> Option<Segment> {
        let mut free = self.free.lock();
        if self.is_full(reserve) {
            return None;
        }
        self.in_use.fetch_add(1, Ordering::Relaxed);
        let number = free.spare.pop().unwrap_or_else(|| {
            self.held.fetch_add(1, Ordering::Relaxed);
            free.empty.pop().unwrap_or_else(|| {
                free.next += 1;
                free.next - 1
            })
        });
        self.references[number as usize].store(1, Ordering::Relaxed);
        Some(Segment { region: Arc::clone(self), number })
    }

    /// Another reference to a segment; `None` if nobody has one.
    pub(super) fn share(self: &Arc<Self>, number: u32) -> Option<Segment> {
        let one_more = |count: u32| (count > 0).then(|| count + 1);
        let references = self.references.get(number as usize)?;
        references.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Segment { region: Arc::clone(self), number })
    }

    /// The reference that was left with a segment's number ([`Segment::leave`]).
    ///
    /// # Safety
    /// It was left, and nobody took it since.
    pub(super) unsafe fn take_left(self: &Arc<Self>, number: u32) -> Segment {
        Segment { region: Arc::clone(self), number }
    }

    /// Bytes of a segment that were written.
    ///
    /// # Safety
    /// Somebody has a reference to the segment as long as the bytes are used, and nobody writes them any more.
    pub(super) unsafe fn bytes(&self, number: u32, offset: usize, length: usize) -> &[u8] {
        // SAFETY: inside the segment, which is mapped as long as `self` lives; the caller says that they do
        // not change.
        unsafe { std::slice::from_raw_parts(self.at(number, offset, length), length) }
    }

    fn at(&self, number: u32, offset: usize, length: usize) -> *mut u8 {
        assert!(
            number < self.segments && offset <= SEGMENT_BYTES && length <= SEGMENT_BYTES - offset,
            "bytes {offset} + {length} of segment {number}"
        );
        ptr::with_exposed_provenance_mut(self.start + number as usize * SEGMENT_BYTES + offset)
    }

    /// Waits until a segment has been given back, but not for long: whoever waits looks again at what else
    /// may have changed.
    pub(super) fn wait(&self, reserve: u32) {
        let mut free = self.free.lock();
        if self.is_full(reserve) {
            self.freed.wait_for(&mut free, Duration::from_millis(10));
        }
    }

    fn give_back(&self, number: u32) {
        let mut free = self.free.lock();
        if free.spare.len() < MAX_SPARE {
            free.spare.push(number);
        } else {
            drop(free);
            // What cannot be given back is held all the same, and used again.
            let _ = self.advise(number as usize * SEGMENT_BYTES, SEGMENT_BYTES, Advice::LinuxDontNeed);
            free = self.free.lock();
            free.empty.push(number);
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        drop(free);
        self.freed.notify_all();
    }

    fn advise(&self, offset: usize, bytes: usize, advice: Advice) -> Result<(), Errno> {
        let start = ptr::with_exposed_provenance_mut(self.start + offset);
        // SAFETY: the range is ours, and nobody has a segment in it.
        unsafe { madvise(start, bytes, advice) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let start = ptr::with_exposed_provenance_mut(self.start);
        // SAFETY: the mapping is ours and whole. Every `Segment` has a reference to `self`, so there is none
        // left.
        let _ = unsafe { munmap(start, self.segments as usize * SEGMENT_BYTES) };
    }
}

impl Segment {
    /// Leaves a reference with the segment's number, to be taken with [`Region::take_left`].
    pub(super) fn leave(&self) -> u32 {
        self.references().fetch_add(1, Ordering::Relaxed);
        self.number
    }

    /// Where it is.
    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    fn references(&self) -> &AtomicU32 {
        &self.region.references[self.number as usize]
    }

    /// Bytes that were written.
    ///
    /// # Safety
    /// Nobody writes them any more.
    pub(super) unsafe fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        // SAFETY: `self` is a reference to the segment; the caller says that they do not change.
        unsafe { self.region.bytes(self.number, offset, length) }
    }

    /// Writes bytes.
    ///
    /// # Safety
    /// Nobody else reads or writes them at the same time.
    pub(super) unsafe fn write(&self, offset: usize, bytes: &[u8]) {
        let to = self.region.at(self.number, offset, bytes.len());
        // SAFETY: inside the segment; the caller says that they are his.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }
}

impl Clone for Segment {
    fn clone(&self) -> Self {
        self.leave();
        Self { region: Arc::clone(&self.region), number: self.number }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // As in `Arc`: whoever uses the memory next does so after all who had a reference.
        if self.references().fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            self.region.give_back(self.number);
        }
    }
}
