//! Waiting for a word of memory to change (futex(2)).

use super::time::{deadline, read_time};
use super::{Arguments, Call, Errno, Outcome, Stop};
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

pub fn futex(call: &mut Call<'_>, [word, operation, value, timeout, _, compare]: Arguments) -> Outcome {
    if !word.is_multiple_of(4) {
        return Err(Errno::INVAL.into());
    }
    match operation & 127 {
        operation::WAKE | operation::WAKE_BITSET => Ok(wake(call, word, value)),
        // Waiters that would have been moved are woken instead: they find out for themselves that they are not the next.
        operation::REQUEUE => Ok(wake(call, word, u64::MAX)),
        operation::CMP_REQUEUE => {
            if call.get::<u32>(word)? != compare as u32 {
                return Err(Errno::AGAIN.into());
            }
            Ok(wake(call, word, u64::MAX))
        }
        operation::WAIT | operation::WAIT_BITSET => wait(call, word, operation, value as u32, timeout),
        _ => Err(Errno::NOSYS.into()),
    }
}

fn wake(call: &mut Call<'_>, word: u64, most: u64) -> u64 {
    call.others.wake_futex(call.process.slot, word, most)
}

fn wait(call: &mut Call<'_>, word: u64, operation: u64, value: u32, timeout: u64) -> Outcome {
    if call.thread.pause.is_some_and(|pause| pause.woken) {
        return Ok(0);
    }
    if call.thread.pause.is_none() && call.get::<u32>(word)? != value {
        return Err(Errno::AGAIN.into());
    }
    call.thread.pause();
    if timeout == 0 {
        return Err(Stop::Wait(Event::Futex(word), None));
    }
    let given = read_time(call, timeout)?;
    let now = if operation & 127 == operation::WAIT {
        0
    } else if operation & operation::CLOCK_REALTIME != 0 {
        call.machine.clock.unix()
    } else {
        call.machine.clock.now()
    };
    let end = deadline(call, given.saturating_sub(now));
    if call.expired(end) {
        Err(Errno::TIMEDOUT.into())
    } else {
        Err(Stop::Wait(Event::Futex(word), Some(end)))
    }
}
