//! Which slots are in use: by how many owners, with what content.

use super::{Fingerprint, Slot, StoreError};

/// A slot in use has at least one reference.
#[derive(Clone, Copy, Debug)]
struct Entry {
    references: u32,
    fingerprint: Fingerprint,
}

const FREE: Entry = Entry { references: 0, fingerprint: Fingerprint::ZERO };

/// The slots. The table of entries grows with the highest slot that was ever used, not with the capacity.
#[derive(Debug)]
pub(super) struct SlotTable {
    entries: Vec<Entry>,
    /// One bit a slot: set while it is in use. Bits past the capacity stay set.
    in_use: Vec<u64>,
    /// Where to look for a free slot next. Going round, and not back to the lowest free slot, keeps pages that
    /// go out together together in the file.
    cursor: u32,
    usage: Usage,
}

/// How full the table is, in slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) capacity: u32,
    pub(super) used: u32,
    pub(super) peak: u32,
    pub(super) same_filled: u32,
}

impl SlotTable {
    pub(super) fn new(capacity: u32) -> Self {
        let mut in_use = vec![0; capacity.div_ceil(64) as usize];
        if let (Some(last), rest @ 1..) = (in_use.last_mut(), capacity % 64) {
            *last = !0 << rest;
        }
        let usage = Usage { capacity, used: 0, peak: 0, same_filled: 0 };
        Self { entries: Vec::new(), in_use, cursor: 0, usage }
    }

    /// Takes a free slot for each fingerprint, with one reference: all or none.
    pub(super) fn allocate(
        &mut self,
        contents: impl ExactSizeIterator<Item = Fingerprint>,
    ) -> Result<Vec<Slot>, StoreError> {
        if (self.usage.capacity - self.usage.used) < contents.len() as u32 {
            return Err(StoreError::Full(self.usage.capacity));
        }
        Ok(contents.map(|fingerprint| self.take(fingerprint)).collect())
    }

    /// Takes the next free slot; there is one.
    fn take(&mut self, fingerprint: Fingerprint) -> Slot {
        let slot = self.next_free();
        self.in_use[slot as usize / 64] |= 1 << (slot % 64);
        self.cursor = slot + 1;
        if self.entries.len() <= slot as usize {
            self.entries.resize(slot as usize + 1, FREE);
        }
        self.entries[slot as usize] = Entry { references: 1, fingerprint };
        self.usage.used += 1;
        self.usage.peak = self.usage.peak.max(self.usage.used);
        self.usage.same_filled += u32::from(fingerprint.is_same_filled());
        Slot(slot)
    }

    /// The first free slot from the cursor on, or else from the start.
    fn next_free(&self) -> u32 {
        let mut word = self.cursor as usize / 64 % self.in_use.len();
        // Of the first word, only what is not before the cursor.
        let mut free = !self.in_use[word] & !0 << (self.cursor % 64);
        while free == 0 {
            word = (word + 1) % self.in_use.len();
            free = !self.in_use[word];
        }
        word as u32 * 64 + free.trailing_zeros()
    }

    fn entry(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.entries.get_mut(slot.0 as usize).filter(|entry| entry.references > 0)
    }

    /// Adds a reference, and says what the slot holds.
    pub(super) fn retain(&mut self, slot: Slot) -> Result<Fingerprint, StoreError> {
        let entry = self.entry(slot).ok_or(StoreError::NotInUse(slot))?;
        entry.references += 1;
        Ok(entry.fingerprint)
    }

    /// Takes a reference away. Whether that was the last one: the slot is free then.
    pub(super) fn release(&mut self, slot: Slot) -> bool {
        let Some(entry) = self.entry(slot) else { return false };
        entry.references -= 1;
        if entry.references > 0 {
            return false;
        }
        let freed = std::mem::replace(entry, FREE).fingerprint;
        self.in_use[slot.0 as usize / 64] &= !(1 << (slot.0 % 64));
        self.usage.used -= 1;
        self.usage.same_filled -= u32::from(freed.is_same_filled());
        true
    }

    pub(super) fn fingerprint_of(&self, slot: Slot) -> Option<Fingerprint> {
        let entry = self.entries.get(slot.0 as usize)?;
        (entry.references > 0).then_some(entry.fingerprint)
    }

    pub(super) const fn usage(&self) -> Usage {
        self.usage
    }
}
