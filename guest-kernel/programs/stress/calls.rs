//! Calls that map, unmap, protect, move: made, and done in the model.

use std::ops::Range;

use libc::{MAP_ANONYMOUS, MAP_POPULATE, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use programs::PAGE;

use super::arena::{HEAP, View};
use super::objects::{FILES, LONGEST, OBJECTS};
use super::os;
use super::worker::{Worker, Wrong};

/// Most pages that one call maps or moves.
pub const MOST: usize = 32;

impl Worker {
    /// One call or a few.
    pub fn call(&mut self) -> Result<(), Wrong> {
        match self.random.below(24) {
            0..=3 => self.map_private(),
            4 => self.map_shared(),
            5..=7 => self.map_file(),
            8 => self.unmap(),
            9..=10 => self.protect(),
            11 => self.shrink(),
            12 => self.grow(),
            13..=14 => self.relocate(),
            15..=17 => self.advise(),
            18 => self.ask(),
            19 => {
                let bytes = self.random.below(HEAP * PAGE);
                self.set_break(bytes)
            }
            20 => self.truncate(),
            21 => self.write_file(),
            22 => self.read_file(),
            _ => self.through_pipe(),
        }
    }

    /// Pages of the arena, most often few.
    pub fn range(&mut self, most: usize) -> Range<usize> {
        let most = if self.random.below(8) == 0 { most } else { most.min(4) };
        let start = self.random.below(self.arena.len);
        start..(start + 1 + self.random.below(most)).min(self.arena.len)
    }

    fn rights(&mut self) -> i32 {
        match self.random.below(8) {
            0 => libc::PROT_NONE,
            1..=2 => PROT_READ,
            _ => PROT_READ | PROT_WRITE,
        }
    }

    /// mmap over whatever is there.
    fn map(&mut self, range: &Range<usize>, view: View, flags: i32) -> Result<(), Wrong> {
        let rights = self.rights();
        let (descriptor, page, kind) = match view {
            View::Anonymous { .. } => (-1, 0, MAP_PRIVATE | MAP_ANONYMOUS),
            View::Copy { object, page, .. } => (self.files[object], page, MAP_PRIVATE),
            View::Shared { object, page } if object < FILES => (self.files[object], page, MAP_SHARED),
            View::Shared { .. } => (-1, 0, MAP_SHARED | MAP_ANONYMOUS),
        };
        // A private page that is made writable ahead of need is a copy already, or not yet: nobody says which.
        let copies = matches!(view, View::Copy { .. }) && rights & PROT_WRITE != 0;
        let flags = if copies { 0 } else { flags };
        let start = self.arena.address(range.start);
        let got = os::map(start, range.len(), rights, kind | flags, descriptor, page);
        self.expect(format_args!("mmap of {range:?} as {view:?}"), got, Ok(start))?;
        self.arena.map(range, rights, view);
        Ok(())
    }

    fn populate(&mut self) -> i32 {
        if self.random.below(3) == 0 { MAP_POPULATE } else { 0 }
    }

    /// Maps the whole arena and stores to every page, so that memory is short from the start.
    pub fn fill(&mut self) -> Result<(), Wrong> {
        let (all, rights) = (0..self.arena.len, PROT_READ | PROT_WRITE);
        let start = self.arena.address(0);
        let got = os::map(start, all.len(), rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        self.expect("mmap of all", got, Ok(start))?;
        self.arena.map(&all, rights, View::ZEROS);
        all.for_each(|page| self.store(page));
        Ok(())
    }

    fn map_private(&mut self) -> Result<(), Wrong> {
        let (range, flags) = (self.range(MOST), self.populate());
        self.map(&range, View::ZEROS, flags)
    }

    fn map_shared(&mut self) -> Result<(), Wrong> {
        let (range, flags) = (self.range(MOST), self.populate());
        // One that neither this process nor its parent uses when the range has its new mapping.
        self.arena.unmap(&range);
        let used = self.parents | self.arena.objects();
        let Some(object) = (FILES..OBJECTS).find(|object| used & 1 << object == 0) else {
            return self.unmap_range(&range);
        };
        self.shared.objects[object].set_pages(0);
        self.shared.objects[object].set_pages(range.len());
        self.map(&range, View::Shared { object, page: 0 }, flags)
    }

    fn map_file(&mut self) -> Result<(), Wrong> {
        let (range, flags) = (self.range(MOST), self.populate());
        let (object, page) = (self.random.below(FILES), self.random.below(LONGEST));
        let copy = View::Copy { object, page, own: None };
        let view = if self.random.below(2) == 0 { copy } else { View::Shared { object, page } };
        self.map(&range, view, flags)
    }

    fn unmap(&mut self) -> Result<(), Wrong> {
        let range = self.range(MOST);
        self.unmap_range(&range)
    }

    fn unmap_range(&mut self, range: &Range<usize>) -> Result<(), Wrong> {
        let got = os::unmap(self.arena.address(range.start), range.len());
        self.expect(format_args!("munmap of {range:?}"), got, Ok(0))?;
        self.arena.unmap(range);
        Ok(())
    }

    fn protect(&mut self) -> Result<(), Wrong> {
        let mut range = self.range(MOST);
        let rights = self.rights();
        // What comes before a hole may be changed, or not.
        let want = match self.arena.hole(&range) {
            Some(hole) if hole == range.start => Err(libc::ENOMEM),
            Some(hole) => {
                range.end = hole;
                Ok(0)
            }
            None => Ok(0),
        };
        let got = os::protect(self.arena.address(range.start), range.len(), rights);
        self.expect(format_args!("mprotect of {range:?}"), got, want)?;
        if want.is_ok() {
            self.arena.cells_mut(&range).for_each(|cell| cell.rights = rights);
        }
        Ok(())
    }

    /// Pages to be moved, which are alike; `None` where there are none.
    fn movable(&mut self) -> Option<Range<usize>> {
        let page = self.random.below(self.arena.len);
        self.arena.cell(page)?;
        let run = self.arena.run(page);
        Some(run.end.saturating_sub(MOST).max(run.start)..run.end)
    }

    /// Whether a call was refused because its pages are not in one area. The kernel may not have joined areas that are alike.
    fn is_in_pieces(&self, got: os::Answer) -> bool {
        let pieces = got == Err(libc::EFAULT);
        if pieces {
            self.count();
        }
        pieces
    }

    fn shrink(&mut self) -> Result<(), Wrong> {
        let Some(old) = self.movable() else { return Ok(()) };
        let new = 1 + self.random.below(old.len());
        let start = self.arena.address(old.start);
        let got = os::remap(start, old.len(), new, 0, 0);
        if !self.is_in_pieces(got) {
            self.expect(format_args!("mremap of {old:?} to {new} pages"), got, Ok(start))?;
            self.arena.unmap(&(old.start + new..old.end));
        }
        Ok(())
    }

    /// Grows in place where there is room; where not, it fails, or moves away and then back to another place.
    fn grow(&mut self) -> Result<(), Wrong> {
        let Some(old) = self.movable() else { return Ok(()) };
        let most = MOST.min(self.arena.len - old.start);
        if old.len() >= most {
            return Ok(());
        }
        let grown = old.start..old.start + old.len() + 1 + self.random.below(most - old.len());
        let room = self.arena.cells(&(old.end..grown.end)).next().is_none();
        let may_move = self.random.below(2) == 0;
        let start = self.arena.address(old.start);
        let got =
            os::remap(start, old.len(), grown.len(), if may_move { libc::MREMAP_MAYMOVE } else { 0 }, 0);
        if self.is_in_pieces(got) {
            return Ok(());
        }
        match got {
            Ok(place) if may_move && !room => self.bring_back(&old, place, grown.len()),
            _ => {
                let want = if room { Ok(start) } else { Err(libc::ENOMEM) };
                self.expect(format_args!("mremap of {old:?} to {grown:?}"), got, want)?;
                if room {
                    self.arena.relocate(&old, &grown);
                }
                Ok(())
            }
        }
    }

    /// What was in `old` is `pages` pages long now, at a place that the kernel has chosen.
    fn bring_back(&mut self, old: &Range<usize>, place: usize, pages: usize) -> Result<(), Wrong> {
        self.count();
        let start = self.random.below(self.arena.len - pages + 1);
        let target = self.arena.address(start);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let got = os::remap(place, pages, pages, flags, target);
        self.expect(format_args!("mremap of {pages} pages from {place:#x} to {start}"), got, Ok(target))?;
        self.arena.relocate(old, &(start..start + pages));
        Ok(())
    }

    fn relocate(&mut self) -> Result<(), Wrong> {
        let Some(old) = self.movable() else { return Ok(()) };
        let new = self.range(MOST);
        let (start, target) = (self.arena.address(old.start), self.arena.address(new.start));
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let got = os::remap(start, old.len(), new.len(), flags, target);
        let what = format_args!("mremap of {old:?} to {new:?}");
        if new.start < old.end && old.start < new.end {
            return self.expect(what, got, Err(libc::EINVAL));
        }
        if self.is_in_pieces(got) {
            // The target may be unmapped by now, or not.
            return self.unmap_range(&new);
        }
        self.expect(what, got, Ok(target))?;
        self.arena.relocate(&old, &new);
        Ok(())
    }

    /// brk, to so many bytes of heap.
    pub fn set_break(&mut self, bytes: usize) -> Result<(), Wrong> {
        let heap = self.arena.len;
        let all = heap..self.arena.all().end;
        let wanted = self.arena.address(heap) + bytes;
        self.expect("brk", Ok(os::set_break(wanted)), Ok(wanted))?;
        let end = heap + bytes.div_ceil(PAGE);
        let had = self.arena.hole(&all).unwrap_or(all.end);
        self.arena.unmap(&(end..all.end));
        if end > had {
            self.arena.map(&(had..end), PROT_READ | PROT_WRITE, View::ZEROS);
        }
        Ok(())
    }
}
