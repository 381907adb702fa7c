//! Signals: sending them, and what a program wants done on them.

use alloc::vec::Vec;

use super::{Arguments, Call, Errno, Outcome, Stop};
use crate::process::signal::{Action, Info, SIGNALS, Set, pop_frame};
use crate::process::tasks::send_own;
use crate::process::{Alarm, Ended, Event, FIRST, Process};
use crate::time::SECOND;

/// What a process that sends a signal tells of itself.
fn sender(call: &Call<'_>) -> Info {
    Info { code: 0, word: call.process.id.into(), status: 0 }
}

fn checked(signal: u64) -> Result<u8, Errno> {
    if signal > SIGNALS as u64 { Err(Errno::INVAL) } else { Ok(signal as u8) }
}

pub fn kill(call: &mut Call<'_>, [which, signal, ..]: Arguments) -> Outcome {
    let (signal, which) = (checked(signal)?, which as i32);
    let (own, group) = (call.process.id, call.process.group);
    let meant = |process: &Process| match which {
        -1 => process.id != own && process.id != FIRST,
        0 => process.group == group,
        1.. => process.id == which as u32,
        _ => process.group == which.unsigned_abs(),
    };
    let slots: Vec<_> =
        call.others.processes().filter(|process| meant(process)).map(|process| process.slot).collect();
    let self_too = meant(call.process);
    if slots.is_empty() && !self_too {
        return Err(Errno::SRCH.into());
    }
    if signal == 0 {
        return Ok(0);
    }
    let info = sender(call);
    for slot in slots {
        call.others.send(slot, signal, info);
    }
    if self_too {
        send_own(call.process, call.thread, call.others, signal, info);
    }
    Ok(0)
}

/// Sends a signal to a thread, of a certain process if that is not 0.
fn send_to_thread(call: &mut Call<'_>, process: u32, thread: u32, signal: u64) -> Outcome {
    let signal = checked(signal)?;
    let info = Info { code: -6, ..sender(call) };
    if thread == call.thread.id {
        if process != 0 && process != call.process.id {
            return Err(Errno::SRCH.into());
        }
        if signal != 0 && !call.process.actions[usize::from(signal) - 1].ignores(signal) {
            call.process.pending.tell(signal, info);
            call.thread.pending = call.thread.pending.and(Set::of(signal));
        }
        return Ok(0);
    }
    let Some(target) = call.others.threads().find(|other| other.id == thread) else {
        return Err(Errno::SRCH.into());
    };
    let slot = target.process;
    let ours = slot == call.process.slot;
    if signal == 0 {
        return Ok(0);
    }
    // Only threads of one's own process can be told apart from their process here: nobody else knows their numbers.
    if !ours {
        call.others.send(slot, signal, info);
        return Ok(0);
    }
    if process != 0 && process != call.process.id {
        return Err(Errno::SRCH.into());
    }
    if !call.process.actions[usize::from(signal) - 1].ignores(signal) {
        call.process.pending.tell(signal, info);
        target.pending = target.pending.and(Set::of(signal));
        if !target.blocked.has(signal) {
            call.others.interrupt_thread(thread);
        }
    }
    Ok(0)
}

pub fn tkill(call: &mut Call<'_>, [thread, signal, ..]: Arguments) -> Outcome {
    send_to_thread(call, 0, thread as u32, signal)
}

pub fn tgkill(call: &mut Call<'_>, [process, thread, signal, ..]: Arguments) -> Outcome {
    if process as i32 <= 0 || thread as i32 <= 0 {
        return Err(Errno::INVAL.into());
    }
    send_to_thread(call, process as u32, thread as u32, signal)
}

pub fn rt_sigaction(call: &mut Call<'_>, [signal, new, old, size, ..]: Arguments) -> Outcome {
    if size != 8 || signal == 0 {
        return Err(Errno::INVAL.into());
    }
    let signal = checked(signal)?;
    let index = usize::from(signal) - 1;
    let before = call.process.actions[index];
    if new != 0 {
        if Set::NEVER.has(signal) {
            return Err(Errno::INVAL.into());
        }
        let [handler, flags, restorer, mask]: [u64; 4] = call.get(new)?;
        let action = Action { handler, flags, restorer, mask };
        call.process.actions[index] = action;
        if action.ignores(signal) {
            call.process.pending.take(signal);
        }
    }
    if old != 0 {
        call.put(old, &[before.handler, before.flags, before.restorer, before.mask])?;
    }
    Ok(0)
}

pub fn rt_sigprocmask(call: &mut Call<'_>, [how, set, old, size, ..]: Arguments) -> Outcome {
    if size != 8 {
        return Err(Errno::INVAL.into());
    }
    let before = call.thread.blocked;
    if set != 0 {
        let set = Set(call.get(set)?);
        call.thread.blocked = match how {
            0 => before.and(set),
            1 => before.without(set),
            2 => set,
            _ => return Err(Errno::INVAL.into()),
        }
        .without(Set::NEVER);
    }
    if old != 0 {
        call.put(old, &before.0)?;
    }
    Ok(0)
}

