//! Ghosts: the pages that went lately, oldest first, of which nothing but a fingerprint is kept.
//!
//! A ring of fingerprints in the order of their going, threaded into a hash table. The oldest place is reused
//! for the newest ghost, so it is always the last of its chain.

use alloc::vec;
use alloc::vec::Vec;

use super::PageKey;

/// What is remembered of a page: two pages in 2^32 are taken for each other, which costs a wrong guess.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(super) struct Fingerprint(u32);

impl Fingerprint {
    /// Of a page that has no key.
    pub(super) const UNKNOWN: Self = Self(0);

    /// Multiplicative hashing (Knuth, "The Art of Computer Programming", 6.4): pages in a row spread evenly.
    pub(super) const fn of(page: PageKey) -> Self {
        let hash = (page.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32;
        Self(if hash == 0 { 1 } else { hash })
    }
}

/// One more than a place in the ring, so that zeroed memory is an empty table.
type Link = u32;
const NONE: Link = 0;

/// Room for a ghost a frame: 8 bytes each, and 4 to 8 for the table.
#[derive(Debug)]
pub(super) struct Ghosts {
    /// Fingerprint, and the next place of its chain.
    ring: Vec<(u32, Link)>,
    chains: Vec<Link>,
    /// The place of the next ghost, which is the oldest one's.
    next: u32,
}

impl Ghosts {
    pub(super) fn new(room: u32) -> Self {
        let room = room.max(1) as usize;
        Self { ring: vec![(0, NONE); room], chains: vec![NONE; room.next_power_of_two()], next: 0 }
    }

    /// What they take.
    pub(super) const fn bytes(&self) -> usize {
        size_of_val(self.ring.as_slice()) + size_of_val(self.chains.as_slice())
    }

    /// Makes the page the newest ghost; the oldest is forgotten if there is no room.
    pub(super) fn remember(&mut self, page: Fingerprint) {
        let place = self.next;
        let (oldest, _) = self.ring[place as usize];
        self.unlink(Fingerprint(oldest), |link, _| link == place + 1);
        if page == Fingerprint::UNKNOWN {
            // Nothing to remember, but the others grow older by it.
            self.ring[place as usize] = (0, NONE);
        } else {
            let chain = self.chain(page);
            self.ring[place as usize] = (page.0, self.chains[chain]);
            self.chains[chain] = place + 1;
        }
        self.next = if place as usize + 1 == self.ring.len() { 0 } else { place + 1 };
    }

    /// Whether the page is among the `newest` ghosts; if it is, it is one no longer.
    pub(super) fn take(&mut self, page: Fingerprint, newest: u32) -> bool {
        let Some(link) = self.unlink(page, |_, fingerprint| fingerprint == page.0) else { return false };
        let room = self.ring.len() as u32;
        let place = link - 1;
        let age = if place < self.next { self.next - place } else { self.next + room - place };
        age <= newest
    }

    fn chain(&self, page: Fingerprint) -> usize {
        page.0 as usize & (self.chains.len() - 1)
    }

    /// Takes the first place of the page's chain that is wanted out of it.
    fn unlink(&mut self, page: Fingerprint, wanted: impl Fn(Link, u32) -> bool) -> Option<Link> {
        let chain = self.chain(page);
        let mut before = NONE;
        let mut link = self.chains[chain];
        while link != NONE {
            let (fingerprint, next) = self.ring[link as usize - 1];
            if wanted(link, fingerprint) {
                match before {
                    NONE => self.chains[chain] = next,
                    _ => self.ring[before as usize - 1].1 = next,
                }
                return Some(link);
            }
            (before, link) = (link, next);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_newest_ghosts_are_remembered_and_no_others(
            room in 1_u32..20,
            steps in prop::collection::vec((any::<bool>(), 0_u64..40, 1_u32..25), 0..300),
        ) {
            let mut ghosts = Ghosts::new(room);
            // Newest first. One that was taken leaves a gap.
            let mut model: VecDeque<Option<u64>> = VecDeque::new();
            for (remember, page, newest) in steps {
                let fingerprint = Fingerprint::of(PageKey(page));
                if remember && !model.contains(&Some(page)) {
                    ghosts.remember(fingerprint);
                    model.push_front(Some(page));
                    model.truncate(room as usize);
                } else if !remember {
                    let age = model.iter().position(|&ghost| ghost == Some(page));
                    let expected = age.is_some_and(|age| age < newest as usize);
                    prop_assert_eq!(ghosts.take(fingerprint, newest), expected);
                    age.into_iter().for_each(|age| model[age] = None);
                }
            }
        }
    }

    #[test]
    fn what_is_unknown_is_never_remembered() {
        let mut ghosts = Ghosts::new(4);
        ghosts.remember(Fingerprint::UNKNOWN);
        assert!(!ghosts.take(Fingerprint::UNKNOWN, 4));
    }
}
