//! One page of a process, as its entry in the page table says it.
//!
//! The page table is the supplementary page table (SPT): an entry whose present bit is clear belongs to the kernel,
//! which keeps the page's recipe there. So a fault finds the recipe where the CPU looked for the page, and no
//! second structure can disagree with the first.
//!
//! ```text
//!   entry          page        recipe for the next fault
//!   0              Untouched   what the area says: zeros, or a page of a file
//!   slot, not P    Swapped     the swap slot
//!   frame, P       Resident    none needed; when evicted, see reclaim.rs
//! ```

use abi::addr::Gpa;

use super::swap::Slot;

/// What a program may do with a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rights(u8);

impl Rights {
    /// Nothing at all (PROT_NONE).
    pub const NONE: Self = Self(0);
    /// Load.
    pub const READ: Self = Self(1);
    /// Store.
    pub const WRITE: Self = Self(2);
    /// Execute.
    pub const EXECUTE: Self = Self(4);

    /// The rights asked for. The CPU cannot let a page be written or executed but not read, and neither do we.
    #[must_use]
    pub const fn new(read: bool, write: bool, execute: bool) -> Self {
        Self((read || write || execute) as u8 | (write as u8) << 1 | (execute as u8) << 2)
    }

    /// Whether all of `other` are included.
    #[must_use]
    pub const fn allow(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The same without [`Rights::WRITE`].
    #[must_use]
    pub const fn without_write(self) -> Self {
        Self(self.0 & !Self::WRITE.0)
    }

    /// Whether there is any.
    #[must_use]
    pub const fn any(self) -> bool {
        self.0 != 0
    }
}

/// A page-table entry (Intel SDM volume 3, table 4-20), or what the kernel keeps in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Entry(pub u64);

/// What an entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Page {
    /// Never touched, or dropped without loss: the area has the recipe.
    Untouched,
    /// On swap.
    Swapped(Slot),
    /// In the frame at this address.
    Resident(Gpa),
}

impl Entry {
    /// [`Page::Untouched`].
    pub const UNTOUCHED: Self = Self(0);
    const PRESENT: u64 = 1;
    const WRITABLE: u64 = 1 << 1;
    const USER: u64 = 1 << 2;
    const ACCESSED: u64 = 1 << 5;
    const DIRTY: u64 = 1 << 6;
    /// The kernel's own mark in a resident page's entry: it stays in RAM.
    const LOCKED: u64 = 1 << 9;
    /// Used, as a policy found out and then took the CPU's mark away; for the working set.
    const USED: u64 = 1 << 10;
    /// Used, as the working set's estimate found out and then took the CPU's mark away; for the policies.
    const COUNTED: u64 = 1 << 11;
    /// Above the last level: a huge page and not a table.
    const LARGE: u64 = 1 << 7;
    const NO_EXECUTE: u64 = 1 << 63;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    const RIGHTS: u64 = Self::WRITABLE | Self::USER | Self::NO_EXECUTE;
    /// An entry above the last level: the rights are the leaf's alone.
    const TABLE: u64 = Self::PRESENT | Self::WRITABLE | Self::USER;

    /// A resident page that was not accessed yet.
    #[must_use]
    pub const fn resident(frame: Gpa, rights: Rights) -> Self {
        Self(frame.0 | Self::PRESENT).with_rights(rights)
    }

    /// A resident huge page, for an entry above the last level.
    #[must_use]
    pub const fn huge(first: Gpa, rights: Rights) -> Self {
        Self(first.0 | Self::PRESENT | Self::LARGE).with_rights(rights)
    }

    /// The page at `frame` of those that a huge page is split into, of the next level down.
    #[must_use]
    pub const fn part(self, frame: Gpa, level: u32) -> Self {
        let bits = self.0 & !Self::ADDRESS | frame.0;
        Self(if level == 1 { bits & !Self::LARGE } else { bits })
    }

    /// Whether an entry above the last level leads to a table.
    #[must_use]
    #[inline]
    pub const fn is_table(self) -> bool {
        self.0 & (Self::PRESENT | Self::LARGE) == Self::PRESENT
    }

    /// The same for a page in another frame; this one is at 0.
    #[must_use]
    #[inline]
    pub const fn in_frame(self, frame: Gpa) -> Self {
        Self(self.0 | frame.0)
    }

    /// A page on swap. The slot is not 0, and so neither is the entry.
    #[must_use]
    pub const fn swapped(slot: Slot) -> Self {
        Self((slot.number() as u64) << 12)
    }

    /// The entry that leads to a table.
    #[must_use]
    pub const fn table(table: Gpa) -> Self {
        Self(table.0 | Self::TABLE)
    }

    /// What it says.
    #[must_use]
    pub const fn page(self) -> Page {
        if self.is_resident() {
            return Page::Resident(self.address());
        }
        match Slot::new((self.0 >> 12) as u32) {
            Some(slot) => Page::Swapped(slot),
            None => Page::Untouched,
        }
    }

