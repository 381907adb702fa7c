//! The console's input: a thread that reads the host only while the guest waits for input.
//!
//! Protocol: the console asks (under its lock) for as many bytes as the guest's next buffer holds; the thread reads
//! at most that many, takes the lock and hands them over, which ends the request. So nothing is read that the guest
//! did not ask for, and a program's input can be shared as between native programs.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::Mmio;
use super::console::{Console, RECEIVE};
use crate::devices::bus::lock;

/// The most that is read at once.
const MAX_READ: usize = 64 << 10;

/// What the console wants of the thread.
pub(super) struct Request {
    /// How many bytes the guest waits for; 0: it does not wait.
    wanted: AtomicUsize,
    stop: AtomicBool,
    /// An eventfd that wakes the thread when one of the others has changed.
    wake: OwnedFd,
}

impl Request {
    /// The guest waits for at most `count` bytes.
    pub(super) fn ask(&self, count: usize) {
        self.wanted.store(count.min(MAX_READ), Ordering::Release);
        self.wake();
    }

    /// The guest waits no more.
    pub(super) fn answered(&self) {
        self.wanted.store(0, Ordering::Release);
    }

    fn wake(&self) {
        if let Err(error) = rustix::io::write(&self.wake, &1_u64.to_ne_bytes()) {
            log::warn!("standard input: cannot wake its thread: {error}");
        }
    }
}

/// The thread. Dropping it stops it, wherever it waits.
pub struct InputReader {
    request: Arc<Request>,
    thread: Option<JoinHandle<()>>,
}

impl InputReader {
    /// Starts to read `source` for `console`.
    ///
    /// # Errors
    /// The host has no descriptor or no thread left.
    pub fn start(source: OwnedFd, console: Arc<Mutex<Mmio<Console>>>) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let request = Arc::new(Request { wanted: AtomicUsize::new(0), stop: AtomicBool::new(false), wake });
        lock(&console).device_mut().attach(request.clone());
        let asked = request.clone();
        let thread = Builder::new()
            .name("stdin".to_owned())
            .spawn(move || read_on_request(&asked, File::from(source), &console))?;
        Ok(Self { request, thread: Some(thread) })
    }
}

impl Drop for InputReader {
    fn drop(&mut self) {
        self.request.stop.store(true, Ordering::Release);
        self.request.wake();
        // A panic in the thread was reported when it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn read_on_request(request: &Request, mut source: File, console: &Mutex<Mmio<Console>>) {
    while !request.stop.load(Ordering::Acquire) {
        let wanted = request.wanted.load(Ordering::Acquire);
        if !wait(request, &source, wanted > 0) {
            continue;
        }
        let mut bytes = vec![0; wanted];
        let count = match source.read(&mut bytes) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                continue;
            }
            Err(error) => {
                log::warn!("standard input: {error}; the program sees its end");
                0
            }
        };
        bytes.truncate(count);
        let mut console = lock(console);
        console.device_mut().receive(bytes);
        console.process(RECEIVE);
    }
}

/// Waits for a wake-up or, if `reading`, for input. Returns whether there is input (or its end, or an error).
fn wait(request: &Request, source: &File, reading: bool) -> bool {
    let mut waits = [PollFd::new(&request.wake, PollFlags::IN), PollFd::new(source, PollFlags::IN)];
    let used = if reading { 2 } else { 1 };
    if poll(&mut waits[..used], None).is_err() {
        return false; // EINTR
    }
    if !waits[0].revents().is_empty() {
        // Its count says nothing: the caller looks at what changed.
        let _ = rustix::io::read(&request.wake, &mut [0; 8]);
        return false;
    }
    !waits[1].revents().is_empty()
}
