//! The kernel as one value, and what it does at each trap: find out what happened, serve it, choose who runs.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicPtr, Ordering};

use abi::addr::Gva;
use abi::port::{EXIT, Exit};
use abi::stats::Source;

use crate::arch::apic;
use crate::arch::cpu::{self, msr};
use crate::arch::trap::{self, Registers};
use crate::process::signal::{Action, Info, Set, number, push_frame};
use crate::process::swapping;
use crate::process::tasks::{Tasks, Turn};
use crate::process::{Ended, Event, FIRST, Interrupted, Pause, State};
use crate::syscall::{Errno, Stop, System, dispatch};
use crate::time::SECOND;
use crate::vm::fault::Invalid;
use crate::vm::page::Rights;
use crate::vm::space::AddressSpace;
use crate::vm::table::USER_END;

/// Length of a time slice in nanoseconds.
const SLICE: u64 = SECOND / 100;

/// Everything.
pub struct Kernel {
    /// What system calls and other traps work on.
    pub system: System,
    /// The timer's cycles a nanosecond, as a fraction of 2^20.
    pub timer_scale: u64,
}

static KERNEL: AtomicPtr<Kernel> = AtomicPtr::new(core::ptr::null_mut());

impl Kernel {
    /// Starts the current thread. From here on the kernel runs in traps only. `entered`: the time-stamp counter at the
    /// kernel's entry.
    pub fn run(self: Box<Self>, entered: u64) -> ! {
        let kernel = Box::leak(self);
        kernel.resume();
        kernel.start_timer(SLICE);
        KERNEL.store(kernel, Ordering::Relaxed);
        kernel.system.since = cpu::rdtsc();
        kernel.system.memory.stats.boot = kernel.system.since - entered;
        trap::enter_user()
    }

    /// Makes the current thread the one that the trap entry saves and restores.
    fn resume(&mut self) {
        let registers = &raw mut self.system.tasks.thread.registers;
        // SAFETY: a thread is boxed and lives as long as it is current; `trap_from_user` is not running when the
        // entry code uses its registers.
        unsafe { trap::set_current(registers) };
    }

    fn registers(&mut self) -> &mut Registers {
        &mut self.system.tasks.thread.registers
    }

    #[inline]
    fn trap(&mut self) {
        match self.registers().vector {
            trap::PAGE_FAULT => self.page_fault(),
            trap::TIMER => self.tick(),
            trap::SPURIOUS => {}
            trap::FIRST_DEVICE.. => self.device(),
            exception => self.exception(exception),
        }
    }

    /// Before the return to user mode.
    #[inline]
    fn leave(&mut self) {
        if self.system.tasks.thread.state != State::Ready || self.signals() != Set::EMPTY {
            self.settle();
        }
    }

    /// Signals that the running thread is to take before it goes on.
    #[inline]
    fn signals(&self) -> Set {
        let thread = &self.system.tasks.thread;
        Set(thread.pending.0 | self.system.tasks.process.pending.set.0).without(thread.blocked)
    }

    /// Until a thread can return to user mode: signals are delivered, waits are tried again, others get their turn.
    #[cold]
    fn settle(&mut self) {
        loop {
            match self.system.tasks.thread.state {
                State::Ready => match self.signals().first() {
                    Some(signal) => self.deliver(signal),
                    None => return,
                },
                State::Again => {
                    self.system.tasks.thread.state = State::Ready;
                    self.system_call();
                }
                State::Waiting(..) => self.give_way(Turn::Over),
            }
        }
    }

    #[inline]
    fn page_fault(&mut self) {
        /// Bits of the error code (Intel SDM volume 3, figure 4-12).
        const PRESENT: u64 = 1;
        const WRITE: u64 = 2;
        const USER: u64 = 4;
        const FETCH: u64 = 16;
        let start = cpu::rdtsc();
        let address = cpu::cr2();
        let registers = self.registers();
        let error = registers.error;
        // Some hosts run ring 3 natively and leave `syscall` in ring 3: the fetch from the entry's address, which
        // only the kernel may read, is the system call. A program can jump there itself, with anything in the two
        // registers; then, too, it gets no more than a system call.
        let entry = trap::system_call_address();
        if error == PRESENT | USER | FETCH
            && address.0 == entry
            && registers.rip == entry
            && Gva(registers.rcx) < USER_END
        {
            registers.rip = registers.rcx;
            registers.rflags = registers.r11 & trap::USER_FLAGS | trap::INTERRUPTS_ON;
            return self.system_call();
        }
        let access = match error & (WRITE | FETCH) {
            0 => Rights::READ,
            WRITE => Rights::WRITE,
            _ => Rights::EXECUTE,
        };
        match self.system.memory.fault(&mut self.system.tasks.space, address, access) {
            Ok(source) => self.count_fault(source, cpu::rdtsc() - start),
            Err(invalid) => self.refuse(address, access, invalid),
        }
    }

