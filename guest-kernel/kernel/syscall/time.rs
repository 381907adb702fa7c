//! Clocks and sleep.

use super::{Arguments, Errno, Outcome, Stop, System};
use crate::arch::cpu;
use crate::process::Event;
use crate::time::SECOND;

/// How fine the clocks are, in nanoseconds.
const RESOLUTION: u64 = 1;

fn put_time(system: &mut System, to: u64, nanoseconds: u64) -> Outcome {
    system.put(to, &[nanoseconds / SECOND, nanoseconds % SECOND])?;
    Ok(0)
}

/// Reads a struct timespec as nanoseconds.
pub fn read_time(system: &mut System, from: u64) -> Result<u64, Stop> {
    let [seconds, nanoseconds]: [i64; 2] = system.get(from)?;
    match (u64::try_from(seconds), u64::try_from(nanoseconds)) {
        (Ok(seconds), Ok(nanoseconds)) if nanoseconds < SECOND => {
            Ok(seconds.saturating_mul(SECOND).saturating_add(nanoseconds))
        }
        _ => Err(Errno::INVAL.into()),
    }
}

/// The same for a struct timeval, whose fraction is microseconds.
pub fn read_timeval(system: &mut System, from: u64) -> Result<u64, Stop> {
    let [seconds, microseconds]: [i64; 2] = system.get(from)?;
    match (u64::try_from(seconds), u64::try_from(microseconds)) {
        (Ok(seconds), Ok(microseconds)) => {
            Ok(seconds.saturating_mul(SECOND).saturating_add(microseconds.saturating_mul(1000)))
        }
        _ => Err(Errno::INVAL.into()),
    }
}

/// When a wait of that many nanoseconds ends; on the call's second try what the first one said.
pub fn deadline(system: &mut System, nanoseconds: u64) -> u64 {
    let now = system.machine.clock.now();
    *system.tasks.thread.pause().deadline.get_or_insert(now.saturating_add(nanoseconds))
}

fn clock(system: &System, number: u64) -> Result<u64, Errno> {
    match number {
        // REALTIME, REALTIME_COARSE, TAI
        0 | 5 | 11 => Ok(system.machine.clock.unix()),
        // MONOTONIC, MONOTONIC_RAW, MONOTONIC_COARSE, BOOTTIME
        1 | 4 | 6 | 7 => Ok(system.machine.clock.now()),
        // CPU time; a thread's is its process's.
        2 | 3 => Ok(system
            .machine
            .clock
            .nanoseconds(system.tasks.process.usage.cycles + cpu::rdtsc() - system.since)),
        _ => Err(Errno::INVAL),
    }
}

pub fn clock_gettime(system: &mut System, [number, to, ..]: Arguments) -> Outcome {
    let now = clock(system, number)?;
    put_time(system, to, now)
}

pub fn clock_getres(system: &mut System, [number, to, ..]: Arguments) -> Outcome {
    clock(system, number)?;
    if to == 0 { Ok(0) } else { put_time(system, to, RESOLUTION) }
}

pub fn gettimeofday(system: &mut System, [to, zone, ..]: Arguments) -> Outcome {
    let now = system.machine.clock.unix();
    if to != 0 {
        system.put(to, &[now / SECOND, now % SECOND / 1000])?;
    }
    if zone != 0 {
        system.put(zone, &0u64)?;
    }
    Ok(0)
}

pub fn time(system: &mut System, [to, ..]: Arguments) -> Outcome {
    let now = system.machine.clock.unix() / SECOND;
    if to != 0 {
        system.put(to, &now)?;
    }
    Ok(now)
}

/// `rest` is where the time goes that is left when a signal ends the sleep; 0 for nowhere.
fn sleep(system: &mut System, nanoseconds: u64, rest: u64) -> Outcome {
    let woken = system.tasks.thread.pause.is_some();
    let end = deadline(system, nanoseconds);
    if system.expired(end) {
        return Ok(0);
    }
    if woken && rest != 0 {
        put_time(system, rest, end - system.machine.clock.now())?;
    }
    Err(Stop::Wait(Event::Time, Some(end)))
}

pub fn nanosleep(system: &mut System, [from, rest, ..]: Arguments) -> Outcome {
    let nanoseconds = read_time(system, from)?;
    sleep(system, nanoseconds, rest)
}

pub fn clock_nanosleep(system: &mut System, [number, flags, from, rest, ..]: Arguments) -> Outcome {
    const ABSOLUTE: u64 = 1;
    let now = clock(system, number)?;
    let given = read_time(system, from)?;
    if flags & ABSOLUTE != 0 {
        return sleep(system, given.saturating_sub(now), 0);
    }
    sleep(system, given, rest)
}

pub fn sched_yield(_: &mut System, _: Arguments) -> Outcome {
    Err(Stop::Yield)
}
