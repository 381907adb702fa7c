//! Locks on files: fcntl's and flock.

use super::{Arguments, Errno, Outcome, Stop, System};
use crate::fs::lock::Lock;
use crate::fs::open::{Object, OpenFile};
use crate::process::Event;

/// fcntl's commands: asks for a lock in the way, sets one, waits until it can.
pub const F_GETLK: u64 = 5;
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
    match command {
        F_GETLK => match system.machine.locks.conflict(&lock).cloned() {
            None => system.put(pointer, &UNLOCK)?,
            Some(Lock { range, holder, exclusive, .. }) => {
                let kind = if exclusive { WRITE } else { READ };
                let len = if range.end == u64::MAX { 0 } else { range.end - range.start };
                system.put(pointer, &[u64::from(kind), range.start, len, u64::from(holder)])?;
            }
        },
        _ if kind == UNLOCK => return release(system, &lock),
        _ => return acquire(system, lock, command == F_SETLKW),
    }
    Ok(0)
}

fn release(system: &mut System, lock: &Lock) -> Outcome {
    system.machine.locks.clear(lock.file, lock.holder, &lock.range);
    system.tasks.others.wake(Event::Lock);
    Ok(0)
}

/// Sets a lock; where another one is in the way, waits for it or says so.
fn acquire(system: &mut System, lock: Lock, waits: bool) -> Outcome {
    if system.machine.locks.conflict(&lock).is_some() {
        return Err(if waits { Stop::Wait(Event::Lock, None) } else { Errno::AGAIN.into() });
    }
    system.machine.locks.set(lock).map_err(|_| Errno::NOLCK)?;
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
    let kind = operation & !NON_BLOCKING;
    let lock = Lock { file, range: 0..u64::MAX, holder, exclusive: kind == EXCLUSIVE };
    match kind {
        SHARED | EXCLUSIVE => acquire(system, lock, operation & NON_BLOCKING == 0),
        UNLOCK => release(system, &lock),
        _ => Err(Errno::INVAL.into()),
    }
}
