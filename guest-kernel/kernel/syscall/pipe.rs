//! Pipes.

use abi::addr::Gva;

use super::{Arguments, Errno, Outcome, Stop, System};
use crate::fs::open::{CLOEXEC, NONBLOCK, Object, OpenFile};
use crate::fs::pipe::{ATOMIC, End};
use crate::process::Event;
use crate::process::signal::{Info, number};
use crate::process::tasks::Tasks;

const O_WRONLY: u64 = 1;

pub fn pipe(system: &mut System, [to, ..]: Arguments) -> Outcome {
    pipe2(system, [to, 0, 0, 0, 0, 0])
}

pub fn pipe2(system: &mut System, [to, flags, ..]: Arguments) -> Outcome {
    const O_DIRECT: u64 = 0o40000;
    if flags & !(u64::from(NONBLOCK) | CLOEXEC | O_DIRECT) != 0 {
        return Err(Errno::INVAL.into());
    }
    system.make_room()?;
    system.machine.pipes = system.machine.pipes.wrapping_add(1);
    let (read, write) = End::pair(system.machine.pipes);
    let kept = flags as u32 & NONBLOCK;
    let close = flags & CLOEXEC != 0;
    let files = &mut system.tasks.process.descriptors;
    let reader = files.add(OpenFile::new(Object::Pipe(read), kept), 0, close).map_err(|_| Errno::MFILE)?;
    let write = OpenFile::new(Object::Pipe(write), kept | O_WRONLY as u32);
    let Ok(writer) = files.add(write, 0, close) else {
        files.close(reader)?;
        return Err(Errno::MFILE.into());
    };
    if let Err(invalid) = system.put(to, &[reader as u32, writer as u32]) {
        system.tasks.process.descriptors.close(reader)?;
        system.tasks.process.descriptors.close(writer)?;
        return Err(invalid.into());
    }
    Ok(0)
}

pub fn read(system: &mut System, end: &End, flags: u32, to: u64, len: usize) -> Outcome {
    let pipe = end.pipe();
    if pipe.is_empty() && len > 0 {
        return match pipe.is_ended() {
            true => Ok(0),
            false if flags & NONBLOCK != 0 => Err(Errno::AGAIN.into()),
            false => Err(Stop::Wait(Event::Pipe(pipe.number()), None)),
        };
    }
    let System { memory, tasks, .. } = system;
    let Tasks { space, others, .. } = tasks;
    let read = pipe.read(len, |done, bytes| memory.write_user(space, Gva(to) + done as u64, bytes))?;
    others.wake(Event::Pipe(pipe.number()));
    Ok(read as u64)
}

/// Writes all, in as many tries as the readers make necessary.
pub fn write(system: &mut System, end: &End, flags: u32, from: u64, len: usize) -> Outcome {
    let pipe = end.pipe();
    let mut done = system.tasks.thread.pause.map_or(0, |pause| pause.done as usize);
    if pipe.is_broken() {
        system.tasks.send_own(number::PIPE, Info::default());
        return Err(Errno::PIPE.into());
    }
    let rest = len - done.min(len);
    system.make_room()?;
    if pipe.room() >= rest.min(ATOMIC) {
        let System { memory, tasks, .. } = system;
        let Tasks { space, others, .. } = tasks;
        let start = Gva(from) + done as u64;
        done += pipe.write(rest, |at, bytes| memory.read_user(space, start + at as u64, bytes))?;
        others.wake(Event::Pipe(pipe.number()));
    }
    if done == len {
        return Ok(len as u64);
    }
    if flags & NONBLOCK != 0 {
        return if done > 0 { Ok(done as u64) } else { Err(Errno::AGAIN.into()) };
    }
    system.tasks.thread.pause().done = done as u64;
    Err(Stop::Wait(Event::Pipe(pipe.number()), None))
}
