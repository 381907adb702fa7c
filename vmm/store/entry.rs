//! What the slot table has of a slot, in 5 bytes.
//!
//! ```text
//!    39 38   37      36 ...................... 0
//!    kind    shared  payload
//!    0                                             1: free; 0: in use, with nothing in it yet
//!    1               0, 36 bits                    this word, repeated
//!    1               1, none                       a longer word, repeated: in the map of words
//!    2               segment 25, granule 12        a blob in memory; its length and digest lie with it
//!    3               37 bits of the page's digest  the block of the file with the slot's number; the table has the others
//! ```
//!
//! Shared: there is more than one reference, and the map of references says how many more.

use super::fingerprint::Digest;
use super::region::SEGMENT_BYTES;

/// Where a blob is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Location {
    /// The number of its segment, below [`MAX_SEGMENTS`].
    pub(super) segment: u32,
    /// Where its header is in there, in granules.
    pub(super) granule: u16,
}

/// Blobs start at multiples of this.
pub(super) const GRANULE: usize = 16;
const _: () = assert!(SEGMENT_BYTES / GRANULE <= 1 << GRANULE_BITS);

/// Most segments that there can be: 2 TiB.
pub(super) const MAX_SEGMENTS: u32 = 1 << SEGMENT_BITS;

/// A slot's content, as the table has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    /// On its way in.
    Nothing,
    /// One word, repeated.
    SameFilled(u64),
    /// In memory.
    Memory(Location),
    /// In the file.
    File(Digest),
}

/// A slot's content and whether it is shared; the word of a same-filled page may be elsewhere, and so are bits of a digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry([u8; BYTES]);

/// What can be read from an entry alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unpacked {
    Free,
    Content(Content),
    /// The map of words has it.
    LongWord,
    /// In the file. These are the lower bits of the digest; the others are [`DIGEST_REST`] bytes.
    File(u64),
}

/// How many bytes of a digest do not fit.
pub(super) const DIGEST_REST: usize = 3;
const _: () = assert!(Digest::BITS == PAYLOAD_BITS + DIGEST_REST as u32 * 8);

const BYTES: usize = 5;
const KIND_SHIFT: u32 = 38;
const SHARED: u64 = 1 << PAYLOAD_BITS;
const PAYLOAD_BITS: u32 = 37;
const PAYLOAD: u64 = SHARED - 1;
const LONG_WORD: u64 = 1 << 36;
const SEGMENT_BITS: u32 = 25;
const GRANULE_BITS: u32 = 12;
const _: () = assert!(SEGMENT_BITS + GRANULE_BITS == PAYLOAD_BITS);

impl Entry {
    /// That of a slot that nobody has.
    pub(super) const FREE: Self = Self::of(1);

    /// The entry of `content`, not shared. A word that does not fit is left out.
    pub(super) const fn new(content: Content) -> Self {
        let (kind, payload) = match content {
            Content::Nothing => (0, 0),
            Content::SameFilled(word) if word < LONG_WORD => (1, word),
            Content::SameFilled(_) => (1, LONG_WORD),
            Content::Memory(at) => (2, (at.segment as u64) << GRANULE_BITS | at.granule as u64),
            Content::File(digest) => (3, digest.0 & PAYLOAD),
        };
        Self::of(kind << KIND_SHIFT | payload)
    }

    pub(super) const fn unpack(self) -> Unpacked {
        let word = self.word();
        let payload = word & PAYLOAD;
        Unpacked::Content(match word >> KIND_SHIFT {
            0 if payload != 0 => return Unpacked::Free,
            0 => Content::Nothing,
            1 if payload & LONG_WORD != 0 => return Unpacked::LongWord,
            1 => Content::SameFilled(payload),
            2 => Content::Memory(Location {
                segment: (payload >> GRANULE_BITS) as u32,
                granule: payload as u16 & ((1 << GRANULE_BITS) - 1),
            }),
            _ => return Unpacked::File(payload),
        })
    }

    /// The bytes of a digest that an entry has no room for.
    pub(super) const fn rest_of(digest: Digest) -> [u8; DIGEST_REST] {
        let [a, b, c, ..] = (digest.0 >> PAYLOAD_BITS).to_le_bytes();
        [a, b, c]
    }

    /// A digest from what the entry has of it, and the rest.
    pub(super) const fn digest(lower: u64, rest: [u8; DIGEST_REST]) -> Digest {
        let [a, b, c] = rest;
        Digest((u32::from_le_bytes([a, b, c, 0]) as u64) << PAYLOAD_BITS | lower)
    }

    pub(super) const fn is_free(self) -> bool {
        self.word() == Self::FREE.word()
    }

    pub(super) const fn is_shared(self) -> bool {
        self.word() & SHARED != 0
    }

    /// The same content, shared or not.
    pub(super) const fn shared(self, shared: bool) -> Self {
        Self::of(self.word() & !SHARED | if shared { SHARED } else { 0 })
    }

    /// Of the lower bytes of a word.
    const fn of(word: u64) -> Self {
        let [a, b, c, d, e, ..] = word.to_le_bytes();
        Self([a, b, c, d, e])
    }

    const fn word(self) -> u64 {
        let [a, b, c, d, e] = self.0;
        u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content() -> impl Strategy<Value = Content> {
        let most = (MAX_SEGMENTS - 1, (SEGMENT_BYTES / GRANULE - 1) as u16);
        prop_oneof![
            Just(Content::Nothing),
            prop_oneof![Just(0), Just(LONG_WORD - 1), 0..LONG_WORD].prop_map(Content::SameFilled),
            prop_oneof![Just((0, 0)), Just(most), (0..=most.0, 0..=most.1)]
                .prop_map(|(segment, granule)| Content::Memory(Location { segment, granule })),
        ]
    }

    proptest! {
        #[test]
        fn every_content_survives_its_five_bytes(content in content(), shared: bool) {
            let entry = Entry::new(content).shared(!shared).shared(shared);
            prop_assert_eq!((entry.unpack(), entry.is_shared()), (Unpacked::Content(content), shared));
            prop_assert!(!entry.is_free());
        }

        #[test]
        fn a_digest_is_put_together_again(bits in 0..1_u64 << Digest::BITS) {
            let Unpacked::File(lower) = Entry::new(Content::File(Digest(bits))).unpack() else {
                panic!("it is in the file");
            };
            prop_assert_eq!(Entry::digest(lower, Entry::rest_of(Digest(bits))), Digest(bits));
        }

        #[test]
        fn a_word_that_does_not_fit_is_said_to_be_elsewhere(word in LONG_WORD..) {
            prop_assert_eq!(Entry::new(Content::SameFilled(word)).unpack(), Unpacked::LongWord);
        }
    }

    #[test]
    fn a_free_slot_holds_nothing_and_is_no_slot_that_nothing_has_come_to_yet() {
        assert_eq!((Entry::FREE.unpack(), Entry::FREE.is_shared()), (Unpacked::Free, false));
        assert_ne!(Entry::FREE, Entry::new(Content::Nothing));
    }
}
