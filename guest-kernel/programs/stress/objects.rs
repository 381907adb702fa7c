//! What several mappings show: files in memory, and shared anonymous memory. What they should hold is kept in memory that a process shares
//! with its children, because each sees what the others wrote.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::content::Content;
use super::os;

/// Those that are files; the others are shared anonymous memory.
pub const FILES: usize = 3;
/// All of them.
pub const OBJECTS: usize = 8;
/// Pages of the longest.
pub const LONGEST: usize = 64;

/// A file, or shared anonymous memory. All zeros is an empty one.
pub struct Object {
    pages: AtomicU32,
    contents: [AtomicU64; LONGEST],
    /// How often each page was cut off.
    cuts: [AtomicU32; LONGEST],
}

impl Object {
    /// Its length.
    pub fn pages(&self) -> usize {
        self.pages.load(Relaxed) as usize
    }

    /// What a page holds; `None` past the end.
    pub fn content(&self, page: usize) -> Option<Content> {
        (page < self.pages()).then(|| Content::from_raw(self.contents[page].load(Relaxed)))
    }

    /// A page was written.
    pub fn set(&self, page: usize, content: Content) {
        self.contents[page].store(content.raw(), Relaxed);
    }

    /// How often a page was cut off: private copies of it that are older are gone.
    pub fn cuts(&self, page: usize) -> u32 {
        self.cuts.get(page).map_or(0, |cuts| cuts.load(Relaxed))
    }

    /// It has this length from now on; pages that are new are zeros.
    pub fn set_pages(&self, pages: usize) {
        for page in pages..self.pages() {
            self.set(page, Content::ZEROS);
            self.cuts[page].fetch_add(1, Relaxed);
        }
        self.pages.store(pages as u32, Relaxed);
    }
}

/// What a process shares with its children. All zeros is where it begins.
pub struct Shared {
    /// The objects.
    pub objects: [Object; OBJECTS],
    /// System calls made.
    pub calls: AtomicU64,
    /// The last version that a page was filled with.
    versions: AtomicU32,
}

impl Shared {
    /// New, for this process and those that it forks.
    pub fn new() -> &'static Self {
        // SAFETY: the memory is as large as that, zero, which is a value of it, aligned to a page, and never unmapped. It
        // has atomics alone, as other processes change it.
        unsafe { &*os::shared_pages(size_of::<Self>()).cast() }
    }

    /// A content that no page had before.
    pub fn fresh(&self) -> Content {
        Content::of(self.versions.fetch_add(1, Relaxed) + 1)
    }
}