    /// Whether the CPU finds a page (or a table) here.
    #[must_use]
    pub const fn is_resident(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    /// The frame or table, for an entry that [`Entry::is_resident`].
    #[must_use]
    pub const fn address(self) -> Gpa {
        Gpa(self.0 & Self::ADDRESS)
    }

    /// The same page with other rights; one with none stays resident out of the program's reach.
    #[must_use]
    pub const fn with_rights(self, rights: Rights) -> Self {
        let mut bits = self.0 & !Self::RIGHTS;
        if rights.any() {
            bits |= Self::USER;
        }
        if rights.allow(Rights::WRITE) {
            bits |= Self::WRITABLE;
        }
        if !rights.allow(Rights::EXECUTE) {
            bits |= Self::NO_EXECUTE;
        }
        Self(bits)
    }

    /// The same page, not to be written.
    #[must_use]
    #[inline]
    pub const fn without_write(self) -> Self {
        Self(self.0 & !Self::WRITABLE)
    }

    /// Whether the CPU lets the program do all of `rights`.
    #[must_use]
    pub const fn permits(self, rights: Rights) -> bool {
        self.0 & (Self::PRESENT | Self::USER) == Self::PRESENT | Self::USER
            && (self.0 & Self::WRITABLE != 0 || !rights.allow(Rights::WRITE))
            && (self.0 & Self::NO_EXECUTE == 0 || !rights.allow(Rights::EXECUTE))
    }

    /// Whether the page was used since a policy last took the mark away.
    #[must_use]
    pub const fn is_accessed(self) -> bool {
        self.0 & (Self::ACCESSED | Self::COUNTED) != 0
    }

    /// Without the mark of use; the working set's estimate still knows.
    #[must_use]
    pub const fn not_accessed(self) -> Self {
        let used = if self.0 & Self::ACCESSED != 0 { Self::USED } else { 0 };
        Self(self.0 & !(Self::ACCESSED | Self::COUNTED) | used)
    }

    /// Whether the page was used since the estimate last took the mark away.
    #[must_use]
    pub const fn is_in_working_set(self) -> bool {
        self.0 & (Self::ACCESSED | Self::USED) != 0
    }

    /// Without the mark for the estimate; the policies still know.
    #[must_use]
    pub const fn not_in_working_set(self) -> Self {
        let counted = if self.0 & Self::ACCESSED != 0 { Self::COUNTED } else { 0 };
        Self(self.0 & !(Self::ACCESSED | Self::USED) | counted)
    }

    /// Without the CPU's mark; the policies and the estimate still know.
    #[must_use]
    pub const fn not_marked(self) -> Self {
        let seen = if self.is_marked() { Self::USED | Self::COUNTED } else { 0 };
        Self(self.0 & !Self::ACCESSED | seen)
    }

    /// Whether the CPU marked a use.
    #[must_use]
    pub const fn is_marked(self) -> bool {
        self.0 & Self::ACCESSED != 0
    }

    /// Whether the page was written since it became resident.
    #[must_use]
    pub const fn is_dirty(self) -> bool {
        self.0 & Self::DIRTY != 0
    }

    /// Without the mark of a write.
    #[must_use]
    pub const fn not_dirty(self) -> Self {
        Self(self.0 & !Self::DIRTY)
    }

    /// The same page, which is to stay in RAM.
    #[must_use]
    pub const fn locked(self) -> Self {
        Self(self.0 | Self::LOCKED)
    }

    /// The same page, which may leave RAM.
    #[must_use]
    pub const fn unlocked(self) -> Self {
        Self(self.0 & !Self::LOCKED)
    }

    /// Whether it is to stay in RAM.
    #[must_use]
    pub const fn is_locked(self) -> bool {
        self.0 & Self::LOCKED != 0
    }

    /// Marked as the CPU marks it for a store, or for a load.
    #[must_use]
    pub const fn used(self, store: bool) -> Self {
        Self(self.0 | Self::ACCESSED | if store { Self::DIRTY } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_gives_back_what_it_was_made_of(frame in 0u64..1 << 40, slot in 1u32.., bits in 0u8..8) {
            let rights = Rights::new(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
            let frame = Gpa(frame << 12);
            let entry = Entry::resident(frame, rights).used(true);
            prop_assert_eq!(entry.page(), Page::Resident(frame));
            prop_assert_eq!(entry.with_rights(Rights::NONE).with_rights(rights), entry);
            prop_assert_eq!(entry.permits(Rights::WRITE), rights.allow(Rights::WRITE));
            prop_assert_eq!(entry.permits(Rights::EXECUTE), rights.allow(Rights::EXECUTE));
            prop_assert!(entry.is_dirty() && !entry.not_accessed().is_accessed());
            let taken = entry.not_marked();
            prop_assert!(!taken.is_marked() && taken.is_accessed() && taken.is_in_working_set());
            let slot = Slot::new(slot).unwrap();
            prop_assert_eq!(Entry::swapped(slot).page(), Page::Swapped(slot));
        }
    }

    #[test]
    fn a_page_without_rights_stays_resident_out_of_reach() {
        let entry = Entry::resident(Gpa(0x5000), Rights::NONE);
        assert!(entry.is_resident() && !entry.permits(Rights::NONE));
        assert_eq!(Entry::UNTOUCHED.page(), Page::Untouched);
    }
}
