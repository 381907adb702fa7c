//! The frame table: where the page of each guest frame is.
//!
//! ```text
//!            first touch                    victim                      oldest parked
//!    Zero ------------------> Resident ---------------> Parked ------------------------> Writing
//!     ^ |                     ^  ^  ^                     |                               |  |
//!     | +---> Filling --------+  |  +------ rescue -------+                               |  |
//!     |          ^               +--------- rescue ---------------------------------------+  |
//!     |          +--- being read --- Stored <------------ in the store ----------------------+
//!     +-------------------------------------------------- all zeros -------------------------+
//! ```
//!
//! Frames are in groups of 512, the small pages of an aligned huge page of 2 MiB. A group's lock guards the states of its
//! frames; with the lock free they are the truth, and only its holder changes state and page. The lock is held across the userfaultfd
//! operation that goes with the change (microseconds), never across I/O nor decompression. No thread holds two of these locks.
//!
//! A group can be *whole*: its pages are one huge page, in guest RAM or in the staging area. Then its frames are `Resident`, for
//! the slots' sake, and [`Whole`] says where the huge page is. It stops being whole when it is written to the store or split.

use std::num::NonZeroU16;

use parking_lot::{Mutex, MutexGuard};

use super::staging::Berth;
use crate::memory::FrameIndex;
use crate::store::{MAX_SLOTS, Slot};

/// Where a frame's page is. A slot in a state is a reference that the frame owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameState {
    /// Nowhere: it is all zeros.
    Zero,
    /// In guest RAM, and in the policy. The slot holds the page as it was when it came in; whether it still is
    /// the same shows at the next eviction.
    Resident(Option<Slot>),
    /// In the staging area; going back costs no I/O. The berth keeps the slot that it had when resident.
    Parked(Berth),
    /// In the staging area, from where it is being written to the store. The page must stay there until that is
    /// done, so whoever needs it takes a copy.
    Writing(Berth),
    /// In the store.
    Stored(Slot),
    /// On its way into guest RAM, from its slot or from nowhere. Whoever made it so puts the page in place, which wakes
    /// all who wait for it; nobody else does anything.
    Filling(Option<Slot>),
}

/// Enough for every slot and every berth.
const PAYLOAD_BITS: u32 = 29;
const _: () = assert!(MAX_SLOTS == 1 << PAYLOAD_BITS);

impl FrameState {
    /// 4 bytes: the kind in the upper 3 bits, zero for [`FrameState::Zero`], so that a new table is zeroed memory.
    const fn pack(self) -> u32 {
        let (kind, payload) = match self {
            Self::Zero => (0, 0),
            Self::Resident(None) => (1, 0),
            Self::Resident(Some(slot)) => (2, slot.0),
            Self::Parked(berth) => (3, berth.0),
            Self::Writing(berth) => (4, berth.0),
            Self::Stored(slot) => (5, slot.0),
            Self::Filling(None) => (6, 0),
            Self::Filling(Some(slot)) => (7, slot.0),
        };
        kind << PAYLOAD_BITS | payload
    }

    const fn unpack(word: u32) -> Self {
        let payload = word & (MAX_SLOTS - 1);
        match word >> PAYLOAD_BITS {
            0 => Self::Zero,
            1 => Self::Resident(None),
            2 => Self::Resident(Some(Slot(payload))),
            3 => Self::Parked(Berth(payload)),
            4 => Self::Writing(Berth(payload)),
            5 => Self::Stored(Slot(payload)),
            6 => Self::Filling(None),
            _ => Self::Filling(Some(Slot(payload))),
        }
    }

    /// The slot that it owns.
    pub const fn slot(self) -> Option<Slot> {
        match self {
            Self::Resident(slot) | Self::Filling(slot) => slot,
            Self::Stored(slot) => Some(slot),
            Self::Zero | Self::Parked(_) | Self::Writing(_) => None,
        }
    }

    /// Whether the page is out of RAM and nobody is bringing it in.
    pub const fn is_out(self) -> bool {
        matches!(self, Self::Zero | Self::Stored(_))
    }
}

/// Where the huge page of a whole group is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whole {
    /// There is none: each frame goes by its own state.
    No,
    /// In guest RAM, and in the policy under the group's first frame.
    Resident,
    /// In the staging area, from this berth on.
    Parked(Berth),
}

impl Whole {
    const fn pack(self) -> u32 {
        match self {
            Self::No => 0,
            Self::Resident => 1,
            Self::Parked(berth) => berth.0 + 2,
        }
    }

    const fn unpack(word: u32) -> Self {
        match word {
            0 => Self::No,
            1 => Self::Resident,
            berth => Self::Parked(Berth(berth - 2)),
        }
    }
}

/// Frames in a group.
pub const GROUP: u32 = 512;

/// A group. Its states take no memory before the first frame is used.
#[derive(Default)]
struct Group {
    /// [`Whole`], packed.
    whole: u32,
    hints: Hints,
    words: Option<Box<[u32; GROUP as usize]>>,
}
const _: () = assert!(size_of::<Mutex<Group>>() == 24, "there is one for each group, used or not");

/// What is remembered about how a group is used.
#[derive(Clone, Copy, Default, Debug)]
pub struct Hints {
    /// Where in the group it was last touched while it was parked whole, counted from 1.
    touched_at: Option<NonZeroU16>,
    /// It was touched there twice in turn: there is a spot that is used, and the rest seems not to be.
    pub is_narrow: bool,
}

impl Hints {
    /// Touches of a huge page that are nearer to each other than this, in pages, are of one spot.
    const SPOT: u16 = 16;

