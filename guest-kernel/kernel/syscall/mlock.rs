//! Pages that stay in RAM: mlock and its relatives.

use abi::addr::{Gva, PAGE_SIZE};

use super::memory::{cuts, range};
use super::{Arguments, Errno, Outcome, System};
use crate::vm::Memory;
use crate::vm::area::LOWEST;
use crate::vm::table::USER_END;

const PAGE: u64 = PAGE_SIZE as u64;

pub fn mlock(system: &mut System, [start, bytes, ..]: Arguments) -> Outcome {
    set(system, (start, bytes), true)?;
    bring_in(system, (start, bytes))
}

pub fn mlock2(system: &mut System, [start, bytes, flags, ..]: Arguments) -> Outcome {
    const ON_FAULT: u64 = 1;
    if flags & !ON_FAULT != 0 {
        return Err(Errno::INVAL.into());
    }
    set(system, (start, bytes), true)?;
    if flags & ON_FAULT != 0 { Ok(0) } else { bring_in(system, (start, bytes)) }
}

pub fn munlock(system: &mut System, [start, bytes, ..]: Arguments) -> Outcome {
    set(system, (start, bytes), false)
}

pub fn mlockall(system: &mut System, [flags, ..]: Arguments) -> Outcome {
    const CURRENT: u64 = 1;
    const FUTURE: u64 = 2;
    const ON_FAULT: u64 = 4;
    if flags & !(CURRENT | FUTURE | ON_FAULT) != 0 || flags & (CURRENT | FUTURE) == 0 {
        return Err(Errno::INVAL.into());
    }
    let System { memory, tasks, .. } = system;
    tasks.space.locks_all = flags & FUTURE != 0;
    if flags & CURRENT != 0 {
        let all = LOWEST..USER_END;
        memory.set_locked(&mut tasks.space, &all, true).map_err(Errno::from)?;
        if flags & ON_FAULT == 0 {
            // What cannot be had now is kept from the moment when it is had.
            let _ = memory.bring_in_locked(&mut tasks.space, &all);
        }
    }
    Ok(0)
}

pub fn munlockall(system: &mut System, _: Arguments) -> Outcome {
    let System { memory, tasks, .. } = system;
    tasks.space.locks_all = false;
    memory.set_locked(&mut tasks.space, &(LOWEST..USER_END), false).map_err(Errno::from)?;
    Ok(0)
}

/// The whole pages that hold a part of a range.
fn around((start, bytes): (u64, u64)) -> Result<core::ops::Range<Gva>, Errno> {
    let first = start & !(PAGE - 1);
    range(first, bytes.checked_add(start - first).ok_or(Errno::INVAL)?)
}

fn set(system: &mut System, asked: (u64, u64), locked: bool) -> Outcome {
    let range = around(asked)?;
    let System { memory, tasks, .. } = system;
    let space = &mut *tasks.space;
    if range.is_empty() {
        return Ok(0);
    }
    // Most of RAM must stay evictable, so that all who run can go on.
    let pages = (range.end - range.start) / PAGE + Memory::locked_pages(space);
    if !space.areas.covers(&range) || locked && pages > u64::from(memory.frames.len()) / 4 * 3 {
        return Err(Errno::NOMEM.into());
    }
    if cuts(space, &range) {
        return Err(Errno::INVAL.into());
    }
    memory.set_locked(space, &range, locked).map_err(Errno::from)?;
    Ok(0)
}

fn bring_in(system: &mut System, asked: (u64, u64)) -> Outcome {
    let range = around(asked)?;
    let System { memory, tasks, .. } = system;
    memory.bring_in_locked(&mut tasks.space, &range).map_err(|_| Errno::NOMEM)?;
    Ok(0)
}
