//! Waiting for descriptors: poll and ppoll.

use super::{Arguments, Errno, Outcome, Stop, System};
use crate::drivers::console::Ready;
use crate::fs::open::{LIMIT, Object};
use crate::fs::pipe::ATOMIC;
use crate::process::Event;
use crate::time::SECOND;

/// Something to be read.
pub const IN: u16 = 1;
/// Room for something to be written.
pub const OUT: u16 = 4;
/// What is told although nobody asks: an error, an end.
pub const ERR: u16 = 8;
pub const HUP: u16 = 0x10;
/// There is no such descriptor.
pub const NVAL: u16 = 0x20;

/// What a descriptor is ready for.
pub fn ready(system: &mut System, number: u32) -> u16 {
    let Ok(file) = system.tasks.process.descriptors.get(u64::from(number)) else { return NVAL };
    match &file.object {
        Object::Output(_) => OUT,
        Object::Pipe(end) if end.writes() => {
            let room = if end.pipe().room() >= ATOMIC { OUT } else { 0 };
            room | if end.pipe().is_broken() { ERR } else { 0 }
        }
        Object::Pipe(end) => {
            let bytes = if end.pipe().is_empty() { 0 } else { IN };
            bytes | if end.pipe().is_ended() { HUP } else { 0 }
        }
        Object::Input => match system.machine.consoles.input.as_mut().map(|input| input.poll()) {
            Some(Ready::NotYet) => 0,
            Some(Ready::Bytes(_)) => IN,
            Some(Ready::End) | None => IN | HUP,
        },
        Object::Counter(counter) if counter.value.get() == 0 => OUT,
        Object::Epoll(_) => 0,
        _ => IN | OUT,
    }
}

/// `timeout` in nanoseconds, none for ever.
fn wait(system: &mut System, list: u64, count: u64, timeout: Option<u64>) -> Outcome {
    if count > LIMIT as u64 {
        return Err(Errno::INVAL.into());
    }
    let mut found = 0;
    for n in 0..count {
        let at = list.wrapping_add(8 * n);
        let number: i32 = system.get(at)?;
        let events: u16 = system.get(at.wrapping_add(4))?;
        // A negative number is passed by.
        let state =
            u32::try_from(number).map_or(0, |number| ready(system, number) & (events | ERR | HUP | NVAL));
        system.put(at.wrapping_add(6), &state)?;
        found += u64::from(state != 0);
    }
    if found > 0 {
        return Ok(found);
    }
    none_yet(system, timeout)
}

/// Nothing is ready: the caller looks again after any event, until the timeout; then nothing was.
pub fn none_yet(system: &mut System, timeout: Option<u64>) -> Outcome {
    let Some(timeout) = timeout else { return Err(Stop::Wait(Event::Any, None)) };
    let end = super::time::deadline(system, timeout);
    if system.expired(end) { Ok(0) } else { Err(Stop::Wait(Event::Any, Some(end))) }
}

/// A timeout in milliseconds in nanoseconds; a negative one is for ever.
pub fn timeout(milliseconds: u64) -> Option<u64> {
    u64::try_from(milliseconds as i32).ok().map(|ms| ms * (SECOND / 1000))
}

pub fn poll(system: &mut System, [list, count, milliseconds, ..]: Arguments) -> Outcome {
    wait(system, list, count, timeout(milliseconds))
}

pub fn ppoll(system: &mut System, [list, count, timeout, ..]: Arguments) -> Outcome {
    let timeout = if timeout == 0 { None } else { Some(super::time::read_time(system, timeout)?) };
    wait(system, list, count, timeout)
}
