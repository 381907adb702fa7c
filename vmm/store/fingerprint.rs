//! What identifies a page's content: its word, if it is one word repeated, else a digest.

use std::hash::{BuildHasher, Hasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::PageBytes;

/// The content of a page, for comparison. Two pages with the same fingerprint are taken to be the same; by
/// accident that is wrong once in 2^61, and the seed keeps a guest from arranging it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub(super) Kind);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// This word, 512 times.
    SameFilled(u64),
    /// Anything else.
    Mixed(Digest),
}

/// The lower bits of a page's XXH3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Digest(pub(super) u64);

impl Digest {
    pub(super) const BITS: u32 = 61;

    pub(super) fn of(page: &PageBytes, seed: u64) -> Self {
        Self(xxh3_64_with_seed(&page.0, seed) & ((1 << Self::BITS) - 1))
    }
}

impl Fingerprint {
    /// The fingerprint of a page of zeros.
    pub const ZERO: Self = Self(Kind::SameFilled(0));

    pub(super) fn of(page: &PageBytes, seed: u64) -> Self {
        let (words, _) = page.0.as_chunks::<8>();
        let first = words[0];
        // Most pages end here at the second word, so the scan costs next to nothing.
        if words.iter().all(|&word| word == first) {
            return Self(Kind::SameFilled(u64::from_ne_bytes(first)));
        }
        Self(Kind::Mixed(Digest::of(page, seed)))
    }

    /// Whether the page is one word repeated, and so takes no block.
    #[must_use]
    pub const fn is_same_filled(self) -> bool {
        matches!(self.0, Kind::SameFilled(_))
    }
}

/// A seed that nobody can foresee: the standard library's, which comes from the host's random source.
pub(super) fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
