//! A split virtqueue (virtio 1.2, section 2.7) that carries one request at a time: the chain always starts at
//! descriptor 0, and nothing has to be allocated.

use alloc::boxed::Box;
use core::ptr::{addr_of, addr_of_mut};
use core::sync::atomic::{Ordering, fence};

use abi::addr::Gpa;

use super::mmio::{Mmio, NoDevice};
use crate::arch::direct;

/// Entries of a queue, and so the most segments of a request.
pub const SIZE: usize = 32;
const NEXT: u16 = 1;
const DEVICE_WRITES: u16 = 2;
const NO_INTERRUPT: u16 = 1;

/// A part of a request: where, how long, and whether the device writes it.
pub type Segment = (Gpa, u32, bool);

#[derive(Clone, Copy)]
#[repr(C)]
struct Descriptor {
    address: Gpa,
    len: u32,
    flags: u16,
    next: u16,
}

/// The three parts of the queue. The device reads and writes it, so every access is volatile.
#[repr(C, align(4096))]
struct Rings {
    descriptors: [Descriptor; SIZE],
    available_flags: u16,
    available_index: u16,
    available: [u16; SIZE],
    used_event: u16,
    padding: [u16; 1],
    used_flags: u16,
    used_index: u16,
    used: [[u32; 2]; SIZE],
}

/// A queue of a device.
pub struct Queue {
    rings: *mut Rings,
    device: Mmio,
    number: u32,
    submitted: u16,
}

impl Queue {
    /// Sets a queue up; with `interrupts` the device tells when it is done.
    ///
    /// # Errors
    /// The device has no such queue.
    pub fn new(device: Mmio, number: u32, interrupts: bool) -> Result<Self, NoDevice> {
        // SAFETY: zeros are an empty queue; all fields are integers.
        let rings = Box::leak(unsafe { Box::<Rings>::new_zeroed().assume_init() });
        rings.available_flags = if interrupts { 0 } else { NO_INTERRUPT };
        let parts = [
            direct::gpa_of(addr_of!(rings.descriptors)),
            direct::gpa_of(addr_of!(rings.available_flags)),
            direct::gpa_of(addr_of!(rings.used_flags)),
        ];
        device.set_queue(number, SIZE as u16, parts)?;
        Ok(Self { rings, device, number, submitted: 0 })
    }

    /// Gives a request to the device. The one before must be done. The device may use the segments until
    /// [`Queue::done`] says otherwise: the caller keeps them.
    pub fn submit(&mut self, segments: impl ExactSizeIterator<Item = Segment>) {
        let last = segments.len() - 1;
        debug_assert!(last < SIZE);
        // SAFETY: the rings live for ever and only this queue writes these parts; the indices are below SIZE.
        unsafe {
            for (n, (address, len, device_writes)) in segments.enumerate() {
                let flags = if n < last { NEXT } else { 0 } | if device_writes { DEVICE_WRITES } else { 0 };
                let descriptor = Descriptor { address, len, flags, next: n as u16 + 1 };
                addr_of_mut!((*self.rings).descriptors[n]).write_volatile(descriptor);
            }
            // Every entry of the available ring is 0, as it was made: the chain starts at descriptor 0.
            self.submitted = self.submitted.wrapping_add(1);
            fence(Ordering::Release);
            addr_of_mut!((*self.rings).available_index).write_volatile(self.submitted);
        }
        self.device.notify(self.number);
    }

    /// How many bytes the device wrote, once it is done with the request.
    #[must_use]
    pub fn done(&self) -> Option<u32> {
        // SAFETY: as for `submit`.
        unsafe {
            if addr_of!((*self.rings).used_index).read_volatile() != self.submitted {
                return None;
            }
            fence(Ordering::Acquire);
            let entry = usize::from(self.submitted.wrapping_sub(1)) % SIZE;
            Some(addr_of!((*self.rings).used[entry][1]).read_volatile())
        }
    }

    /// Gives a request to the device and waits until it is done.
    pub fn transfer(&mut self, segments: impl ExactSizeIterator<Item = Segment>) {
        self.submit(segments);
        while self.done().is_none() {
            core::hint::spin_loop();
        }
    }

    /// Takes note of the device's interrupt.
    pub fn acknowledge(&self) {
        self.device.acknowledge();
    }
}
