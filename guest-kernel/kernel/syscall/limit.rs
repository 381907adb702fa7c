//! Limits of a process (setrlimit(2)). Two can be changed: how much of it may be in RAM, and how much it may map. The others are told.

use abi::addr::PAGE_SHIFT;

use super::{Arguments, Errno, Outcome, System};
use crate::fs::open::LIMIT;
use crate::process::{Limits, UNLIMITED};
use crate::vm::area::STACK_LIMIT;
use crate::vm::scope::{Scope, Scopes};

const RESIDENT: u64 = 5;
const ADDRESS_SPACE: u64 = 9;

/// Soft and hard limit of a resource.
fn limit(limits: &Limits, resource: u64) -> Result<[u64; 2], Errno> {
    match resource {
        3 => Ok([STACK_LIMIT, UNLIMITED]),
        4 => Ok([0, UNLIMITED]),
        RESIDENT => Ok([limits.resident, UNLIMITED]),
        7 => Ok([LIMIT as u64; 2]),
        ADDRESS_SPACE => Ok([limits.address_space, UNLIMITED]),
        0..16 => Ok([UNLIMITED; 2]),
        _ => Err(Errno::INVAL),
    }
}

fn set(system: &mut System, resource: u64, [soft, hard]: [u64; 2]) -> Result<(), Errno> {
    if soft > hard {
        return Err(Errno::INVAL);
    }
    match resource {
        RESIDENT => {
            let scope = system.new_scope(soft)?;
            let System { tasks, memory, .. } = system;
            let before = core::mem::replace(&mut tasks.space.scope, scope);
            memory.scopes.remove_scope(before);
            memory.scopes.current = scope;
            tasks.process.limits.resident = soft;
        }
        ADDRESS_SPACE => {
            system.tasks.process.limits.address_space = soft;
            system.tasks.space.limit = soft;
        }
        // Setting one that is not larger than what holds is taken as done.
        _ => {}
    }
    Ok(())
}

pub fn getrlimit(system: &mut System, [resource, to, ..]: Arguments) -> Outcome {
    let limit = limit(&system.tasks.process.limits, resource)?;
    system.put(to, &limit)?;
    Ok(0)
}

pub fn setrlimit(system: &mut System, [resource, from, ..]: Arguments) -> Outcome {
    limit(&system.tasks.process.limits, resource)?;
    let new = system.get(from)?;
    set(system, resource, new)?;
    Ok(0)
}

pub fn prlimit64(system: &mut System, [process, resource, new, old, ..]: Arguments) -> Outcome {
    if process != 0 && process != u64::from(system.tasks.process.id) {
        return Err(Errno::SRCH.into());
    }
    let before = limit(&system.tasks.process.limits, resource)?;
    let new: Option<[u64; 2]> = (new != 0).then(|| system.get(new)).transpose()?;
    if old != 0 {
        system.put(old, &before)?;
    }
    if let Some(new) = new {
        set(system, resource, new)?;
    }
    Ok(0)
}

impl System {
    /// A scope for a process that may have so many bytes in RAM; the global one where that is no limit.
    pub fn new_scope(&mut self, bytes: u64) -> Result<Scope, Errno> {
        let pages = (bytes >> PAGE_SHIFT).max(1);
        if pages >= u64::from(self.memory.frames.len()) {
            return Ok(Scope::GLOBAL);
        }
        self.make_large_room(Scopes::bytes(pages as u32))?;
        self.memory.scopes.add(pages as u32).ok_or(Errno::NOMEM)
    }
}
