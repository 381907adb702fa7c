//! Memory: mmap and its relatives.

use core::ops::Range;

use abi::addr::{Gva, PAGE_SIZE};

use super::{Arguments, Errno, Outcome, Stop, System};
use crate::fs::open::{Object, READ_WRITE};
use crate::vm::area::{Area, Backing, Kind, LOWEST, PageSize, Sharing};
use crate::vm::fault::Invalid;
use crate::vm::page::Rights;
use crate::vm::space::{AddressSpace, MAPPINGS_TOP};
use crate::vm::table::{USER_END, span};

const PAGE: u64 = PAGE_SIZE as u64;

/// The pages of a range that a program names.
pub fn range(start: u64, bytes: u64) -> Result<Range<Gva>, Errno> {
    if !Gva(start).is_page_aligned() {
        return Err(Errno::INVAL);
    }
    AddressSpace::range(Gva(start), bytes).ok_or(Errno::NOMEM)
}

fn rights(protection: u64) -> Rights {
    Rights::new(protection & 1 != 0, protection & 2 != 0, protection & 4 != 0)
}

mod flag {
    pub const SHARED: u64 = 1;
    pub const PRIVATE: u64 = 2;
    pub const SHARED_VALIDATE: u64 = 3;
    pub const GROWSDOWN: u64 = 0x100;
    pub const LOCKED: u64 = 0x2000;
    pub const KIND: u64 = 0xf;
    pub const FIXED: u64 = 0x10;
    pub const ANONYMOUS: u64 = 0x20;
    pub const POPULATE: u64 = 0x8000;
    pub const HUGETLB: u64 = 0x4_0000;
    pub const FIXED_NOREPLACE: u64 = 0x10_0000;
}

pub fn mmap(system: &mut System, [hint, bytes, protection, flags, number, offset]: Arguments) -> Outcome {
    if bytes == 0 || !offset.is_multiple_of(PAGE) {
        return Err(Errno::INVAL.into());
    }
    let size = page_size(flags)?;
    let grain = size.grain();
    let bytes = bytes.checked_add(grain - 1).ok_or(Errno::NOMEM)? & !(grain - 1);
    if !system.tasks.space.may_map(bytes) {
        return Err(Errno::NOMEM.into());
    }
    let start = place(system, hint, (bytes, grain), flags)?;
    let backing = backing(system, (bytes, protection), flags, (number, offset))?;
    let anonymous = Area::anonymous(start..start + bytes, rights(protection));
    let kind = if flags & flag::GROWSDOWN == 0 { Kind::Mapping } else { Kind::GrowsDown };
    let may_be_huge = backing == Backing::Anonymous && kind == Kind::Mapping;
    let size = if may_be_huge { size } else { PageSize::Small };
    let locked = flags & flag::LOCKED != 0 || system.tasks.space.locks_all;
    let area = Area { kind, backing, size, locked, ..anonymous };
    let last = flags & flag::FIXED != 0 && shows_memory_files(system, &(start..area.end));
    let mapped = system.memory.map(&mut system.tasks.space, area);
    if last || mapped.is_err() {
        system.collect_memory_files();
    }
    mapped.map_err(Errno::from)?;
    let space = &mut *system.tasks.space;
    if system.memory.fill_huge(space, &area).is_err() {
        system.memory.unmap_range(space, &(start..area.end)).map_err(Errno::from)?;
        return Err(Errno::NOMEM.into());
    }
    if area.locked {
        // As below: what cannot be had now is had later.
        let _ = system.memory.bring_in_locked(space, &(start..area.end));
    }
    if flags & flag::POPULATE != 0 && area.rights.any() {
        let writes = area.rights.allow(Rights::WRITE);
        let access = if writes { Rights::WRITE } else { Rights::READ };
        // What cannot be had now is had, or refused, when it is needed.
        let _ = system.memory.populate(&mut system.tasks.space, &(start..area.end), access, true);
    }
    Ok(start.0)
}

