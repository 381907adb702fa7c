//! Starting the emulator so that nothing of it outlives this process.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, set_parent_process_death_signal};

/// Starts a process that inherits `descriptors` under their numbers, and that the kernel kills when the calling
/// thread ends, however it ends.
///
/// # Errors
/// The process cannot be started.
pub fn spawn(command: &mut Command, descriptors: &[BorrowedFd<'_>]) -> io::Result<Child> {
    let numbers: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        for &number in &numbers {
            // SAFETY: the closure runs in the child between fork and exec of the `spawn` below, while the
            // caller's borrow keeps the descriptor open.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: after fork only async-signal-safe calls are made: `prepare` is two kinds of system call on
    // memory that was allocated before.
    unsafe { command.pre_exec(prepare) }.spawn()
}
