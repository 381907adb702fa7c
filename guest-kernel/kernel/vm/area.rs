//! Areas: the ranges of an address space that a program may use, each with its rights and where its pages come from.

use alloc::vec::Vec;
use core::ops::Range;

use abi::addr::{Gva, PAGE_SHIFT};

use super::page::Rights;
use super::table::span;
use crate::fs::FileId;

/// No mapping below: a null pointer with an offset must fault (vm.mmap_min_addr).
pub const LOWEST: Gva = Gva(0x1_0000);
/// How far the stack grows: RLIMIT_STACK's default.
pub const STACK_LIMIT: u64 = 8 << 20;
/// Room that stays free below a stack that grows (Linux: stack_guard_gap).
pub const STACK_GAP: u64 = 1 << 20;

/// Where an untouched page comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recipe {
    /// Zeros.
    Zero,
    /// That page of a file.
    File(FileId, u32),
}

/// Who sees what is written to an area of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// The process alone: a page that is written becomes anonymous.
    Private,
    /// All who map or read the file. Whether it may be written was decided when it was opened.
    Shared {
        /// Rights to write can be asked for.
        writable: bool,
    },
}

/// What an area is a view of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// Nothing: zeros.
    Anonymous,
    /// A file.
    File {
        /// Which.
        file: FileId,
        /// The file's page at the area's start.
        page: u32,
        /// Who sees what is written.
        sharing: Sharing,
    },
}

/// What an area is for: how it grows and how it is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A segment of the program or a mapping of its own.
    Mapping,
    /// What brk moves.
    Heap,
    /// Grows down on faults: the program's own stack.
    Stack,
    /// Grows down on faults (MAP_GROWSDOWN).
    GrowsDown,
}

/// How large the pages of an area of anonymous memory are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageSize {
    /// As the machine's default is.
    Any,
    /// Small ones alone (MADV_NOHUGEPAGE, and everything that is not anonymous).
    Small,
    /// Huge ones where they can be had (MADV_HUGEPAGE).
    Huge,
    /// 2 MiB alone (MAP_HUGETLB). The area starts and ends at a multiple of it.
    Fixed2M,
    /// The same with 1 GiB.
    Fixed1G,
}

impl PageSize {
    /// The level of the page table whose size it is, if it is fixed.
    #[must_use]
    pub const fn fixed(self) -> Option<u32> {
        match self {
            Self::Fixed2M => Some(1),
            Self::Fixed1G => Some(2),
            Self::Any | Self::Small | Self::Huge => None,
        }
    }

    /// The multiple at which an area may start, end and be cut, in bytes.
    #[must_use]
    pub const fn grain(self) -> u64 {
        match self.fixed() {
            Some(level) => span(level),
            None => span(0),
        }
    }
}

/// A range with one set of rights and one backing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Area {
    /// First address, page-aligned.
    pub start: Gva,
    /// First address after it, page-aligned.
    pub end: Gva,
    /// What the program may do there.
    pub rights: Rights,
    /// What it is for.
    pub kind: Kind,
    /// Where its pages come from.
    pub backing: Backing,
    /// How large they are.
    pub size: PageSize,
    /// They stay in RAM (mlock).
    pub locked: bool,
}

impl Area {
    /// One of anonymous memory.
    #[must_use]
    pub const fn anonymous(range: Range<Gva>, rights: Rights) -> Self {
        let Range { start, end } = range;
        let (kind, backing) = (Kind::Mapping, Backing::Anonymous);
        Self { start, end, rights, kind, backing, size: PageSize::Any, locked: false }
    }

    /// How a page of it is made.
    #[must_use]
    #[inline]
    pub const fn recipe(&self, gva: Gva) -> Recipe {
        match self.backing {
            Backing::Anonymous => Recipe::Zero,
            Backing::File { file, page, .. } => {
                // A page number that does not fit is past the end of any file, as the last one is.
                let ahead = (gva.0 - self.start.0) >> PAGE_SHIFT;
                let ahead = if ahead > u32::MAX as u64 { u32::MAX } else { ahead as u32 };
                Recipe::File(file, page.saturating_add(ahead))
            }
        }
    }

    /// The part from `start` to `end`.
    #[must_use]
    pub const fn part(&self, start: Gva, end: Gva) -> Self {
        Self { start, end, backing: self.backing_at(start), ..*self }
    }

    /// Whether what is written is seen by all who map or read the file.
    #[must_use]
    #[inline]
    pub const fn is_shared(&self) -> bool {
        matches!(self.backing, Backing::File { sharing: Sharing::Shared { .. }, .. })
    }

    /// Whether it is one of that file.
    #[must_use]
    pub fn is_of(&self, file: FileId) -> bool {
        matches!(self.backing, Backing::File { file: own, .. } if own == file)
    }

