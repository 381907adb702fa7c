//! Who and where: numbers, names, limits, resources, the thread's registers.

use abi::addr::PAGE_SIZE;

use super::{Arguments, Errno, Outcome, System};
use crate::arch::cpu::{self, msr};
use crate::process::Usage;
use crate::time::SECOND;
use crate::vm::table::USER_END;

/// Every user and group number.
pub fn root(_: &mut System, _: Arguments) -> Outcome {
    Ok(0)
}

pub fn umask(system: &mut System, [mask, ..]: Arguments) -> Outcome {
    Ok(core::mem::replace(&mut system.tasks.process.umask, mask as u32 & 0o777).into())
}

pub fn uname(system: &mut System, [to, ..]: Arguments) -> Outcome {
    const FIELD: usize = 65;
    // The release is that of the Linux whose interface this is; C libraries refuse old ones.
    let fields: [&[u8]; 6] = [b"Linux", b"bifold", b"6.1.0-bifold", b"#1", b"x86_64", b"(none)"];
    let mut name = [0; 6 * FIELD];
    for (at, field) in fields.iter().enumerate() {
        name[at * FIELD..at * FIELD + field.len()].copy_from_slice(field);
    }
    system.put(to, &name)?;
    Ok(0)
}

pub fn prctl(system: &mut System, [option, argument, ..]: Arguments) -> Outcome {
    const SET_NAME: u64 = 15;
    const GET_NAME: u64 = 16;
    match option {
        SET_NAME => {
            let mut name: [u8; 16] = [0; 16];
            for (n, byte) in name.iter_mut().take(15).enumerate() {
                *byte = system.get(argument.wrapping_add(n as u64))?;
                if *byte == 0 {
                    break;
                }
            }
            system.tasks.process.name = name;
            Ok(0)
        }
        GET_NAME => {
            let name = system.tasks.process.name;
            system.put(argument, &name)?;
            Ok(0)
        }
        _ => Err(Errno::INVAL.into()),
    }
}

pub fn arch_prctl(system: &mut System, [code, argument, ..]: Arguments) -> Outcome {
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
        system.put(argument, &base)?;
    } else if argument >= USER_END.0 {
        return Err(Errno(1).into());
    } else {
        // SAFETY: both registers exist in long mode, a user address is canonical, and the kernel uses neither segment.
        unsafe { cpu::wrmsr(register, argument) };
        let kept =
            if code == SET_FS { &mut system.tasks.thread.fs_base } else { &mut system.tasks.thread.gs_base };
        *kept = argument;
    }
    Ok(0)
}

/// The list is for a thread that dies with a lock held; nobody else looks at it.
pub fn set_robust_list(_: &mut System, [_, size, ..]: Arguments) -> Outcome {
    const HEAD: u64 = 24;
    if size == HEAD { Ok(0) } else { Err(Errno::INVAL.into()) }
}

/// Programs do without.
pub fn rseq(_: &mut System, _: Arguments) -> Outcome {
    Err(Errno::NOSYS.into())
}

pub fn sched_getaffinity(system: &mut System, [_, size, to, ..]: Arguments) -> Outcome {
    if size < 8 || size % 8 != 0 {
        return Err(Errno::INVAL.into());
    }
    system.put(to, &1u64)?;
    Ok(8)
}

/// struct rusage.
pub fn usage_words(system: &System, usage: &Usage, peak: u64) -> [u64; 18] {
    let cpu = system.machine.clock.nanoseconds(usage.cycles);
    let mut words = [0u64; 18];
    words[0] = cpu / SECOND;
    words[1] = cpu % SECOND / 1000;
    words[4] = peak * (PAGE_SIZE as u64 / 1024);
    words[8] = usage.minor_faults;
    words[9] = usage.major_faults;
    words
}

pub fn getrusage(system: &mut System, [who, to, ..]: Arguments) -> Outcome {
    let words = match who as i32 {
        0 | 1 => {
            let mut own = system.tasks.process.usage;
            own.cycles += cpu::rdtsc() - system.since;
            usage_words(system, &own, system.memory.stats.resident_peak)
        }
        -1 => usage_words(system, &system.tasks.process.children_usage, 0),
        _ => return Err(Errno::INVAL.into()),
    };
    system.put(to, &words)?;
    Ok(0)
}

pub fn sysinfo(system: &mut System, [to, ..]: Arguments) -> Outcome {
    system.memory.publish();
    let page = PAGE_SIZE as u64;
    let mut info = [0u64; 14];
    info[0] = system.machine.clock.now() / SECOND;
    info[4] = u64::from(system.memory.frames.len()) * page;
    info[5] = system.memory.stats.free_frames * page;
    info[8] = system.memory.swap.slots.count() * page;
    info[9] = (system.memory.swap.slots.count() - u64::from(system.memory.swap.slots.used())) * page;
    info[10] = system.tasks.others.processes().count() as u64 + 1;
    // mem_unit
    info[13] = 1;
    system.put(to, &info)?;
    Ok(0)
}

pub fn times(system: &mut System, [to, ..]: Arguments) -> Outcome {
    const TICK: u64 = SECOND / 100;
    let own = system.tasks.process.usage.cycles + cpu::rdtsc() - system.since;
    let ticks = |cycles| system.machine.clock.nanoseconds(cycles) / TICK;
    if to != 0 {
        let words = [ticks(own), 0, ticks(system.tasks.process.children_usage.cycles), 0];
        system.put(to, &words)?;
    }
    Ok(system.machine.clock.now() / TICK)
}

/// Random bytes for a program.
pub fn fill_random(system: &mut System, to: u64, len: u64) -> Result<(), super::Stop> {
    let mut done = 0;
    while done < len {
        let mut bytes = [0; 256];
        let part = (len - done).min(256) as usize;
        system.machine.random.fill(&mut bytes[..part]);
        system.write(to.wrapping_add(done), &bytes[..part])?;
        done += part as u64;
    }
    Ok(())
}

pub fn getrandom(system: &mut System, [to, len, ..]: Arguments) -> Outcome {
    /// As on Linux, one call gives so many bytes at most.
    const MOST: u64 = 32 << 20;
    let len = len.min(MOST);
    fill_random(system, to, len)?;
    Ok(len)
}

/// There is no network.
pub fn socket(_: &mut System, _: Arguments) -> Outcome {
    Err(Errno::AFNOSUPPORT.into())
}
