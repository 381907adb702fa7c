//! Processes and their threads.
//!
//! - `tasks.rs`: all of them, which one runs, and what wakes those that wait (`queue.rs`);
//! - `thread.rs`, `signal.rs`: a thread's registers and state; what interrupts it;
//! - `sweep.rs`: their marks of use, for the host;
//! - `elf.rs`, `exec.rs`, `auxv.rs`: how a program starts.

pub mod auxv;
pub mod elf;
pub mod exec;
mod limits;
pub mod load;
mod queue;
pub mod signal;
pub mod swapping;
pub mod sweep;
pub mod tasks;
mod thread;

pub use limits::{Limits, UNLIMITED};
pub use thread::{Event, Interrupted, Pause, State, Thread};

use alloc::boxed::Box;
use alloc::vec::Vec;

use abi::addr::PAGE_SIZE;

use self::signal::{Action, Pending, SIGNALS};
use self::tasks::{ProcessSlot, SpaceSlot};
use crate::fs::FileId;
use crate::fs::open::Descriptors;

/// The first process's number. It adopts orphans, and the machine ends with it.
pub const FIRST: u32 = 100;

/// How a process ended, as wait4 tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// By itself, with a status.
    Exit(u8),
    /// By a signal.
    Signal(u8),
}

impl Ended {
    /// The word that wait4 writes (wait(2)).
    #[must_use]
    pub const fn status(self) -> u32 {
        match self {
            Self::Exit(status) => (status as u32) << 8,
            Self::Signal(signal) => signal as u32,
        }
    }
}

/// What a process used.
#[derive(Clone, Copy, Default, Debug)]
pub struct Usage {
    /// Faults that needed a device.
    pub major_faults: u64,
    /// Those that did not.
    pub minor_faults: u64,
    /// Cycles of the time-stamp counter on the CPU.
    pub cycles: u64,
}

impl Usage {
    /// Adds another's.
    pub const fn add(&mut self, other: &Self) {
        self.major_faults += other.major_faults;
        self.minor_faults += other.minor_faults;
        self.cycles += other.cycles;
    }
}

/// What setitimer(ITIMER_REAL) set: when SIGALRM comes, in nanoseconds since boot, and how long it is to the next one, 0 for none.
#[derive(Clone, Copy, Default, Debug)]
pub struct Alarm {
    /// When.
    pub at: u64,
    /// And then again after.
    pub interval: u64,
}

/// A process: what its threads share. A vfork's child shares its parent's address space too.
pub struct Process {
    /// Its place in the table.
    pub slot: ProcessSlot,
    /// Its number.
    pub id: u32,
    /// Its parent's number; 0 for the first.
    pub parent: u32,
    /// Its group's number.
    pub group: u32,
    /// Its session's number.
    pub session: u32,
    /// Its address space's place in the table; none when it has ended.
    pub space: Option<SpaceSlot>,
    /// How many threads it has.
    pub threads: u32,
    /// How it ended; its parent has not asked yet.
    pub ended: Option<Ended>,
    /// It runs in its parent's address space, and the parent waits until it runs another program or ends.
    pub borrows: bool,
    /// The signal that its parent gets when it ends, 0 for none.
    pub end_signal: u8,
    /// Its open files.
    pub descriptors: Descriptors,
    /// Its working directory: absolute, normal.
    pub directory: Vec<u8>,
    /// The file that it runs.
    pub program: FileId,
    /// Its name: the last part of the program's path, or what prctl set.
    pub name: [u8; 16],
    /// Its arguments, each with a NUL.
    pub command: Vec<u8>,
    /// What it wants done on each signal.
    pub actions: Box<[Action; SIGNALS]>,
    /// Signals that any of its threads may take.
    pub pending: Pending,
    /// When SIGALRM comes.
    pub alarm: Option<Alarm>,
    /// Permission bits that new files do not get.
    pub umask: u32,
    /// When it was last let go on after it had been held back, in ticks.
    pub active_since: u64,
    /// What it may have at most.
    pub limits: Limits,
    /// What it used.
    pub usage: Usage,
    /// What its children used that ended and were asked for.
    pub children_usage: Usage,
}

impl Process {
    /// The first process.
    #[must_use]
    pub fn first(
        space: SpaceSlot,
        program: FileId,
        path: &[u8],
        directory: Vec<u8>,
        command: Vec<u8>,
    ) -> Self {
        Self {
            slot: ProcessSlot(0),
            id: FIRST,
            parent: 0,
            group: FIRST,
            session: FIRST,
            space: Some(space),
            threads: 1,
            ended: None,
            borrows: false,
            end_signal: 0,
            descriptors: Descriptors::standard(),
            directory,
            program,
            name: name_of(path),
            command,
            actions: Box::new([Action::default(); SIGNALS]),
            pending: Pending::default(),
            alarm: None,
            umask: 0o022,
            active_since: 0,
            limits: Limits::NONE,
            usage: Usage::default(),
            children_usage: Usage::default(),
        }
    }

    /// A child that has what this process has, but no address space and no place in the table yet.
    #[must_use]
    pub fn child(&self, end_signal: u8) -> Self {
        Self {
            slot: self.slot,
            id: 0,
            parent: self.id,
            group: self.group,
            session: self.session,
            space: None,
            threads: 1,
            ended: None,
            borrows: false,
            end_signal,
            descriptors: self.descriptors.clone(),
            directory: self.directory.clone(),
            program: self.program,
            name: self.name,
            command: self.command.clone(),
            actions: self.actions.clone(),
            pending: Pending::default(),
            alarm: None,
            umask: self.umask,
            active_since: self.active_since,
            limits: self.limits,
            usage: Usage::default(),
            children_usage: Usage::default(),
        }
    }
}

/// Arguments as a process keeps them for those who ask: as many bytes as fit a page.
#[must_use]
pub fn command_of(argv: &[&[u8]]) -> Vec<u8> {
    let mut command: Vec<u8> =
        argv.iter().flat_map(|argument| argument.iter().chain(b"\0")).copied().collect();
    command.truncate(PAGE_SIZE);
    command
}

/// What a process that runs the program of a path is called.
#[must_use]
pub fn name_of(path: &[u8]) -> [u8; 16] {
    let mut name = [0; 16];
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let len = last.len().min(name.len() - 1);
    name[..len].copy_from_slice(&last[..len]);
    name
}