/// How large the pages of a mapping are to be.
fn page_size(flags: u64) -> Result<PageSize, Errno> {
    /// log2 of the size, where the default of 2 MiB is not meant.
    const SIZE_SHIFT: u64 = 26;
    if flags & flag::HUGETLB == 0 {
        return Ok(PageSize::Any);
    }
    if flags & flag::ANONYMOUS == 0 || flags & flag::KIND != flag::PRIVATE {
        return Err(Errno::INVAL);
    }
    match flags >> SIZE_SHIFT & 0x3f {
        0 | 21 => Ok(PageSize::Fixed2M),
        30 => Ok(PageSize::Fixed1G),
        _ => Err(Errno::INVAL),
    }
}

/// Whether a range cuts pages that cannot be cut.
pub fn cuts(space: &AddressSpace, range: &Range<Gva>) -> bool {
    space.table.has_huge()
        && space.areas.within(range).any(|area| {
            let is_cut = |at: Gva| area.start < at && at < area.end && at.0 & (area.size.grain() - 1) != 0;
            is_cut(range.start) || is_cut(range.end)
        })
}

/// What a mapping is of.
fn backing(
    system: &mut System,
    (bytes, protection): (u64, u64),
    flags: u64,
    (number, offset): (u64, u64),
) -> Result<Backing, Stop> {
    let shared = match flags & flag::KIND {
        flag::PRIVATE => false,
        flag::SHARED | flag::SHARED_VALIDATE => true,
        _ => return Err(Errno::INVAL.into()),
    };
    if flags & flag::ANONYMOUS != 0 {
        if !shared {
            return Ok(Backing::Anonymous);
        }
        system.make_room()?;
        let file = system.memory.new_memory_file(bytes).map_err(|_| Errno::NOMEM)?;
        return Ok(Backing::File { file, page: 0, sharing: Sharing::Shared { writable: true } });
    }
    let file = system.tasks.process.descriptors.get(number)?;
    let access = file.flags.get() & 3;
    const WRITE_ONLY: u32 = 1;
    if access == WRITE_ONLY {
        return Err(Errno::ACCES.into());
    }
    match file.object {
        Object::File(id) => {
            let writable = access == READ_WRITE;
            if shared && !writable && rights(protection).allow(Rights::WRITE) {
                return Err(Errno::ACCES.into());
            }
            let page = u32::try_from(offset / PAGE).map_err(|_| Errno::OVERFLOW)?;
            let sharing = if shared { Sharing::Shared { writable } } else { Sharing::Private };
            Ok(Backing::File { file: id, page, sharing })
        }
        Object::Zero => Ok(Backing::Anonymous),
        _ => Err(Errno::NODEV.into()),
    }
}

/// Where a mapping goes.
fn place(system: &System, hint: u64, (bytes, grain): (u64, u64), flags: u64) -> Result<Gva, Errno> {
    let areas = &system.tasks.space.areas;
    if flags & (flag::FIXED | flag::FIXED_NOREPLACE) != 0 {
        let range = range(hint, bytes)?;
        if range.start < LOWEST {
            return Err(Errno(1));
        }
        if flags & flag::FIXED_NOREPLACE != 0 && !areas.is_free(&range) {
            return Err(Errno::EXIST);
        }
        if !range.start.0.is_multiple_of(grain) || cuts(&system.tasks.space, &range) {
            return Err(Errno::INVAL);
        }
        return Ok(range.start);
    }
    let hint = Gva(hint).page_start();
    if hint >= LOWEST
        && hint.0.is_multiple_of(grain)
        && let Some(range) = AddressSpace::range(hint, bytes)
        && areas.is_free(&range)
    {
        return Ok(hint);
    }
    // What may have huge pages lies as they do.
    let huge = span(system.memory.largest);
    let grain = if bytes >= huge { grain.max(huge) } else { grain };
    let gap = areas.gap(bytes + (grain - PAGE), &(LOWEST..MAPPINGS_TOP)).ok_or(Errno::NOMEM)?;
    Ok(Gva((gap.0 + (grain - 1)) & !(grain - 1)))
}

pub fn munmap(system: &mut System, [start, bytes, ..]: Arguments) -> Outcome {
    let range = range(start, bytes).map_err(|_| Errno::INVAL)?;
    if range.is_empty() || cuts(&system.tasks.space, &range) {
        return Err(Errno::INVAL.into());
    }
    let last = shows_memory_files(system, &range);
    system.memory.unmap_range(&mut system.tasks.space, &range).map_err(Errno::from)?;
    if last {
        system.collect_memory_files();
    }
    Ok(0)
}

