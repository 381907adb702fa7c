//! The reverse map: which entries of page tables map a frame.
//!
//! Most frames are mapped once. Such a list is the entry itself, in the eight bytes where a longer one has its first node; the
//! last node's link is the last entry. Nodes fill frames of their own, and a frame whose nodes are all unused is free again.
//!
//! ```text
//!   0                    no mapping
//!   entry                one
//!   node -> (entry, .)   several: . is the rest of the list
//! ```

use abi::addr::{Gpa, PAGE_SIZE};

use super::frame::{FrameIndex, FrameTable, Link, Use};
use super::table::EntryRef;

/// A list of entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Mappings(u64);

/// A node's place: 16 bytes in a frame of nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Node(Gpa);

const NODE_BYTES: usize = 16;
/// The first nodes' room holds a bit for each node: in use or not.
const FIRST: usize = WORDS * 8 / NODE_BYTES;
const WORDS: usize = PAGE_SIZE / NODE_BYTES / 64;
/// How many nodes a frame has.
pub const NODES: u16 = (PAGE_SIZE / NODE_BYTES - FIRST) as u16;

enum Kind {
    None,
    One(EntryRef),
    Several(Node),
}

impl Mappings {
    /// No entry.
    pub const NONE: Self = Self(0);
    /// Set in a link to a node. Entries and nodes are aligned to 8 bytes at least.
    const NODE: u64 = 1;

    /// One entry.
    #[must_use]
    #[inline]
    pub const fn one(entry: EntryRef) -> Self {
        Self(entry.raw())
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The entry, if it is the only one.
    #[must_use]
    #[inline]
    pub const fn single(self) -> Option<EntryRef> {
        if self.0 & Self::NODE == 0 { EntryRef::from_raw(self.0) } else { None }
    }

    /// Calls `each` with every entry.
    #[inline]
    pub fn for_each(self, frames: &FrameTable, mut each: impl FnMut(EntryRef)) {
        let mut rest = self;
        loop {
            match rest.kind() {
                Kind::None => return,
                Kind::One(entry) => return each(entry),
                Kind::Several(node) => {
                    let (entry, next) = node.load(frames);
                    each(entry);
                    rest = next;
                }
            }
        }
    }

    /// Whether `is` holds for any.
    #[must_use]
    #[inline]
    pub fn any(self, frames: &FrameTable, mut is: impl FnMut(EntryRef) -> bool) -> bool {
        let mut any = false;
        self.for_each(frames, |entry| any |= is(entry));
        any
    }

    /// How many there are.
    #[must_use]
    #[inline]
    pub fn count(self, frames: &FrameTable) -> u32 {
        let mut count = 0;
        self.for_each(frames, |_| count += 1);
        count
    }

    /// Puts another entry in the place of `old`, which is in the list.
    pub fn replace(&mut self, frames: &mut FrameTable, old: EntryRef, new: EntryRef) {
        let mut holder = None;
        let mut rest = *self;
        while let Kind::Several(node) = rest.kind() {
            let (entry, next) = node.load(frames);
            if entry == old {
                return node.store(frames, new, next);
            }
            holder = Some((node, entry));
            rest = next;
        }
        match holder {
            None => *self = Self::one(new),
            Some((node, entry)) => node.store(frames, entry, Self::one(new)),
        }
    }

    #[inline]
    const fn kind(self) -> Kind {
        match EntryRef::from_raw(self.0) {
            None => Kind::None,
            Some(entry) if self.0 & Self::NODE == 0 => Kind::One(entry),
            Some(_) => Kind::Several(Node(Gpa(self.0 & !Self::NODE))),
        }
    }

    const fn several(node: Node) -> Self {
        Self(node.0.0 | Self::NODE)
    }
}

impl Node {
    fn place(self, frames: &FrameTable) -> (FrameIndex, usize) {
        (frames.at(self.0.page_start()), self.0.page_offset())
    }

    fn load(self, frames: &FrameTable) -> (EntryRef, Mappings) {
        let (frame, offset) = self.place(frames);
        let [entry, next] = frames.words(frame, offset);
        let Some(entry) = EntryRef::from_raw(entry) else { unreachable!("a node without an entry") };
        (entry, Mappings(next))
    }

    fn store(self, frames: &mut FrameTable, entry: EntryRef, next: Mappings) {
        let (frame, offset) = self.place(frames);
        frames.set_words(frame, offset, [entry.raw(), next.0]);
    }
}

/// The nodes.
#[derive(Default)]
pub struct ReverseMap {
    /// Frames of nodes that have an unused one, a list in both directions.
    partial: Link,
    frames: u32,
}

impl ReverseMap {
    /// Frames that hold nodes.
    #[must_use]
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// Whether [`ReverseMap::add`] finds a node.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.partial != Link::NONE
    }

    /// Makes a zeroed frame one of unused nodes.
    pub fn grow(&mut self, frames: &mut FrameTable, frame: FrameIndex) {
        *frames.get_mut(frame) = Use::Nodes { unused: NODES, next: Link::NONE, previous: Link::NONE };
        self.frames += 1;
        self.link(frames, frame);
    }

    /// Adds an entry. Where the list has one already there must be room.
    pub fn add(&mut self, frames: &mut FrameTable, list: Mappings, entry: EntryRef) -> Mappings {
        if list.is_none() {
            return Mappings::one(entry);
        }
        let node = self.take(frames);
        node.store(frames, entry, list);
        Mappings::several(node)
    }

