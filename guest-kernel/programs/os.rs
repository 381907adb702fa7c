//! System calls as safe functions, as far as the programs need them. What cannot fail here ends the program
//! if it does.

use std::fmt;
use std::io;

use crate::fail;

/// A child's number, or the place in the child.
pub enum Fork {
    /// In the parent.
    Parent(Child),
    /// In the child.
    Child,
}

/// A child that was not waited for yet.
#[derive(Debug)]
pub struct Child(pub i32);

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With a status.
    Exit(i32),
    /// By a signal.
    Signal(i32),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "exit status {status}"),
            Self::Signal(libc::SIGSEGV) => f.write_str("SIGSEGV"),
            Self::Signal(libc::SIGBUS) => f.write_str("SIGBUS"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// The result of a call, or errno.
///
/// # Errors
/// The call's.
pub fn result(value: i64) -> Result<i64, i32> {
    if value == -1 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(value) }
}

/// Ends the program if a call has failed that cannot.
fn done(call: &str, result: i32) {
    if result != 0 {
        fail(format!("{call}: {}", io::Error::last_os_error()));
    }
}

/// A child that goes on here.
#[must_use]
pub fn fork() -> Fork {
    // SAFETY: the programs are single-threaded when they fork.
    match unsafe { libc::fork() } {
        -1 => fail(format!("fork: {}", io::Error::last_os_error())),
        0 => Fork::Child,
        id => Fork::Parent(Child(id)),
    }
}

/// Runs `work` in a child, which ends with the status that it returns.
pub fn child(work: impl FnOnce() -> i32) -> Child {
    match fork() {
        Fork::Parent(child) => child,
        Fork::Child => exit(work()),
    }
}

/// Ends the process at once.
pub fn exit(status: i32) -> ! {
    // SAFETY: nothing of the process is needed any more.
    unsafe { libc::_exit(status) }
}

impl Child {
    /// Waits for its end.
    pub fn wait(self) -> End {
        match wait(self.0, 0) {
            Ok((_, end)) => end,
            Err(errno) => fail(format!("wait: {}", io::Error::from_raw_os_error(errno))),
        }
    }

    /// Sends it a signal.
    pub fn kill(&self, signal: i32) {
        // SAFETY: a signal to a child of ours.
        done("kill", unsafe { libc::kill(self.0, signal) });
    }
}

/// wait4. The number is 0 where `options` say not to wait and none has ended.
///
/// # Errors
/// The call's.
pub fn wait(which: i32, options: i32) -> Result<(i32, End), i32> {
    let mut status = 0;
    // SAFETY: the status is ours to write.
    let id = result(unsafe { libc::waitpid(which, &raw mut status, options) }.into())?;
    let end = if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Exit(libc::WEXITSTATUS(status))
    };
    Ok((id as i32, end))
}

/// Both ends of a new pipe: to read from, to write to.
#[must_use]
pub fn pipe() -> (i32, i32) {
    let mut ends = [0; 2];
    // SAFETY: the array is ours to write.
    done("pipe", unsafe { libc::pipe(ends.as_mut_ptr()) });
    (ends[0], ends[1])
}

/// Reads what is there.
///
/// # Errors
/// The call's.
pub fn read(descriptor: i32, to: &mut [u8]) -> Result<usize, i32> {
    // SAFETY: the slice is ours to write.
    result(unsafe { libc::read(descriptor, to.as_mut_ptr().cast(), to.len()) } as i64)
        .map(|count| count as usize)
}

/// Writes.
///
/// # Errors
/// The call's.
pub fn write(descriptor: i32, from: &[u8]) -> Result<usize, i32> {
    // SAFETY: the slice is ours to read.
    result(unsafe { libc::write(descriptor, from.as_ptr().cast(), from.len()) } as i64)
        .map(|count| count as usize)
}

/// Closes.
pub fn close(descriptor: i32) {
    // SAFETY: a descriptor of ours that nobody uses any more.
    done("close", unsafe { libc::close(descriptor) });
}

/// Sleeps.
pub fn sleep_ms(milliseconds: u64) {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
}

/// The process's faults, minor and major, as it is told of them itself.
pub fn faults() -> (i64, i64) {
    // SAFETY: all zeros is a value of it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: it is ours to write.
    done("getrusage", unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) });
    (usage.ru_minflt, usage.ru_majflt)
}
