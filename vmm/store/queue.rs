//! Many requests to the file at once: by io_uring, or where that is not to be had, one after the other.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::AsRawFd;

use abi::addr::PAGE_SIZE;
use io_uring::{IoUring, opcode, types};
use libc::iovec;
use rustix::io::Errno;

use super::PageBytes;
use super::faults::Request;
use super::file::{BlockFile, TRIES, buffer_of, offset};

/// Most requests that are with the kernel at once.
const DEPTH: usize = 32;
/// Most pages in one request (the kernel's IOV_MAX is 1024).
const MAX_RUN: usize = 256;
/// Most blocks between two that are wanted which are read along: a request costs what four to eight more pages in the one before
/// do (docs/store.md).
const MAX_GAP: usize = 4;

/// Requests that are under way.
pub(super) struct Queue {
    ring: Option<IoUring>,
    in_flight: usize,
    /// What is over and was not yet asked for: token and result.
    done: VecDeque<(u64, Result<usize, Errno>)>,
}

impl Queue {
    /// An io_uring if the kernel gives one.
    pub(super) fn new() -> Self {
        let ring = IoUring::new(DEPTH as u32)
            .inspect_err(|error| log::info!("no io_uring ({error}): the store writes and reads one by one"));
        Self { ring: ring.ok(), in_flight: 0, done: VecDeque::new() }
    }

    /// One that does not ask for an io_uring.
    pub(super) const fn plain() -> Self {
        Self { ring: None, in_flight: 0, done: VecDeque::new() }
    }

    /// Whether it is an io_uring.
    pub(super) const fn is_ring(&self) -> bool {
        self.ring.is_some()
    }

    /// # Safety
    /// As [`BlockFile::transfer`], until [`Queue::next`] has returned the token; and the file stays open as
    /// long.
    unsafe fn submit(
        &mut self,
        file: &BlockFile,
        request: Request,
        token: u64,
        block: u32,
        buffers: &[iovec],
    ) {
        let fault = file.next_fault(request);
        while self.in_flight == DEPTH {
            self.reap();
        }
        if let (Some(ring), None) = (&mut self.ring, fault) {
            let (fd, count) = (types::Fd(file.file.as_raw_fd()), buffers.len() as u32);
            let entry = match request {
                Request::Read => {
                    opcode::Readv::new(fd, buffers.as_ptr(), count).offset(offset(block)).build()
                }
                Request::Write => {
                    opcode::Writev::new(fd, buffers.as_ptr(), count).offset(offset(block)).build()
                }
            };
            // SAFETY: the caller answers for buffers and file.
            if unsafe { ring.submission().push(&entry.user_data(token)) }.is_ok() {
                self.in_flight += 1;
                return;
            }
        }
        // SAFETY: as the caller says.
        let result = unsafe { file.transfer(request, buffers, block, fault) };
        self.done.push_back((token, result));
    }

    /// Has the kernel begin with what was submitted.
    fn start(&mut self) {
        if let Some(ring) = &self.ring {
            // What it does not take now, it takes when it is waited for.
            let _ = ring.submit();
        }
    }

    /// Waits for a request to be over. `None`: there are none.
    pub(super) fn next(&mut self) -> Option<(u64, Result<usize, Errno>)> {
        while self.done.is_empty() && self.in_flight > 0 {
            self.reap();
        }
        self.done.pop_front()
    }

    /// Whether nothing is under way or waits to be asked for.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.done.is_empty()
    }

    /// Waits for at least one completion.
    fn reap(&mut self) {
        let Some(ring) = &mut self.ring else { return };
        // A signal or a lack of memory: looked at again by the caller's loop.
        let _ = ring.submit_and_wait(1);
        for entry in ring.completion() {
            let result = usize::try_from(entry.result())
                .map_err(|_| Errno::from_raw_os_error(entry.result().saturating_neg()));
            self.done.push_back((entry.user_data(), result));
            self.in_flight -= 1;
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // The kernel has the buffers until then.
        while self.in_flight > 0 {
            self.reap();
        }
    }
}

/// Pages to read or to write, neighbours in one request; to read, near ones too.
pub(super) struct Batch {
    request: Request,
    buffers: Vec<iovec>,
    runs: Vec<Run>,
    /// Where blocks go that are read along, if there are any. Requests may fill it at the same time: nobody reads it.
    waste: Option<Box<PageBytes>>,
}

/// A request: the buffers of its pages that are still to go.
#[derive(Clone, Copy, Debug)]
struct Run {
    block: u32,
    start: usize,
    end: usize,
    tries: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting,
    Submitted,
    Done,
    Failed(Errno),
}

