//! What /proc tells of a process's memory.

use alloc::vec::Vec;
use core::fmt;

use abi::addr::{Gva, PAGE_SHIFT, PAGE_SIZE};

use super::{Subject, Text};
use crate::fs::FileId;
use crate::fs::open::Object;
use crate::syscall::System;
use crate::vm::Memory;
use crate::vm::area::{Area, Backing, Kind};
use crate::vm::frame::Use;
use crate::vm::huge;
use crate::vm::page::{Page, Rights};
use crate::vm::space::AddressSpace;
use crate::vm::table::USER_END;

const KIB_A_PAGE: u64 = PAGE_SIZE as u64 / 1024;

/// A file's path as /proc tells it.
fn path(system: &System, file: FileId) -> &str {
    system.tree.path_of(file).and_then(|path| core::str::from_utf8(path).ok()).unwrap_or("/memfd: (deleted)")
}

fn line(system: &System, area: &Area, text: &mut Text) -> fmt::Result {
    let letter = |right, letter| if area.rights.allow(right) { letter } else { b'-' };
    let (offset, inode, name) = match (area.kind, area.backing) {
        (_, Backing::File { file, page, .. }) => {
            (u64::from(page) * PAGE_SIZE as u64, Object::File(file).inode(), path(system, file))
        }
        (Kind::Heap, _) => (0, 0, "[heap]"),
        (Kind::Stack, _) => (0, 0, "[stack]"),
        (Kind::Mapping | Kind::GrowsDown, _) => (0, 0, ""),
    };
    text.hex(area.start.0, 8)?;
    text.bytes(b"-")?;
    text.hex(area.end.0, 8)?;
    let kind = if area.is_shared() { b's' } else { b'p' };
    let rights = [letter(Rights::READ, b'r'), letter(Rights::WRITE, b'w'), letter(Rights::EXECUTE, b'x')];
    text.bytes(&[b' ', rights[0], rights[1], rights[2], kind, b' '])?;
    text.hex(offset, 8)?;
    text.bytes(b" 00:01 ")?;
    text.decimal(inode)?;
    text.bytes(name.as_bytes())?;
    text.bytes(b"\n")
}

pub(super) fn maps(system: &System, subject: &Subject<'_>, text: &mut Text) -> fmt::Result {
    let areas = subject.space.map_or(&[][..], |space| space.areas.all());
    areas.iter().try_for_each(|area| line(system, area, text))
}

/// The pages of an area, counted; proportional ones in bytes.
#[derive(Default)]
pub(super) struct Pages {
    pub resident: u64,
    pub shared_clean: u64,
    pub shared_dirty: u64,
    pub private_clean: u64,
    pub private_dirty: u64,
    pub referenced: u64,
    pub anonymous: u64,
    pub swapped: u64,
    pub proportional: u64,
    pub proportional_swap: u64,
    /// In huge pages that can be split.
    pub huge: u64,
    /// In huge pages that cannot; as on Linux, they are counted nowhere else.
    pub fixed: u64,
}

impl Pages {
    pub(super) fn of(memory: &Memory, space: &AddressSpace, area: &Area) -> Self {
        let mut pages = Self::default();
        (pages.huge, pages.fixed) = huge::count(memory, &space.table, area.start..area.end);
        pages.resident = pages.huge;
        pages.proportional = pages.huge * PAGE_SIZE as u64;
        pages.anonymous = pages.huge;
        pages.referenced = pages.huge;
        pages.private_dirty = pages.huge;
        space.table.for_each(area.start..area.end, |_, reference| {
            let entry = reference.load();
            match entry.page() {
                Page::Untouched => {}
                Page::Swapped(slot) => {
                    pages.swapped += 1;
                    pages.proportional_swap +=
                        PAGE_SIZE as u64 / u64::from(memory.swap.slots.owners(slot).max(1));
                }
                Page::Resident(gpa) => {
                    let frame = memory.frames.at(gpa);
                    // Nobody's, and so counted nowhere.
                    if memory.frames.get(frame) == Use::Zeros {
                        return;
                    }
                    let users = u64::from(memory.frames.mappings(frame).count(&memory.frames).max(1));
                    pages.resident += 1;
                    pages.proportional += PAGE_SIZE as u64 / users;
                    pages.referenced += u64::from(entry.is_accessed());
                    pages.anonymous += u64::from(matches!(memory.frames.get(frame), Use::Anonymous { .. }));
                    *match (users > 1, entry.is_dirty()) {
                        (true, true) => &mut pages.shared_dirty,
                        (true, false) => &mut pages.shared_clean,
                        (false, true) => &mut pages.private_dirty,
                        (false, false) => &mut pages.private_clean,
                    } += 1;
                }
            }
        });
        pages
    }
}

