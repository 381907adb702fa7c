//! epoll and eventfd. A descriptor is looked at anew at each wait, so edges are told as levels are: again until they are gone.

use super::poll::{ERR, HUP, none_yet, ready, timeout};
use super::{Arguments, Errno, Outcome, Stop, System};
use crate::fs::epoll::{Counter, Epoll, MOST, Watched};
use crate::fs::open::{CLOEXEC, NONBLOCK, Object, READ_WRITE};
use crate::process::Event;

const ONE_SHOT: u32 = 1 << 30;

pub fn epoll_create(system: &mut System, _: Arguments) -> Outcome {
    epoll_create1(system, [0; 6])
}

pub fn epoll_create1(system: &mut System, [flags, ..]: Arguments) -> Outcome {
    if flags & !CLOEXEC != 0 {
        return Err(Errno::INVAL.into());
    }
    system.make_room()?;
    system.open(Object::Epoll(Epoll::default()), u64::from(READ_WRITE) | flags)
}

fn list(system: &System, number: u64) -> Result<Epoll, Stop> {
    match &system.tasks.process.descriptors.get(number)?.object {
        Object::Epoll(list) => Ok(list.clone()),
        _ => Err(Errno::INVAL.into()),
    }
}

pub fn epoll_ctl(system: &mut System, [number, operation, watched, event, ..]: Arguments) -> Outcome {
    const ADD: u64 = 1;
    const DELETE: u64 = 2;
    const MODIFY: u64 = 3;
    let Epoll(list) = list(system, number)?;
    match &system.tasks.process.descriptors.get(watched)?.object {
        Object::File(_) | Object::Directory(_) => return Err(Errno::PERM.into()),
        Object::Epoll(_) => return Err(Errno::INVAL.into()),
        _ => {}
    }
    let mut list = list.borrow_mut();
    let at = list.iter().position(|held| u64::from(held.number) == watched);
    if operation == DELETE {
        list.swap_remove(at.ok_or(Errno::NOENT)?);
        return Ok(0);
    }
    // struct epoll_event is packed.
    let events: u32 = system.get(event)?;
    let data: u64 = system.get(event.wrapping_add(4))?;
    let new = Watched { number: watched as u32, events, data };
    match (operation, at) {
        (ADD, Some(_)) => return Err(Errno::EXIST.into()),
        (ADD, None) if list.len() >= MOST => return Err(Errno::NOSPC.into()),
        (ADD, None) => list.push(new),
        (MODIFY, Some(at)) => list[at] = new,
        (MODIFY, None) => return Err(Errno::NOENT.into()),
        _ => return Err(Errno::INVAL.into()),
    }
    Ok(0)
}

pub fn epoll_wait(system: &mut System, [number, to, most, milliseconds, ..]: Arguments) -> Outcome {
    let Epoll(list) = list(system, number)?;
    if !(1..=i32::MAX as u64).contains(&most) {
        return Err(Errno::INVAL.into());
    }
    let mut found = 0;
    for watched in list.borrow_mut().iter_mut() {
        // A descriptor that was closed is on the list no longer, as far as anyone is told.
        let open = system.tasks.process.descriptors.get(watched.number.into()).is_ok();
        let state = if open { u32::from(ready(system, watched.number)) } else { 0 };
        let told = state & (watched.events | u32::from(ERR | HUP));
        if told == 0 || found == most {
            continue;
        }
        let at = to.wrapping_add(12 * found);
        system.put(at, &told)?;
        system.put(at.wrapping_add(4), &watched.data)?;
        found += 1;
        if watched.events & ONE_SHOT != 0 {
            watched.events = 0;
        }
    }
    if found > 0 {
        return Ok(found);
    }
    none_yet(system, timeout(milliseconds))
}

pub fn eventfd(system: &mut System, [value, ..]: Arguments) -> Outcome {
    eventfd2(system, [value, 0, 0, 0, 0, 0])
}

pub fn eventfd2(system: &mut System, [value, flags, ..]: Arguments) -> Outcome {
    const SEMAPHORE: u64 = 1;
    if flags & !(CLOEXEC | u64::from(NONBLOCK) | SEMAPHORE) != 0 {
        return Err(Errno::INVAL.into());
    }
    system.make_room()?;
    let counter = Counter { value: alloc::rc::Rc::new(value.into()), by_one: flags & SEMAPHORE != 0 };
    system.open(Object::Counter(counter), u64::from(READ_WRITE) | flags & !SEMAPHORE)
}

/// Takes a counter's value, waiting until there is one.
pub fn take(system: &mut System, counter: &Counter, flags: u32, to: u64, len: usize) -> Outcome {
    if len < 8 {
        return Err(Errno::INVAL.into());
    }
    let value = match counter.value.get() {
        0 if flags & NONBLOCK != 0 => return Err(Errno::AGAIN.into()),
        0 => return Err(Stop::Wait(Event::Any, None)),
        _ if counter.by_one => 1,
        all => all,
    };
    system.put(to, &value)?;
    counter.value.set(counter.value.get() - value);
    system.tasks.others.wake(Event::Any);
    Ok(8)
}

/// Adds to a counter, waiting until it fits.
pub fn give(system: &mut System, counter: &Counter, flags: u32, from: u64, len: usize) -> Outcome {
    if len < 8 {
        return Err(Errno::INVAL.into());
    }
    let more: u64 = system.get(from)?;
    match counter.value.get().checked_add(more) {
        None if more == u64::MAX => Err(Errno::INVAL.into()),
        Some(sum) if sum < u64::MAX => {
            counter.value.set(sum);
            system.tasks.others.wake(Event::Any);
            Ok(8)
        }
        _ if flags & NONBLOCK != 0 => Err(Errno::AGAIN.into()),
        _ => Err(Stop::Wait(Event::Any, None)),
    }
}