impl Batch {
    pub(super) const fn new(request: Request) -> Self {
        Self { request, buffers: Vec::new(), runs: Vec::new(), waste: None }
    }

    pub(super) fn clear(&mut self) {
        self.buffers.clear();
        self.runs.clear();
    }

    /// Adds a block and its buffer, and returns the number of its run.
    pub(super) fn push(&mut self, block: u32, buffer: iovec) -> usize {
        let gap = self.gap_before(block);
        if let (Some(run), Some(gap)) = (self.runs.last_mut(), gap) {
            run.end += gap + 1;
            if gap > 0 {
                let waste = self.waste.get_or_insert_with(|| Box::new(PageBytes::zeroed()));
                self.buffers.extend(std::iter::repeat_n(buffer_of(waste), gap));
            }
        } else {
            let start = self.buffers.len();
            self.runs.push(Run { block, start, end: start + 1, tries: 0, state: State::Waiting });
        }
        self.buffers.push(buffer);
        self.runs.len() - 1
    }

    /// How many blocks are between the last run and this one, if they can be of one request.
    fn gap_before(&self, block: u32) -> Option<usize> {
        let run = self.runs.last()?;
        let pages = run.end - run.start;
        let gap = (block as usize).checked_sub(run.block as usize + pages)?;
        let most = if self.request == Request::Read { MAX_GAP } else { 0 };
        (gap <= most && pages + gap < MAX_RUN).then_some(gap)
    }

    /// How many requests that makes.
    pub(super) const fn requests(&self) -> usize {
        self.runs.len()
    }

    /// Submits what waits, with tokens whose upper half is `number`.
    ///
    /// # Safety
    /// As [`Queue::submit`]; and this batch stays where it is and is not added to until all its tokens came
    /// back.
    pub(super) unsafe fn submit(&mut self, queue: &mut Queue, file: &BlockFile, number: u32) {
        for (index, run) in (0_u64..).zip(&mut self.runs) {
            if run.state == State::Waiting {
                run.state = State::Submitted;
                let token = u64::from(number) << 32 | index;
                let buffers = &self.buffers[run.start..run.end];
                // SAFETY: as the caller says; a vector's elements stay where they are while nothing is added.
                unsafe { queue.submit(file, self.request, token, run.block, buffers) };
            }
        }
        queue.start();
    }

    /// Takes in the result of a request. What it left undone waits to be submitted again.
    pub(super) fn completed(&mut self, token: u64, result: Result<usize, Errno>) {
        let run = &mut self.runs[token as u32 as usize];
        let pages = match result {
            Ok(bytes) => bytes / PAGE_SIZE,
            Err(Errno::INTR | Errno::AGAIN) => 0,
            Err(errno) => {
                run.state = State::Failed(errno);
                return;
            }
        };
        run.block += pages as u32;
        run.start += pages;
        run.tries = if pages > 0 { 0 } else { run.tries + 1 };
        run.state = match () {
            () if run.start >= run.end => State::Done,
            () if run.tries == TRIES => State::Failed(Errno::IO),
            () => State::Waiting,
        };
    }

    /// Whether any request is with the queue.
    pub(super) fn is_under_way(&self) -> bool {
        self.runs.iter().any(|run| run.state == State::Submitted)
    }

    /// Whether all went well.
    pub(super) fn is_done(&self) -> bool {
        self.runs.iter().all(|run| run.state == State::Done)
    }

    /// Why a run failed.
    pub(super) fn failure(&self, run: usize) -> Option<Errno> {
        match self.runs[run].state {
            State::Failed(errno) => Some(errno),
            _ => None,
        }
    }

    /// Why any failed.
    pub(super) fn first_failure(&self) -> Option<Errno> {
        (0..self.runs.len()).find_map(|run| self.failure(run))
    }

    /// What failed waits again.
    pub(super) fn retry(&mut self) {
        for run in &mut self.runs {
            if let State::Failed(_) = run.state {
                (run.state, run.tries) = (State::Waiting, 0);
            }
        }
    }

    /// Does it all, and waits until each request has succeeded or failed.
    ///
    /// # Safety
    /// The buffers are valid for the requests.
    pub(super) unsafe fn run(&mut self, queue: &mut Queue, file: &BlockFile) {
        loop {
            // SAFETY: `self` is not touched until the queue, which nobody else has, is empty again.
            unsafe { self.submit(queue, file, 0) };
            if queue.is_idle() {
                return;
            }
            while let Some((token, result)) = queue.next() {
                self.completed(token, result);
            }
        }
    }
}