pub(super) fn smaps(system: &System, subject: &Subject<'_>, text: &mut Text) -> fmt::Result {
    let Some(space) = subject.space else { return Ok(()) };
    for area in space.areas.all() {
        line(system, area, text)?;
        let pages = Pages::of(&system.memory, space, area);
        let fields = [
            ("Size:", (area.end - area.start) / 1024),
            ("KernelPageSize:", area.size.grain() / 1024),
            ("MMUPageSize:", area.size.grain() / 1024),
            ("Rss:", pages.resident * KIB_A_PAGE),
            ("Pss:", pages.proportional / 1024),
            ("Shared_Clean:", pages.shared_clean * KIB_A_PAGE),
            ("Shared_Dirty:", pages.shared_dirty * KIB_A_PAGE),
            ("Private_Clean:", pages.private_clean * KIB_A_PAGE),
            ("Private_Dirty:", pages.private_dirty * KIB_A_PAGE),
            ("Referenced:", pages.referenced * KIB_A_PAGE),
            ("Anonymous:", pages.anonymous * KIB_A_PAGE),
            ("AnonHugePages:", pages.huge * KIB_A_PAGE),
            ("Swap:", pages.swapped * KIB_A_PAGE),
            ("Private_Hugetlb:", pages.fixed * KIB_A_PAGE),
            ("SwapPss:", pages.proportional_swap / 1024),
            ("Locked:", if area.locked { pages.proportional / 1024 } else { 0 }),
        ];
        for (name, kib) in fields {
            text.kib(name, kib)?;
        }
    }
    Ok(())
}

/// A word a page from the address that the offset stands for (the kernel's Documentation/admin-guide/mm/pagemap.rst).
pub(super) fn pagemap(system: &System, subject: &Subject<'_>, offset: u64, len: usize) -> Vec<u8> {
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const SHARED_OR_FILE: u64 = 1 << 61;
    const EXCLUSIVE: u64 = 1 << 56;
    let Some(space) = subject.space else { return Vec::new() };
    if !offset.is_multiple_of(8) {
        return Vec::new();
    }
    let mut bytes = Vec::with_capacity(len.min(PAGE_SIZE));
    let pages = USER_END.0 / PAGE_SIZE as u64;
    for page in (offset / 8..pages).take(len.min(PAGE_SIZE) / 8) {
        let gva = Gva(page * PAGE_SIZE as u64);
        let entry = space.table.find(gva).map(|reference| reference.load().page());
        let word = match entry {
            Ok(Page::Resident(gpa)) => {
                let memory = &system.memory;
                let frame = memory.frames.at(gpa);
                let file = matches!(memory.frames.get(frame), Use::Cache { .. });
                let alone = memory.frames.mappings(frame).single().is_some();
                PRESENT
                    | gpa.0 >> PAGE_SHIFT
                    | if file { SHARED_OR_FILE } else { 0 }
                    | if alone { EXCLUSIVE } else { 0 }
            }
            Ok(Page::Swapped(slot)) => SWAPPED | u64::from(slot.number()) << 5,
            Err(above) if above.is_huge() => PRESENT | EXCLUSIVE | above.frame(gva).0 >> PAGE_SHIFT,
            Ok(Page::Untouched) | Err(_) => 0,
        };
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes
}
