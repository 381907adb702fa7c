//! virtio-console (section 5.3 of the specification) with one port: the program's standard streams.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;
use virtio_queue::{Error, Queue, QueueOwnedT, QueueT};
use vm_memory::GuestMemoryMmap;

use super::console_input::Request;
use super::{Buffers, VirtioDevice, serve_chains};
use crate::devices::guest_slices::GuestSlices;
use crate::devices::outcome::{Ending, Outcome};

#[cfg(test)]
mod tests;

/// The queue of buffers to receive into.
pub(super) const RECEIVE: usize = 0;
/// The queue of buffers to transmit.
const TRANSMIT: usize = 1;
const QUEUE_SIZES: &[u16] = &[64, 64];

/// A console. What the guest transmits is written before the notification returns. It receives nothing, and its
/// receive buffers never come back, until an [`InputReader`](super::InputReader) is attached.
pub struct Console {
    output: OwnedFd,
    outcome: Outcome,
    input: Option<Arc<Request>>,
    /// What was read and not yet received by the guest. Empty is the end of the input, which the guest gets as a
    /// buffer of length 0.
    received: Option<Vec<u8>>,
}

impl Console {
    /// A console that writes to `output`, and ends the run through `outcome` when that fails.
    #[must_use]
    pub const fn new(output: OwnedFd, outcome: Outcome) -> Self {
        Self { output, outcome, input: None, received: None }
    }

    /// Where to ask for input from now on.
    pub(super) fn attach(&mut self, input: Arc<Request>) {
        self.input = Some(input);
    }

    /// Takes what was read on request. The caller processes the receive queue next.
    pub(super) fn receive(&mut self, bytes: Vec<u8>) {
        if let Some(input) = &self.input {
            input.answered();
        }
        self.received = Some(bytes);
    }

    /// Writes all of a buffer to the host. A signal interrupts it only if the run has ended; whoever ends a run from
    /// outside sends the vCPU's thread a signal, and repeats it, because one can fall between check and call.
    fn transmit(&self, mut bytes: GuestSlices<'_>) {
        while !bytes.is_empty() && self.outcome.get().is_none() {
            let error = match bytes.write_some(self.output.as_fd()) {
                Ok(1..) => continue,
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Err(error) => error,
            };
            match Errno::from_io_error(&error) {
                Some(Errno::INTR) => {}
                Some(Errno::AGAIN) => {
                    // The descriptor is non-blocking. Interrupted or not, we look again.
                    let _ = poll(&mut [PollFd::new(&self.output, PollFlags::OUT)], None);
                }
                Some(Errno::PIPE) => self.outcome.end(Ending::BrokenPipe),
                errno => self.outcome.end(Ending::OutputFailed(errno.unwrap_or(Errno::IO))),
            }
        }
    }

    /// Fills the guest's buffers with what there is; when that is used up, asks for as much as the next one holds.
    fn fill(&mut self, queue: &mut Queue, memory: &GuestMemoryMmap) -> Result<bool, Error> {
        let Some(input) = &self.input else { return Ok(false) };
        for filled in 0..queue.size() {
            let Some(chain) = queue.iter(memory)?.next() else { return Ok(filled > 0) };
            let head = chain.head_index();
            let buffers = Buffers::new(chain, memory).filter(|buffers| !buffers.writable.is_empty());
            let written = match (buffers, self.received.take()) {
                (None, received) => {
                    self.received = received;
                    0
                }
                (Some(buffers), None) => {
                    queue.go_to_previous_position();
                    input.ask(buffers.writable.len());
                    return Ok(filled > 0);
                }
                (Some(buffers), Some(mut bytes)) => {
                    let count = buffers.writable.copy_from(&bytes);
                    if count < bytes.len() {
                        self.received = Some(bytes.split_off(count));
                    }
                    count as u32
                }
            };
            queue.add_used(memory, head, written)?;
        }
        Ok(true)
    }
}

impl VirtioDevice for Console {
    const TYPE: u32 = VIRTIO_ID_CONSOLE;

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &'static [u16] {
        QUEUE_SIZES
    }

    fn config(&self) -> &[u8] {
        &[]
    }

    fn process(&mut self, index: usize, queue: &mut Queue, memory: &GuestMemoryMmap) -> Result<bool, Error> {
        match index {
            RECEIVE => self.fill(queue, memory),
            TRANSMIT => serve_chains(queue, memory, |buffers| {
                self.transmit(buffers.readable);
                0
            }),
            _ => Ok(false),
        }
    }
}