    fn count_fault(&mut self, source: Source, cycles: u64) {
        let usage = &mut self.system.tasks.process.usage;
        let (count, latency) = if source.is_major() {
            (&mut usage.major_faults, &mut self.system.memory.stats.major)
        } else {
            (&mut usage.minor_faults, &mut self.system.memory.stats.minor)
        };
        *count += 1;
        latency.record(cycles);
    }

    /// A fault that nothing allows.
    fn refuse(&mut self, address: Gva, access: Rights, invalid: Invalid) {
        let (signal, code, why) = match invalid {
            Invalid::NoArea => (number::SEGV, 1, "nothing is mapped there"),
            Invalid::NoRight => (number::SEGV, 2, "the mapping does not allow it"),
            Invalid::PastEnd => (number::BUS, 2, "past the end of the mapped file"),
            Invalid::Device => (number::BUS, 2, "the device failed"),
            Invalid::NoHugePage => (number::BUS, 2, "no run of frames for a huge page is free"),
            Invalid::OutOfMemory => return self.out_of_memory(),
        };
        self.force(signal, Info { code, word: address.0, status: 0 }, || {
            alloc::format!("{access:?} of {address}: {why}")
        });
    }

    /// A signal that the running thread cannot put off: where it does not handle it, or blocks it, it is killed.
    fn force(&mut self, signal: u8, info: Info, why: impl FnOnce() -> String) {
        let (process, thread) = (&mut *self.system.tasks.process, &mut *self.system.tasks.thread);
        let action = &mut process.actions[usize::from(signal) - 1];
        if thread.blocked.has(signal) || action.handler <= Action::IGNORE {
            *action = Action::default();
            thread.blocked = thread.blocked.without(Set::of(signal));
            let Registers { rip, rsp, .. } = thread.registers;
            log::info!(
                "process {} is killed by signal {signal} at rip {rip:#x}, rsp {rsp:#x}: {}",
                process.id,
                why()
            );
        }
        process.pending.add(signal, info);
    }

    /// Kills the process that has most in memory and on swap; of equals the youngest.
    #[cold]
    fn out_of_memory(&mut self) {
        self.system.memory.exhausted = false;
        let mut largest = (
            self.system.tasks.process.slot,
            self.system.tasks.process.id,
            self.system.memory.size(&self.system.tasks.space),
        );
        let others = &mut self.system.tasks.others;
        let mut candidates = Vec::new();
        for process in others.processes().filter(|process| process.ended.is_none()) {
            candidates.extend(process.space.map(|space| (process.slot, process.id, space)));
        }
        for (slot, id, space) in candidates {
            let size = others.space(space).map_or(0, |space| self.system.memory.size(space));
            if (size, id) > (largest.2, largest.1) {
                largest = (slot, id, size);
            }
        }
        let (slot, id, size) = largest;
        let resident = self.system.memory.stats.resident;
        let (used, slots) =
            (self.system.memory.swap.slots.used(), self.system.memory.swap.slots.count().saturating_sub(1));
        log::error!(
            "out of memory: {used} of {slots} swap slots are in use and none of {resident} resident pages can be dropped; \
             process {id}, which has {size} pages, is killed. Give more --ram or --swap"
        );
        if slot == self.system.tasks.process.slot {
            self.system.tasks.send(slot, number::KILL, Info::default());
        } else {
            // Its memory is needed now, not at its next turn.
            if let Some(space) = self.system.tasks.give_up_space(slot) {
                self.system.memory.destroy(space);
            }
            self.system.end_process(slot, id, Ended::Signal(number::KILL));
        }
    }

    /// Calls the handler that RAX names. A call that has to wait leaves the registers as they are, and is called again.
    #[inline(always)]
    fn system_call(&mut self) {
        let result = match dispatch(&mut self.system) {
            Ok(value) => value,
            Err(stop) => match self.stop(stop) {
                Some(errno) => errno.result(),
                None => return,
            },
        };
        let System { tasks, memory, .. } = &mut self.system;
        tasks.thread.registers.rax = result;
        tasks.thread.pause = None;
        memory.system_calls += 1;
        if memory.exhausted {
            self.out_of_memory();
        }
    }

