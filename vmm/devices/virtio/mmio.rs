//! The virtio-mmio transport, version 2 (section 4.2 of the specification).
//!
//! QueueNotify is served on the vCPU's own thread before the write returns: a driver that then polls the used ring
//! finds its request done, and needs neither an interrupt nor a second exit.

use std::sync::atomic::{Ordering, fence};

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED,
    VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_mmio as register;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_INDIRECT_DESC, VRING_AVAIL_F_NO_INTERRUPT};
use virtio_queue::{Error, Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

use super::VirtioDevice;
use crate::devices::bus::BusDevice;

#[cfg(test)]
mod tests;

/// "virt", the first register.
const MAGIC: u32 = u32::from_le_bytes(*b"virt");
/// The register layout's version: not the legacy one.
const VERSION: u32 = 2;
/// "bfld"; drivers ignore it.
const VENDOR: u32 = u32::from_le_bytes(*b"bfld");
/// What every device offers.
const TRANSPORT_FEATURES: u64 = 1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_INDIRECT_DESC;
/// The status bits that a driver may set, in order.
const DRIVER_STATUS: u32 = VIRTIO_CONFIG_S_ACKNOWLEDGE
    | VIRTIO_CONFIG_S_DRIVER
    | VIRTIO_CONFIG_S_FEATURES_OK
    | VIRTIO_CONFIG_S_DRIVER_OK
    | VIRTIO_CONFIG_S_FAILED;

/// A device behind its registers.
pub struct Mmio<D> {
    device: D,
    memory: GuestMemoryMmap,
    queues: Vec<Queue>,
    irq: EventFd,
    interrupt_status: u32,
    status: u32,
    driver_features: u64,
    device_features_select: u32,
    driver_features_select: u32,
    queue_select: u32,
}

impl<D: VirtioDevice> Mmio<D> {
    /// Size of the register window in bytes: a page, the configuration space included.
    pub const WINDOW: u64 = 4096;

    /// A device that finds its queues in `memory` and interrupts through `irq`.
    ///
    /// # Errors
    /// The device asks for a queue size that is not a power of two.
    pub fn new(device: D, memory: GuestMemoryMmap, irq: EventFd) -> Result<Self, Error> {
        let queues =
            device.queue_sizes().iter().map(|&size| Queue::new(size)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            device,
            memory,
            queues,
            irq,
            interrupt_status: 0,
            status: 0,
            driver_features: 0,
            device_features_select: 0,
            driver_features_select: 0,
            queue_select: 0,
        })
    }

    /// The device itself, to give it something for the driver; then [`Mmio::process`] the queue that it is for.
    pub(super) const fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Serves a queue, because the driver notified it or because the device has something for it.
    pub(super) fn process(&mut self, index: usize) {
        let alive = VIRTIO_CONFIG_S_DRIVER_OK;
        let dead = VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET;
        let Some(queue) = self.queues.get_mut(index) else { return };
        if self.status & (alive | dead) != alive || !queue.ready() {
            return;
        }
        let served = self.device.process(index, queue, &self.memory);
        match served.and_then(|any| Ok(any && wants_interrupt(queue, &self.memory)?)) {
            Ok(true) => self.interrupt(register::VIRTIO_MMIO_INT_VRING),
            Ok(false) => {}
            Err(error) => self.fail(&error),
        }
    }

    /// The driver broke the queue: stop until it resets the device (2.1.2).
    fn fail(&mut self, error: &Error) {
        log::warn!("virtio device {}: {error}; it stops until the guest resets it", D::TYPE);
        self.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
        self.interrupt(register::VIRTIO_MMIO_INT_CONFIG);
    }

    fn interrupt(&mut self, cause: u32) {
        self.interrupt_status |= cause;
        if let Err(error) = self.irq.write(1) {
            log::warn!("virtio device {}: no interrupt: {error}", D::TYPE);
        }
    }

    fn features(&self) -> u64 {
        self.device.features() | TRANSPORT_FEATURES
    }

    fn read_register(&self, offset: u32) -> u32 {
        let queue = self.queues.get(self.queue_select as usize);
        match offset {
            register::VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            register::VIRTIO_MMIO_VERSION => VERSION,
            register::VIRTIO_MMIO_DEVICE_ID => D::TYPE,
            register::VIRTIO_MMIO_VENDOR_ID => VENDOR,
            register::VIRTIO_MMIO_DEVICE_FEATURES => half(self.features(), self.device_features_select),
            register::VIRTIO_MMIO_QUEUE_NUM_MAX => queue.map_or(0, |queue| queue.max_size().into()),
            register::VIRTIO_MMIO_QUEUE_READY => queue.map_or(0, |queue| queue.ready().into()),
            register::VIRTIO_MMIO_INTERRUPT_STATUS => self.interrupt_status,
            register::VIRTIO_MMIO_STATUS => self.status,
            // There is no shared memory region: length and address are all ones (4.2.2.1).
            register::VIRTIO_MMIO_SHM_LEN_LOW..=register::VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            // Everything else is write-only, or constant zero as the configuration's generation.
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u32, value: u32) {
        match offset {
            register::VIRTIO_MMIO_DEVICE_FEATURES_SEL => self.device_features_select = value,
            register::VIRTIO_MMIO_DRIVER_FEATURES => self.set_driver_features(value),
            register::VIRTIO_MMIO_DRIVER_FEATURES_SEL => self.driver_features_select = value,
            register::VIRTIO_MMIO_QUEUE_SEL => self.queue_select = value,
            register::VIRTIO_MMIO_QUEUE_NOTIFY => self.process(value as usize),
            register::VIRTIO_MMIO_INTERRUPT_ACK => self.interrupt_status &= !value,
            register::VIRTIO_MMIO_STATUS => self.set_status(value),
            register::VIRTIO_MMIO_QUEUE_READY => self.set_queue_ready(value),
            _ => self.configure_queue(offset, value),
        }
    }

    fn set_driver_features(&mut self, value: u32) {
        if self.status & VIRTIO_CONFIG_S_FEATURES_OK != 0 {
            return;
        }
        let (shift, kept) = match self.driver_features_select {
            0 => (0, 0xffff_ffff << 32),
            1 => (32, 0xffff_ffff),
            _ => return,
        };
        self.driver_features = self.driver_features & kept | u64::from(value) << shift;
    }

    /// A driver adds one bit after the other (3.1.1), or writes 0 to reset.
    fn set_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        let old = self.status & DRIVER_STATUS;
        if old & !value != 0 {
            return;
        }
        let mut new = value & DRIVER_STATUS;
        let introduced = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
        let version_1 = self.driver_features & 1 << VIRTIO_F_VERSION_1 != 0;
        if new & introduced != introduced || self.driver_features & !self.features() != 0 || !version_1 {
            new &= !VIRTIO_CONFIG_S_FEATURES_OK;
        }
        if new & VIRTIO_CONFIG_S_FEATURES_OK == 0 {
            new &= !VIRTIO_CONFIG_S_DRIVER_OK;
        }
        self.status |= new;
    }

    fn reset(&mut self) {
        self.status = 0;
        self.interrupt_status = 0;
        self.driver_features = 0;
        self.device_features_select = 0;
        self.driver_features_select = 0;
        self.queue_select = 0;
        for queue in &mut self.queues {
            queue.reset();
        }
    }

    /// The queue to set up: only after the features are agreed, and before the driver uses it.
    fn queue_in_setup(&mut self) -> Option<&mut Queue> {
        let dead = VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_DRIVER_OK;
        if self.status & (VIRTIO_CONFIG_S_FEATURES_OK | dead) != VIRTIO_CONFIG_S_FEATURES_OK {
            return None;
        }
        self.queues.get_mut(self.queue_select as usize)
    }

    fn set_queue_ready(&mut self, value: u32) {
        let memory = self.memory.clone();
        let Some(queue) = self.queue_in_setup() else { return };
        queue.set_ready(value == 1);
        if queue.ready() && !queue.is_valid(&memory) {
            queue.set_ready(false);
        }
    }

    fn configure_queue(&mut self, offset: u32, value: u32) {
        let Some(queue) = self.queue_in_setup().filter(|queue| !queue.ready()) else { return };
        let (low, high) = (Some(value), Some(value));
        match offset {
            // A size that is no u16 is none that the queue takes.
            register::VIRTIO_MMIO_QUEUE_NUM => queue.set_size(u16::try_from(value).unwrap_or(0)),
            register::VIRTIO_MMIO_QUEUE_DESC_LOW => queue.set_desc_table_address(low, None),
            register::VIRTIO_MMIO_QUEUE_DESC_HIGH => queue.set_desc_table_address(None, high),
            register::VIRTIO_MMIO_QUEUE_AVAIL_LOW => queue.set_avail_ring_address(low, None),
            register::VIRTIO_MMIO_QUEUE_AVAIL_HIGH => queue.set_avail_ring_address(None, high),
            register::VIRTIO_MMIO_QUEUE_USED_LOW => queue.set_used_ring_address(low, None),
            register::VIRTIO_MMIO_QUEUE_USED_HIGH => queue.set_used_ring_address(None, high),
            _ => {}
        }
    }
}

