//! Which slots are in use: by how many owners, with what content.

use std::collections::HashMap;

use super::entry::{Content, Entry, Unpacked};
use super::{Slot, StoreError};

/// The slots. The table of entries grows with the highest slot that was ever used, not with the capacity.
#[derive(Debug)]
pub(super) struct SlotTable {
    entries: Vec<Entry>,
    /// How many references a shared slot has beyond the first.
    more: HashMap<Slot, u32>,
    /// Words of same-filled pages that do not fit into an entry.
    words: HashMap<Slot, u64>,
    /// One bit a slot: set while it is in use. Bits past the capacity stay set.
    in_use: Vec<u64>,
    /// Where to look for a free slot next. Going round, and not back to the lowest free slot, keeps pages
    /// that go out together together in the file.
    cursor: u32,
    usage: Usage,
}

/// How full the table is, in slots.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) capacity: u32,
    pub(super) used: u32,
    pub(super) peak: u32,
    pub(super) same_filled: u32,
    pub(super) in_memory: u32,
    pub(super) in_file: u32,
}

impl Usage {
    /// How many slots there are of that kind.
    const fn of(&mut self, content: Content) -> Option<&mut u32> {
        match content {
            Content::Nothing => None,
            Content::SameFilled(_) => Some(&mut self.same_filled),
            Content::Memory(_) => Some(&mut self.in_memory),
            Content::File(_) => Some(&mut self.in_file),
        }
    }
}

impl SlotTable {
    pub(super) fn new(capacity: u32) -> Self {
        let mut in_use = vec![0; capacity.div_ceil(64) as usize];
        if let (Some(last), rest @ 1..) = (in_use.last_mut(), capacity % 64) {
            *last = !0 << rest;
        }
        let usage = Usage { capacity, ..Usage::default() };
        Self { entries: Vec::new(), more: HashMap::new(), words: HashMap::new(), in_use, cursor: 0, usage }
    }

    /// Takes `count` free slots, each with one reference and without content: all or none.
    pub(super) fn allocate(&mut self, count: usize) -> Result<Vec<Slot>, StoreError> {
        if ((self.usage.capacity - self.usage.used) as usize) < count {
            return Err(StoreError::Full(self.usage.capacity));
        }
        Ok((0..count).map(|_| self.take()).collect())
    }

    /// Takes the next free slot; there is one.
    fn take(&mut self) -> Slot {
        let slot = self.next_free();
        self.in_use[slot as usize / 64] |= 1 << (slot % 64);
        self.cursor = slot + 1;
        if self.entries.len() <= slot as usize {
            self.entries.resize(slot as usize + 1, Entry::default());
        }
        self.usage.used += 1;
        self.usage.peak = self.usage.peak.max(self.usage.used);
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

    fn is_in_use(&self, slot: Slot) -> bool {
        (slot.0 as usize) < self.entries.len() && self.in_use[slot.0 as usize / 64] & 1 << (slot.0 % 64) != 0
    }

    /// What a slot holds; `None` where it is not in use, or nothing has arrived yet.
    pub(super) fn content(&self, slot: Slot) -> Option<Content> {
        match self.entries.get(slot.0 as usize)?.unpack() {
            Unpacked::Content(Content::Nothing) => None,
            Unpacked::Content(content) => Some(content),
            Unpacked::LongWord => self.words.get(&slot).copied().map(Content::SameFilled),
        }
    }

    /// Gives a slot that is in use another content.
    pub(super) fn set(&mut self, slot: Slot, content: Content) {
        let before = self.content(slot).unwrap_or(Content::Nothing);
        for (kind, change) in [(before, -1), (content, 1)] {
            if let Some(count) = self.usage.of(kind) {
                *count = count.wrapping_add_signed(change);
            }
        }
        let entry = &mut self.entries[slot.0 as usize];
        if entry.unpack() == Unpacked::LongWord {
            self.words.remove(&slot);
        }
        *entry = Entry::new(content).shared(entry.is_shared());
        if let (Unpacked::LongWord, Content::SameFilled(word)) = (entry.unpack(), content) {
            self.words.insert(slot, word);
        }
    }

    /// Adds a reference.
    pub(super) fn retain(&mut self, slot: Slot) -> Result<(), StoreError> {
        if !self.is_in_use(slot) {
            return Err(StoreError::NotInUse(slot));
        }
        let entry = &mut self.entries[slot.0 as usize];
        *entry = entry.shared(true);
        *self.more.entry(slot).or_default() += 1;
        Ok(())
    }

    /// Takes a reference away. What the slot held, if that was the last one: it is free then.
    pub(super) fn release(&mut self, slot: Slot) -> Option<Content> {
        if !self.is_in_use(slot) {
            return None;
        }
        let entry = &mut self.entries[slot.0 as usize];
        if let Some(more) = entry.is_shared().then(|| self.more.get_mut(&slot)).flatten() {
            *more -= 1;
            if *more == 0 {
                self.more.remove(&slot);
                *entry = entry.shared(false);
            }
            return None;
        }
        let held = self.content(slot).unwrap_or(Content::Nothing);
        self.set(slot, Content::Nothing);
        self.in_use[slot.0 as usize / 64] &= !(1 << (slot.0 % 64));
        self.usage.used -= 1;
        Some(held)
    }

    pub(super) const fn usage(&self) -> Usage {
        self.usage
    }

    /// Memory that the table takes.
    pub(super) fn bytes(&self) -> usize {
        // What hashbrown takes: an eighth of its places stay free, and each has a byte of its own.
        let map = |places: usize, entry: usize| places * 8 / 7 * (entry + 1);
        self.entries.len() * size_of::<Entry>()
            + self.in_use.len() * 8
            + map(self.more.capacity(), 8)
            + map(self.words.capacity(), 16)
    }
}