    /// Takes an entry out of a list that has it.
    pub fn remove(&mut self, frames: &mut FrameTable, list: Mappings, entry: EntryRef) -> Mappings {
        let Kind::Several(first) = list.kind() else { return Mappings::NONE };
        // The first node goes, and the entry that it holds takes the place of the one to be removed: their order is of no account.
        let (kept, mut rest) = first.load(frames);
        if kept != entry {
            rest.replace(frames, entry, kept);
        }
        self.free(frames, first);
        rest
    }

    /// Takes all entries out of a list.
    pub fn clear(&mut self, frames: &mut FrameTable, list: Mappings) {
        let mut rest = list;
        while let Kind::Several(node) = rest.kind() {
            rest = node.load(frames).1;
            self.free(frames, node);
        }
    }

    fn take(&mut self, frames: &mut FrameTable) -> Node {
        let Some(frame) = self.partial.frame() else { unreachable!("the caller made room") };
        let Use::Nodes { unused, .. } = frames.get_mut(frame) else {
            unreachable!("the list holds frames of nodes")
        };
        *unused -= 1;
        let full = *unused == 0;
        let mut bits: [u64; WORDS] = frames.words(frame, 0);
        bits[0] |= (1 << FIRST) - 1;
        let word = bits.iter().position(|&word| word != u64::MAX).unwrap_or(0);
        let bit = bits[word].trailing_ones() as usize;
        bits[word] |= 1 << bit;
        frames.set_words(frame, 0, bits);
        if full {
            self.unlink(frames, frame);
        }
        Node(frames.gpa(frame) + ((word * 64 + bit) * NODE_BYTES) as u64)
    }

    fn free(&mut self, frames: &mut FrameTable, node: Node) {
        let (frame, offset) = node.place(frames);
        let number = offset / NODE_BYTES;
        let mut bits: [u64; WORDS] = frames.words(frame, 0);
        bits[number / 64] &= !(1 << (number % 64));
        frames.set_words(frame, 0, bits);
        let Use::Nodes { unused, .. } = frames.get_mut(frame) else {
            unreachable!("a node in another frame")
        };
        *unused += 1;
        match *unused {
            1 => self.link(frames, frame),
            NODES => {
                self.unlink(frames, frame);
                self.frames -= 1;
                frames.free(frame);
            }
            _ => {}
        }
    }

    fn link(&mut self, frames: &mut FrameTable, frame: FrameIndex) {
        let head = core::mem::replace(&mut self.partial, Link::to(frame));
        if let Use::Nodes { next, .. } = frames.get_mut(frame) {
            *next = head;
        }
        if let Some(after) = head.frame()
            && let Use::Nodes { previous, .. } = frames.get_mut(after)
        {
            *previous = Link::to(frame);
        }
    }

    fn unlink(&mut self, frames: &mut FrameTable, frame: FrameIndex) {
        let Use::Nodes { next: after, previous: before, .. } = frames.get(frame) else { return };
        match before.frame().map(|before| frames.get_mut(before)) {
            Some(Use::Nodes { next, .. }) => *next = after,
            _ => self.partial = after,
        }
        if let Some(Use::Nodes { previous, .. }) = after.frame().map(|after| frames.get_mut(after)) {
            *previous = before;
        }
        if let Use::Nodes { next, previous, .. } = frames.get_mut(frame) {
            (*next, *previous) = (Link::NONE, Link::NONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::boot::RamRange;
    use proptest::prelude::*;

    fn entry(number: u64) -> EntryRef {
        EntryRef::from_raw(0x4_0000 + number * 8).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Against a list of sets: the same entries, and every frame of nodes is free at the end.
        #[test]
        fn lists_hold_what_was_added_and_not_removed(steps in prop::collection::vec((0usize..4, any::<bool>(), 0u64..400), 0..1000)) {
            let range = RamRange { start: Gpa(0x10_0000), bytes: 16 << 12 };
            let mut frames = FrameTable::new(range, RamRange { start: Gpa(0), bytes: 0 });
            let mut map = ReverseMap::default();
            let mut lists = [Mappings::NONE; 4];
            let mut model: [Vec<u64>; 4] = Default::default();
            for (which, add, number) in steps {
                if !map.has_room() {
                    let frame = frames.take_zeroed().unwrap();
                    map.grow(&mut frames, frame);
                }
                let found = model[which].iter().position(|&held| held == number);
                match (add, found) {
                    (true, None) => {
                        lists[which] = map.add(&mut frames, lists[which], entry(number));
                        model[which].push(number);
                    }
                    (false, Some(at)) => {
                        lists[which] = map.remove(&mut frames, lists[which], entry(number));
                        model[which].swap_remove(at);
                    }
                    (true, Some(at)) => {
                        lists[which].replace(&mut frames, entry(number), entry(number + 1000));
                        lists[which].replace(&mut frames, entry(number + 1000), entry(number));
                        prop_assert_eq!(model[which][at], number);
                    }
                    (false, None) => {}
                }
                let mut held = Vec::new();
                lists[which].for_each(&frames, |entry| held.push(entry));
                held.sort_by_key(|entry| entry.raw());
                let mut expected: Vec<_> = model[which].iter().map(|&number| entry(number)).collect();
                expected.sort_by_key(|entry| entry.raw());
                prop_assert_eq!(held, expected);
                prop_assert_eq!(lists[which].single().is_some(), model[which].len() == 1);
            }
            for (mut list, model) in lists.into_iter().zip(model) {
                for number in model {
                    list = map.remove(&mut frames, list, entry(number));
                }
                prop_assert!(list.is_none());
            }
            // At most the one that was made room with.
            prop_assert!(map.frames() <= 1 && frames.free_frames() >= 15);
        }
    }
}
