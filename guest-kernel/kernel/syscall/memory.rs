//! Memory: mmap and its relatives.

use core::ops::Range;

use abi::addr::{Gva, PAGE_SIZE};

use super::{Arguments, Errno, Outcome, Stop, System};
use crate::fs::open::{Object, READ_WRITE};
use crate::vm::area::{Area, Backing, Kind, LOWEST, Sharing};
use crate::vm::fault::Invalid;
use crate::vm::page::{Page, Rights};
use crate::vm::space::{AddressSpace, MAPPINGS_TOP};
use crate::vm::table::USER_END;

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
    if flags & flag::HUGETLB != 0 {
        // As where no huge pages are set aside.
        return Err(Errno::NOMEM.into());
    }
    let bytes = bytes.checked_next_multiple_of(PAGE).ok_or(Errno::NOMEM)?;
    let start = place(system, hint, bytes, flags)?;
    let backing = backing(system, (bytes, protection), flags, (number, offset))?;
    let area = Area { start, end: start + bytes, rights: rights(protection), kind: Kind::Mapping, backing };
    let last = flags & flag::FIXED != 0 && shows_memory_files(system, &(start..area.end));
    let mapped = system.memory.map(&mut system.tasks.space, area);
    if last || mapped.is_err() {
        system.collect_memory_files();
    }
    mapped.map_err(Errno::from)?;
    if flags & flag::POPULATE != 0 && area.rights.any() {
        let writes = area.rights.allow(Rights::WRITE);
        let access = if writes { Rights::WRITE } else { Rights::READ };
        // What cannot be had now is had, or refused, when it is needed.
        let _ = system.memory.populate(&mut system.tasks.space, &(start..area.end), access, true);
    }
    Ok(start.0)
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
fn place(system: &System, hint: u64, bytes: u64, flags: u64) -> Result<Gva, Errno> {
    let areas = &system.tasks.space.areas;
    if flags & (flag::FIXED | flag::FIXED_NOREPLACE) != 0 {
        let range = range(hint, bytes)?;
        if range.start < LOWEST {
            return Err(Errno(1));
        }
        if flags & flag::FIXED_NOREPLACE != 0 && !areas.is_free(&range) {
            return Err(Errno::EXIST);
        }
        return Ok(range.start);
    }
    let hint = Gva(hint).page_start();
    if hint >= LOWEST
        && let Some(range) = AddressSpace::range(hint, bytes)
        && areas.is_free(&range)
    {
        return Ok(hint);
    }
    areas.gap(bytes, &(LOWEST..MAPPINGS_TOP)).ok_or(Errno::NOMEM)
}

pub fn munmap(system: &mut System, [start, bytes, ..]: Arguments) -> Outcome {
    let range = range(start, bytes).map_err(|_| Errno::INVAL)?;
    if range.is_empty() {
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
    if flags & !(MAY_MOVE | FIXED) != 0 || flags & FIXED != 0 && flags & MAY_MOVE == 0 || new == 0 || old == 0
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
    if flags & FIXED != 0 {
        let target = range(target, bytes).map_err(|_| Errno::INVAL)?;
        if target.start < old.end && old.start < target.end {
            return Err(Errno::INVAL.into());
        }
        let last = shows_memory_files(system, &target);
        system.memory.unmap_range(&mut system.tasks.space, &target).map_err(Errno::from)?;
        let moved = relocate(system, &area, old, bytes, target.start);
        if last {
            system.collect_memory_files();
        }
        return moved;
    }
    let have = old.end - old.start;
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
    relocate(system, &area, old, bytes, target)
}

/// The view that `area` has from `from` on, put at `to`.
fn part(area: &Area, from: Gva, to: Gva, bytes: u64) -> Area {
    let Area { backing, .. } = area.part(from, area.end);
    Area { start: to, end: to + bytes, backing, ..*area }
}

/// Moves the pages of `old` to a free place of `bytes`.
fn relocate(system: &mut System, area: &Area, old: Range<Gva>, bytes: u64, target: Gva) -> Outcome {
    let space = &mut *system.tasks.space;
    system.memory.map(space, part(area, old.start, target, bytes)).map_err(Errno::from)?;
    let kept = old.start..(old.start + bytes.min(old.end - old.start));
    system.memory.move_pages(space, &kept, target).map_err(Errno::from)?;
    system.memory.unmap_range(space, &old).map_err(Errno::from)?;
    Ok(target.0)
}

pub fn madvise(system: &mut System, [start, bytes, advice, ..]: Arguments) -> Outcome {
    const WILLNEED: u64 = 3;
    const DONTNEED: u64 = 4;
    const FREE: u64 = 8;
    const COLD: u64 = 20;
    const PAGEOUT: u64 = 21;
    const POPULATE_READ: u64 = 22;
    const POPULATE_WRITE: u64 = 23;
    let range = range(start, bytes).map_err(|_| Errno::INVAL)?;
    let System { memory, tasks, .. } = system;
    let space = &mut *tasks.space;
    let covered = space.areas.covers(&range);
    match advice {
        _ if range.is_empty() => return Ok(0),
        DONTNEED => memory.discard(space, &range),
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
        0..=2 | 12..=17 | 19 => {}
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
        let resident = entry.is_ok_and(|entry| matches!(entry.load().page(), Page::Resident(_)));
        system.put(vector.wrapping_add(n), &u8::from(resident))?;
    }
    Ok(0)
}
