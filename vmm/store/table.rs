//! Which slots are in use: by how many owners, with what content.

use std::collections::HashMap;

use super::entry::{Content, DIGEST_REST, Entry, Unpacked};
use super::fingerprint::Digest;
use super::{Slot, StoreError};

/// The slots. The table of entries grows with the highest slot that was ever used, not with the capacity.
#[derive(Debug)]
pub(super) struct SlotTable {
    entries: Vec<Entry>,
    /// How many entries of each [`BLOCK`] are free.
    free: Vec<u8>,
    /// How many references a shared slot has beyond the first.
    more: HashMap<Slot, u32>,
    /// What entries lack of the digests of pages in the file, up to the last slot that ever was there. A store without a file has none.
    digests: Vec<[u8; DIGEST_REST]>,
    /// Words of same-filled pages that do not fit into an entry.
    words: HashMap<Slot, u64>,
    order: Order,
    /// Where to look for a free slot next.
    cursor: u32,
    usage: Usage,
}

/// Which of the free slots is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Going round all that there may be, and not back to the lowest: so pages that go out together stay together in the file.
    All,
    /// Going round those that were used before, as long as one of them is free: so the table stays small.
    Fewest,
}

/// Entries whose free ones are counted together.
const BLOCK: usize = 64;

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
    pub(super) fn new(capacity: u32, order: Order) -> Self {
        let usage = Usage { capacity, ..Usage::default() };
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            more: HashMap::new(),
            digests: Vec::new(),
            words: HashMap::new(),
            order,
            cursor: 0,
            usage,
        }
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
        if slot == self.entries.len() {
            self.entries.push(Entry::FREE);
            self.free.resize(slot / BLOCK + 1, 0);
            self.free[slot / BLOCK] += 1;
        }
        self.entries[slot] = Entry::new(Content::Nothing);
        self.free[slot / BLOCK] -= 1;
        self.cursor = slot as u32 + 1;
        self.usage.used += 1;
        self.usage.peak = self.usage.peak.max(self.usage.used);
        Slot(slot as u32)
    }

    /// The free slot to take: one past the entries if the table must, or is to, become longer.
    fn next_free(&self) -> usize {
        let end = self.entries.len();
        if self.usage.used as usize == end {
            return end;
        }
        self.first_free(self.cursor as usize).unwrap_or_else(|| {
            let grows = self.order == Order::All && end < self.usage.capacity as usize;
            if grows { end } else { self.first_free(0).unwrap_or(end) }
        })
    }

    /// The first entry from `start` on that is free.
    fn first_free(&self, start: usize) -> Option<usize> {
        let free_in = |slots: &[Entry]| slots.iter().position(|entry| entry.is_free());
        // Of the first block, only what is not before the start.
        let next = start.next_multiple_of(BLOCK).min(self.entries.len());
        if let Some(place) = free_in(&self.entries[start..next]) {
            return Some(start + place);
        }
        let passed = next.div_ceil(BLOCK);
        let block = (passed + self.free.get(passed..)?.iter().position(|&free| free > 0)?) * BLOCK;
        free_in(&self.entries[block..]).map(|place| block + place)
    }

    /// What a slot holds; `None` where it is not in use, or nothing has arrived yet.
    pub(super) fn content(&self, slot: Slot) -> Option<Content> {
        match self.entries.get(slot.0 as usize)?.unpack() {
            Unpacked::Free | Unpacked::Content(Content::Nothing) => None,
            Unpacked::Content(content) => Some(content),
            Unpacked::LongWord => self.words.get(&slot).copied().map(Content::SameFilled),
            Unpacked::File(lower) => {
                let rest = self.digests.get(slot.0 as usize)?;
                Some(Content::File(Entry::digest(lower, *rest)))
            }
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
        match (entry.unpack(), content) {
            (Unpacked::LongWord, Content::SameFilled(word)) => drop(self.words.insert(slot, word)),
            (Unpacked::File(_), Content::File(digest)) => self.keep_rest(slot, digest),
            _ => {}
        }
    }

    fn keep_rest(&mut self, slot: Slot, digest: Digest) {
        let place = slot.0 as usize;
        if self.digests.len() <= place {
            self.digests.resize(place + 1, [0; DIGEST_REST]);
        }
        self.digests[place] = Entry::rest_of(digest);
    }

    /// The entry of a slot that is in use.
    fn used(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.entries.get_mut(slot.0 as usize).filter(|entry| !entry.is_free())
    }

    /// Adds a reference.
    pub(super) fn retain(&mut self, slot: Slot) -> Result<(), StoreError> {
        let entry = self.used(slot).ok_or(StoreError::NotInUse(slot))?;
        *entry = entry.shared(true);
        *self.more.entry(slot).or_default() += 1;
        Ok(())
    }

    /// Takes a reference away. What the slot held, if that was the last one: it is free then.
    pub(super) fn release(&mut self, slot: Slot) -> Option<Content> {
        if self.used(slot)?.is_shared() {
            self.release_shared(slot);
            return None;
        }
        let held = self.content(slot).unwrap_or(Content::Nothing);
        self.set(slot, Content::Nothing);
        self.entries[slot.0 as usize] = Entry::FREE;
        self.free[slot.0 as usize / BLOCK] += 1;
        self.usage.used -= 1;
        Some(held)
    }

    fn release_shared(&mut self, slot: Slot) {
        let Some(more) = self.more.get_mut(&slot) else { return };
        *more -= 1;
        if *more == 0 {
            self.more.remove(&slot);
            let entry = &mut self.entries[slot.0 as usize];
            *entry = entry.shared(false);
        }
    }

    pub(super) const fn usage(&self) -> Usage {
        self.usage
    }

    /// Memory that the table takes.
    pub(super) fn bytes(&self) -> usize {
        // What hashbrown takes: an eighth of its places stay free, and each has a byte of its own.
        let map = |places: usize, entry: usize| places * 8 / 7 * (entry + 1);
        self.entries.len() * size_of::<Entry>()
            + self.free.len()
            + self.digests.len() * DIGEST_REST
            + map(self.more.capacity(), 8)
            + map(self.words.capacity(), 16)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_slot_is_one_owners_until_it_is_released_and_few_slots_make_a_short_table(
            steps in prop::collection::vec((1_usize..90, any::<prop::sample::Index>()), 0..60),
        ) {
            const CAPACITY: u32 = 300;
            for order in [Order::All, Order::Fewest] {
                let (mut table, mut owned) = (SlotTable::new(CAPACITY, order), BTreeSet::new());
                for (count, first) in &steps {
                    match table.allocate(*count) {
                        Ok(slots) => for slot in slots {
                            prop_assert!(slot.0 < CAPACITY && owned.insert(slot), "{slot} is owned");
                        },
                        Err(_) => prop_assert!(owned.len() + count > CAPACITY as usize),
                    }
                    let from = first.index(CAPACITY as usize) as u32;
                    let leaving: Vec<_> = owned.range(Slot(from)..).take(*count).copied().collect();
                    for slot in leaving {
                        prop_assert_eq!(table.release(slot), Some(Content::Nothing));
                        prop_assert_eq!(table.release(slot), None);
                        owned.remove(&slot);
                    }
                    prop_assert_eq!(table.usage().used as usize, owned.len());
                }
                if order == Order::Fewest {
                    prop_assert_eq!(table.entries.len(), table.usage().peak as usize);
                }
            }
        }
    }
}
