//! What identifies a page's content: its word, if it is one word repeated, else a 128-bit digest.

use std::hash::{BuildHasher, Hasher, RandomState};

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::PageBytes;

/// The content of a page, for comparison. Two pages with the same fingerprint are taken to be the same; by
/// accident that is wrong once in 2^128, and the seed keeps a guest from arranging it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(Content);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Content {
    /// This word, 512 times.
    SameFilled(u64),
    /// XXH3-128 of anything else, low half first. Two words, because u128 would pad the slot table.
    Digest([u64; 2]),
}

impl Fingerprint {
    /// The fingerprint of a page of zeros.
    pub const ZERO: Self = Self(Content::SameFilled(0));

    pub(super) fn of(page: &PageBytes, seed: u64) -> Self {
        let (words, _) = page.0.as_chunks::<8>();
        let first = words[0];
        // Most pages end here at the second word, so the scan costs next to nothing.
        if words.iter().all(|&word| word == first) {
            return Self(Content::SameFilled(u64::from_ne_bytes(first)));
        }
        let digest = xxh3_128_with_seed(&page.0, seed);
        Self(Content::Digest([digest as u64, (digest >> 64) as u64]))
    }

    /// Whether the page is one word repeated, and so takes no block.
    #[must_use]
    pub const fn is_same_filled(self) -> bool {
        matches!(self.0, Content::SameFilled(_))
    }

    /// Fills `page` if the fingerprint is all that there is to know of it.
    pub(super) fn fill(self, page: &mut PageBytes) -> bool {
        let Content::SameFilled(word) = self.0 else { return false };
        let (words, _) = page.0.as_chunks_mut::<8>();
        words.fill(word.to_ne_bytes());
        true
    }
}

/// A seed that nobody can foresee: the standard library's, which comes from the host's random source.
pub(super) fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
