//! Virtio devices (Virtual I/O Device specification, version 1.2) behind memory-mapped registers.

mod block;
mod console;
mod console_input;
mod mmio;
#[cfg(test)]
pub(super) mod test_driver;

pub use block::Block;
pub use console::Console;
pub use console_input::InputReader;
pub use mmio::Mmio;

use virtio_queue::{DescriptorChain, Error, Queue, QueueOwnedT, QueueT};
use vm_memory::GuestMemoryMmap;

use super::guest_slices::GuestSlices;

/// A virtio device type behind the [`Mmio`] transport, which owns its queues.
pub trait VirtioDevice: Send {
    /// The device type (section 5).
    const TYPE: u32;

    /// Feature bits that the device offers; the transport adds its own.
    fn features(&self) -> u64;

    /// The largest size of each queue: powers of two.
    fn queue_sizes(&self) -> &'static [u16];

    /// The configuration space. It never changes, and no device here lets the driver write it.
    fn config(&self) -> &[u8];

    /// Serves what the driver made available on a queue. Returns whether anything came back as used.
    ///
    /// # Errors
    /// The queue itself is malformed: the device stops until the driver resets it.
    fn process(&mut self, index: usize, queue: &mut Queue, memory: &GuestMemoryMmap) -> Result<bool, Error>;
}

/// The buffers of one descriptor chain, checked.
struct Buffers<'a> {
    /// What the driver gives the device.
    readable: GuestSlices<'a>,
    /// What the device may fill.
    writable: GuestSlices<'a>,
}

impl<'a> Buffers<'a> {
    /// `None` for a chain that names memory outside RAM, or has a readable buffer after a writable one (2.7.4.2).
    fn new(chain: DescriptorChain<&'a GuestMemoryMmap>, memory: &'a GuestMemoryMmap) -> Option<Self> {
        let mut buffers = Self { readable: GuestSlices::default(), writable: GuestSlices::default() };
        for descriptor in chain {
            let slices = match descriptor.is_write_only() {
                true => &mut buffers.writable,
                false if buffers.writable.is_empty() => &mut buffers.readable,
                false => return None,
            };
            slices.append(memory, descriptor.addr(), descriptor.len() as usize)?;
        }
        Some(buffers)
    }
}

/// Serves each available chain with `serve`, which returns how many bytes it wrote to guest memory; a chain that
/// makes no sense comes back with 0. Returns whether there was any.
///
/// It ends after as many chains as the queue holds, so that a driver which adds more all the time cannot keep the
/// vCPU here; we never suppress notifications, so there is one for each chain that is left.
///
/// # Errors
/// The queue itself is malformed.
fn serve_chains(
    queue: &mut Queue,
    memory: &GuestMemoryMmap,
    mut serve: impl FnMut(Buffers<'_>) -> u32,
) -> Result<bool, Error> {
    for served in 0..queue.size() {
        let Some(chain) = queue.iter(memory)?.next() else { return Ok(served > 0) };
        let head = chain.head_index();
        let written = Buffers::new(chain, memory).map_or(0, &mut serve);
        queue.add_used(memory, head, written)?;
    }
    Ok(true)
}
