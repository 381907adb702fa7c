//! What the end of a run means for the user: a line on standard error where something went wrong, and an exit status.

use std::io;
use std::process::ExitCode;

use abi::port::Exit;

use super::{CANNOT, GUEST_BROKE};
use crate::machine::End;

/// As timeout(1) exits.
const TIMED_OUT: u8 = 124;
/// What a shell adds to a signal's number.
const SIGNALLED: u8 = 128;

/// As a program exits that SIGPIPE ended.
pub const BROKEN_PIPE: u8 = SIGNALLED + 13;

/// The exit status for the end of `name`'s run. Says on standard error what the program itself could not say.
pub fn status(name: &str, end: &End) -> ExitCode {
    ExitCode::from(match end {
        End::Exit(Exit::Status(status)) => *status,
        End::Exit(Exit::Signal(signal)) => SIGNALLED.saturating_add(*signal),
        End::Exit(Exit::ExecFailed(errno)) => {
            let error = io::Error::from_raw_os_error(i32::from(*errno));
            eprintln!("bifold: {name}: the guest cannot start it: {error}; see its log with -v");
            CANNOT
        }
        // A panic arrives as a crash, with registers.
        End::Exit(Exit::Panic) => GUEST_BROKE,
        End::Crash(crash) => {
            eprintln!("bifold: {name}: {crash}");
            GUEST_BROKE
        }
        End::Signal(signal) => SIGNALLED.saturating_add(u8::try_from(*signal).unwrap_or(0)),
        End::TimedOut(limit, at) => {
            let at = at.as_ref().map_or_else(String::new, |at| format!(", {at}"));
            eprintln!("bifold: {name}: ended after the time limit of {} s (--timeout){at}", limit.as_secs());
            TIMED_OUT
        }
        End::BrokenPipe => BROKEN_PIPE,
        End::OutputFailed(error) => {
            eprintln!("bifold: {name}: cannot write its output: {error}; free space or send it elsewhere");
            CANNOT
        }
    })
}
