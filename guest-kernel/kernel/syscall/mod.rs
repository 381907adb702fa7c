//! System calls: Linux's numbers, arguments and errors, one handler each.
//!
//! A handler gets what it may touch in a [`System`] and the six argument registers. It returns a value, or a [`Stop`]: an
//! error number, a wish to be called again after some event, or the end of the thread or process.

mod descriptor;
mod epoll;
mod errno;
mod file;
mod futex;
mod identity;
mod limit;
mod lock;
mod memory;
mod mlock;
mod name;
mod pipe;
mod poll;
mod process;
mod select;
mod signal;
mod stat;
mod time;

pub use errno::Errno;

use abi::addr::{Gpa, Gva, PAGE_SIZE};

use crate::console::Consoles;
use crate::fs::FileId;
use crate::fs::lock::Locks;
use crate::fs::open::{BadDescriptor, CLOEXEC, Object, OpenFile};
use crate::fs::tree::Tree;
use crate::heap::Heap;
use crate::process::load::Load;
use crate::process::sweep::Sweep;
use crate::process::tasks::{ProcessSlot, Tasks};
use crate::process::{Ended, Event};
use crate::time::Clock;
use crate::vm::Memory;
use crate::vm::fault::Invalid;
use crate::vm::user::Plain;

/// A call's arguments: RDI, RSI, RDX, R10, R8, R9.
pub type Arguments = [u64; 6];

/// Why a call returns no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It failed.
    Error(Errno),
    /// Nothing can be done now: call again after the event, or at this time (nanoseconds since boot).
    Wait(Event, Option<u64>),
    /// Others have their turn, and then it returns 0.
    Yield,
    /// The thread goes on with the registers that it has now.
    Resume,
    /// The thread ends; if it is the last one, its process does with this status.
    EndThread(u8),
    /// The process ends.
    Exit(Ended),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Error(errno)
    }
}

impl From<Invalid> for Stop {
    fn from(invalid: Invalid) -> Self {
        Self::Error(invalid.into())
    }
}

impl From<BadDescriptor> for Stop {
    fn from(bad: BadDescriptor) -> Self {
        Self::Error(bad.into())
    }
}

/// What a call returns.
pub type Outcome = Result<u64, Stop>;

/// What the machine is to programs: its clock, its consoles, its terminal.
pub struct Machine {
    /// The clock.
    pub clock: Clock,
    /// Standard input, output and error.
    pub consoles: Consoles,
    /// State of the random numbers.
    pub random: crate::random::Random,
    /// A bit for each number of a call that programs missed.
    pub missed: [u64; 8],
    /// AT_HWCAP: features of the CPU.
    pub hwcap: u64,
    /// How many pipes there were.
    pub pipes: u32,
    /// Locks on files.
    pub locks: Locks,
    /// The kernel's memory.
    pub heap: &'static Heap,
}

/// What a handler may touch, and any other trap.
pub struct System {
    /// Frames, swap, files, counters.
    pub memory: Memory,
    /// Processes and threads; the calling one is the current one.
    pub tasks: Tasks,
    /// Clock and consoles.
    pub machine: Machine,
    /// Names of files.
    pub tree: Tree,
    /// Load control.
    pub load: Load,
    /// Sweeps for the host, if it wants any.
    pub sweep: Option<Sweep>,
    /// The table that maps the kernel alone.
    pub root: Gpa,
    /// The time-stamp counter when the running thread got the CPU.
    pub since: u64,
}

impl System {
    fn put<T: Plain>(&mut self, to: u64, value: &T) -> Result<(), Invalid> {
        self.memory.put_user(&mut self.tasks.space, Gva(to), value)
    }

    fn get<T: Plain + Default>(&mut self, from: u64) -> Result<T, Invalid> {
        self.memory.get_user(&mut self.tasks.space, Gva(from))
    }

    fn write(&mut self, to: u64, bytes: &[u8]) -> Result<(), Invalid> {
        self.memory.write_user(&mut self.tasks.space, Gva(to), bytes)
    }

    /// Opens something for the calling process, with flags of open(2).
    fn open(&mut self, object: Object, flags: u64) -> Outcome {
        let file = OpenFile::new(object, (flags & !CLOEXEC) as u32);
        self.tasks.process.descriptors.add(file, 0, flags & CLOEXEC != 0).map_err(|_| Errno::MFILE.into())
    }

    /// Makes sure that the kernel has memory for what a call adds to its tables.
    fn make_room(&mut self) -> Result<(), Errno> {
        while self.machine.heap.is_short() {
            let page = self.memory.page_for_kernel().map_err(|_| Errno::NOMEM)?;
            self.machine.heap.donate(page);
        }
        Ok(())
    }