pub fn rt_sigpending(call: &mut Call<'_>, [to, ..]: Arguments) -> Outcome {
    let pending = call.process.pending.set.and(call.thread.pending);
    call.put(to, &(pending.0 & call.thread.blocked.0))?;
    Ok(0)
}

/// Waits for a signal with others blocked than usual; what was blocked before is so again when its handler returns.
pub fn rt_sigsuspend(call: &mut Call<'_>, [set, size, ..]: Arguments) -> Outcome {
    if size != 8 {
        return Err(Errno::INVAL.into());
    }
    let set: u64 = call.get(set)?;
    let blocked = call.thread.blocked;
    call.thread.blocked_before.get_or_insert(blocked);
    call.thread.blocked = Set(set).without(Set::NEVER);
    Err(Stop::Wait(Event::Time, None))
}

pub fn pause(_: &mut Call<'_>, _: Arguments) -> Outcome {
    Err(Stop::Wait(Event::Time, None))
}

/// Takes one of some blocked signals without a handler.
pub fn rt_sigtimedwait(call: &mut Call<'_>, [set, info, timeout, size, ..]: Arguments) -> Outcome {
    if size != 8 {
        return Err(Errno::INVAL.into());
    }
    let set: u64 = call.get(set)?;
    let pending = Set((call.process.pending.set.0 | call.thread.pending.0) & set);
    if let Some(signal) = pending.first() {
        let told = call.process.pending.take(signal);
        call.thread.pending = call.thread.pending.without(Set::of(signal));
        if info != 0 {
            let words =
                [signal.into(), u64::from(told.code as u32), told.word, u64::from(told.status as u32)];
            call.put(info, &words)?;
        }
        return Ok(signal.into());
    }
    if timeout == 0 {
        return Err(Stop::Wait(Event::Time, None));
    }
    let given = super::time::read_time(call, timeout)?;
    let end = super::time::deadline(call, given);
    if call.expired(end) { Err(Errno::AGAIN.into()) } else { Err(Stop::Wait(Event::Time, Some(end))) }
}

/// A handler's end.
pub fn rt_sigreturn(call: &mut Call<'_>, _: Arguments) -> Outcome {
    match pop_frame(call.memory, call.space, call.thread) {
        Ok(()) => Err(Stop::Resume),
        Err(_) => Err(Stop::Exit(Ended::Signal(crate::process::signal::number::SEGV))),
    }
}

pub fn sigaltstack(call: &mut Call<'_>, [new, old, ..]: Arguments) -> Outcome {
    const DISABLE: u64 = 2;
    const SMALLEST: u64 = 2048;
    let before = call.thread.signal_stack;
    if new != 0 {
        let stack: [u64; 3] = call.get(new)?;
        let flags = stack[1] & u64::from(u32::MAX);
        if flags & !(DISABLE | 1 << 31) != 0 {
            return Err(Errno::INVAL.into());
        }
        if flags & DISABLE == 0 && stack[2] < SMALLEST {
            return Err(Errno::NOMEM.into());
        }
        call.thread.signal_stack = stack;
    }
    if old != 0 {
        call.put(old, &before)?;
    }
    Ok(0)
}

/// What is left of an alarm, and the time between later ones, as struct itimerval.
fn told(call: &Call<'_>) -> [u64; 4] {
    let Alarm { at, interval } = call.process.alarm.unwrap_or_default();
    let left = at.saturating_sub(call.machine.clock.now());
    [interval / SECOND, interval % SECOND / 1000, left / SECOND, left % SECOND / 1000]
}

fn set_alarm(call: &mut Call<'_>, first: u64, interval: u64) {
    let at = call.machine.clock.now().saturating_add(first);
    call.process.alarm = (first > 0).then_some(Alarm { at, interval });
    call.others.note_time(at);
}

pub fn getitimer(call: &mut Call<'_>, [which, to, ..]: Arguments) -> Outcome {
    if which != 0 {
        return Err(Errno::INVAL.into());
    }
    let words = told(call);
    call.put(to, &words)?;
    Ok(0)
}

/// The timer that goes by the clock; those that go by CPU time are not there.
pub fn setitimer(call: &mut Call<'_>, [which, new, old, ..]: Arguments) -> Outcome {
    if which != 0 {
        return Err(Errno::INVAL.into());
    }
    let before = told(call);
    if new != 0 {
        let [seconds, micros, first_seconds, first_micros]: [u64; 4] = call.get(new)?;
        if micros >= 1_000_000 || first_micros >= 1_000_000 {
            return Err(Errno::INVAL.into());
        }
        let nanoseconds =
            |seconds: u64, micros: u64| seconds.saturating_mul(SECOND).saturating_add(micros * 1000);
        set_alarm(call, nanoseconds(first_seconds, first_micros), nanoseconds(seconds, micros));
    }
    if old != 0 {
        call.put(old, &before)?;
    }
    Ok(0)
}

pub fn alarm(call: &mut Call<'_>, [seconds, ..]: Arguments) -> Outcome {
    let [.., left, micros] = told(call);
    set_alarm(call, u64::from(seconds as u32) * SECOND, 0);
    Ok(left + u64::from(micros > 0))
}
