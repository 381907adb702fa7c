//! Page replacement: which frame gives up its page.
//!
//! A policy sees frames as dense indices (`u32`) and knows nothing of what they hold. Its owner tells it
//! when a frame starts and ceases to hold an evictable page, and answers whether a frame was referenced.
//!
//! Costs: 8 bytes a frame, no allocation after creation, insert and remove in a few dozen instructions.

mod clock;
mod fifo;
mod ring;

use core::fmt;
use core::str::FromStr;

pub use clock::Clock;
pub use fifo::Fifo;

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

/// The name of a policy, as a user chooses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyKind {
    /// [`Fifo`].
    Fifo,
    /// [`Clock`].
    Clock,
}

/// A text that names no policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownPolicy;

impl PolicyKind {
    /// Every policy.
    pub const ALL: [Self; 2] = [Self::Fifo, Self::Clock];
    /// The name of each of [`PolicyKind::ALL`].
    pub const NAMES: [&str; 2] = [Self::Fifo.name(), Self::Clock.name()];

    /// What a user calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Clock => "clock",
        }
    }
}

impl FromStr for PolicyKind {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownPolicy)
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such replacement policy: choose one of")?;
        for (index, name) in PolicyKind::NAMES.iter().enumerate() {
            write!(f, "{}{name}", if index == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownPolicy {}

/// Whichever policy was chosen. An enum, not a trait object: the call is direct, and there is no vtable.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum AnyPolicy {
    Fifo(Fifo),
    Clock(Clock),
}

impl AnyPolicy {
    /// A policy for frames 0 to `frames` - 1, none of which it holds yet.
    #[must_use]
    pub fn new(kind: PolicyKind, frames: u32) -> Self {
        match kind {
            PolicyKind::Fifo => Self::Fifo(Fifo::new(frames)),
            PolicyKind::Clock => Self::Clock(Clock::new(frames)),
        }
    }

    /// Which one it is.
    #[must_use]
    pub const fn kind(&self) -> PolicyKind {
        match self {
            Self::Fifo(_) => PolicyKind::Fifo,
            Self::Clock(_) => PolicyKind::Clock,
        }
    }
}

impl Policy for AnyPolicy {
    fn insert(&mut self, frame: u32) {
        match self {
            Self::Fifo(policy) => policy.insert(frame),
            Self::Clock(policy) => policy.insert(frame),
        }
    }

    fn remove(&mut self, frame: u32) {
        match self {
            Self::Fifo(policy) => policy.remove(frame),
            Self::Clock(policy) => policy.remove(frame),
        }
    }

    fn victim(&mut self, referenced: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        match self {
            Self::Fifo(policy) => policy.victim(referenced),
            Self::Clock(policy) => policy.victim(referenced),
        }
    }
}

#[cfg(test)]
mod tests;
