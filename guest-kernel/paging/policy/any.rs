//! Whichever policy was chosen.

use super::{Aging, Clock, Fifo, PageKey, Pages, Policy, PolicyKind, S3Fifo, Sieve, WsClock};

/// Whichever policy was chosen. An enum, not a trait object: the call is direct, and there is no vtable.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum AnyPolicy {
    Fifo(Fifo),
    Clock(Clock),
    Aging(Aging),
    Sieve(Sieve),
    S3Fifo(S3Fifo),
    WsClock(WsClock),
}

/// Calls the same method of the policy, whichever it is.
macro_rules! each {
    ($any:expr, $policy:ident => $call:expr) => {
        match $any {
            AnyPolicy::Fifo($policy) => $call,
            AnyPolicy::Clock($policy) => $call,
            AnyPolicy::Aging($policy) => $call,
            AnyPolicy::Sieve($policy) => $call,
            AnyPolicy::S3Fifo($policy) => $call,
            AnyPolicy::WsClock($policy) => $call,
        }
    };
}

impl AnyPolicy {
    /// A policy for frames 0 to `frames` - 1, none of which it holds yet.
    #[must_use]
    pub fn new(kind: PolicyKind, frames: u32) -> Self {
        match kind {
            PolicyKind::Fifo => Self::Fifo(Fifo::new(frames)),
            PolicyKind::Clock => Self::Clock(Clock::new(frames)),
            PolicyKind::Aging => Self::Aging(Aging::new(frames)),
            PolicyKind::Sieve => Self::Sieve(Sieve::new(frames)),
            PolicyKind::S3Fifo => Self::S3Fifo(S3Fifo::new(frames)),
            PolicyKind::WsClock => Self::WsClock(WsClock::new(frames)),
        }
    }

    /// Which one it is.
    #[must_use]
    pub const fn kind(&self) -> PolicyKind {
        match self {
            Self::Fifo(_) => PolicyKind::Fifo,
            Self::Clock(_) => PolicyKind::Clock,
            Self::Aging(_) => PolicyKind::Aging,
            Self::Sieve(_) => PolicyKind::Sieve,
            Self::S3Fifo(_) => PolicyKind::S3Fifo,
            Self::WsClock(_) => PolicyKind::WsClock,
        }
    }

    /// What its tables take if it never held a frame from `frames` on: what was never written takes no memory.
    #[must_use]
    pub const fn bytes(&self, frames: u32) -> usize {
        each!(self, policy => policy.bytes(frames))
    }
}

impl Policy for AnyPolicy {
    fn insert(&mut self, frame: u32) {
        each!(self, policy => policy.insert(frame));
    }

    fn insert_page(&mut self, frame: u32, page: PageKey) {
        each!(self, policy => policy.insert_page(frame, page));
    }

    fn remove(&mut self, frame: u32) {
        each!(self, policy => policy.remove(frame));
    }

    fn victim(&mut self, pages: &mut dyn Pages) -> Option<u32> {
        each!(self, policy => policy.victim(pages))
    }

    fn tick(&mut self, pages: &mut dyn Pages) {
        each!(self, policy => policy.tick(pages));
    }
}
