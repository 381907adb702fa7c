//! Page replacement: which frame gives up its page.
//!
//! A policy sees frames as dense indices (`u32`) and knows nothing of what they hold. Its owner tells it
//! when a frame starts and ceases to hold an evictable page, and answers what became of a page through [`Pages`].
//!
//! Costs: 8 to 29 bytes a frame, stated by each policy; no allocation after creation; an operation takes a few dozen
//! instructions, and `victim` as much for each page that it passes over. docs/replacement.md compares them.

mod aging;
mod any;
mod clock;
mod fifo;
mod ghost;
mod hand;
mod kind;
mod s3fifo;
mod sieve;
mod wsclock;

pub use aging::Aging;
pub use any::AnyPolicy;
pub use clock::Clock;
pub use fifo::Fifo;
pub use kind::{PolicyKind, UnknownPolicy};
pub use s3fifo::S3Fifo;
pub use sieve::Sieve;
pub use wsclock::WsClock;

/// The most frames that a policy asks about in a [`Policy::tick`]. As many ticks as this goes into all frames look at
/// each of them once.
pub const FRAMES_A_TICK: u32 = 64;

/// What tells pages apart over time: the same key, the same page. An owner makes it of what names a page while it
/// is out of RAM, too: address space and virtual page, file and offset, or guest frame number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct PageKey(pub u64);

/// What a policy asks of the pages in frames that it holds.
pub trait Pages {
    /// Whether the page was used since this was last asked, or else since it came in; forgets the use (it tests and
    /// clears the accessed bit). Whether the access that brought it in counts: see [`PolicyKind::counts_arrival`].
    fn referenced(&mut self, frame: u32) -> bool;

    /// Whether the page would have to be written if it went now. The policy asks it of a page that it would evict
    /// if it were clean, so an owner that can begins to write it.
    fn is_dirty(&mut self, _frame: u32) -> bool {
        false
    }
}

/// An owner that knows of references only.
impl<Referenced: FnMut(u32) -> bool> Pages for Referenced {
    fn referenced(&mut self, frame: u32) -> bool {
        self(frame)
    }
}

/// A replacement policy.
pub trait Policy {
    /// The frame now holds a page that may be evicted. It must not be in the policy already.
    fn insert(&mut self, frame: u32);

    /// The same for a page that was just brought in, for policies that know a page again which they evicted lately.
    fn insert_page(&mut self, frame: u32, _page: PageKey) {
        self.insert(frame);
    }

    /// The frame no longer holds an evictable page. Does nothing if it is not in the policy.
    fn remove(&mut self, frame: u32);

    /// Chooses a victim and takes it out of the policy; `None` when there is none.
    fn victim(&mut self, pages: &mut dyn Pages) -> Option<u32>;

    /// Virtual time passes: the time in which pages are used, not that of the clock on the wall. The owner calls it at
    /// an even rate while programs run, such as from the timer interrupt. Asks about [`FRAMES_A_TICK`] frames at most.
    fn tick(&mut self, _pages: &mut dyn Pages) {}
}

#[cfg(test)]
mod models;
#[cfg(test)]
mod tests;