impl<D: VirtioDevice> BusDevice for Mmio<D> {
    /// Registers are 32 bits wide and aligned (4.2.2.2); anything else reads as zeros. The configuration space takes
    /// any width; past its end there are zeros.
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(start) = offset.checked_sub(register::VIRTIO_MMIO_CONFIG.into()) {
            let config = self.device.config().get(start as usize..).unwrap_or_default();
            let count = config.len().min(data.len());
            data[..count].copy_from_slice(&config[..count]);
        } else if data.len() == 4 && offset.is_multiple_of(4) {
            data.copy_from_slice(&self.read_register(offset as u32).to_le_bytes());
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let (true, Ok(value)) = (offset.is_multiple_of(4), <[u8; 4]>::try_from(data))
            && offset < register::VIRTIO_MMIO_CONFIG.into()
        {
            self.write_register(offset as u32, u32::from_le_bytes(value));
        }
    }
}

/// The low (0) or high (1) 32 bits; other selections are zero.
const fn half(features: u64, select: u32) -> u32 {
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}

/// Whether the driver wants to hear of used buffers (2.7.7): not while it polls.
fn wants_interrupt(queue: &Queue, memory: &GuestMemoryMmap) -> Result<bool, Error> {
    // The used index must be visible before the flag is read: the driver clears the flag, then looks at the index.
    fence(Ordering::SeqCst);
    let flags: u16 =
        memory.load(GuestAddress(queue.avail_ring()), Ordering::Relaxed).map_err(Error::GuestMemory)?;
    Ok(u32::from(flags) & VRING_AVAIL_F_NO_INTERRUPT == 0)
}
