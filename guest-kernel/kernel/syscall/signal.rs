//! Signals: sending them, and what a program wants done on them.

use alloc::vec::Vec;

use super::{Arguments, Errno, Outcome, Stop, System};
use crate::process::signal::{Action, Info, SIGNALS, Set, pop_frame};
use crate::process::{Alarm, Ended, Event, FIRST, Process};
use crate::time::SECOND;

/// What a process that sends a signal tells of itself.
fn sender(system: &System) -> Info {
    Info { code: 0, word: system.tasks.process.id.into(), status: 0 }
}

fn checked(signal: u64) -> Result<u8, Errno> {
    if signal > SIGNALS as u64 { Err(Errno::INVAL) } else { Ok(signal as u8) }
}

pub fn kill(system: &mut System, [which, signal, ..]: Arguments) -> Outcome {
    let (signal, which) = (checked(signal)?, which as i32);
    let (own, group) = (system.tasks.process.id, system.tasks.process.group);
    let meant = |process: &Process| match which {
        -1 => process.id != own && process.id != FIRST,
        0 => process.group == group,
        1.. => process.id == which as u32,
        _ => process.group == which.unsigned_abs(),
    };
    let slots: Vec<_> = system
        .tasks
        .others
        .processes()
        .filter(|process| meant(process))
        .map(|process| process.slot)
        .collect();
    let self_too = meant(&system.tasks.process);
    if slots.is_empty() && !self_too {
        return Err(Errno::SRCH.into());
    }
    if signal == 0 {
        return Ok(0);
    }
    let info = sender(system);
    for slot in slots {
        system.tasks.others.send(slot, signal, info);
    }
    if self_too {
        system.tasks.send_own(signal, info);
    }
    Ok(0)
}

/// Sends a signal to a thread, of a certain process if that is not 0.
fn send_to_thread(system: &mut System, process: u32, thread: u32, signal: u64) -> Outcome {
    let signal = checked(signal)?;
    let info = Info { code: -6, ..sender(system) };
    if thread == system.tasks.thread.id {
        if process != 0 && process != system.tasks.process.id {
            return Err(Errno::SRCH.into());
        }
        if signal != 0 && !system.tasks.process.actions[usize::from(signal) - 1].ignores(signal) {
            system.tasks.process.pending.tell(signal, info);
            system.tasks.thread.pending = system.tasks.thread.pending.and(Set::of(signal));
        }
        return Ok(0);
    }
    let Some(target) = system.tasks.others.threads().find(|other| other.id == thread) else {
        return Err(Errno::SRCH.into());
    };
    let slot = target.process;
    let ours = slot == system.tasks.process.slot;
    if signal == 0 {
        return Ok(0);
    }
    // Only threads of one's own process can be told apart from their process here: nobody else knows their numbers.
    if !ours {
        system.tasks.others.send(slot, signal, info);
        return Ok(0);
    }
    if process != 0 && process != system.tasks.process.id {
        return Err(Errno::SRCH.into());
    }
    if !system.tasks.process.actions[usize::from(signal) - 1].ignores(signal) {
        system.tasks.process.pending.tell(signal, info);
        target.pending = target.pending.and(Set::of(signal));
        if !target.blocked.has(signal) {
            system.tasks.others.interrupt_thread(thread);
        }
    }
    Ok(0)
}

pub fn tkill(system: &mut System, [thread, signal, ..]: Arguments) -> Outcome {
    send_to_thread(system, 0, thread as u32, signal)
}

pub fn tgkill(system: &mut System, [process, thread, signal, ..]: Arguments) -> Outcome {
    if process as i32 <= 0 || thread as i32 <= 0 {
        return Err(Errno::INVAL.into());
    }
    send_to_thread(system, process as u32, thread as u32, signal)
}

pub fn rt_sigaction(system: &mut System, [signal, new, old, size, ..]: Arguments) -> Outcome {
    if size != 8 || signal == 0 {
        return Err(Errno::INVAL.into());
    }
    let signal = checked(signal)?;
    let index = usize::from(signal) - 1;
    let before = system.tasks.process.actions[index];
    if new != 0 {
        if Set::NEVER.has(signal) {
            return Err(Errno::INVAL.into());
        }
        let [handler, flags, restorer, mask]: [u64; 4] = system.get(new)?;
        let action = Action { handler, flags, restorer, mask };
        system.tasks.process.actions[index] = action;
        if action.ignores(signal) {
            system.tasks.process.pending.take(signal);
        }
    }
    if old != 0 {
        system.put(old, &[before.handler, before.flags, before.restorer, before.mask])?;
    }
    Ok(0)
}

pub fn rt_sigprocmask(system: &mut System, [how, set, old, size, ..]: Arguments) -> Outcome {
    if size != 8 {
        return Err(Errno::INVAL.into());
    }
    let before = system.tasks.thread.blocked;
    if set != 0 {
        let set = Set(system.get(set)?);
        system.tasks.thread.blocked = match how {
            0 => before.and(set),
            1 => before.without(set),
            2 => set,
            _ => return Err(Errno::INVAL.into()),
        }
        .without(Set::NEVER);
    }
    if old != 0 {
        system.put(old, &before.0)?;
    }
    Ok(0)
}

