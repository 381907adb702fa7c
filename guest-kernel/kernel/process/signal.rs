//! Signals: sets of them, what they do by default, and the frame that a handler finds on its stack.

use alloc::vec;
use alloc::vec::Vec;

use abi::addr::Gva;

use super::Thread;
use crate::arch::trap::{INTERRUPTS_ON, USER_FLAGS};
use crate::vm::Memory;
use crate::vm::fault::Invalid;
use crate::vm::space::AddressSpace;
use crate::vm::table::USER_END;

/// Signals by their numbers (signal(7)).
#[allow(missing_docs)]
pub mod number {
    pub const ILL: u8 = 4;
    pub const TRAP: u8 = 5;
    pub const BUS: u8 = 7;
    pub const FPE: u8 = 8;
    pub const KILL: u8 = 9;
    pub const SEGV: u8 = 11;
    pub const PIPE: u8 = 13;
    pub const ALRM: u8 = 14;
    pub const CHLD: u8 = 17;
    pub const CONT: u8 = 18;
    pub const STOP: u8 = 19;
    pub const TSTP: u8 = 20;
    pub const TTIN: u8 = 21;
    pub const TTOU: u8 = 22;
    pub const URG: u8 = 23;
    pub const WINCH: u8 = 28;
}

/// How many signals there are, from 1 on.
pub const SIGNALS: usize = 64;

/// A set of signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Set(pub u64);

impl Set {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// Those that cannot be blocked, ignored or handled.
    pub const NEVER: Self = Self::of(number::KILL).and(Self::of(number::STOP));

    /// One; `signal` is 1 to 64.
    #[must_use]
    pub const fn of(signal: u8) -> Self {
        Self(1 << (signal - 1))
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether it is in the set.
    #[must_use]
    pub const fn has(self, signal: u8) -> bool {
        self.0 & Self::of(signal).0 != 0
    }

    /// The one with the lowest number.
    #[must_use]
    pub const fn first(self) -> Option<u8> {
        if self.0 == 0 { None } else { Some(self.0.trailing_zeros() as u8 + 1) }
    }
}

/// What a program wants done on a signal, as rt_sigaction takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Action {
    /// The handler's address, or [`Action::DEFAULT`] or [`Action::IGNORE`].
    pub handler: u64,
    /// SA_ flags.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Signals that are blocked while it runs.
    pub mask: u64,
}

impl Action {
    /// What the signal does by default.
    pub const DEFAULT: u64 = 0;
    /// Nothing.
    pub const IGNORE: u64 = 1;
    /// The handler runs on the alternate stack.
    pub const ON_STACK: u64 = 0x0800_0000;
    /// An interrupted system call is called again.
    pub const RESTART: u64 = 0x1000_0000;
    /// The signal is not blocked while its handler runs.
    pub const NO_DEFER: u64 = 0x4000_0000;
    /// The action becomes the default when the handler is called.
    pub const RESET: u64 = 0x8000_0000;
    /// Children that end leave no zombie.
    pub const NO_CHILD_WAIT: u64 = 2;

    /// Whether the signal does nothing to a program that has this action.
    #[must_use]
    pub const fn ignores(&self, signal: u8) -> bool {
        /// Those that do nothing by default. Stopping is not supported: nobody could continue the only terminal's job.
        const HARMLESS: Set = Set::of(number::CHLD)
            .and(Set::of(number::CONT))
            .and(Set::of(number::STOP))
            .and(Set::of(number::TSTP))
            .and(Set::of(number::TTIN))
            .and(Set::of(number::TTOU))
            .and(Set::of(number::URG))
            .and(Set::of(number::WINCH));
        self.handler == Self::IGNORE || self.handler == Self::DEFAULT && HARMLESS.has(signal)
    }
}

/// What a handler is told about its signal (siginfo_t).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Info {
    /// si_code.
    pub code: i32,
    /// The address of a fault, or the sender's process number and, above it, user number.
    pub word: u64,
    /// A child's status.
    pub status: i32,
}

/// Signals that wait to be delivered. Two of the same number are one.
#[derive(Default, Debug)]
pub struct Pending {
    /// Which.
    pub set: Set,
    infos: Vec<(u8, Info)>,
}

impl Pending {
    /// Adds one.
    pub fn add(&mut self, signal: u8, info: Info) {
        self.set = self.set.and(Set::of(signal));
        self.tell(signal, info);
    }

    /// Keeps what is known of one that waits elsewhere: for a single thread.
    pub fn tell(&mut self, signal: u8, info: Info) {
        if !self.infos.iter().any(|&(number, _)| number == signal) {
            self.infos.push((signal, info));
        }
    }

    /// Takes one out.
    pub fn take(&mut self, signal: u8) -> Info {
        self.set = self.set.without(Set::of(signal));
        let at = self.infos.iter().position(|&(number, _)| number == signal);
        at.map(|at| self.infos.swap_remove(at).1).unwrap_or_default()
    }
}

/// The frame below its vector state (arch/x86/include/asm/sigframe.h of Linux): return address, ucontext, siginfo.
const FRAME: usize = 8 + 304 + 128;
const CONTEXT: usize = 8;
/// Within the context: the stack, the registers, the blocked signals.
const STACK: usize = CONTEXT + 16;
const REGISTERS: usize = CONTEXT + 40;
const MASK: usize = CONTEXT + 296;
const INFO: usize = CONTEXT + 304;
/// Within the registers: where the vector state is.
const VECTOR: usize = REGISTERS + 184;

