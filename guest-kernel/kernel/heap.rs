//! The kernel's heap: size classes of powers of two over one region that is fixed at boot, and pages that it is given later.
//!
//! A block that is given back is kept for its class; fresh blocks are cut from the region's start. Memory that
//! was never used is zero, and `alloc_zeroed` makes use of that. What grows with the number of processes, threads and pipes
//! is in blocks of a page at most: the calls that make them ask [`Heap::is_short`] first and donate frames.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

use abi::addr::PAGE_SIZE;

const SMALLEST: u32 = 4;
const CLASSES: usize = 40;

/// The allocator.
pub struct Heap(UnsafeCell<State>);

struct State {
    next: usize,
    end: usize,
    /// Blocks of 2^(SMALLEST + n) bytes that were given back; each holds the address of the next.
    free: [*mut u8; CLASSES],
    /// How many of them are pages.
    pages: usize,
    /// Bytes of the blocks that are handed out.
    used: usize,
}

/// The class of a page.
const PAGE_CLASS: usize = (PAGE_SIZE.trailing_zeros() - SMALLEST) as usize;
/// The heap is short when it has fewer bytes that any small block can be cut from: more than a single call adds.
const RESERVE: usize = 128 << 10;

// SAFETY: one CPU; the kernel is never re-entered and interrupt handlers do not allocate.
unsafe impl Sync for Heap {}

impl Heap {
    /// A heap with no memory yet.
    #[must_use]
    pub const fn empty() -> Self {
        Self(UnsafeCell::new(State { next: 0, end: 0, free: [null_mut(); CLASSES], pages: 0, used: 0 }))
    }

    /// Gives the heap its region.
    ///
    /// # Safety
    /// Nobody else uses the region, ever, and it is all zeros. Called once, before the first allocation.
    pub unsafe fn init(&self, start: usize, bytes: usize) {
        // SAFETY: no allocation runs at the same time (see Sync above).
        let state = unsafe { &mut *self.0.get() };
        (state.next, state.end) = (start, start + bytes);
    }

    /// Whether it should be given pages before anything is added.
    #[must_use]
    pub fn is_short(&self) -> bool {
        // SAFETY: exclusive, see Sync.
        let state = unsafe { &*self.0.get() };
        state.end - state.next + state.pages * PAGE_SIZE < RESERVE
    }

    /// Whether blocks of so many bytes together can be cut from its region.
    #[must_use]
    pub fn has_region(&self, bytes: usize) -> bool {
        // SAFETY: exclusive, see Sync.
        let state = unsafe { &*self.0.get() };
        state.end - state.next >= bytes
    }

    /// Gives it another region, for ever, of whole pages that are all zeros. What was left of the last one is pages from now on.
    pub fn extend(&self, region: &'static mut [u8]) {
        // SAFETY: exclusive, see Sync.
        let state = unsafe { &mut *self.0.get() };
        for page in (state.next.next_multiple_of(PAGE_SIZE)..state.end).step_by(PAGE_SIZE) {
            state.put(page as *mut u8, PAGE_CLASS);
        }
        let start = region.as_mut_ptr() as usize;
        (state.next, state.end) = (start, start + region.len());
    }

    /// Bytes that are in use.
    #[must_use]
    pub fn used(&self) -> usize {
        // SAFETY: exclusive, see Sync.
        unsafe { &*self.0.get() }.used
    }

    /// Gives it a page, for ever.
    pub fn donate(&self, page: &'static mut [u8; PAGE_SIZE]) {
        // SAFETY: exclusive, see Sync; the page is nobody else's.
        unsafe { &mut *self.0.get() }.put(page.as_mut_ptr(), PAGE_CLASS);
    }
}

fn class(layout: Layout) -> usize {
    let bytes = layout.size().max(layout.align()).max(1 << SMALLEST).next_power_of_two();
    (bytes.trailing_zeros() - SMALLEST) as usize
}

const fn bytes(class: usize) -> usize {
    1 << (class as u32 + SMALLEST)
}

impl State {
    /// A block of so many bytes at least, and whether it is known to be all zeros.
    fn hand_out(&mut self, layout: Layout) -> (*mut u8, bool) {
        let class = class(layout);
        let (block, zero) = self.take(class);
        if !block.is_null() {
            self.used += bytes(class);
        }
        (block, zero)
    }

    /// A block of a class and whether it is known to be all zeros.
    fn take(&mut self, class: usize) -> (*mut u8, bool) {
        let reused = self.free[class];
        if !reused.is_null() {
            // SAFETY: a free block holds the address of the next one, see `dealloc`.
            self.free[class] = unsafe { reused.cast::<*mut u8>().read() };
            self.pages -= usize::from(class == PAGE_CLASS);
            return (reused, false);
        }
        if class < PAGE_CLASS && self.pages > 0 {
            self.cut_page(class);
            return self.take(class);
        }
        let bytes = bytes(class);
        let start = self.next.next_multiple_of(bytes.min(PAGE_SIZE));
        if start + bytes > self.end {
            return (null_mut(), false);
        }
        self.next = start + bytes;
        (start as *mut u8, true)
    }

    /// Makes a free page blocks of a smaller class.
    fn cut_page(&mut self, class: usize) {
        let page = self.free[PAGE_CLASS];
        // SAFETY: as in `take`.
        self.free[PAGE_CLASS] = unsafe { page.cast::<*mut u8>().read() };
        self.pages -= 1;
        for at in (0..PAGE_SIZE).step_by(bytes(class)) {
            self.put(page.wrapping_add(at), class);
        }
    }

    /// A block is free: it is ours, of that class, and nobody uses it.
    fn put(&mut self, block: *mut u8, class: usize) {
        // SAFETY: the block is at least 16 bytes and aligned to 16.
        unsafe { block.cast::<*mut u8>().write(self.free[class]) };
        self.free[class] = block;
        self.pages += usize::from(class == PAGE_CLASS);
    }
}

// SAFETY: a block is handed out once until it comes back; fresh blocks never overlap because `next` only grows, and a block
// that comes back serves only its own class, whose blocks are all of one size and aligned to it, up to a page. Nothing in the
// kernel asks for more than a page's alignment.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: exclusive, see Sync.
        unsafe { &mut *self.0.get() }.hand_out(layout).0
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: exclusive, see Sync.
        let (block, zero) = unsafe { &mut *self.0.get() }.hand_out(layout);
        if !zero && !block.is_null() {
            // SAFETY: the block is ours and at least that long.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: exclusive, see Sync.
        let state = unsafe { &mut *self.0.get() };
        let class = class(layout);
        state.used -= bytes(class);
        state.put(block, class);
    }
}
