//! Threads.

use abi::addr::Gva;

use super::signal::Set;
use super::tasks::ProcessSlot;
use crate::arch::gdt::{USER_CODE, USER_DATA};
use crate::arch::trap::{INTERRUPTS_ON, Registers};
use crate::arch::vector::VectorState;

/// What may end a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Time alone, or a signal.
    Time,
    /// Standard input has bytes.
    Input,
    /// A child of the thread's process changed.
    Child,
    /// A child that borrowed the address space gave it back.
    Vfork,
    /// The pipe of that number was read, written or closed.
    Pipe(u32),
    /// A lock on a file was given up.
    Lock,
    /// A futex of the thread's address space, or of all where it is in shared memory, was woken.
    Futex(u64),
    /// Any of these: the waiter looks for itself.
    Any,
}

/// Whether a thread can go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// In user mode, or about to return there.
    Ready,
    /// In a system call that had to wait, and is to be called again now.
    Again,
    /// In a system call that has to wait for an event, or until a moment in nanoseconds since boot.
    Waiting(Event, Option<u64>),
}

/// What a system call that has to wait keeps for its next try.
#[derive(Clone, Copy, Default, Debug)]
pub struct Pause {
    /// When the wait ends, in nanoseconds since boot.
    pub deadline: Option<u64>,
    /// How much is done, in bytes.
    pub done: u64,
    /// Somebody woke exactly this thread.
    pub woken: bool,
}

/// A system call that a signal interrupted. It is called again if the signal does nothing after all.
#[derive(Clone, Copy, Debug)]
pub struct Interrupted {
    /// Its number.
    pub call: u64,
    /// It is called again after a handler that has SA_RESTART, too. Those that wait for time or for any of many things are not (signal(7)).
    pub restarts: bool,
}

/// A thread.
pub struct Thread {
    /// Its registers. The trap entry saves them here: they do not move while the thread is current.
    pub registers: Registers,
    /// Its floating-point and vector registers; out of date while it is current.
    pub vector: VectorState,
    /// The base of the segment FS: its thread-local storage.
    pub fs_base: u64,
    /// The base of the segment GS.
    pub gs_base: u64,
    /// Its number.
    pub id: u32,
    /// Whose it is.
    pub process: ProcessSlot,
    /// Whether it can go on.
    pub state: State,
    /// The system call that it is in had to wait.
    pub pause: Option<Pause>,
    /// Blocked signals.
    pub blocked: Set,
    /// What was blocked before a system call blocked others while it waits.
    pub blocked_before: Option<Set>,
    /// Signals to this thread alone that were not delivered yet.
    pub pending: Set,
    /// The system call that a signal interrupted.
    pub interrupted: Option<Interrupted>,
    /// What sigaltstack set, as the program gave it.
    pub signal_stack: [u64; 3],
    /// Where to write 0 and wake a futex when it ends.
    pub clear_at_end: u64,
}

impl Thread {
    /// A thread that starts at `entry`.
    #[must_use]
    pub fn new(id: u32, process: ProcessSlot, entry: Gva, stack: Gva) -> Self {
        /// sigaltstack's flags: there is none.
        const SS_DISABLE: u64 = 2;
        let registers = Registers {
            rip: entry.0,
            rsp: stack.0,
            rflags: INTERRUPTS_ON,
            cs: u64::from(USER_CODE),
            ss: u64::from(USER_DATA),
            ..Registers::default()
        };
        Self {
            registers,
            vector: VectorState::new(),
            fs_base: 0,
            gs_base: 0,
            id,
            process,
            state: State::Ready,
            pause: None,
            blocked: Set::EMPTY,
            blocked_before: None,
            pending: Set::EMPTY,
            interrupted: None,
            signal_stack: [0, SS_DISABLE, 0],
            clear_at_end: 0,
        }
    }

    /// A thread that goes on where this one's system call returns, with 0 as its result. Its vector registers must be up to date.
    #[must_use]
    pub fn copy(&self, id: u32, process: ProcessSlot) -> Self {
        let mut registers = self.registers;
        registers.rax = 0;
        Self {
            registers,
            vector: self.vector.clone(),
            fs_base: self.fs_base,
            gs_base: self.gs_base,
            id,
            process,
            state: State::Ready,
            pause: None,
            blocked: self.blocked,
            blocked_before: None,
            pending: Set::EMPTY,
            interrupted: None,
            signal_stack: self.signal_stack,
            clear_at_end: 0,
        }
    }
}
