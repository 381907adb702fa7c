//! All processes and threads: who runs, who waits, who is whose child.
//!
//! The running thread, its process and its address space are not in the tables but in [`Tasks`] itself, so that a system call has
//! each of them by a plain reference, beside one to the [`Others`].

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::queue::Queue;
use super::signal::{Action, Info, number};
use super::{Ended, Event, FIRST, Pause, Process, State, Thread};
use crate::fs::FileId;
use crate::vm::Memory;
use crate::vm::space::AddressSpace;

/// A process's place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessSlot(pub u32);

/// An address space's place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpaceSlot(pub u32);

/// What a thread's turn was when another one gets the CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It gets another one later.
    Over,
    /// It has ended.
    Last,
}

/// Most processes at once, and most threads.
pub const MOST: usize = 4096;
/// Numbers of processes and threads are smaller.
const LAST_ID: u32 = 32768;

/// Things that keep their place. The place of a thing that is out for use stays reserved.
struct Table<T> {
    places: Vec<Option<Box<T>>>,
    free: Vec<u32>,
}

impl<T> Table<T> {
    const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    fn reserve(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        })
    }

    fn put(&mut self, place: u32, thing: Box<T>) {
        self.places[place as usize] = Some(thing);
    }

    fn take(&mut self, place: u32) -> Box<T> {
        match self.places[place as usize].take() {
            Some(thing) => thing,
            None => unreachable!("place {place} is empty"),
        }
    }

    fn remove(&mut self, place: u32) -> Option<Box<T>> {
        self.free.push(place);
        self.places[place as usize].take()
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(Option::as_deref)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(Option::as_deref_mut)
    }

    fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

/// Those that do not run at the moment.
pub struct Others {
    threads: Queue,
    processes: Table<Process>,
    spaces: Table<AddressSpace>,
    last_id: u32,
}

impl Others {
    /// The process of a number, if it does not run.
    #[must_use]
    pub fn process(&self, id: u32) -> Option<&Process> {
        self.processes.iter().find(|process| process.id == id)
    }

