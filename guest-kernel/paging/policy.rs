//! Page replacement: which frame gives up its page.
//!
//! A policy sees frames as dense indices (`u32`) and knows nothing of what they hold. Its owner tells it
//! when a frame starts and ceases to hold an evictable page, and answers whether a frame was referenced.

/// A replacement policy.
pub trait Policy {
    /// The frame now holds a page that may be evicted. It must not be in the policy already.
    fn insert(&mut self, frame: u32);

    /// The frame no longer holds an evictable page. Does nothing if it is not in the policy.
    fn remove(&mut self, frame: u32);

    /// Chooses a victim and takes it out of the policy; `None` when there is none.
    ///
    /// `referenced` answers whether a frame's page was used since it was last asked, and forgets
    /// the use (it tests and clears the accessed bit).
    fn victim(&mut self, referenced: &mut dyn FnMut(u32) -> bool) -> Option<u32>;
}
