//! The TLB, and the tags that keep the translations of several address spaces apart in it.
//!
//! Where the CPU has process-context identifiers (PCID, Intel SDM volume 3, 4.10.1), each address space has a tag of its own, and a switch
//! keeps what the TLB knows of the others. The kernel changes entries of other spaces, too, above all when it evicts: their tag is
//! stale then, and is flushed when they run next. Tag 0 is for all that have no tag of their own: each switch to it flushes it. Without PCID it
//! is the only one.

use core::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};

use abi::addr::{Gpa, Gva};

use super::cpu;

/// What the TLB calls an address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Tag(u16);

/// Bits by tag.
struct Bits([AtomicU64; 64]);

impl Bits {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 64])
    }

    /// Sets or clears a bit. Returns what it was. One CPU, and interrupts are off.
    fn replace(&self, tag: Tag, set: bool) -> bool {
        let (word, bit) = (&self.0[usize::from(tag.0) / 64], 1 << (tag.0 % 64));
        let old = word.load(Relaxed);
        word.store(if set { old | bit } else { old & !bit }, Relaxed);
        old & bit != 0
    }
}

/// All tags.
struct Tags {
    /// Those that an address space has.
    used: Bits,
    /// Those under which the TLB may know what is not so any more.
    stale: Bits,
    /// Where to look for an unused one: 0 while there is no PCID.
    next: AtomicU16,
}

static TAGS: Tags = Tags { used: Bits::new(), stale: Bits::new(), next: AtomicU16::new(0) };
/// That of the tables in CR3.
static CURRENT: AtomicU16 = AtomicU16::new(0);
/// How many there are.
const COUNT: u16 = 4096;

/// From now on address spaces have tags. CR4.PCIDE is set.
pub fn use_tags() {
    TAGS.next.store(1, Relaxed);
}

impl Tags {
    fn take(&self) -> Tag {
        let from = self.next.load(Relaxed);
        for tag in (from.max(1)..COUNT).chain(1..from).map(Tag).filter(|_| from > 0) {
            if !self.used.replace(tag, true) {
                // Its last owner's translations may be there still.
                self.stale.replace(tag, true);
                self.next.store(if tag.0 + 1 < COUNT { tag.0 + 1 } else { 1 }, Relaxed);
                return tag;
            }
        }
        Tag::NONE
    }
}

impl Tag {
    /// That of all that have none of their own.
    pub const NONE: Self = Self(0);

    /// One that no other address space has, or [`Tag::NONE`].
    #[must_use]
    pub fn take() -> Self {
        TAGS.take()
    }

    /// Its address space is no more.
    pub fn free(self) {
        TAGS.used.replace(self, false);
    }

    /// Forgets the translation of a page.
    #[inline]
    pub fn flush_page(self, page: Gva) {
        if self.0 == CURRENT.load(Relaxed) {
            cpu::invlpg(page);
        } else {
            TAGS.stale.replace(self, true);
        }
    }

    /// Forgets all translations.
    pub fn flush(self) {
        if self.0 == CURRENT.load(Relaxed) {
            cpu::flush_tlb();
        } else {
            TAGS.stale.replace(self, true);
        }
    }
}

/// Makes the CPU use the tables at `root`, whose translations the TLB knows under `tag`.
///
/// # Safety
/// The tables map the kernel as it is mapped now.
pub unsafe fn load(root: Gpa, tag: Tag) {
    /// In CR3: translations under the tag stay.
    const KEEP: u64 = 1 << 63;
    let keep = tag.0 != 0 && !TAGS.stale.replace(tag, false);
    CURRENT.store(tag.0, Relaxed);
    let flags = u64::from(tag.0) | if keep { KEEP } else { 0 };
    // SAFETY: the caller vouches for the tables. A tag that is not 0 is there only with CR4.PCIDE.
    unsafe { cpu::set_cr3(root, flags) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_address_spaces_have_one_tag_and_a_new_owner_starts_stale() {
        let tags = Tags { used: Bits::new(), stale: Bits::new(), next: AtomicU16::new(0) };
        assert_eq!(tags.take(), Tag::NONE, "no PCID, no tags");
        tags.next.store(1, Relaxed);
        let live: Vec<Tag> = (1..COUNT).map(|_| tags.take()).collect();
        assert_eq!(live.iter().map(|tag| tag.0).collect::<BTreeSet<_>>().len(), live.len());
        assert_eq!(tags.take(), Tag::NONE, "all are in use");
        tags.stale.replace(live[77], false);
        tags.used.replace(live[77], false);
        assert_eq!(tags.take(), live[77]);
        assert!(tags.stale.replace(live[77], false));
    }
}