/// Whether a file without a disk may lose its last user when a range is unmapped.
fn shows_memory_files(system: &System, range: &Range<Gva>) -> bool {
    let backed = |area: &Area| match area.backing {
        Backing::File { file, .. } => file.memory_number().is_some(),
        Backing::Anonymous => false,
    };
    system.tasks.space.areas.within(range).any(backed)
}

pub fn mprotect(system: &mut System, [start, bytes, protection, ..]: Arguments) -> Outcome {
    /// PROT_GROWSDOWN and PROT_GROWSUP are not for programs' own use; other bits do not exist.
    const KNOWN: u64 = 0x300_0007;
    if protection & !KNOWN != 0 {
        return Err(Errno::INVAL.into());
    }
    let range = range(start, bytes)?;
    if range.is_empty() {
        return Ok(0);
    }
    if !system.tasks.space.areas.covers(&range) {
        return Err(Errno::NOMEM.into());
    }
    if cuts(&system.tasks.space, &range) {
        return Err(Errno::INVAL.into());
    }
    let rights = rights(protection);
    if rights.allow(Rights::WRITE) && !system.tasks.space.areas.within(&range).all(Area::may_be_written) {
        return Err(Errno::ACCES.into());
    }
    system.memory.protect(&mut system.tasks.space, &range, rights).map_err(Errno::from)?;
    Ok(0)
}

pub fn brk(system: &mut System, [wanted, ..]: Arguments) -> Outcome {
    Ok(system.memory.set_break(&mut system.tasks.space, Gva(wanted)).0)
}

pub fn mremap(system: &mut System, [start, old, new, flags, target, _]: Arguments) -> Outcome {
    const MAY_MOVE: u64 = 1;
    const FIXED: u64 = 2;
    const DONT_UNMAP: u64 = 4;
    if flags & !(MAY_MOVE | FIXED | DONT_UNMAP) != 0
        || flags != 0 && flags & MAY_MOVE == 0
        || flags & DONT_UNMAP != 0 && old != new
        || new == 0
        || old == 0
    {
        return Err(Errno::INVAL.into());
    }
    let old = range(start, old)?;
    let bytes = new.checked_next_multiple_of(PAGE).ok_or(Errno::NOMEM)?;
    let space = &mut *system.tasks.space;
    let area = *space.areas.find(old.start).ok_or(Errno::FAULT)?;
    if old.end > area.end {
        return Err(Errno::FAULT.into());
    }
    let keeps = flags & DONT_UNMAP != 0;
    if area.size.fixed().is_some() || keeps && area.is_shared() {
        return Err(Errno::INVAL.into());
    }
    if flags & FIXED != 0 {
        let target = range(target, bytes).map_err(|_| Errno::INVAL)?;
        if target.start < old.end && old.start < target.end || cuts(space, &target) {
            return Err(Errno::INVAL.into());
        }
        let last = shows_memory_files(system, &target);
        system.memory.unmap_range(&mut system.tasks.space, &target).map_err(Errno::from)?;
        let moved = relocate(system, (&area, old), (target.start, bytes), keeps);
        if last {
            system.collect_memory_files();
        }
        return moved;
    }
    if keeps {
        let target = space.areas.gap(bytes, &(LOWEST..MAPPINGS_TOP)).ok_or(Errno::NOMEM)?;
        return relocate(system, (&area, old), (target, bytes), keeps);
    }
    let have = old.end - old.start;
    if bytes > have && !space.may_map(bytes - have) {
        return Err(Errno::NOMEM.into());
    }
    if bytes <= have {
        if bytes < have {
            system.memory.unmap_range(space, &(old.start + bytes..old.end)).map_err(Errno::from)?;
        }
        return Ok(start);
    }
    let grown = old.end..old.start + bytes;
    if old.end == area.end && grown.end <= USER_END && space.areas.is_free(&grown) {
        system.memory.map(space, part(&area, old.end, grown.start, bytes - have)).map_err(Errno::from)?;
        return Ok(start);
    }
    if flags & MAY_MOVE == 0 {
        return Err(Errno::NOMEM.into());
    }
    let target = space.areas.gap(bytes, &(LOWEST..MAPPINGS_TOP)).ok_or(Errno::NOMEM)?;
    relocate(system, (&area, old), (target, bytes), keeps)
}

