//! Descriptors: close, dup, fcntl, ioctl.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::{Arguments, Errno, Outcome, System};
use crate::fs::open::{CLOEXEC, Object, OpenFile};
use crate::process::Event;

pub fn close(system: &mut System, [number, ..]: Arguments) -> Outcome {
    let file = system.tasks.process.descriptors.get(number)?;
    system.tasks.process.descriptors.close(number)?;
    gone(system, file);
    Ok(0)
}

/// A descriptor of the calling process is gone, which is given here: so are its locks on the file, and who waits for what it kept
/// from happening looks again.
pub fn gone(system: &mut System, file: Rc<OpenFile>) {
    match file.object {
        Object::Pipe(ref end) => {
            let event = Event::Pipe(end.pipe().number());
            drop(file);
            system.tasks.others.wake(event);
        }
        Object::File(id) => {
            drop(file);
            system.machine.locks.close(id, system.tasks.process.id);
            system.tasks.others.wake(Event::Lock);
            if id.memory_number().is_some() {
                system.collect_memory_files();
            }
        }
        _ => {}
    }
}

/// Gives a file that number; what had it is closed.
fn put(system: &mut System, file: Rc<OpenFile>, number: u64, close_on_exec: bool) -> Outcome {
    let before = system.tasks.process.descriptors.get(number);
    system.tasks.process.descriptors.put(file, number, close_on_exec)?;
    if let Ok(before) = before {
        gone(system, before);
    }
    Ok(number)
}

pub fn close_range(system: &mut System, [first, last, flags, ..]: Arguments) -> Outcome {
    const SET_CLOEXEC: u64 = 4;
    const UNSHARE: u64 = 2;
    if first > last || flags & !(SET_CLOEXEC | UNSHARE) != 0 {
        return Err(Errno::INVAL.into());
    }
    let open = system.tasks.process.descriptors.from(first).map(|(number, _)| number);
    let numbers: Vec<_> = open.take_while(|&number| number <= last).collect();
    for number in numbers {
        if flags & SET_CLOEXEC != 0 {
            system.tasks.process.descriptors.set_close_on_exec(number, true)?;
        } else {
            close(system, [number, 0, 0, 0, 0, 0])?;
        }
    }
    Ok(0)
}

pub fn dup(system: &mut System, [number, ..]: Arguments) -> Outcome {
    let file = system.tasks.process.descriptors.get(number)?;
    system.tasks.process.descriptors.add(file, 0, false).map_err(|_| Errno::MFILE.into())
}

pub fn dup2(system: &mut System, [old, new, ..]: Arguments) -> Outcome {
    let file = system.tasks.process.descriptors.get(old)?;
    if old == new {
        return Ok(new);
    }
    put(system, file, new, false)
}

pub fn dup3(system: &mut System, [old, new, flags, ..]: Arguments) -> Outcome {
    if old == new || flags & !CLOEXEC != 0 {
        return Err(Errno::INVAL.into());
    }
    let file = system.tasks.process.descriptors.get(old)?;
    put(system, file, new, flags & CLOEXEC != 0)
}

pub fn fcntl(system: &mut System, [number, command, argument, ..]: Arguments) -> Outcome {
    const F_DUPFD: u64 = 0;
    const F_GETFD: u64 = 1;
    const F_SETFD: u64 = 2;
    const F_GETFL: u64 = 3;
    const F_SETFL: u64 = 4;
    const F_DUPFD_CLOEXEC: u64 = 1030;
    const FD_CLOEXEC: u64 = 1;
    let file = system.tasks.process.descriptors.get(number)?;
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => {
            if argument >= crate::fs::open::LIMIT as u64 {
                return Err(Errno::INVAL.into());
            }
            let added = system.tasks.process.descriptors.add(file, argument, command == F_DUPFD_CLOEXEC);
            added.map_err(|_| Errno::MFILE.into())
        }
        F_GETFD => Ok(u64::from(system.tasks.process.descriptors.close_on_exec(number)?)),
        F_SETFD => {
            system.tasks.process.descriptors.set_close_on_exec(number, argument & FD_CLOEXEC != 0)?;
            Ok(0)
        }
        F_GETFL => Ok(u64::from(file.flags.get())),
        F_SETFL => {
            // O_APPEND and O_NONBLOCK; the others do not change.
            const CHANGEABLE: u32 = 0o2000 | 0o4000;
            file.flags.set(file.flags.get() & !CHANGEABLE | argument as u32 & CHANGEABLE);
            Ok(0)
        }
        super::lock::F_GETLK..=super::lock::F_SETLKW => super::lock::fcntl(system, &file, command, argument),
        _ => Err(Errno::INVAL.into()),
    }
}

pub fn ioctl(system: &mut System, [number, request, argument, ..]: Arguments) -> Outcome {
    const TCGETS: u64 = 0x5401;
    const TIOCGWINSZ: u64 = 0x5413;
    let file = system.tasks.process.descriptors.get(number)?;
    let stream = match file.object {
        Object::Input => 0,
        Object::Output(error) => 1 + u32::from(error),
        _ => return Err(Errno::NOTTY.into()),
    };
    if system.machine.consoles.terminals >> stream & 1 == 0 {
        return Err(Errno::NOTTY.into());
    }
    match request {
        TCGETS => {
            // struct termios of a terminal in its usual, cooked state: flags, line discipline, control characters.
            let mut settings = [0; 36];
            for (at, flags) in [(0, 0o66402u32), (4, 0o5), (8, 0o277), (12, 0o105073)] {
                settings[at..at + 4].copy_from_slice(&flags.to_le_bytes());
            }
            settings[17..36].copy_from_slice(
                b"\x03\x1c\x7f\x15\x04\x00\x01\x00\x11\x13\x1a\x00\x12\x0f\x17\x16\x00\x00\x00",
            );
            system.put(argument, &settings)?;
            Ok(0)
        }
        TIOCGWINSZ => {
            let (rows, columns) = system.machine.consoles.window;
            system.put(argument, &[rows, columns, 0, 0])?;
            Ok(0)
        }
        _ => Err(Errno::NOTTY.into()),
    }
}
