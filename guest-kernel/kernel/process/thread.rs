//! Threads.

use crate::arch::gdt::{USER_CODE, USER_DATA};
use crate::arch::trap::{INTERRUPTS_ON, Registers};

use abi::addr::Gva;

/// Whether a thread can go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// In user mode, or about to return there.
    Ready,
    /// In a system call that has to wait: it is called again after the next interrupt. The deadline, in
    /// nanoseconds since boot, is when that interrupt has to come at the latest.
    Waiting(Option<u64>),
}

/// A thread.
pub struct Thread {
    /// Its registers. The trap entry saves them here: they do not move while the thread is current.
    pub registers: Registers,
    /// Its number.
    pub id: u32,
    /// Whether it can go on.
    pub state: State,
    /// When the wait of the system call that it is in ends; the call's second try finds it here.
    pub deadline: Option<u64>,
    /// Blocked signals.
    pub signal_mask: u64,
    /// What sigaltstack set, as the program gave it.
    pub signal_stack: [u64; 3],
}

impl Thread {
    /// A thread that starts at `entry`.
    #[must_use]
    pub fn new(id: u32, entry: Gva, stack: Gva) -> Self {
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
        let signal_stack = [0, SS_DISABLE, 0];
        Self { registers, id, state: State::Ready, deadline: None, signal_mask: 0, signal_stack }
    }
}