    /// The group was touched at this page while it was parked whole.
    pub fn touched(&mut self, page: u16) {
        let place = NonZeroU16::MIN.saturating_add(page);
        self.is_narrow =
            self.touched_at.is_some_and(|before| before.get().abs_diff(place.get()) < Self::SPOT);
        self.touched_at = Some(place);
    }
}

/// The table.
pub struct FrameTable {
    frames: u32,
    groups: Vec<Mutex<Group>>,
}

impl FrameTable {
    /// A table in which every frame is [`FrameState::Zero`].
    pub fn new(frames: u32) -> Self {
        Self { frames, groups: (0..frames.div_ceil(GROUP)).map(|_| Mutex::default()).collect() }
    }

    /// What it takes: the states of the groups of which a frame was ever used, and an entry for each group.
    pub fn bytes(&self) -> usize {
        let used = self.groups.iter().filter(|group| group.lock().words.is_some()).count();
        used * size_of::<[u32; GROUP as usize]>() + self.groups.len() * size_of::<Mutex<Group>>()
    }

    /// Locks the group of a frame of guest RAM.
    pub fn lock(&self, frame: FrameIndex) -> GroupGuard<'_> {
        let number = frame.0 / GROUP;
        GroupGuard { first: number * GROUP, group: self.groups[number as usize].lock() }
    }

    /// Every frame, for use when no thread is left that could change one.
    pub fn all(&self) -> impl Iterator<Item = FrameIndex> {
        (0..self.frames).map(FrameIndex)
    }

    /// Whether the frame is in RAM, with all of its group: the last group may be short.
    pub fn has_whole_group(&self, frame: FrameIndex) -> bool {
        (frame.0 / GROUP + 1) * GROUP <= self.frames
    }
}

/// The first frame of a frame's group.
pub const fn head(frame: FrameIndex) -> FrameIndex {
    FrameIndex(frame.0 / GROUP * GROUP)
}

/// A group that is locked.
pub struct GroupGuard<'a> {
    first: u32,
    group: MutexGuard<'a, Group>,
}

impl GroupGuard<'_> {
    /// The state of a frame of the group.
    pub fn state(&self, frame: FrameIndex) -> FrameState {
        let word = self.group.words.as_ref().map_or(0, |words| words[(frame.0 - self.first) as usize]);
        FrameState::unpack(word)
    }

    /// Gives a frame of the group another.
    pub fn set(&mut self, frame: FrameIndex, state: FrameState) {
        let words = self.group.words.get_or_insert_with(|| Box::new([0; GROUP as usize]));
        words[(frame.0 - self.first) as usize] = state.pack();
    }

    /// Where the group's huge page is.
    pub fn whole(&self) -> Whole {
        Whole::unpack(self.group.whole)
    }

    /// Puts it elsewhere.
    pub fn set_whole(&mut self, whole: Whole) {
        self.group.whole = whole.pack();
    }

    /// What is remembered of the group.
    pub fn hints(&mut self) -> &mut Hints {
        &mut self.group.hints
    }

    /// The group's frames.
    pub fn frames(&self) -> impl Iterator<Item = FrameIndex> + use<> {
        (self.first..self.first + GROUP).map(FrameIndex)
    }

    /// Whether every page of the group is out of RAM.
    pub fn is_out(&self) -> bool {
        self.whole() == Whole::No && self.frames().all(|frame| self.state(frame).is_out())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_its_word() {
        let table = FrameTable::new(700);
        let frame = FrameIndex(699);
        for payload in [0, 1, MAX_SLOTS - 1] {
            let slot = Slot(payload);
            for state in [
                FrameState::Zero,
                FrameState::Resident(None),
                FrameState::Resident(Some(slot)),
                FrameState::Parked(Berth(payload)),
                FrameState::Writing(Berth(payload)),
                FrameState::Stored(slot),
                FrameState::Filling(None),
                FrameState::Filling(Some(slot)),
            ] {
                table.lock(frame).set(frame, state);
                assert_eq!(table.lock(frame).state(frame), state);
                let neighbour = FrameIndex(698);
                assert_eq!(table.lock(frame).state(neighbour), FrameState::Zero, "it is untouched");
            }
        }
    }

    #[test]
    fn a_huge_page_is_where_it_was_put() {
        let table = FrameTable::new(GROUP);
        assert_eq!(table.lock(FrameIndex(3)).whole(), Whole::No);
        for whole in
            [Whole::Resident, Whole::Parked(Berth(0)), Whole::Parked(Berth(MAX_SLOTS - 1)), Whole::No]
        {
            table.lock(FrameIndex(3)).set_whole(whole);
            assert_eq!(table.lock(FrameIndex(7)).whole(), whole);
        }
    }

    #[test]
    fn a_group_is_narrow_when_it_is_touched_at_one_spot_in_turn() {
        let narrow = |touches: &[u16]| {
            let mut hints = Hints::default();
            touches.iter().for_each(|&page| hints.touched(page));
            hints.is_narrow
        };
        assert!(!narrow(&[5]) && narrow(&[5, 9]) && !narrow(&[5, 300]) && !narrow(&[5, 9, 300]));
        assert!(narrow(&[300, 5, 6]));
    }

    #[test]
    fn a_group_is_out_when_each_of_its_pages_is() {
        let table = FrameTable::new(GROUP + 100);
        let frame = FrameIndex(7);
        assert!(table.lock(frame).is_out(), "nothing was ever there");
        table.lock(frame).set(frame, FrameState::Stored(Slot(1)));
        assert!(table.lock(frame).is_out());
        table.lock(frame).set(frame, FrameState::Filling(None));
        assert!(!table.lock(frame).is_out());
        assert!(table.has_whole_group(frame) && !table.has_whole_group(FrameIndex(GROUP)));
    }
}
