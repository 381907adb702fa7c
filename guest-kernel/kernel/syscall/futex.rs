//! Waiting for a word of memory to change (futex(2)).

use super::time::{deadline, read_time};
use super::{Arguments, Errno, Outcome, Stop, System};
use crate::process::Event;

/// Operations; FUTEX_PRIVATE_FLAG makes no difference.
mod operation {
    pub const WAIT: u64 = 0;
    pub const WAKE: u64 = 1;
    pub const REQUEUE: u64 = 3;
    pub const CMP_REQUEUE: u64 = 4;
    pub const WAIT_BITSET: u64 = 9;
    pub const WAKE_BITSET: u64 = 10;
    pub const CLOCK_REALTIME: u64 = 256;
}

pub fn futex(system: &mut System, [word, operation, value, timeout, _, compare]: Arguments) -> Outcome {
    if !word.is_multiple_of(4) {
        return Err(Errno::INVAL.into());
    }
    match operation & 127 {
        operation::WAKE | operation::WAKE_BITSET => Ok(wake(system, word, value)),
        // Waiters that would have been moved are woken instead: they find out for themselves that they are not the next.
        operation::REQUEUE => Ok(wake(system, word, u64::MAX)),
        operation::CMP_REQUEUE => {
            if system.get::<u32>(word)? != compare as u32 {
                return Err(Errno::AGAIN.into());
            }
            Ok(wake(system, word, u64::MAX))
        }
        operation::WAIT | operation::WAIT_BITSET => wait(system, word, operation, value as u32, timeout),
        _ => Err(Errno::NOSYS.into()),
    }
}

fn wake(system: &mut System, word: u64, most: u64) -> u64 {
    system.tasks.others.wake_futex(system.tasks.process.slot, word, most)
}

fn wait(system: &mut System, word: u64, operation: u64, value: u32, timeout: u64) -> Outcome {
    if system.tasks.thread.pause.is_some_and(|pause| pause.woken) {
        return Ok(0);
    }
    if system.tasks.thread.pause.is_none() && system.get::<u32>(word)? != value {
        return Err(Errno::AGAIN.into());
    }
    system.tasks.thread.pause();
    if timeout == 0 {
        return Err(Stop::Wait(Event::Futex(word), None));
    }
    let given = read_time(system, timeout)?;
    let now = if operation & 127 == operation::WAIT {
        0
    } else if operation & operation::CLOCK_REALTIME != 0 {
        system.machine.clock.unix()
    } else {
        system.machine.clock.now()
    };
    let end = deadline(system, given.saturating_sub(now));
    if system.expired(end) {
        Err(Errno::TIMEDOUT.into())
    } else {
        Err(Stop::Wait(Event::Futex(word), Some(end)))
    }
}
