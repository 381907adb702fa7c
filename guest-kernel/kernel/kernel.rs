//! The kernel as one value, and what it does at each trap: find out what happened, serve it, choose who runs.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicPtr, Ordering};

use abi::addr::Gva;
use abi::port::{EXIT, Exit};
use abi::stats::Source;

use crate::arch::trap::{self, Registers};
use crate::arch::{apic, cpu};
use crate::process::scheduler::Scheduler;
use crate::process::{Process, State};
use crate::syscall::{Call, Machine, Stop, dispatch};
use crate::time::SECOND;
use crate::vm::Memory;
use crate::vm::fault::Invalid;
use crate::vm::page::Rights;
use crate::vm::table::USER_END;

/// Length of a time slice in nanoseconds.
const SLICE: u64 = SECOND / 100;

/// Signals by their numbers (signal(7)).
mod signal {
    pub const ILL: u8 = 4;
    pub const TRAP: u8 = 5;
    pub const BUS: u8 = 7;
    pub const FPE: u8 = 8;
    pub const KILL: u8 = 9;
    pub const SEGV: u8 = 11;
}

/// Everything.
pub struct Kernel {
    /// Frames, swap, files, counters.
    pub memory: Memory,
    /// The program.
    pub process: Process,
    /// Its threads.
    pub scheduler: Scheduler,
    /// Clock and consoles.
    pub machine: Machine,
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
        kernel.memory.stats.boot = cpu::rdtsc() - entered;
        trap::enter_user()
    }

    /// Makes the current thread the one that the trap entry saves and restores.
    fn resume(&mut self) {
        let registers = &raw mut self.scheduler.current().registers;
        // SAFETY: a thread is boxed and lives as long as it is current; `trap_from_user` is not running when the
        // entry code uses its registers.
        unsafe { trap::set_current(registers) };
    }

    fn registers(&mut self) -> &mut Registers {
        &mut self.scheduler.current().registers
    }

    #[inline]
    fn trap(&mut self) {
        match self.registers().vector {
            trap::SYSTEM_CALL => self.system_call(),
            trap::PAGE_FAULT => self.page_fault(),
            trap::TIMER => self.tick(),
            trap::SPURIOUS => {}
            trap::FIRST_DEVICE.. => apic::end_of_interrupt(),
            exception => self.exception(exception),
        }
        if self.scheduler.current().state != State::Ready {
            self.wait();
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
        match self.memory.fault(&mut self.process.space, address, access) {
            Ok(source) => self.count_fault(source, cpu::rdtsc() - start),
            Err(invalid) => self.refuse(address, access, invalid),
        }
    }

    fn count_fault(&mut self, source: Source, cycles: u64) {
        let (count, latency) = if source.is_major() {
            (&mut self.process.major_faults, &mut self.memory.stats.major)
        } else {
            (&mut self.process.minor_faults, &mut self.memory.stats.minor)
        };
        *count += 1;
        latency.record(cycles);
    }

    /// A fault that nothing allows.
    fn refuse(&mut self, address: Gva, access: Rights, invalid: Invalid) {
        let (signal, why) = match invalid {
            Invalid::NoArea => (signal::SEGV, "nothing is mapped there"),
            Invalid::NoRight => (signal::SEGV, "the mapping does not allow it"),
            Invalid::PastEnd => (signal::BUS, "past the end of the mapped file"),
            Invalid::Device => (signal::BUS, "the device failed"),
            Invalid::OutOfMemory => self.out_of_memory(),
        };
        let registers = self.registers();
        let (rip, rsp) = (registers.rip, registers.rsp);
        log::info!(
            "the program is killed by signal {signal}: {access:?} of {address} at rip {rip:#x}, rsp {rsp:#x}: {why}"
        );
        self.end(Exit::Signal(signal))
    }

    fn out_of_memory(&mut self) -> ! {
        let resident = self.memory.stats.resident;
        let (used, slots) = (self.memory.swap.slots.used(), self.memory.swap.slots.count().saturating_sub(1));
        log::error!(
            "out of memory: {used} of {slots} swap slots are in use and none of {resident} resident pages can be dropped; \
             the program is killed. Give more --ram or --swap"
        );
        self.end(Exit::Signal(signal::KILL))
    }

    /// Calls the handler that RAX names. A call that has to wait leaves the registers as they are, and is called again.
    #[inline]
    fn system_call(&mut self) {
        let Self { memory, process, scheduler, machine, .. } = self;
        let thread = scheduler.current();
        let Registers { rax, rdi, rsi, rdx, r10, r8, r9, .. } = thread.registers;
        let mut call = Call { memory, process, thread, machine };
        let outcome = dispatch(&mut call, rax, [rdi, rsi, rdx, r10, r8, r9]);
        let result = match outcome {
            Ok(value) => value,
            Err(Stop::Error(errno)) => errno.result(),
            Err(Stop::Wait(deadline)) => {
                call.thread.state = State::Waiting(deadline);
                return;
            }
            Err(Stop::Exit(exit)) => self.end(exit),
        };
        let thread = call.thread;
        thread.registers.rax = result;
        thread.deadline = None;
        memory.stats.system_calls += 1;
        if memory.exhausted {
            self.out_of_memory();
        }
    }

    fn exception(&mut self, vector: u64) {
        let signal = match vector {
            0 | 16 | 19 => signal::FPE,
            1 | 3 => signal::TRAP,
            6 => signal::ILL,
            17 => signal::BUS,
            _ => signal::SEGV,
        };
        let registers = self.registers();
        let (rip, rsp) = (registers.rip, registers.rsp);
        log::info!(
            "the program is killed by signal {signal}: exception {vector} at rip {rip:#x}, rsp {rsp:#x}"
        );
        self.end(Exit::Signal(signal))
    }

    /// The end of a time slice.
    fn tick(&mut self) {
        apic::end_of_interrupt();
        self.memory.stats.ticks += 1;
        self.memory.publish();
        self.start_timer(SLICE);
        self.switch();
    }

    fn switch(&mut self) {
        if self.scheduler.advance() {
            self.memory.stats.switches += 1;
            self.resume();
        }
    }

    /// The current thread waits: runs another one, or nothing until an interrupt, and then tries its call again.
    fn wait(&mut self) {
        while let State::Waiting(deadline) = self.scheduler.current().state {
            self.switch();
            let State::Waiting(_) = self.scheduler.current().state else { return };
            let left = deadline.map_or(SLICE, |end| end.saturating_sub(self.machine.clock.now()));
            self.memory.publish();
            self.start_timer(left.clamp(1000, SLICE));
            cpu::wait_for_interrupt();
            self.start_timer(SLICE);
            self.scheduler.current().state = State::Ready;
            self.system_call();
        }
    }

    fn start_timer(&self, nanoseconds: u64) {
        apic::start_timer(((nanoseconds * self.timer_scale) >> 20).max(1) as u32);
    }

    /// Ends the program, and with it the machine.
    fn end(&mut self, exit: Exit) -> ! {
        self.memory.publish();
        power_off(exit)
    }
}

/// Tells the VMM how it ended.
pub fn power_off(exit: Exit) -> ! {
    loop {
        // SAFETY: the exit port ends the machine and touches no memory.
        unsafe { cpu::out32(EXIT, exit.encode()) };
    }
}

/// Where the trap entry goes.
pub extern "C" fn trap_from_user() {
    // SAFETY: set once, before the first trap. One CPU and interrupts off: this is the only reference, and it ends
    // before the entry code touches the current thread's registers again.
    let kernel = unsafe { &mut *KERNEL.load(Ordering::Relaxed) };
    kernel.trap();
}
