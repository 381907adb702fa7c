//! A virtio driver for tests: it knows a device only through its registers and the rings in guest memory.

use std::sync::{Arc, Mutex};

use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{Mmio, VirtioDevice};
use crate::devices::bus::{BusDevice, lock};

/// Size of the guest's RAM.
pub const RAM: usize = 1 << 20;
/// Where the test's own buffers may be.
pub const BUFFERS: u64 = 0x2_0000;
/// Size of each queue.
pub const QUEUE_SIZE: u16 = 16;

/// A buffer of a request.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    pub start: u64,
    pub len: u32,
    pub writable: bool,
}

pub struct Driver<D> {
    pub mmio: Arc<Mutex<Mmio<D>>>,
    pub memory: GuestMemoryMmap,
    pub irq: EventFd,
    /// By queue: the next available and the next used index.
    next: Vec<(u16, u16)>,
}

impl<D: VirtioDevice> Driver<D> {
    /// A device that no driver has found yet.
    pub fn unborn(device: D) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), RAM)]).expect("1 MiB");
        let irq = EventFd::new(EFD_NONBLOCK).expect("an eventfd");
        let next = vec![(0, 0); device.queue_sizes().len()];
        let mmio = Mmio::new(device, memory.clone(), irq.try_clone().expect("a descriptor"));
        Self { mmio: Arc::new(Mutex::new(mmio.expect("queue sizes are powers of two"))), memory, irq, next }
    }

    /// A device in use: features agreed, queues set up.
    pub fn start(device: D) -> Self {
        let mut driver = Self::unborn(device);
        driver.initialise();
        driver
    }

    /// The sequence of section 3.1.1.
    pub fn initialise(&mut self) {
        self.set(0x70, 0);
        self.set(0x70, 1);
        self.set(0x70, 1 | 2);
        for half in 0..2 {
            self.set(0x14, half);
            let offered = self.get(0x10);
            self.set(0x24, half);
            self.set(0x20, offered);
        }
        self.set(0x70, 1 | 2 | 8);
        assert_eq!(self.get(0x70), 11, "the device agrees to the features that it offers");
        for queue in 0..self.next.len() {
            self.next[queue] = (0, 0);
            let ring = ring(queue);
            self.memory.write_slice(&[0; 0x3000], GuestAddress(ring)).expect("inside RAM");
            self.set(0x30, queue as u32);
            self.set(0x38, QUEUE_SIZE.into());
            for (register, part) in [(0x80, 0), (0x90, 0x1000), (0xa0, 0x2000)] {
                self.set(register, (ring + part) as u32);
                self.set(register + 4, 0);
            }
            self.set(0x44, 1);
            assert_eq!(self.get(0x44), 1, "the queue is ready");
        }
        self.set(0x70, 1 | 2 | 8 | 4);
        assert_eq!(self.get(0x70), 15);
    }

    pub fn get(&self, register: u64) -> u32 {
        let mut data = [0; 4];
        lock(&self.mmio).read(register, &mut data);
        u32::from_le_bytes(data)
    }

    pub fn set(&self, register: u64, value: u32) {
        lock(&self.mmio).write(register, &value.to_le_bytes());
    }

    pub fn notify(&self, queue: usize) {
        self.set(0x50, queue as u32);
    }

    /// Makes a chain of buffers available; its descriptors are the first ones of the table.
    pub fn offer(&mut self, queue: usize, buffers: &[Buffer]) {
        for (at, buffer) in buffers.iter().enumerate() {
            let last = at + 1 == buffers.len();
            let mut flags = if buffer.writable { VRING_DESC_F_WRITE as u16 } else { 0 };
            flags |= if last { 0 } else { VRING_DESC_F_NEXT as u16 };
            self.describe(queue, at as u16, buffer.start, buffer.len, flags, at as u16 + 1);
        }
        self.make_available(queue, 0);
    }

    /// Writes one descriptor, whatever it says.
    pub fn describe(&self, queue: usize, index: u16, start: u64, len: u32, flags: u16, next: u16) {
        let at = ring(queue) + 16 * u64::from(index);
        self.store(at, &start.to_le_bytes());
        self.store(at + 8, &len.to_le_bytes());
        self.store(at + 12, &flags.to_le_bytes());
        self.store(at + 14, &next.to_le_bytes());
    }

    /// Makes the chain that starts with descriptor `head` available.
    pub fn make_available(&mut self, queue: usize, head: u16) {
        let available = ring(queue) + 0x1000;
        let (next, _) = &mut self.next[queue];
        let entry = available + 4 + 2 * u64::from(*next % QUEUE_SIZE);
        *next = next.wrapping_add(1);
        let index = *next;
        self.store(entry, &head.to_le_bytes());
        self.store(available + 2, &index.to_le_bytes());
    }

    /// Sets the flags of the available ring.
    pub fn set_available_flags(&self, queue: usize, flags: u16) {
        self.store(ring(queue) + 0x1000, &flags.to_le_bytes());
    }

    /// Lies about how many chains are available.
    pub fn set_available_index(&self, queue: usize, index: u16) {
        self.store(ring(queue) + 0x1002, &index.to_le_bytes());
    }

    /// The next chain that came back: how many bytes the device says it wrote.
    pub fn used(&mut self, queue: usize) -> Option<u32> {
        let used = ring(queue) + 0x2000;
        let (_, next) = &mut self.next[queue];
        let index: u16 = self.memory.read_obj(GuestAddress(used + 2)).expect("inside RAM");
        if index == *next {
            return None;
        }
        let entry = used + 4 + 8 * u64::from(*next % QUEUE_SIZE);
        *next = next.wrapping_add(1);
        Some(self.memory.read_obj(GuestAddress(entry + 4)).expect("inside RAM"))
    }

    /// Offers a chain, notifies, and returns the length that it came back with.
    pub fn request(&mut self, queue: usize, buffers: &[Buffer]) -> u32 {
        self.offer(queue, buffers);
        self.notify(queue);
        self.used(queue).expect("served before the notification returned")
    }

    pub fn store(&self, start: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(start)).expect("inside RAM");
    }

    pub fn load(&self, start: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read_slice(&mut bytes, GuestAddress(start)).expect("inside RAM");
        bytes
    }
}

/// Where a queue's rings are: descriptors, available ring a page further, used ring two pages.
fn ring(queue: usize) -> u64 {
    0x1_0000 + 0x4000 * queue as u64
}
