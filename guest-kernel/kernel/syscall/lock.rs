//! Locks on files: fcntl's and flock.

use super::{Arguments, Errno, Outcome, Stop, System};
use crate::fs::lock::Lock;
use crate::fs::open::{Object, OpenFile};
use crate::process::Event;

/// fcntl's commands: asks for a lock in the way, sets one, waits until it can.
pub const F_GETLK: u64 = 5;
const F_SETLK: u64 = 6;
pub const F_SETLKW: u64 = 7;
const READ: u16 = 0;
const WRITE: u16 = 1;
const UNLOCK: u16 = 2;

/// One of the three commands; `pointer` leads to a struct flock: type and whence in two halves of a word, start, length, process.
pub fn fcntl(system: &mut System, open: &OpenFile, command: u64, pointer: u64) -> Outcome {
    let Object::File(file) = open.object else { return Err(Errno::INVAL.into()) };
    let [kinds, start, len, _]: [u64; 4] = system.get(pointer)?;
    let (kind, whence) = (kinds as u16, (kinds >> 16) as u16);
    let base = match whence {
        0 => 0,
        1 => open.offset.get(),
        2 => system.memory.file_len(file),
        _ => return Err(Errno::INVAL.into()),
    };
    let start = base.checked_add_signed(start as i64).ok_or(Errno::INVAL)?;
    let range = match len as i64 {
        0 => start..u64::MAX,
        len @ 1.. => start..start.saturating_add(len as u64),
        len => start.checked_add_signed(len).ok_or(Errno::INVAL)?..start,
    };
    let holder = system.tasks.process.id;
    let lock = Lock { file, range, holder, exclusive: kind == WRITE };
    if kind > UNLOCK {
        return Err(Errno::INVAL.into());
    }
    let conflict = system.machine.locks.conflict(&lock).cloned();
    match (command, conflict) {
        (F_GETLK, None) => system.put(pointer, &UNLOCK)?,
        (F_GETLK, Some(Lock { range, holder, exclusive, .. })) => {
            let kind = if exclusive { WRITE } else { READ };
            let len = if range.end == u64::MAX { 0 } else { range.end - range.start };
            system.put(pointer, &[u64::from(kind), range.start, len, u64::from(holder)])?;
        }
        _ if kind == UNLOCK => {
            system.machine.locks.clear(file, holder, &lock.range);
            system.tasks.others.wake(Event::Lock);
        }
        (_, None) => system.machine.locks.set(lock).map_err(|_| Errno::NOLCK)?,
        (F_SETLK, Some(_)) => return Err(Errno::AGAIN.into()),
        (_, Some(_)) => return Err(Stop::Wait(Event::Lock, None)),
    }
    Ok(0)
}

/// The lock of a whole file, here as a process's, not as an open file's: two descriptors of one process never conflict.
pub fn flock(system: &mut System, [number, operation, ..]: Arguments) -> Outcome {
    const SHARED: u64 = 1;
    const EXCLUSIVE: u64 = 2;
    const NON_BLOCKING: u64 = 4;
    const UNLOCK: u64 = 8;
    let open = system.tasks.process.descriptors.get(number)?;
    let Object::File(file) = open.object else { return Err(Errno::INVAL.into()) };
    let holder = system.tasks.process.id;
    let range = 0..u64::MAX;
    let lock = match operation & !NON_BLOCKING {
        SHARED => Lock { file, range, holder, exclusive: false },
        EXCLUSIVE => Lock { file, range, holder, exclusive: true },
        UNLOCK => {
            system.machine.locks.clear(file, holder, &range);
            system.tasks.others.wake(Event::Lock);
            return Ok(0);
        }
        _ => return Err(Errno::INVAL.into()),
    };
    if system.machine.locks.conflict(&lock).is_none() {
        system.machine.locks.set(lock).map_err(|_| Errno::NOLCK)?;
        Ok(0)
    } else if operation & NON_BLOCKING != 0 {
        Err(Errno::AGAIN.into())
    } else {
        Err(Stop::Wait(Event::Lock, None))
    }
}