/// Sets a word of a frame.
fn set(frame: &mut [u8], at: usize, value: u64) {
    frame[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn get(frame: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&frame[at..at + 8]);
    u64::from_le_bytes(word)
}

/// The general registers in the order of struct sigcontext.
fn general(thread: &mut Thread) -> [&mut u64; 18] {
    let r = &mut thread.registers;
    [
        &mut r.r8,
        &mut r.r9,
        &mut r.r10,
        &mut r.r11,
        &mut r.r12,
        &mut r.r13,
        &mut r.r14,
        &mut r.r15,
        &mut r.rdi,
        &mut r.rsi,
        &mut r.rbp,
        &mut r.rbx,
        &mut r.rdx,
        &mut r.rax,
        &mut r.rcx,
        &mut r.rsp,
        &mut r.rip,
        &mut r.rflags,
    ]
}

/// Lets a thread run a handler when it returns to user mode. `blocked` is what it has blocked again when the handler returns.
///
/// # Errors
/// The stack cannot be used: the program is to be killed.
pub fn push_frame(
    memory: &mut Memory,
    space: &mut AddressSpace,
    thread: &mut Thread,
    (signal, info): (u8, Info),
    action: &Action,
    blocked: Set,
) -> Result<(), Invalid> {
    /// What the psABI lets a function use below its stack pointer.
    const RED_ZONE: u64 = 128;
    /// uc_flags: the stack segment is right.
    const SS_KNOWN: u64 = 6;
    if Gva(action.handler) >= USER_END {
        return Err(Invalid::NoArea);
    }
    thread.vector.save();
    let [start, flags, bytes] = thread.signal_stack;
    let rsp = thread.registers.rsp;
    let on_stack = rsp.wrapping_sub(start) <= bytes && flags & 2 == 0;
    let top = if action.flags & Action::ON_STACK != 0 && flags & 2 == 0 && !on_stack {
        start.wrapping_add(bytes)
    } else {
        rsp.wrapping_sub(RED_ZONE)
    };
    let vector = top.wrapping_sub(thread.vector.bytes().len() as u64) & !63;
    // As at a function's entry: 16 bytes below a return address.
    let at = (vector.wrapping_sub(FRAME as u64) & !15).wrapping_sub(8);

    let mut frame = [0; FRAME];
    set(&mut frame, 0, action.restorer);
    set(&mut frame, CONTEXT, SS_KNOWN);
    for (n, word) in [start, flags | u64::from(on_stack), bytes].into_iter().enumerate() {
        set(&mut frame, STACK + 8 * n, word);
    }
    for (n, register) in general(thread).into_iter().enumerate() {
        set(&mut frame, REGISTERS + 8 * n, *register);
    }
    set(&mut frame, REGISTERS + 144, 0x2b << 48 | 0x33);
    // The faulting address, where it is one.
    set(&mut frame, VECTOR - 8, info.word);
    set(&mut frame, VECTOR, vector);
    set(&mut frame, MASK, blocked.0);
    set(&mut frame, INFO, signal.into());
    set(&mut frame, INFO + 8, u64::from(info.code as u32));
    set(&mut frame, INFO + 16, info.word);
    set(&mut frame, INFO + 24, u64::from(info.status as u32));
    memory.write_user(space, Gva(vector), thread.vector.bytes())?;
    memory.write_user(space, Gva(at), &frame)?;

    let r = &mut thread.registers;
    (r.rdi, r.rsi, r.rdx, r.rax) = (signal.into(), at + INFO as u64, at + CONTEXT as u64, 0);
    (r.rsp, r.rip, r.rflags, r.vector) = (at, action.handler, INTERRUPTS_ON, 0);
    Ok(())
}

/// Takes a thread back to where a signal met it. Its stack pointer is past the frame's return address. Nothing in the frame is
/// trusted: it may have been written by anybody.
///
/// # Errors
/// There is no frame: the program is to be killed.
pub fn pop_frame(memory: &mut Memory, space: &mut AddressSpace, thread: &mut Thread) -> Result<(), Invalid> {
    let mut frame = [0; FRAME];
    memory.read_user(space, Gva(thread.registers.rsp.wrapping_sub(8)), &mut frame)?;
    for (n, register) in general(thread).into_iter().enumerate() {
        *register = get(&frame, REGISTERS + 8 * n);
    }
    let r = &mut thread.registers;
    r.rflags = r.rflags & USER_FLAGS | INTERRUPTS_ON;
    r.vector = 0;
    if Gva(r.rip) >= USER_END {
        return Err(Invalid::NoArea);
    }
    let vector = get(&frame, VECTOR);
    if vector != 0 {
        let mut bytes = vec![0; thread.vector.bytes().len()];
        memory.read_user(space, Gva(vector), &mut bytes)?;
        thread.vector.replace(&bytes);
        thread.vector.restore();
    }
    thread.blocked = Set(get(&frame, MASK)).without(Set::NEVER);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_signal_comes_first_and_once() {
        let mut pending = Pending::default();
        let info = Info { code: 1, word: 2, status: 3 };
        pending.add(number::CHLD, info);
        pending.add(number::CHLD, Info::default());
        pending.add(number::SEGV, Info::default());
        assert_eq!(pending.set.first(), Some(number::SEGV));
        pending.take(number::SEGV);
        assert_eq!((pending.set.first(), pending.take(number::CHLD)), (Some(number::CHLD), info));
        assert_eq!(pending.set, Set::EMPTY);
    }

    #[test]
    fn what_does_nothing_by_default_is_not_delivered() {
        let default = Action::default();
        assert!(default.ignores(number::CHLD) && !default.ignores(number::PIPE));
        let ignored = Action { handler: Action::IGNORE, ..default };
        assert!(ignored.ignores(number::PIPE));
        let handled = Action { handler: 0x1000, ..default };
        assert!(!handled.ignores(number::CHLD));
    }
}
