//! A virtio console (virtio 1.2, section 5.3) with one port: a program's input and output.

use alloc::boxed::Box;

use abi::addr::{Gpa, PAGE_SIZE};

use super::mmio::{Mmio, NoDevice};
use super::queue::Queue;
use crate::arch::direct;

/// What [`Input`] has for a reader.
pub enum Ready<'i> {
    /// These bytes, at least one.
    Bytes(&'i [u8]),
    /// Nothing more, ever.
    End,
    /// Nothing yet; an interrupt will tell.
    NotYet,
}

/// The receiving side. A buffer is with the device only while somebody wants to read, so that what the
/// program does not read stays with the host.
pub struct Input {
    queue: Queue,
    buffer: &'static mut [u8; PAGE_SIZE],
    state: State,
}

enum State {
    Idle,
    Waiting,
    Holding { start: usize, end: usize },
    Ended,
}

impl Input {
    /// What can be read now.
    pub fn poll(&mut self) -> Ready<'_> {
        if let State::Idle = self.state {
            let address = direct::gpa_of(self.buffer.as_ptr());
            self.queue.submit(core::iter::once((address, PAGE_SIZE as u32, true)));
            self.state = State::Waiting;
        }
        if let State::Waiting = self.state {
            let Some(len) = self.queue.done() else { return Ready::NotYet };
            self.queue.acknowledge();
            let end = (len as usize).min(PAGE_SIZE);
            self.state = if end == 0 { State::Ended } else { State::Holding { start: 0, end } };
        }
        match self.state {
            State::Holding { start, end } => Ready::Bytes(&self.buffer[start..end]),
            _ => Ready::End,
        }
    }

    /// The reader took so many bytes of those that [`Input::poll`] showed.
    pub fn consume(&mut self, bytes: usize) {
        if let State::Holding { start, end } = self.state {
            let start = (start + bytes).min(end);
            self.state = if start == end { State::Idle } else { State::Holding { start, end } };
        }
    }
}

/// The sending side.
pub struct Output(Queue);

impl Output {
    /// Sends bytes straight from frames.
    pub fn send(&mut self, from: &[(Gpa, u32)]) {
        self.0.transfer(from.iter().map(|&(gpa, len)| (gpa, len, false)));
    }
}

/// Opens the console in a window.
///
/// # Errors
/// There is none.
pub fn open(base: Gpa) -> Result<(Input, Output), NoDevice> {
    let (device, _) = Mmio::open(base, 0)?;
    let (receive, send) = (Queue::new(device, 0, true)?, Queue::new(device, 1, false)?);
    device.start();
    let input = Input { queue: receive, buffer: Box::leak(Box::new([0; PAGE_SIZE])), state: State::Idle };
    Ok((input, Output(send)))
}
