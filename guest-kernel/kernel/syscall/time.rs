//! Clocks and sleep.

use super::{Arguments, Call, Errno, Outcome, Stop};
use crate::arch::cpu;
use crate::process::Event;
use crate::time::SECOND;

/// How fine the clocks are, in nanoseconds.
const RESOLUTION: u64 = 1;

fn put_time(call: &mut Call<'_>, to: u64, nanoseconds: u64) -> Outcome {
    call.put(to, &[nanoseconds / SECOND, nanoseconds % SECOND])?;
    Ok(0)
}

/// Reads a struct timespec as nanoseconds.
pub fn read_time(call: &mut Call<'_>, from: u64) -> Result<u64, Stop> {
    let [seconds, nanoseconds]: [i64; 2] = call.get(from)?;
    match (u64::try_from(seconds), u64::try_from(nanoseconds)) {
        (Ok(seconds), Ok(nanoseconds)) if nanoseconds < SECOND => {
            Ok(seconds.saturating_mul(SECOND).saturating_add(nanoseconds))
        }
        _ => Err(Errno::INVAL.into()),
    }
}

/// When a wait of that many nanoseconds ends; on the call's second try what the first one said.
pub fn deadline(call: &mut Call<'_>, nanoseconds: u64) -> u64 {
    let now = call.machine.clock.now();
    *call.thread.pause().deadline.get_or_insert(now.saturating_add(nanoseconds))
}

fn clock(call: &Call<'_>, number: u64) -> Result<u64, Errno> {
    match number {
        // REALTIME, REALTIME_COARSE, TAI
        0 | 5 | 11 => Ok(call.machine.clock.unix()),
        // MONOTONIC, MONOTONIC_RAW, MONOTONIC_COARSE, BOOTTIME
        1 | 4 | 6 | 7 => Ok(call.machine.clock.now()),
        // CPU time; a thread's is its process's.
        2 | 3 => Ok(call.machine.clock.nanoseconds(call.process.usage.cycles + cpu::rdtsc() - call.since)),
        _ => Err(Errno::INVAL),
    }
}

pub fn clock_gettime(call: &mut Call<'_>, [number, to, ..]: Arguments) -> Outcome {
    let now = clock(call, number)?;
    put_time(call, to, now)
}

pub fn clock_getres(call: &mut Call<'_>, [number, to, ..]: Arguments) -> Outcome {
    clock(call, number)?;
    if to == 0 { Ok(0) } else { put_time(call, to, RESOLUTION) }
}

pub fn gettimeofday(call: &mut Call<'_>, [to, zone, ..]: Arguments) -> Outcome {
    let now = call.machine.clock.unix();
    if to != 0 {
        call.put(to, &[now / SECOND, now % SECOND / 1000])?;
    }
    if zone != 0 {
        call.put(zone, &0u64)?;
    }
    Ok(0)
}

pub fn time(call: &mut Call<'_>, [to, ..]: Arguments) -> Outcome {
    let now = call.machine.clock.unix() / SECOND;
    if to != 0 {
        call.put(to, &now)?;
    }
    Ok(now)
}

fn sleep_until(call: &mut Call<'_>, end: u64) -> Outcome {
    if call.expired(end) { Ok(0) } else { Err(Stop::Wait(Event::Time, Some(end))) }
}

pub fn nanosleep(call: &mut Call<'_>, [from, ..]: Arguments) -> Outcome {
    let nanoseconds = read_time(call, from)?;
    let end = deadline(call, nanoseconds);
    sleep_until(call, end)
}

pub fn clock_nanosleep(call: &mut Call<'_>, [number, flags, from, ..]: Arguments) -> Outcome {
    const ABSOLUTE: u64 = 1;
    let now = clock(call, number)?;
    let given = read_time(call, from)?;
    let nanoseconds = if flags & ABSOLUTE != 0 { given.saturating_sub(now) } else { given };
    let end = deadline(call, nanoseconds);
    sleep_until(call, end)
}

pub fn sched_yield(_: &mut Call<'_>, _: Arguments) -> Outcome {
    Err(Stop::Yield)
}