    /// All processes but the running one.
    pub fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        self.processes.iter_mut()
    }

    /// All threads but the running one.
    pub fn threads(&mut self) -> impl Iterator<Item = &mut Thread> {
        self.threads.iter_mut()
    }

    /// Says that something is to happen at a moment, in nanoseconds since boot.
    pub fn note_time(&mut self, at: u64) {
        self.threads.earliest = self.threads.earliest.min(at);
    }

    /// An address space that is not the running one's.
    pub fn space(&self, slot: SpaceSlot) -> Option<&AddressSpace> {
        self.spaces.places.get(slot.0 as usize).and_then(Option::as_deref)
    }

    /// The space that has not run for longest, of those that have pages that can leave RAM.
    pub fn waiting_longest(&self, memory: &Memory) -> Option<&AddressSpace> {
        let all = self.spaces.iter().filter(|space| memory.pages_of_its_own(space) > 0);
        all.min_by_key(|space| space.last_run)
    }

    /// Whether there may be one more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.processes.len() < MOST && self.threads.len() < MOST
    }

    /// A number that no process, group, session or thread has; `own` is the running process's.
    pub fn fresh_id(&mut self, own: &Process, thread: u32) -> u32 {
        loop {
            self.last_id = if self.last_id + 1 < LAST_ID { self.last_id + 1 } else { FIRST + 1 };
            let id = self.last_id;
            let has = |process: &Process| [process.id, process.group, process.session].contains(&id);
            let used = has(own)
                || thread == id
                || self.processes.iter().any(has)
                || self.threads.iter_mut().any(|thread| thread.id == id);
            if !used {
                return id;
            }
        }
    }

    /// Adds a process with a space of its own, or one that runs in the space whose place it has already.
    pub fn add_process(&mut self, mut process: Process, space: Option<AddressSpace>) -> ProcessSlot {
        if let Some(space) = space {
            process.space = Some(self.add_space(space));
        }
        process.slot = ProcessSlot(self.processes.reserve());
        let slot = process.slot;
        self.processes.put(slot.0, Box::new(process));
        slot
    }

    /// Holds a process back: none of its threads runs until it is released as often.
    pub fn hold(&mut self, process: ProcessSlot) {
        self.threads.hold(process);
    }

    /// Takes one hold off a process.
    pub fn release(&mut self, process: ProcessSlot) {
        self.threads.release(process);
    }

    /// Whether any thread can go on.
    #[must_use]
    pub fn can_go_on(&self) -> bool {
        !self.threads.is_idle()
    }

    /// Lets everyone look again who waits for any pipe.
    pub fn wake_pipes(&mut self) {
        self.threads.wake(|thread| matches!(thread.state, State::Waiting(Event::Pipe(_) | Event::Any, _)));
    }

    fn add_space(&mut self, space: AddressSpace) -> SpaceSlot {
        let slot = SpaceSlot(self.spaces.reserve());
        self.spaces.put(slot.0, Box::new(space));
        slot
    }

    /// Adds a thread; its turn comes last.
    pub fn add_thread(&mut self, thread: Thread) {
        self.threads.push(Box::new(thread));
    }

    /// Ends every thread of a process but the running one.
    pub fn end_threads(&mut self, process: ProcessSlot) {
        self.threads.retain(|thread| thread.process != process);
    }

    /// Takes a process that has ended out of the table: its place and its number are free.
    pub fn reap(&mut self, slot: ProcessSlot) -> Option<Box<Process>> {
        self.processes.remove(slot.0)
    }

    /// Lets everyone look again who waits for this.
    pub fn wake(&mut self, event: Event) {
        self.threads.wake(|thread| match thread.state {
            State::Waiting(waits, _) => waits == event || waits == Event::Any,
            _ => false,
        });
    }

    /// Wakes up to `most` threads of a process that wait for a futex, and tells them so. Returns how many.
    pub fn wake_futex(&mut self, process: ProcessSlot, key: u64, most: u64) -> u64 {
        let mut woken = 0;
        self.threads.wake(|thread| {
            let meant = woken < most
                && thread.process == process
                && matches!(thread.state, State::Waiting(Event::Futex(waits), _) if waits == key);
            if meant {
                thread.pause().woken = true;
                woken += 1;
            }
            meant
        });
        woken
    }

    /// Interrupts the wait of one thread of a process that does not block a signal.
    fn interrupt(&mut self, process: ProcessSlot, signal: u8) {
        let mut found = false;
        self.threads.wake(|thread| {
            let takes = !found && thread.process == process && !thread.blocked.has(signal);
            found |= takes;
            takes
        });
    }

    /// Interrupts a thread's wait.
    pub fn interrupt_thread(&mut self, id: u32) {
        self.threads.wake(|thread| thread.id == id);
    }

    /// Sends a signal to a process that does not run, and interrupts a wait of a thread that takes it.
    pub fn send(&mut self, slot: ProcessSlot, signal: u8, info: Info) {
        let Some(process) = self.processes.places[slot.0 as usize].as_deref_mut() else { return };
        if process.ended.is_some()
            || process.actions[usize::from(signal) - 1].ignores(signal) && signal != number::KILL
        {
            return;
        }
        process.pending.add(signal, info);
        self.interrupt(slot, signal);
    }
}

/// Everyone.
pub struct Tasks {
    /// The thread that runs.
    pub thread: Box<Thread>,
    /// Its process.
    pub process: Box<Process>,
    /// Its address space.
    pub space: Box<AddressSpace>,
    /// All others.
    pub others: Others,
}

impl Tasks {
    /// With the first process, whose only thread runs.
    #[must_use]
    pub fn new(process: impl FnOnce(SpaceSlot) -> Process, space: AddressSpace, thread: Thread) -> Self {
        let mut others =
            Others { threads: Queue::new(), processes: Table::new(), spaces: Table::new(), last_id: FIRST };
        others.processes.reserve();
        let process = process(SpaceSlot(others.spaces.reserve()));
        Self { thread: Box::new(thread), process: Box::new(process), space: Box::new(space), others }
    }

    /// Makes the next thread that can go on the running one; there is one.
    pub fn advance(&mut self, turn: Turn) {
        let Some(next) = self.others.threads.next() else { return };
        let before = core::mem::replace(&mut self.thread, next);
        if turn == Turn::Over {
            self.others.threads.push(before);
        }
        if self.thread.process != self.process.slot {
            self.change_process();
        }
    }

    /// Every address space, that of the running process first.
    pub fn spaces(&self) -> impl Iterator<Item = &AddressSpace> {
        core::iter::once(&*self.space).chain(self.others.spaces.iter())
    }