    /// What a system call does instead of returning a value; or its error.
    #[inline(never)]
    fn stop(&mut self, stop: Stop) -> Option<Errno> {
        let thread = &mut self.system.tasks.thread;
        match stop {
            Stop::Error(errno) => return Some(errno),
            Stop::Wait(event, until) => self.park(event, until),
            Stop::Exit(exit) => self.end(exit),
            Stop::EndThread(status) => self.end_thread(status),
            // The registers are what they are to be.
            Stop::Resume => thread.pause = None,
            Stop::Yield => {
                thread.registers.rax = 0;
                self.switch(Turn::Over);
            }
        }
        None
    }

    /// The system call waits, unless a signal is there that interrupts it.
    fn park(&mut self, event: Event, until: Option<u64>) {
        if self.signals() == Set::EMPTY {
            self.system.tasks.thread.state = State::Waiting(event, until);
            return;
        }
        let thread = &mut self.system.tasks.thread;
        match thread.pause.take() {
            // A child that borrows the address space gives it back, whatever signals come.
            pause @ Some(_) if event == Event::Vfork => {
                thread.pause = pause;
                thread.state = State::Waiting(event, until);
            }
            Some(Pause { done, .. }) if done > 0 => thread.registers.rax = done,
            _ => {
                let restarts = !matches!(event, Event::Time | Event::Any);
                thread.interrupted = Some(Interrupted { call: thread.registers.rax, restarts });
                thread.registers.rax = Errno::INTR.result();
            }
        }
    }

    /// A signal's action.
    fn deliver(&mut self, signal: u8) {
        let Tasks { thread, process, space, .. } = &mut self.system.tasks;
        let info = process.pending.take(signal);
        thread.pending = thread.pending.without(Set::of(signal));
        let action = process.actions[usize::from(signal) - 1];
        let interrupted = thread.interrupted.take();
        if action.ignores(signal) {
            if let Some(Interrupted { call, .. }) = interrupted {
                thread.call_again(call);
            }
            return;
        }
        if action.handler == Action::DEFAULT || signal == number::KILL {
            return self.end(Ended::Signal(signal));
        }
        if let Some(Interrupted { call, restarts: true }) = interrupted
            && action.flags & Action::RESTART != 0
        {
            thread.call_again(call);
        }
        if action.flags & Action::RESET != 0 {
            process.actions[usize::from(signal) - 1] = Action::default();
        }
        let blocked = thread.blocked_before.take().unwrap_or(thread.blocked);
        let own = if action.flags & Action::NO_DEFER != 0 { Set::EMPTY } else { Set::of(signal) };
        let during = thread.blocked.and(Set(action.mask)).and(own).without(Set::NEVER);
        match push_frame(&mut self.system.memory, space, thread, (signal, info), &action, blocked) {
            Ok(()) => thread.blocked = during,
            Err(_) => {
                log::info!("process {} has no stack to handle signal {signal} on", process.id);
                self.end(Ended::Signal(number::SEGV));
            }
        }
    }

    fn exception(&mut self, vector: u64) {
        let signal = match vector {
            0 | 16 | 19 => number::FPE,
            1 | 3 => number::TRAP,
            6 => number::ILL,
            17 => number::BUS,
            _ => number::SEGV,
        };
        let info = Info { code: 0x80, word: self.registers().rip, status: 0 };
        self.force(signal, info, || alloc::format!("exception {vector}"));
    }

    /// A device has something new.
    fn device(&mut self) {
        apic::end_of_interrupt();
        self.system.tasks.others.wake(Event::Input);
    }

    /// The end of a time slice.
    fn tick(&mut self) {
        apic::end_of_interrupt();
        self.system.memory.stats.ticks += 1;
        self.system.memory.publish();
        self.system.memory.tick();
        let System { load, sweep, tasks, memory, machine, .. } = &mut self.system;
        load.tick(tasks, memory);
        if let Some(sweep) = sweep {
            sweep.tick(tasks, &machine.clock);
        }
        if self.system.tasks.space.promotes {
            self.system.memory.promote_next(&mut self.system.tasks.space);
        }
        // Only now: what a tick costs must not eat up the slice on a slow machine.
        self.start_timer(SLICE);
        self.system.tasks.expire(self.system.machine.clock.now());
        let ticks = self.system.memory.stats.ticks;
        self.system.tasks.space.last_run = ticks;
        if !self.system.memory.swaps_whole || ticks.is_multiple_of(swapping::SLICES) {
            self.switch(Turn::Over);
        }
    }