    /// Whether the program may ask for the right to write.
    #[must_use]
    pub const fn may_be_written(&self) -> bool {
        !matches!(self.backing, Backing::File { sharing: Sharing::Shared { writable: false }, .. })
    }

    fn continues(&self, before: &Self) -> bool {
        before.end == self.start
            && before.rights == self.rights
            && (before.kind, before.size, before.locked) == (self.kind, self.size, self.locked)
            && before.backing_at(self.start) == self.backing
    }

    const fn backing_at(&self, gva: Gva) -> Backing {
        match (self.recipe(gva), self.backing) {
            (Recipe::File(file, page), Backing::File { sharing, .. }) => {
                Backing::File { file, page, sharing }
            }
            _ => Backing::Anonymous,
        }
    }
}

/// More areas than the kernel keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany;

/// The areas of an address space: ascending, without overlap, neighbours merged where they are alike.
pub struct AreaMap {
    areas: Vec<Area>,
    limit: usize,
    /// The last one found: faults come in runs.
    last: usize,
}

impl AreaMap {
    /// No areas, and never more than `limit`.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { areas: Vec::new(), limit, last: 0 }
    }

    /// All of them, ascending.
    #[must_use]
    pub fn all(&self) -> &[Area] {
        &self.areas
    }

    /// Index of the first area that ends after `gva`.
    fn at_or_after(&self, gva: Gva) -> usize {
        self.areas.partition_point(|area| area.end <= gva)
    }

    /// The area that holds an address.
    #[inline]
    pub fn find(&mut self, gva: Gva) -> Option<&Area> {
        let holds = |area: &Area| area.start <= gva && gva < area.end;
        if !self.areas.get(self.last).is_some_and(holds) {
            let index = self.at_or_after(gva);
            self.areas.get(index).filter(|area| holds(area))?;
            self.last = index;
        }
        self.areas.get(self.last)
    }

    /// The first area that ends after an address.
    #[must_use]
    pub fn next(&self, gva: Gva) -> Option<&Area> {
        self.areas.get(self.at_or_after(gva))
    }

    /// Whether a range holds no part of an area.
    #[must_use]
    pub fn is_free(&self, range: &Range<Gva>) -> bool {
        self.next(range.start).is_none_or(|area| area.start >= range.end)
    }

    /// The areas that hold a part of a range, ascending.
    pub fn within(&self, range: &Range<Gva>) -> impl Iterator<Item = &Area> {
        let end = range.end;
        self.areas[self.at_or_after(range.start)..].iter().take_while(move |area| area.start < end)
    }

    /// Whether areas cover all of a range.
    #[must_use]
    pub fn covers(&self, range: &Range<Gva>) -> bool {
        let mut at = range.start;
        for area in &self.areas[self.at_or_after(at)..] {
            if area.start > at || at >= range.end {
                break;
            }
            at = area.end;
        }
        at >= range.end
    }

    /// The free range around `range`, from the area before to the area after.
    #[must_use]
    pub fn hole(&self, range: &Range<Gva>, end: Gva) -> Range<Gva> {
        let index = self.at_or_after(range.start);
        let before = index.checked_sub(1).map_or(Gva(0), |index| self.areas[index].end);
        before..self.areas.get(index).map_or(end, |area| area.start)
    }

    /// Room for the areas that one change can add.
    ///
    /// # Errors
    /// There may be no room.
    pub fn reserve(&mut self) -> Result<(), TooMany> {
        if self.areas.len() + 2 > self.limit {
            return Err(TooMany);
        }
        self.areas.try_reserve(2).map_err(|_| TooMany)
    }

    /// The same areas.
    ///
    /// # Errors
    /// There is no room for them.
    pub fn try_clone(&self) -> Result<Self, TooMany> {
        let mut areas = Vec::new();
        areas.try_reserve(self.areas.len()).map_err(|_| TooMany)?;
        areas.extend_from_slice(&self.areas);
        Ok(Self { areas, ..*self })
    }

    /// Adds an area to a free range.
    pub fn insert(&mut self, area: Area) {
        debug_assert!(area.start < area.end && self.is_free(&(area.start..area.end)));
        let index = self.at_or_after(area.start);
        self.areas.insert(index, area);
        self.merge(index + 1);
        self.merge(index);
    }

    /// Takes a range out of all areas.
    pub fn remove(&mut self, range: &Range<Gva>) {
        let first = self.split(range.start);
        let end = self.split(range.end);
        self.areas.drain(first..end);
    }

    /// Changes all areas of a range.
    pub fn change(&mut self, range: &Range<Gva>, mut change: impl FnMut(&mut Area)) {
        let first = self.split(range.start);
        let end = self.split(range.end);
        for area in &mut self.areas[first..end] {
            change(area);
        }
        for index in (first..=end).rev() {
            self.merge(index);
        }
    }

    /// Lets the stack grow down to an address, as far as its limit and the gap to what lies below allow. Returns the
    /// stack's area, `None` where there is none that may grow so far.
    pub fn grow_stack(&mut self, gva: Gva) -> Option<&Area> {
        let index = self.at_or_after(gva);
        let stack = *self.areas.get(index)?;
        let start = gva.page_start();
        let room = start >= LOWEST && stack.end - start <= STACK_LIMIT;
        let below = Gva(start.0.saturating_sub(STACK_GAP))..stack.start;
        if !matches!(stack.kind, Kind::Stack | Kind::GrowsDown) || !room || !self.is_free(&below) {
            return None;
        }
        self.areas[index].start = start;
        self.last = index;
        self.areas.get(index)
    }

    /// Makes `at` a border between areas; the index of the first one from there on.
    fn split(&mut self, at: Gva) -> usize {
        let index = self.at_or_after(at);
        match self.areas.get(index).copied() {
            Some(area) if area.start < at => {
                self.areas[index] = area.part(area.start, at);
                self.areas.insert(index + 1, area.part(at, area.end));
                index + 1
            }
            _ => index,
        }
    }

    /// Makes the area at `index` one with that before it, if they are alike.
    fn merge(&mut self, index: usize) {
        let Some(before) = index.checked_sub(1) else { return };
        if self.areas.get(index).is_some_and(|area| area.continues(&self.areas[before])) {
            self.areas[before].end = self.areas[index].end;
            self.areas.remove(index);
        }
    }

    /// The highest free range of `bytes` within `within`.
    #[must_use]
    pub fn gap(&self, bytes: u64, within: &Range<Gva>) -> Option<Gva> {
        let mut end = within.end;
        for area in self.areas.iter().rev() {
            if area.start >= within.end {
                continue;
            }
            if area.end < end && end - area.end >= bytes {
                break;
            }
            end = end.min(area.start);
        }
        let start = end.0.checked_sub(bytes)?;
        (start >= within.start.0).then_some(Gva(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGES: u64 = 64;

    fn gva(page: u64) -> Gva {
        Gva(page << 12)
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Map { write: bool, file: bool },
        Unmap,
        Protect { write: bool },
    }

    fn steps() -> impl Strategy<Value = Vec<(Step, u64, u64)>> {
        let step = prop_oneof![
            (any::<bool>(), any::<bool>()).prop_map(|(write, file)| Step::Map { write, file }),
            Just(Step::Unmap),
            any::<bool>().prop_map(|write| Step::Protect { write }),
        ];
        prop::collection::vec((step, 0..PAGES, 1..=PAGES), 0..60)
    }

    proptest! {
        /// Against one cell a page: the same pages, rights and recipes; and the map stays sorted, disjoint and merged.
        #[test]
        fn areas_are_what_a_list_of_pages_is(steps in steps()) {
            let mut map = AreaMap::new(1000);
            let mut model: Vec<Option<(Rights, Recipe)>> = vec![None; PAGES as usize];
            for (step, start, len) in steps {
                let end = (start + len).min(PAGES);
                let range = gva(start)..gva(end);
                let cells = start as usize..end as usize;
                match step {
                    Step::Map { write, file } => {
                        map.remove(&range);
                        let rights = Rights::new(true, write, false);
                        let backing = if file { Backing::File { file: FileId(1), page: 7 + start as u32, sharing: Sharing::Private } } else { Backing::Anonymous };
                        map.insert(Area { backing, ..Area::anonymous(range.clone(), rights) });
                        for cell in cells {
                            let recipe = if file { Recipe::File(FileId(1), 7 + cell as u32) } else { Recipe::Zero };
                            model[cell] = Some((rights, recipe));
                        }
                    }
                    Step::Unmap => {
                        map.remove(&range);
                        model[cells].fill(None);
                    }
                    Step::Protect { write } => {
                        let rights = Rights::new(true, write, false);
                        map.change(&range, |area| area.rights = rights);
                        model[cells].iter_mut().flatten().for_each(|cell| cell.0 = rights);
                    }
                }
                for (page, cell) in model.iter().enumerate() {
                    let at = gva(page as u64);
                    prop_assert_eq!(map.find(at).map(|area| (area.rights, area.recipe(at))), *cell);
                }
                for pair in map.all().windows(2) {
                    prop_assert!(pair[0].end <= pair[1].start && !pair[1].continues(&pair[0]));
                }
                let free = |from: u64, to: u64| model[from as usize..to as usize].iter().all(Option::is_none);
                prop_assert_eq!(map.is_free(&range), free(start, end));
                let full = model[start as usize..end as usize].iter().all(Option::is_some);
                prop_assert_eq!(map.covers(&range), full);
                let highest = (0..=PAGES - 3).rev().find(|&at| free(at, at + 3)).map(gva);
                prop_assert_eq!(map.gap(3 << 12, &(gva(0)..gva(PAGES))), highest);
            }
        }
    }
}