    fn change_process(&mut self) {
        let Others { processes, spaces, .. } = &mut self.others;
        let process = processes.take(self.thread.process.0);
        let before = core::mem::replace(&mut self.process, process);
        if before.space != self.process.space
            && let Some(slot) = self.process.space
        {
            let space = core::mem::replace(&mut self.space, spaces.take(slot.0));
            if let Some(slot) = before.space {
                spaces.put(slot.0, space);
            }
        }
        if before.ended.is_some() && before.parent == 0 {
            processes.remove(before.slot.0);
        } else {
            processes.put(before.slot.0, before);
        }
    }

    /// Lets go on whose time has come. Returns when the next one's may come, `u64::MAX` if never.
    pub fn expire(&mut self, now: u64) -> u64 {
        let own = match self.thread.state {
            State::Waiting(_, Some(until)) if until <= now => {
                self.thread.state = State::Again;
                u64::MAX
            }
            State::Waiting(_, Some(until)) => until,
            _ => u64::MAX,
        };
        if self.others.threads.earliest <= now {
            self.expire_others(now);
        }
        own.min(self.others.threads.earliest)
    }

    #[cold]
    fn expire_others(&mut self, now: u64) {
        let mut earliest = u64::MAX;
        let mut passed = |at: u64| {
            if at > now {
                earliest = earliest.min(at);
            }
            at <= now
        };
        self.others.threads.wake(|thread| match thread.state {
            State::Waiting(_, Some(until)) => passed(until),
            _ => false,
        });
        let mut rung = Vec::new();
        for process in self.others.processes.iter_mut().chain([&mut *self.process]) {
            let Some(alarm) = &mut process.alarm else { continue };
            if passed(alarm.at) {
                rung.push(process.slot);
                alarm.at += alarm.interval;
                passed(alarm.at);
                if alarm.interval == 0 {
                    process.alarm = None;
                }
            }
        }
        self.others.threads.earliest = earliest;
        for slot in rung {
            self.send(slot, number::ALRM, Info { code: 0x80, ..Info::default() });
        }
    }

    /// Sends a signal to any process.
    pub fn send(&mut self, slot: ProcessSlot, signal: u8, info: Info) {
        if slot != self.process.slot {
            return self.others.send(slot, signal, info);
        }
        self.send_own(signal, info);
    }

    /// A process by its place.
    pub fn at(&mut self, slot: ProcessSlot) -> Option<&mut Process> {
        if slot == self.process.slot {
            return Some(&mut self.process);
        }
        self.others.processes.places.get_mut(slot.0 as usize)?.as_deref_mut()
    }

    /// The processes whose working set was estimated, with its pages. Those that share a space count once.
    #[must_use]
    pub fn working_sets(&self) -> Vec<(ProcessSlot, u64)> {
        let all = self.others.processes.iter().chain([&*self.process]);
        let live = all.filter(|process| process.ended.is_none() && !process.borrows);
        let pages = |process: &Process| {
            let space = if process.space == self.process.space {
                &*self.space
            } else {
                self.others.space(process.space?)?
            };
            space.working_set.pages
        };
        live.filter_map(|process| Some((process.slot, pages(process)?.into()))).collect()
    }

    /// The process of that number, wherever it is.
    fn find(&mut self, id: u32) -> Option<&mut Process> {
        self.others.processes.iter_mut().chain([&mut *self.process]).find(|process| process.id == id)
    }

    /// Ends a process whose address space is gone already: so are its threads, its parent is told, its children have another parent.
    /// What is left of it is what its parent asks for; nothing, where that does not want to know.
    pub fn end_process(&mut self, slot: ProcessSlot, how: Ended) {
        let others = &mut self.others;
        others.end_threads(slot);
        let process = if slot == self.process.slot {
            &mut *self.process
        } else {
            match &mut others.processes.places[slot.0 as usize] {
                Some(process) => process,
                None => return,
            }
        };
        process.threads = 0;
        process.ended = Some(how);
        process.alarm = None;
        process.descriptors.clear();
        let (id, parent, signal) = (process.id, process.parent, process.end_signal);
        others.wake_pipes();
        for child in
            others.processes.iter_mut().chain([&mut *self.process]).filter(|child| child.parent == id)
        {
            child.parent = FIRST;
        }
        let heir = self.find(parent).map(|parent| {
            let action = parent.actions[usize::from(number::CHLD) - 1];
            let asks = action.handler != Action::IGNORE && action.flags & Action::NO_CHILD_WAIT == 0;
            (parent.slot, asks)
        });
        if let Some((parent, _)) = heir
            && signal != 0
        {
            let (code, status) = match how {
                Ended::Exit(status) => (1, status),
                Ended::Signal(signal) => (2, signal),
            };
            self.send(parent, signal, Info { code, word: id.into(), status: status.into() });
        }
        self.others.wake(Event::Child);
        if !heir.is_some_and(|(_, asks)| asks) {
            self.forget(slot);
        }
    }

