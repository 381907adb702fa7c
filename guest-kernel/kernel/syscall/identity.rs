//! Who and where: numbers, names, limits, resources, the thread's registers.

use abi::addr::PAGE_SIZE;

use super::{Arguments, Call, Errno, Outcome};
use crate::arch::cpu::{self, msr};
use crate::fs::open::LIMIT;
use crate::process::Usage;
use crate::time::SECOND;
use crate::vm::area::STACK_LIMIT;
use crate::vm::table::USER_END;

/// Every user and group number.
pub fn root(_: &mut Call<'_>, _: Arguments) -> Outcome {
    Ok(0)
}

pub fn umask(call: &mut Call<'_>, [mask, ..]: Arguments) -> Outcome {
    Ok(core::mem::replace(&mut call.process.umask, mask as u32 & 0o777).into())
}

pub fn uname(call: &mut Call<'_>, [to, ..]: Arguments) -> Outcome {
    const FIELD: usize = 65;
    // The release is that of the Linux whose interface this is; C libraries refuse old ones.
    let fields: [&[u8]; 6] = [b"Linux", b"bifold", b"6.1.0-bifold", b"#1", b"x86_64", b"(none)"];
    let mut name = [0; 6 * FIELD];
    for (at, field) in fields.iter().enumerate() {
        name[at * FIELD..at * FIELD + field.len()].copy_from_slice(field);
    }
    call.put(to, &name)?;
    Ok(0)
}

pub fn prctl(call: &mut Call<'_>, [option, argument, ..]: Arguments) -> Outcome {
    const SET_NAME: u64 = 15;
    const GET_NAME: u64 = 16;
    match option {
        SET_NAME => {
            let mut name: [u8; 16] = [0; 16];
            for (n, byte) in name.iter_mut().take(15).enumerate() {
                *byte = call.get(argument.wrapping_add(n as u64))?;
                if *byte == 0 {
                    break;
                }
            }
            call.process.name = name;
            Ok(0)
        }
        GET_NAME => {
            let name = call.process.name;
            call.put(argument, &name)?;
            Ok(0)
        }
        _ => Err(Errno::INVAL.into()),
    }
}

pub fn arch_prctl(call: &mut Call<'_>, [code, argument, ..]: Arguments) -> Outcome {
    const SET_GS: u64 = 0x1001;
    const SET_FS: u64 = 0x1002;
    const GET_FS: u64 = 0x1003;
    const GET_GS: u64 = 0x1004;
    let register = match code {
        SET_FS | GET_FS => msr::FS_BASE,
        SET_GS | GET_GS => msr::GS_BASE,
        _ => return Err(Errno::INVAL.into()),
    };
    if matches!(code, GET_FS | GET_GS) {
        // SAFETY: both registers exist in long mode.
        let base = unsafe { cpu::rdmsr(register) };
        call.put(argument, &base)?;
    } else if argument >= USER_END.0 {
        return Err(Errno(1).into());
    } else {
        // SAFETY: both registers exist in long mode, a user address is canonical, and the kernel uses neither segment.
        unsafe { cpu::wrmsr(register, argument) };
        let kept = if code == SET_FS { &mut call.thread.fs_base } else { &mut call.thread.gs_base };
        *kept = argument;
    }
    Ok(0)
}

/// The list is for a thread that dies with a lock held; nobody else looks at it.
pub fn set_robust_list(_: &mut Call<'_>, [_, size, ..]: Arguments) -> Outcome {
    const HEAD: u64 = 24;
    if size == HEAD { Ok(0) } else { Err(Errno::INVAL.into()) }
}

/// Programs do without.
pub fn rseq(_: &mut Call<'_>, _: Arguments) -> Outcome {
    Err(Errno::NOSYS.into())
}

pub fn sched_getaffinity(call: &mut Call<'_>, [_, size, to, ..]: Arguments) -> Outcome {
    if size < 8 || size % 8 != 0 {
        return Err(Errno::INVAL.into());
    }
    call.put(to, &1u64)?;
    Ok(8)
}