    /// The same for something that is not in pieces of a page: there may be no run of frames for it.
    fn make_large_room(&mut self, bytes: usize) -> Result<(), Errno> {
        if self.machine.heap.has_region(bytes) {
            return Ok(());
        }
        let frames = bytes.div_ceil(PAGE_SIZE).next_power_of_two() as u32;
        let run = self.memory.run_for_kernel(frames).map_err(|_| Errno::NOMEM)?;
        self.machine.heap.extend(run);
        Ok(())
    }

    /// Ends a process whose address space is gone already, and what only it had.
    pub fn end_process(&mut self, slot: ProcessSlot, id: u32, how: Ended) {
        self.machine.locks.end(id);
        self.tasks.others.wake(Event::Lock);
        self.load.forget(&mut self.tasks, slot);
        self.tasks.end_process(slot, how);
        self.collect_memory_files();
    }

    /// After a mapping or a descriptor is gone: files without a disk that nobody has any more are gone, too.
    fn collect_memory_files(&mut self) {
        self.tasks.collect_memory_files(&mut self.memory);
    }

    /// Sets a file's length. What lies past the end is gone, for all who map it.
    fn set_file_len(&mut self, file: FileId, len: u64) -> Result<(), Errno> {
        self.memory.set_file_len(file, len)?;
        self.tasks.drop_copies(&mut self.memory, file);
        Ok(())
    }

    /// A wait that ends at `deadline`: true when that is now.
    fn expired(&mut self, deadline: u64) -> bool {
        self.machine.clock.now() >= deadline
    }
}

/// A handler that fetches its arguments itself, so that none are fetched which it does not use.
type Handler = fn(&mut System) -> Outcome;

/// Calls the handler of the number in RAX.
#[inline]
pub fn dispatch(system: &mut System) -> Outcome {
    let number = system.tasks.thread.registers.rax;
    match HANDLERS.get(number as usize) {
        Some(handler) => handler(system),
        None => missing(system),
    }
}

/// What the kernel lacks is named once; of the numbers past the last, the first that is seen.
#[cold]
fn missing(system: &mut System) -> Outcome {
    let number = system.tasks.thread.registers.rax;
    let missed = &mut system.machine.missed;
    let place = number.min(8 * size_of_val(missed) as u64 - 1);
    let (word, bit) = (&mut missed[place as usize / 64], 1 << (place % 64));
    if *word & bit == 0 {
        *word |= bit;
        log::warn!("system call {number} is not there: the program gets ENOSYS");
    }
    Err(Errno::NOSYS.into())
}

/// Where `kinds` has an `i`, the argument is an int of C: the upper half of its register means nothing.
#[inline]
fn narrow(kinds: &[u8], mut arguments: Arguments) -> Arguments {
    for (argument, kind) in arguments.iter_mut().zip(kinds) {
        if *kind == b'i' {
            *argument = u64::from(*argument as u32);
        }
    }
    arguments
}

macro_rules! system_calls {
    ($($number:literal => $($handler:ident)::+($kinds:literal),)*) => {
        /// By number (arch/x86/entry/syscalls/syscall_64.tbl).
        static HANDLERS: [Handler; 440] = {
            let mut handlers: [Handler; 440] = [missing; 440];
            $(handlers[$number] = |system| {
                let arguments = system.tasks.thread.registers.arguments();
                $($handler)::+(system, narrow($kinds.as_bytes(), arguments))
            };)*
            handlers
        };
    };
}

