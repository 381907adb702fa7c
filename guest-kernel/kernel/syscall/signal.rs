//! Ends and signals. Handlers are recorded, not yet called: a signal does what it does by default.

use abi::port::Exit;

use super::{Arguments, Call, Errno, Outcome, Stop};
use crate::process::SIGNALS;

const SIGKILL: u64 = 9;
const SIGSTOP: u64 = 19;

pub fn exit(_: &mut Call<'_>, [status, ..]: Arguments) -> Outcome {
    Err(Stop::Exit(Exit::Status(status as u8)))
}

/// There are no children.
pub fn wait4(_: &mut Call<'_>, _: Arguments) -> Outcome {
    Err(Errno::CHILD.into())
}

/// Sends a signal to the program itself.
fn raise(call: &mut Call<'_>, signal: u64) -> Outcome {
    /// Signals that are ignored (signal(7)), and those that stop or continue, which nobody could undo.
    const HARMLESS: [u64; 7] = [17, 18, 20, 21, 22, 23, 28];
    const IGNORE: u64 = 1;
    if signal > SIGNALS as u64 {
        return Err(Errno::INVAL.into());
    }
    let ignored = signal > 0 && signal != SIGKILL && call.process.actions[signal as usize - 1][0] == IGNORE;
    if signal == 0 || signal == SIGSTOP || ignored || HARMLESS.contains(&signal) {
        return Ok(0);
    }
    Err(Stop::Exit(Exit::Signal(signal as u8)))
}

/// The only process is the caller, and it is its own group.
pub fn kill(call: &mut Call<'_>, [process, signal, ..]: Arguments) -> Outcome {
    let process = process as i32;
    if process.unsigned_abs() == call.process.id || process == 0 || process == -1 {
        raise(call, signal)
    } else {
        Err(Errno::SRCH.into())
    }
}

pub fn tkill(call: &mut Call<'_>, [thread, signal, ..]: Arguments) -> Outcome {
    if thread as u32 == call.thread.id { raise(call, signal) } else { Err(Errno::SRCH.into()) }
}

pub fn tgkill(call: &mut Call<'_>, [process, thread, signal, ..]: Arguments) -> Outcome {
    if process as u32 == call.process.id {
        tkill(call, [thread, signal, 0, 0, 0, 0])
    } else {
        Err(Errno::SRCH.into())
    }
}

pub fn rt_sigaction(call: &mut Call<'_>, [signal, new, old, size, ..]: Arguments) -> Outcome {
    let number = signal as usize;
    if size != 8 || !(1..=SIGNALS).contains(&number) {
        return Err(Errno::INVAL.into());
    }
    let action = call.process.actions[number - 1];
    if new != 0 {
        if signal == SIGKILL || signal == SIGSTOP {
            return Err(Errno::INVAL.into());
        }
        call.process.actions[number - 1] = call.get(new)?;
    }
    if old != 0 {
        call.put(old, &action)?;
    }
    Ok(0)
}

pub fn rt_sigprocmask(call: &mut Call<'_>, [how, set, old, size, ..]: Arguments) -> Outcome {
    /// SIGKILL and SIGSTOP cannot be blocked.
    const NEVER: u64 = 1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1);
    if size != 8 {
        return Err(Errno::INVAL.into());
    }
    let before = call.thread.signal_mask;
    if set != 0 {
        let set: u64 = call.get(set)?;
        call.thread.signal_mask = !NEVER
            & match how {
                0 => before | set,
                1 => before & !set,
                2 => set,
                _ => return Err(Errno::INVAL.into()),
            };
    }
    if old != 0 {
        call.put(old, &before)?;
    }
    Ok(0)
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
