//! While a job runs: its streams go to and fro, its console is kept, its time is limited.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use lab_init::Frame;
use rustix::process::{Pid, Signal, kill_process};

use super::LabError;
use super::emulator::Emulator;
use super::outputs::Outputs;

/// How many lines of the console are kept for when it goes wrong.
const KEPT_LINES: usize = 40;

/// How a job ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: u8,
    /// What its commands took, where that is counted: nanoseconds and report of each.
    pub taken: Vec<(u64, Vec<u8>)>,
}

/// What Linux says when it cannot go on.
const PANIC: &str = "Kernel panic";

/// Carries the job's streams until it ends, ends the emulator and returns how the job ended.
///
/// # Errors
/// The lab ended without a result, or was ended because of `timeout`.
pub fn run(
    mut emulator: Emulator,
    stdin: bool,
    mut outputs: Outputs,
    timeout: Option<Duration>,
) -> Result<Ended, LabError> {
    let console = Console::default();
    let pid = Pid::from_child(&emulator.child);
    let streams = std::mem::take(&mut emulator.console);
    let (finished, watched) = mpsc::channel();
    let (outcome, timed_out, status) = thread::scope(|scope| {
        let watchdog = scope.spawn(|| kill_after(pid, timeout, watched));
        for stream in streams {
            scope.spawn(|| console.keep(stream));
        }
        let outcome = carry(&emulator.channel, stdin, &mut outputs);
        // The watchdog ends before the process is reaped, so that it never kills another of the same number.
        drop(finished);
        let timed_out = watchdog.join().unwrap_or(false);
        let status = end(&mut emulator.child, &outcome);
        (outcome.map_err(|error| error.kind()), timed_out, status)
    });
    match outcome {
        Ok(Last::Exit(ended)) => Ok(ended),
        Ok(Last::Failure(reason)) => Err(LabError::Failure(reason)),
        Ok(Last::CannotWrite(error)) => Err(error),
        Err(_) if timed_out => {
            console.print();
            Err(LabError::Timeout { seconds: timeout.unwrap_or_default().as_secs() })
        }
        Err(ErrorKind::BrokenPipe) => Err(LabError::NoReader),
        Err(_) => {
            if console.panicked() {
                console.print();
            }
            Err(LabError::Ended { how: describe(status), last: console.last() })
        }
    }
}

/// What ends the carrying.
enum Last {
    Exit(Ended),
    Failure(String),
    CannotWrite(LabError),
}

/// Passes frames on until the last one, or until the emulator has closed its end.
fn carry(channel: &File, stdin: bool, outputs: &mut Outputs) -> io::Result<Last> {
    let mut frames = BufReader::new(channel);
    let mut taken = Vec::new();
    loop {
        match Frame::receive(&mut frames)? {
            Frame::Ready if stdin => {
                let channel = channel.try_clone()?;
                // Not joined: it may wait for input for ever, and ends with the process.
                thread::spawn(move || feed(channel));
            }
            Frame::Ready => {}
            Frame::Stdout(bytes) => write_through(&mut io::stdout(), &bytes)?,
            Frame::Stderr(bytes) => write_through(&mut io::stderr(), &bytes)?,
            Frame::File { number, bytes } => {
                if let Err(error) = outputs.add(number, &bytes) {
                    return Ok(Last::CannotWrite(error));
                }
            }
            Frame::Taken { ns, report } => taken.push((ns, report)),
            Frame::Exit(status) => return Ok(Last::Exit(Ended { status, taken })),
            Frame::Failure(reason) => return Ok(Last::Failure(reason)),
            Frame::Stdin(_) => return Err(ErrorKind::InvalidData.into()),
        }
    }
}

fn write_through(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

/// Sends standard input until its end.
fn feed(mut channel: File) {
    let mut buffer = [0; 1024];
    while let Ok(count) = io::stdin().read(&mut buffer) {
        let sent = Frame::Stdin(buffer[..count].to_vec()).send(&mut channel);
        if count == 0 || sent.is_err() {
            return;
        }
    }
}

/// Kills the emulator when the time is over before `watched` is closed, and says whether it did.
fn kill_after(pid: Pid, timeout: Option<Duration>, watched: Receiver<()>) -> bool {
    let Some(timeout) = timeout else { return false };
    let over = watched.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout);
    over && kill_process(pid, Signal::KILL).is_ok()
}

/// Reaps the emulator. One that has closed the channel is ending by itself, and its own status says why.
fn end(emulator: &mut Child, outcome: &io::Result<Last>) -> io::Result<ExitStatus> {
    let ending = outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::UnexpectedEof);
    if !ending {
        let _ = emulator.kill();
    }
    emulator.wait()
}

fn describe(status: io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| format!("the emulator's {status}"))
}

/// The last lines of the machine's console and of the emulator's own messages.
#[derive(Default)]
struct Console {
    lines: Mutex<VecDeque<String>>,
}

impl Console {
    fn keep(&self, stream: impl Read) {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            log::debug!("lab console: {line}");
            let mut lines = self.lines();
            if !line.is_empty() {
                lines.push_back(line);
            }
            if lines.len() > KEPT_LINES {
                lines.pop_front();
            }
        }
    }

    fn print(&self) {
        for line in self.lines().iter() {
            eprintln!("lab console: {line}");
        }
    }

    fn panicked(&self) -> bool {
        self.lines().iter().any(|line| line.contains(PANIC))
    }

    /// The line that says most about a machine that has ended: a panic's, or else the last.
    fn last(&self) -> String {
        let lines = self.lines();
        let panic = lines.iter().find(|line| line.contains(PANIC));
        panic.or(lines.back()).cloned().unwrap_or_else(|| "it said nothing".to_owned())
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