system_calls! {
    0 => file::read("i"),
    1 => file::write("i"),
    2 => name::open(".i"),
    3 => descriptor::close("i"),
    4 => stat::stat(""),
    5 => stat::fstat("i"),
    6 => stat::stat(""),
    7 => poll::poll(".ii"),
    8 => file::lseek("i.i"),
    9 => memory::mmap("....i"),
    10 => memory::mprotect(""),
    11 => memory::munmap(""),
    12 => memory::brk(""),
    13 => signal::rt_sigaction("i"),
    14 => signal::rt_sigprocmask("i"),
    15 => signal::rt_sigreturn(""),
    16 => descriptor::ioctl("ii"),
    17 => file::pread64("i"),
    18 => file::pwrite64("i"),
    19 => file::readv("i"),
    20 => file::writev("i"),
    21 => stat::access(".i"),
    22 => pipe::pipe(""),
    23 => select::select("i"),
    24 => time::sched_yield(""),
    25 => memory::mremap(""),
    26 => file::msync("..i"),
    27 => memory::mincore(""),
    28 => memory::madvise("..i"),
    32 => descriptor::dup("i"),
    33 => descriptor::dup2("ii"),
    34 => signal::pause(""),
    35 => time::nanosleep(""),
    36 => signal::getitimer("i"),
    37 => signal::alarm("i"),
    38 => signal::setitimer("i"),
    39 => process::getpid(""),
    40 => file::no_shortcut(""),
    41 => identity::socket(""),
    56 => process::clone(""),
    57 => process::fork(""),
    58 => process::vfork(""),
    59 => process::execve(""),
    60 => process::exit("i"),
    61 => process::wait4("i.i"),
    62 => signal::kill("ii"),
    63 => identity::uname(""),
    72 => descriptor::fcntl("ii"),
    73 => lock::flock("ii"),
    74 => file::fsync("i"),
    75 => file::fsync("i"),
    76 => file::truncate(""),
    77 => file::ftruncate("i"),
    79 => name::getcwd(""),
    80 => name::chdir(""),
    81 => name::fchdir("i"),
    82 => name::rename(""),
    83 => name::mkdir(""),
    84 => name::rmdir(""),
    85 => name::creat(""),
    86 => name::link(""),
    87 => name::unlink(""),
    88 => name::symlink(""),
    89 => name::readlink("..i"),
    90 => stat::chmod(""),
    91 => stat::fchmod("i"),
    92 => stat::chown(""),
    93 => stat::chown(""),
    94 => stat::chown(""),
    95 => identity::umask("i"),
    96 => time::gettimeofday(""),
    97 => limit::getrlimit("i"),
    98 => identity::getrusage("i"),
    99 => identity::sysinfo(""),
    100 => identity::times(""),
    102 => identity::root(""),
    104 => identity::root(""),
    107 => identity::root(""),
    108 => identity::root(""),
    109 => process::setpgid("ii"),
    110 => process::getppid(""),
    111 => process::getpgrp(""),
    112 => process::setsid(""),
    121 => process::getpgid("i"),
    124 => process::getsid("i"),
    127 => signal::rt_sigpending(""),
    128 => signal::rt_sigtimedwait(""),
    130 => signal::rt_sigsuspend(""),
    131 => signal::sigaltstack(""),
    137 => stat::statfs(""),
    138 => stat::fstatfs("i"),
    149 => mlock::mlock(""),
    150 => mlock::munlock(""),
    151 => mlock::mlockall("i"),
    152 => mlock::munlockall(""),
    157 => identity::prctl("i"),
    158 => identity::arch_prctl("i"),
    160 => limit::setrlimit("i"),
    162 => file::sync(""),
    186 => process::gettid(""),
    191 => stat::no_attributes(""),
    192 => stat::no_attributes(""),
    193 => stat::no_attributes(""),
    194 => stat::no_attributes(""),
    195 => stat::no_attributes(""),
    196 => stat::no_attributes(""),
    200 => signal::tkill("ii"),
    201 => time::time(""),
    202 => futex::futex(".ii"),
    204 => identity::sched_getaffinity("ii"),
    213 => epoll::epoll_create(""),
    217 => name::getdents64("i.i"),
    218 => process::set_tid_address(""),
    221 => file::fadvise64("i..i"),
    228 => time::clock_gettime("i"),
    229 => time::clock_getres("i"),
    230 => time::clock_nanosleep("ii"),
    231 => process::exit_group("i"),
    232 => epoll::epoll_wait("i.ii"),
    233 => epoll::epoll_ctl("iii"),
    234 => signal::tgkill("iii"),
    257 => name::openat("i.i"),
    258 => name::mkdirat("i"),
    260 => stat::chown(""),
    262 => stat::newfstatat("i..i"),
    263 => name::unlinkat("i.i"),
    264 => name::renameat("i.i"),
    265 => name::linkat("i.i.i"),
    266 => name::symlinkat(""),
    267 => name::readlinkat("i..i"),
    268 => stat::fchmodat("i"),
    269 => stat::faccessat("i.i"),
    270 => select::pselect6("i"),
    271 => poll::ppoll(".i"),
    273 => identity::set_robust_list(""),
    275 => file::no_shortcut(""),
    280 => stat::utimensat("i..i"),
    281 => epoll::epoll_wait("i.ii"),
    284 => epoll::eventfd("i"),
    285 => file::fallocate("ii"),
    290 => epoll::eventfd2("ii"),
    291 => epoll::epoll_create1("i"),
    292 => descriptor::dup3("iii"),
    293 => pipe::pipe2(".i"),
    295 => file::preadv("i"),
    296 => file::pwritev("i"),
    302 => limit::prlimit64("ii"),
    306 => file::sync("i"),
    316 => name::renameat2("i.i.i"),
    318 => identity::getrandom("..i"),
    319 => file::memfd_create(".i"),
    325 => mlock::mlock2("..i"),
    326 => file::no_shortcut(""),
    332 => stat::statx("i.ii"),
    334 => identity::rseq(""),
    435 => process::clone3(""),
    436 => descriptor::close_range("iii"),
    439 => stat::faccessat("i.ii"),
}