/// Soft and hard limit of a resource.
fn limit(resource: u64) -> Result<[u64; 2], Errno> {
    const UNLIMITED: u64 = u64::MAX;
    match resource {
        3 => Ok([STACK_LIMIT, UNLIMITED]),
        4 => Ok([0, UNLIMITED]),
        7 => Ok([LIMIT as u64; 2]),
        0..16 => Ok([UNLIMITED; 2]),
        _ => Err(Errno::INVAL),
    }
}

pub fn getrlimit(call: &mut Call<'_>, [resource, to, ..]: Arguments) -> Outcome {
    let limit = limit(resource)?;
    call.put(to, &limit)?;
    Ok(0)
}

/// Limits are told, not changed: setting one that is not larger than what holds is taken as done.
pub fn prlimit64(call: &mut Call<'_>, [process, resource, new, old, ..]: Arguments) -> Outcome {
    if process != 0 && process != u64::from(call.process.id) {
        return Err(Errno::SRCH.into());
    }
    let limit = limit(resource)?;
    if new != 0 {
        let _: [u64; 2] = call.get(new)?;
    }
    if old != 0 {
        call.put(old, &limit)?;
    }
    Ok(0)
}

/// struct rusage.
pub fn usage_words(call: &Call<'_>, usage: &Usage, peak: u64) -> [u64; 18] {
    let cpu = call.machine.clock.nanoseconds(usage.cycles);
    let mut words = [0u64; 18];
    words[0] = cpu / SECOND;
    words[1] = cpu % SECOND / 1000;
    words[4] = peak * (PAGE_SIZE as u64 / 1024);
    words[8] = usage.minor_faults;
    words[9] = usage.major_faults;
    words
}

pub fn getrusage(call: &mut Call<'_>, [who, to, ..]: Arguments) -> Outcome {
    let words = match who as i32 {
        0 | 1 => {
            let mut own = call.process.usage;
            own.cycles += cpu::rdtsc() - call.since;
            usage_words(call, &own, call.memory.stats.resident_peak)
        }
        -1 => usage_words(call, &call.process.children_usage, 0),
        _ => return Err(Errno::INVAL.into()),
    };
    call.put(to, &words)?;
    Ok(0)
}

pub fn sysinfo(call: &mut Call<'_>, [to, ..]: Arguments) -> Outcome {
    call.memory.publish();
    let page = PAGE_SIZE as u64;
    let mut info = [0u64; 14];
    info[0] = call.machine.clock.now() / SECOND;
    info[4] = u64::from(call.memory.frames.len()) * page;
    info[5] = call.memory.stats.free_frames * page;
    info[8] = call.memory.swap.slots.count() * page;
    info[9] = (call.memory.swap.slots.count() - u64::from(call.memory.swap.slots.used())) * page;
    info[10] = call.others.processes().count() as u64 + 1;
    // mem_unit
    info[13] = 1;
    call.put(to, &info)?;
    Ok(0)
}

pub fn times(call: &mut Call<'_>, [to, ..]: Arguments) -> Outcome {
    const TICK: u64 = SECOND / 100;
    let own = call.process.usage.cycles + cpu::rdtsc() - call.since;
    let ticks = |cycles| call.machine.clock.nanoseconds(cycles) / TICK;
    if to != 0 {
        let words = [ticks(own), 0, ticks(call.process.children_usage.cycles), 0];
        call.put(to, &words)?;
    }
    Ok(call.machine.clock.now() / TICK)
}

/// Random bytes for a program.
pub fn fill_random(call: &mut Call<'_>, to: u64, len: u64) -> Result<(), super::Stop> {
    let mut done = 0;
    while done < len {
        let mut bytes = [0; 256];
        let part = (len - done).min(256) as usize;
        call.machine.random.fill(&mut bytes[..part]);
        call.write(to.wrapping_add(done), &bytes[..part])?;
        done += part as u64;
    }
    Ok(())
}

pub fn getrandom(call: &mut Call<'_>, [to, len, ..]: Arguments) -> Outcome {
    /// As on Linux, one call gives so many bytes at most.
    const MOST: u64 = 32 << 20;
    let len = len.min(MOST);
    fill_random(call, to, len)?;
    Ok(len)
}