    /// The running thread cannot go on: another one does, or none until an interrupt.
    fn give_way(&mut self, turn: Turn) {
        loop {
            let next = self.system.tasks.expire(self.system.machine.clock.now());
            if turn == Turn::Over && self.system.tasks.thread.state == State::Again || self.switch(turn) {
                return;
            }
            if self.system.load.release_first(&mut self.system.tasks) {
                continue;
            }
            let left = next.saturating_sub(self.system.machine.clock.now());
            self.system.memory.publish();
            self.start_timer(left.clamp(1000, SLICE));
            cpu::wait_for_interrupt();
            self.start_timer(SLICE);
            self.system.tasks.others.wake(Event::Input);
            if let State::Waiting(Event::Input | Event::Any, _) = self.system.tasks.thread.state {
                self.system.tasks.thread.state = State::Again;
            }
        }
    }

    /// Gives the CPU to the next thread that can go on, if there is one.
    fn switch(&mut self, turn: Turn) -> bool {
        if !self.system.tasks.others.can_go_on() {
            return false;
        }
        let now = cpu::rdtsc();
        self.system.tasks.process.usage.cycles += now - core::mem::replace(&mut self.system.since, now);
        if turn == Turn::Over {
            self.system.tasks.thread.vector.save();
        }
        let before = self.system.tasks.space.table.root();
        self.system.tasks.advance(turn);
        let after = self.system.tasks.space.table.root();
        if after != before {
            // SAFETY: every address space's table has the kernel's half.
            unsafe { self.system.tasks.space.table.load() };
            self.system.memory.scopes.current = self.system.tasks.space.scope;
            if self.system.memory.swaps_whole {
                swapping::bring_in(&mut self.system.tasks, &mut self.system.memory);
            }
        }
        let thread = &self.system.tasks.thread;
        thread.vector.restore();
        // SAFETY: the bases are canonical: whoever sets them checks that. The kernel uses neither segment.
        unsafe {
            cpu::wrmsr(msr::FS_BASE, thread.fs_base);
            cpu::wrmsr(msr::GS_BASE, thread.gs_base);
        }
        self.system.memory.stats.switches += 1;
        self.resume();
        true
    }

    fn start_timer(&self, nanoseconds: u64) {
        apic::start_timer(((nanoseconds * self.timer_scale) >> 20).max(1) as u32);
    }

    /// Ends the running process; with the first one, the machine.
    fn end(&mut self, how: Ended) {
        if self.system.tasks.process.id == FIRST {
            self.system.memory.write_back_all();
            self.system.memory.publish();
            power_off(match how {
                Ended::Exit(status) => Exit::Status(status),
                Ended::Signal(signal) => Exit::Signal(signal),
            });
        }
        let System { memory, tasks, root, .. } = &mut self.system;
        tasks.change_space(memory, AddressSpace::without_pages(*root));
        let (slot, id) = (tasks.process.slot, tasks.process.id);
        self.system.end_process(slot, id, how);
        self.give_way(Turn::Last);
    }

    /// Ends the running thread, and with the last one its process.
    fn end_thread(&mut self, status: u8) {
        if self.system.tasks.process.threads == 1 {
            return self.end(Ended::Exit(status));
        }
        self.system.tasks.process.threads -= 1;
        let Tasks { thread, process, space, others } = &mut self.system.tasks;
        let word = thread.clear_at_end;
        if word != 0 && self.system.memory.put_user(space, Gva(word), &0u32).is_ok() {
            others.wake_futex(process.slot, word, 1);
        }
        self.give_way(Turn::Last);
    }
}

/// Tells the VMM how it ended.
pub fn power_off(exit: Exit) -> ! {
    loop {
        // SAFETY: the exit port ends the machine and touches no memory.
        unsafe { cpu::out32(EXIT, exit.encode()) };
    }
}

fn kernel() -> &'static mut Kernel {
    // SAFETY: set once, before the first trap. One CPU and interrupts off: each of the two callers has the only reference, and
    // it ends before the entry code touches the current thread's registers again.
    unsafe { &mut *KERNEL.load(Ordering::Relaxed) }
}

/// Where the entry of `syscall` goes.
pub extern "C" fn system_call_from_user() {
    let kernel = kernel();
    kernel.system_call();
    kernel.leave();
}

/// Where the entry of all other traps goes.
pub extern "C" fn trap_from_user() {
    let kernel = kernel();
    kernel.trap();
    kernel.leave();
}