/// The view that `area` has from `from` on, put at `to`.
fn part(area: &Area, from: Gva, to: Gva, bytes: u64) -> Area {
    let Area { backing, .. } = area.part(from, area.end);
    Area { start: to, end: to + bytes, backing, ..*area }
}

/// Moves the pages of a range of an area to a free place; the range stays mapped only if it is to be kept.
fn relocate(
    system: &mut System,
    (area, old): (&Area, Range<Gva>),
    (target, bytes): (Gva, u64),
    keeps: bool,
) -> Outcome {
    let space = &mut *system.tasks.space;
    system.memory.map(space, part(area, old.start, target, bytes)).map_err(Errno::from)?;
    let kept = old.start..(old.start + bytes.min(old.end - old.start));
    system.memory.move_pages(space, &kept, target).map_err(Errno::from)?;
    if !keeps {
        system.memory.unmap_range(space, &old).map_err(Errno::from)?;
    }
    Ok(target.0)
}

pub fn madvise(system: &mut System, [start, bytes, advice, ..]: Arguments) -> Outcome {
    const WILLNEED: u64 = 3;
    const DONTNEED: u64 = 4;
    const FREE: u64 = 8;
    const HUGE: u64 = 14;
    const NO_HUGE: u64 = 15;
    const COLD: u64 = 20;
    const PAGEOUT: u64 = 21;
    const POPULATE_READ: u64 = 22;
    const POPULATE_WRITE: u64 = 23;
    const COLLAPSE: u64 = 25;
    let range = range(start, bytes).map_err(|_| Errno::INVAL)?;
    let System { memory, tasks, .. } = system;
    let space = &mut *tasks.space;
    let covered = space.areas.covers(&range);
    match advice {
        _ if range.is_empty() => return Ok(0),
        DONTNEED | FREE | PAGEOUT if space.areas.within(&range).any(|area| area.locked) => {
            return Err(Errno::INVAL.into());
        }
        DONTNEED if cuts(space, &range) => return Err(Errno::INVAL.into()),
        DONTNEED => memory.discard(space, &range),
        HUGE | NO_HUGE => {
            let size = if advice == HUGE { PageSize::Huge } else { PageSize::Small };
            memory.set_page_size(space, &range, size).map_err(Errno::from)?;
        }
        COLLAPSE if covered && !memory.collapse(space, &range) => return Err(Errno::AGAIN.into()),
        COLLAPSE => {}
        FREE if space.areas.within(&range).any(|area| area.backing != Backing::Anonymous) => {
            return Err(Errno::INVAL.into());
        }
        FREE => memory.free_lazily(space, &range),
        COLD => memory.make_cold(space, &range),
        PAGEOUT => memory.page_out(space, &range),
        POPULATE_READ | POPULATE_WRITE => {
            let access = if advice == POPULATE_WRITE { Rights::WRITE } else { Rights::READ };
            // The first page that cannot be had says why.
            memory.populate(space, &range, access, false).map_err(|error| match error {
                Invalid::NoArea => Errno::NOMEM,
                Invalid::NoRight => Errno::INVAL,
                error => error.into(),
            })?;
        }
        // What cannot be had ahead of need is had, or refused, when it is needed.
        WILLNEED => _ = memory.populate(space, &range, Rights::READ, true),
        // NORMAL, RANDOM, SEQUENTIAL; DONTFORK to DODUMP, KEEPONFORK: advice that may be left.
        0..=2 | 12 | 13 | 16 | 17 | 19 => {}
        _ => return Err(Errno::INVAL.into()),
    }
    if covered { Ok(0) } else { Err(Errno::NOMEM.into()) }
}

pub fn mincore(system: &mut System, [start, bytes, vector, ..]: Arguments) -> Outcome {
    let range = range(start, bytes)?;
    if !system.tasks.space.areas.covers(&range) {
        return Err(Errno::NOMEM.into());
    }
    for n in 0..(range.end - range.start) / PAGE {
        let entry = system.tasks.space.table.find(range.start + n * PAGE);
        let resident = match entry {
            Ok(entry) => entry.load().is_resident(),
            Err(above) => above.is_huge(),
        };
        system.put(vector.wrapping_add(n), &u8::from(resident))?;
    }
    Ok(0)
}