pub fn rt_sigpending(system: &mut System, [to, ..]: Arguments) -> Outcome {
    let pending = system.tasks.process.pending.set.and(system.tasks.thread.pending);
    system.put(to, &(pending.0 & system.tasks.thread.blocked.0))?;
    Ok(0)
}

/// Waits for a signal with others blocked than usual; what was blocked before is so again when its handler returns.
pub fn rt_sigsuspend(system: &mut System, [set, size, ..]: Arguments) -> Outcome {
    if size != 8 {
        return Err(Errno::INVAL.into());
    }
    let set: u64 = system.get(set)?;
    let blocked = system.tasks.thread.blocked;
    system.tasks.thread.blocked_before.get_or_insert(blocked);
    system.tasks.thread.blocked = Set(set).without(Set::NEVER);
    Err(Stop::Wait(Event::Time, None))
}

pub fn pause(_: &mut System, _: Arguments) -> Outcome {
    Err(Stop::Wait(Event::Time, None))
}

/// Takes one of some blocked signals without a handler.
pub fn rt_sigtimedwait(system: &mut System, [set, info, timeout, size, ..]: Arguments) -> Outcome {
    if size != 8 {
        return Err(Errno::INVAL.into());
    }
    let set: u64 = system.get(set)?;
    let pending = Set((system.tasks.process.pending.set.0 | system.tasks.thread.pending.0) & set);
    if let Some(signal) = pending.first() {
        let told = system.tasks.process.pending.take(signal);
        system.tasks.thread.pending = system.tasks.thread.pending.without(Set::of(signal));
        if info != 0 {
            let words =
                [signal.into(), u64::from(told.code as u32), told.word, u64::from(told.status as u32)];
            system.put(info, &words)?;
        }
        return Ok(signal.into());
    }
    if timeout == 0 {
        return Err(Stop::Wait(Event::Time, None));
    }
    let given = super::time::read_time(system, timeout)?;
    let end = super::time::deadline(system, given);
    if system.expired(end) { Err(Errno::AGAIN.into()) } else { Err(Stop::Wait(Event::Time, Some(end))) }
}

/// A handler's end.
pub fn rt_sigreturn(system: &mut System, _: Arguments) -> Outcome {
    match pop_frame(&mut system.memory, &mut system.tasks.space, &mut system.tasks.thread) {
        Ok(()) => Err(Stop::Resume),
        Err(_) => Err(Stop::Exit(Ended::Signal(crate::process::signal::number::SEGV))),
    }
}

pub fn sigaltstack(system: &mut System, [new, old, ..]: Arguments) -> Outcome {
    const DISABLE: u64 = 2;
    const SMALLEST: u64 = 2048;
    let before = system.tasks.thread.signal_stack;
    if new != 0 {
        let stack: [u64; 3] = system.get(new)?;
        let flags = stack[1] & u64::from(u32::MAX);
        if flags & !(DISABLE | 1 << 31) != 0 {
            return Err(Errno::INVAL.into());
        }
        if flags & DISABLE == 0 && stack[2] < SMALLEST {
            return Err(Errno::NOMEM.into());
        }
        system.tasks.thread.signal_stack = stack;
    }
    if old != 0 {
        system.put(old, &before)?;
    }
    Ok(0)
}

/// What is left of an alarm, and the time between later ones, as struct itimerval.
fn told(system: &System) -> [u64; 4] {
    let Alarm { at, interval } = system.tasks.process.alarm.unwrap_or_default();
    let left = at.saturating_sub(system.machine.clock.now());
    [interval / SECOND, interval % SECOND / 1000, left / SECOND, left % SECOND / 1000]
}

fn set_alarm(system: &mut System, first: u64, interval: u64) {
    let at = system.machine.clock.now().saturating_add(first);
    system.tasks.process.alarm = (first > 0).then_some(Alarm { at, interval });
    system.tasks.others.note_time(at);
}

pub fn getitimer(system: &mut System, [which, to, ..]: Arguments) -> Outcome {
    if which != 0 {
        return Err(Errno::INVAL.into());
    }
    let words = told(system);
    system.put(to, &words)?;
    Ok(0)
}

/// The timer that goes by the clock; those that go by CPU time are not there.
pub fn setitimer(system: &mut System, [which, new, old, ..]: Arguments) -> Outcome {
    if which != 0 {
        return Err(Errno::INVAL.into());
    }
    let before = told(system);
    if new != 0 {
        let [seconds, micros, first_seconds, first_micros]: [u64; 4] = system.get(new)?;
        if micros >= 1_000_000 || first_micros >= 1_000_000 {
            return Err(Errno::INVAL.into());
        }
        let nanoseconds =
            |seconds: u64, micros: u64| seconds.saturating_mul(SECOND).saturating_add(micros * 1000);
        set_alarm(system, nanoseconds(first_seconds, first_micros), nanoseconds(seconds, micros));
    }
    if old != 0 {
        system.put(old, &before)?;
    }
    Ok(0)
}

pub fn alarm(system: &mut System, [seconds, ..]: Arguments) -> Outcome {
    let [.., left, micros] = told(system);
    set_alarm(system, u64::from(seconds as u32) * SECOND, 0);
    Ok(left + u64::from(micros > 0))
}