    /// Nobody asks how this process ended.
    fn forget(&mut self, slot: ProcessSlot) {
        if slot == self.process.slot {
            // It still runs the kernel; its place is free at the next switch.
            self.process.parent = 0;
        } else {
            self.others.processes.remove(slot.0);
        }
    }

    /// Takes the address space from a process that does not run. Returns it if nobody else uses it.
    pub fn give_up_space(&mut self, process: ProcessSlot) -> Option<AddressSpace> {
        let Others { processes, spaces, .. } = &mut self.others;
        let slot = processes.places[process.0 as usize].as_mut()?.space.take()?;
        let space = if self.process.space == Some(slot) {
            &mut *self.space
        } else {
            spaces.places[slot.0 as usize].as_deref_mut()?
        };
        space.users -= 1;
        if space.users == 0 { spaces.remove(slot.0).map(|space| *space) } else { None }
    }

    /// Gives the running process another address space. The old one ends, unless others use it.
    pub fn change_space(&mut self, memory: &mut Memory, new: AddressSpace) {
        let Self { process, space, others, .. } = self;
        // SAFETY: every address space's table has the kernel's half.
        unsafe { new.table.load() };
        memory.scopes.current = new.scope;
        let has_pages = new.users > 0;
        let mut old = core::mem::replace(&mut **space, new);
        let Some(slot) = process.space else { return };
        old.users -= 1;
        if old.users > 0 {
            others.spaces.put(slot.0, Box::new(old));
            process.space = has_pages.then(|| SpaceSlot(others.spaces.reserve()));
        } else {
            memory.destroy(old);
            if !has_pages {
                others.spaces.remove(slot.0);
                process.space = None;
            }
        }
        if core::mem::take(&mut process.borrows) {
            others.wake(Event::Vfork);
        }
    }

    /// Takes away the files without a disk that have no name, and that no address space maps and no descriptor names.
    pub fn collect_memory_files(&self, memory: &mut Memory) {
        let Self { process, space, others, .. } = self;
        let mut from = 0;
        while let Some(file) = memory.memory_files.next_nameless(from) {
            from = file.memory_number().map_or(u16::MAX, |number| number as u16 + 1);
            let mapped = |space: &AddressSpace| space.areas.all().iter().any(|area| area.is_of(file));
            let open = |process: &Process| process.descriptors.name(file);
            let used = mapped(space)
                || open(process)
                || others.spaces.iter().any(mapped)
                || others.processes.iter().any(open);
            if !used {
                memory.free_memory_file(file);
            }
        }
    }

    /// A file was cut: what lies past its end is gone from every address space.
    pub fn drop_copies(&self, memory: &mut Memory, file: FileId) {
        memory.drop_copies(&self.space, file);
        self.others.spaces.iter().for_each(|space| memory.drop_copies(space, file));
    }

    /// Sends a signal to the running process: to the running thread, unless that blocks it and another does not.
    pub fn send_own(&mut self, signal: u8, info: Info) {
        let Self { process, thread, others, .. } = self;
        if process.actions[usize::from(signal) - 1].ignores(signal) && signal != number::KILL {
            return;
        }
        process.pending.add(signal, info);
        if thread.blocked.has(signal) {
            others.interrupt(process.slot, signal);
        } else if let State::Waiting(..) = thread.state {
            thread.state = State::Again;
        }
    }
}

impl Thread {
    /// Lets it make a system call again that a signal interrupted.
    pub fn call_again(&mut self, number: u64) {
        /// Length of the instruction `syscall`.
        const SYSCALL: u64 = 2;
        self.registers.rip = self.registers.rip.wrapping_sub(SYSCALL);
        self.registers.rax = number;
        self.registers.vector = 0;
    }

    /// What its system call keeps for the next try.
    pub fn pause(&mut self) -> &mut Pause {
        self.pause.get_or_insert_default()
    }
}
