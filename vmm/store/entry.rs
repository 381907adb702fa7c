//! What the slot table has of a slot, in 8 bytes.
//!
//! ```text
//!    63 62   61      60 ............................................ 0
//!    kind    shared  payload
//!    0                                                 nothing: free, or on its way in
//!    1               0, 60 bits                        this word, repeated
//!    1               1, none                           a longer word, repeated: in the map of words
//!    2               segment 32, granule 12, length 13 a blob in memory; its digest lies with it
//!    3               digest                            the block of the file with the slot's number
//! ```
//!
//! Shared: there is more than one reference, and the map of references says how many more.

use super::fingerprint::Digest;
use super::region::SEGMENT_BYTES;

/// Where a blob is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Location {
    /// The number of its segment.
    pub(super) segment: u32,
    /// Where its header is in there, in granules.
    pub(super) granule: u16,
    /// How many bytes it has.
    pub(super) length: u16,
}

/// Blobs start at multiples of this.
pub(super) const GRANULE: usize = 16;
const _: () = assert!(SEGMENT_BYTES / GRANULE <= 1 << GRANULE_BITS);

/// A slot's content, as the table has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    /// Free, or on its way in.
    Nothing,
    /// One word, repeated.
    SameFilled(u64),
    /// In memory.
    Memory(Location),
    /// In the file.
    File(Digest),
}

/// A slot's content and whether it is shared; the word of a same-filled page may be elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Entry(u64);

/// What can be read from an entry alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unpacked {
    Content(Content),
    /// The map of words has it.
    LongWord,
}

const KIND_SHIFT: u32 = 62;
const SHARED: u64 = 1 << 61;
const PAYLOAD: u64 = SHARED - 1;
const LONG_WORD: u64 = 1 << 60;
const LENGTH_BITS: u32 = 13;
const GRANULE_BITS: u32 = 12;

impl Entry {
    /// The entry of `content`, not shared. A word that does not fit is left out.
    pub(super) const fn new(content: Content) -> Self {
        let (kind, payload) = match content {
            Content::Nothing => (0, 0),
            Content::SameFilled(word) if word < LONG_WORD => (1, word),
            Content::SameFilled(_) => (1, LONG_WORD),
            Content::Memory(at) => (
                2,
                (at.segment as u64) << (GRANULE_BITS + LENGTH_BITS)
                    | (at.granule as u64) << LENGTH_BITS
                    | at.length as u64,
            ),
            Content::File(digest) => (3, digest.0),
        };
        Self(kind << KIND_SHIFT | payload)
    }

    pub(super) const fn unpack(self) -> Unpacked {
        let payload = self.0 & PAYLOAD;
        Unpacked::Content(match self.0 >> KIND_SHIFT {
            0 => Content::Nothing,
            1 if payload & LONG_WORD != 0 => return Unpacked::LongWord,
            1 => Content::SameFilled(payload),
            2 => Content::Memory(Location {
                segment: (payload >> (GRANULE_BITS + LENGTH_BITS)) as u32,
                granule: (payload >> LENGTH_BITS) as u16 & ((1 << GRANULE_BITS) - 1),
                length: payload as u16 & ((1 << LENGTH_BITS) - 1),
            }),
            _ => Content::File(Digest(payload)),
        })
    }

    pub(super) const fn is_shared(self) -> bool {
        self.0 & SHARED != 0
    }

    /// The same content, shared or not.
    pub(super) const fn shared(self, shared: bool) -> Self {
        Self(self.0 & !SHARED | if shared { SHARED } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_content_survives_its_word() {
        let most = Location { segment: u32::MAX, granule: 4095, length: 4096 };
        for content in [
            Content::Nothing,
            Content::SameFilled(0),
            Content::SameFilled(LONG_WORD - 1),
            Content::Memory(Location { segment: 0, granule: 0, length: 1 }),
            Content::Memory(most),
            Content::File(Digest(PAYLOAD)),
        ] {
            for shared in [false, true] {
                let entry = Entry::new(content).shared(shared);
                assert_eq!((entry.unpack(), entry.is_shared()), (Unpacked::Content(content), shared));
            }
        }
        assert_eq!(Entry::new(Content::SameFilled(u64::MAX)).unpack(), Unpacked::LongWord);
    }
}
