//! Runs the built command, or a program natively, and waits no longer than a limit.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// The longest that anything may take: far more than it needs on a loaded machine, and yet an end.
const LIMIT: Duration = Duration::from_secs(400);

/// The command with `arguments` and nothing on standard input. It needs /dev/kvm.
pub fn bifold<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        panic!("this test needs /dev/kvm: {error}. Run it where KVM is, as a user who may use it.");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_bifold"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// What a process left when it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit status; 128+n for a signal, as a shell says it.
    pub status: i32,
    /// Whether a signal ended it.
    pub killed: bool,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// It ended with status 0.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        self.with_status(0)
    }

    /// It ended by itself with this status.
    #[track_caller]
    pub fn with_status(self, status: i32) -> Self {
        assert!(!self.killed && self.status == status, "wanted exit status {status}: {self:#?}");
        assert!(!self.err.contains("panicked"), "{self:#?}");
        self
    }

    /// The user's mistake was answered as promised: status 2, nothing on standard output and one line on
    /// standard error that has all of `words`.
    #[track_caller]
    pub fn refused(self, words: &[&str]) {
        let ended = self.with_status(2);
        assert_eq!(ended.out, "");
        assert_eq!(ended.err.trim_end().lines().count(), 1, "wanted one line: {ended:#?}");
        for word in words {
            assert!(ended.err.contains(word), "wanted {word:?} in: {}", ended.err);
        }
    }
}

/// Runs `command` to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    Running::start(command).wait()
}

/// Runs `command` to its end with `input` on its standard input.
#[track_caller]
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Ended {
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let mut stdin = running.stdin();
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        // A program may end without reading all of its input.
        let _ = stdin.write_all(&input);
    });
    let ended = running.wait();
    writer.join().unwrap();
    ended
}

/// A process that runs. It is killed if the test ends before it does.
pub struct Running {
    child: Child,
    out: Reader,
    err: Reader,
}

impl Running {
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let out = Reader::start(child.stdout.take().unwrap());
        let err = Reader::start(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, if that is a pipe; dropping it is the end of the input.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("standard input is a pipe, taken once")
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until its standard output holds `text`.
    #[track_caller]
    pub fn wait_for_output(&mut self, text: &str) {
        let seen = self.out.until(text);
        assert!(seen, "{text:?} was not printed");
    }

    /// Waits until its standard error holds `text`.
    #[track_caller]
    pub fn wait_for_error(&mut self, text: &str) {
        let seen = self.err.until(text);
        assert!(seen, "{text:?} was not said");
    }

    /// Waits up to `limit` for it to end and says whether it has.
    pub fn ends_within(&self, limit: Duration) -> bool {
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).unwrap();
        let limit = Timespec::try_from(limit).unwrap();
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)).unwrap() == 1
    }

    #[track_caller]
    pub fn wait(mut self) -> Ended {
        if !self.ends_within(LIMIT) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            panic!("killed after {LIMIT:?}; out: {:?}, err: {:?}", self.out.rest(), self.err.rest());
        }
        let status = self.child.wait().unwrap();
        Ended {
            status: shell_status(status),
            killed: status.signal().is_some(),
            out: self.out.rest(),
            err: self.err.rest(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shell_status(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// Reads a pipe to its end, so that the process never waits for the test.
pub struct Reader {
    parts: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Reader {
    pub fn start(mut pipe: impl Read + Send + 'static) -> Self {
        let (sender, parts) = mpsc::channel();
        thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut part) {
                if sender.send(part[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { parts, seen: Vec::new() }
    }

    /// Waits until what was read holds `text`, and says whether it does.
    pub fn until(&mut self, text: &str) -> bool {
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            let Ok(part) = self.parts.recv_timeout(LIMIT) else { return false };
            self.seen.extend(part);
        }
        true
    }

    /// All that was read until the pipe was closed.
    fn rest(&mut self) -> String {
        while let Ok(part) = self.parts.recv_timeout(LIMIT) {
            self.seen.extend(part);
        }
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}
