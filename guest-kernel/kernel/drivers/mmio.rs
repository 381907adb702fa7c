//! The virtio-mmio transport, version 2 (virtio 1.2, section 4.2).

use core::ptr::{read_volatile, write_volatile};

use abi::addr::Gpa;

use crate::arch::direct;

mod register {
    pub const MAGIC: u64 = 0x00;
    pub const VERSION: u64 = 0x04;
    pub const DEVICE_FEATURES: u64 = 0x10;
    pub const DEVICE_FEATURES_SELECT: u64 = 0x14;
    pub const DRIVER_FEATURES: u64 = 0x20;
    pub const DRIVER_FEATURES_SELECT: u64 = 0x24;
    pub const QUEUE_SELECT: u64 = 0x30;
    pub const QUEUE_SIZE_MAX: u64 = 0x34;
    pub const QUEUE_SIZE: u64 = 0x38;
    pub const QUEUE_READY: u64 = 0x44;
    pub const QUEUE_NOTIFY: u64 = 0x50;
    pub const INTERRUPT_STATUS: u64 = 0x60;
    pub const INTERRUPT_ACKNOWLEDGE: u64 = 0x64;
    pub const STATUS: u64 = 0x70;
    pub const QUEUE_DESCRIPTORS: u64 = 0x80;
    pub const QUEUE_AVAILABLE: u64 = 0x90;
    pub const QUEUE_USED: u64 = 0xa0;
    pub const CONFIG: u64 = 0x100;
}

mod status {
    pub const ACKNOWLEDGE: u32 = 1;
    pub const DRIVER: u32 = 2;
    pub const DRIVER_OK: u32 = 4;
    pub const FEATURES_OK: u32 = 8;
}

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION_1: u64 = 1 << 32;

/// There is no usable device in the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoDevice;

/// A device's register window.
#[derive(Clone, Copy)]
pub struct Mmio(Gpa);

impl Mmio {
    /// Wakes the device in a window that the boot information names, with those of the `wanted` features that it has.
    ///
    /// # Errors
    /// It is no virtio device, or it does not take the features.
    pub fn open(base: Gpa, wanted: u64) -> Result<(Self, u64), NoDevice> {
        let device = Self(base);
        if device.read(register::MAGIC) != MAGIC || device.read(register::VERSION) != 2 {
            return Err(NoDevice);
        }
        device.write(register::STATUS, 0);
        device.write(register::STATUS, status::ACKNOWLEDGE | status::DRIVER);
        let mut offered = 0;
        for half in 0..2 {
            device.write(register::DEVICE_FEATURES_SELECT, half);
            offered |= u64::from(device.read(register::DEVICE_FEATURES)) << (32 * half);
        }
        let features = offered & (wanted | VERSION_1);
        for half in 0..2 {
            device.write(register::DRIVER_FEATURES_SELECT, half);
            device.write(register::DRIVER_FEATURES, (features >> (32 * half)) as u32);
        }
        let ready = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        device.write(register::STATUS, ready);
        if features & VERSION_1 == 0 || device.read(register::STATUS) & status::FEATURES_OK == 0 {
            return Err(NoDevice);
        }
        Ok((device, features))
    }

    /// Sets up a queue of `size` entries.
    ///
    /// # Errors
    /// The device has no such queue, or a shorter one.
    pub fn set_queue(&self, queue: u32, size: u16, parts: [Gpa; 3]) -> Result<(), NoDevice> {
        self.write(register::QUEUE_SELECT, queue);
        if self.read(register::QUEUE_SIZE_MAX) < u32::from(size) {
            return Err(NoDevice);
        }
        self.write(register::QUEUE_SIZE, u32::from(size));
        let registers = [register::QUEUE_DESCRIPTORS, register::QUEUE_AVAILABLE, register::QUEUE_USED];
        for (register, part) in registers.into_iter().zip(parts) {
            self.write(register, part.0 as u32);
            self.write(register + 4, (part.0 >> 32) as u32);
        }
        self.write(register::QUEUE_READY, 1);
        Ok(())
    }

    /// The device may run.
    pub fn start(&self) {
        self.write(register::STATUS, self.read(register::STATUS) | status::DRIVER_OK);
    }

    /// Tells the device that a queue has something new.
    #[inline]
    pub fn notify(&self, queue: u32) {
        self.write(register::QUEUE_NOTIFY, queue);
    }

    /// Takes note of the device's interrupt.
    pub fn acknowledge(&self) {
        let pending = self.read(register::INTERRUPT_STATUS);
        if pending != 0 {
            self.write(register::INTERRUPT_ACKNOWLEDGE, pending);
        }
    }

    /// A field of the device's configuration.
    #[must_use]
    pub fn config(&self, offset: u64) -> u32 {
        self.read(register::CONFIG + offset)
    }

    /// The first 8 bytes of the configuration of a device that need not be awake: a disk's number of sectors.
    #[must_use]
    pub fn peek_capacity(base: Gpa) -> u64 {
        let device = Self(base);
        u64::from(device.config(0)) | u64::from(device.config(4)) << 32
    }

    fn read(&self, register: u64) -> u32 {
        // SAFETY: the window is mapped, uncached, and belongs to this driver.
        unsafe { read_volatile(direct::pointer(self.0 + register)) }
    }

    #[inline]
    fn write(&self, register: u64, value: u32) {
        // SAFETY: as for `read`; where a device reads or writes memory, the queue's owner has vouched for it.
        unsafe { write_volatile(direct::pointer(self.0 + register), value) };
    }
}
