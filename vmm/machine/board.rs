//! The board: which device sits at which address and interrupt line.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use abi::boot::{Device, DeviceKind};
use abi::layout::{FIRST_IRQ, MMIO};
use abi::port::{EXIT, SERIAL, SERIAL_IRQ, TRACE};
use thiserror::Error;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::vm::{Vm, VmError};
use crate::devices::{
    Block, Bus, BusError, Console, Disk, ExitPort, InputReader, Mmio, Outcome, SerialPort, TracePort,
    VirtioDevice,
};
use crate::memory::GuestRam;

/// Why the board could not be built.
#[derive(Debug, Error)]
pub enum BoardError {
    /// KVM refuses an interrupt line.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// Two devices in one place.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// No more descriptors.
    #[error(
        "the host gives no descriptor or thread for a device: {0}; raise the limits (ulimit -n, ulimit -u)"
    )]
    Host(#[from] io::Error),
    /// A device with an impossible queue.
    #[error("a device's queue: {0}")]
    Queue(#[from] virtio_queue::Error),
}

/// The program's standard streams on the host.
#[derive(Debug)]
pub struct Streams {
    /// What the program reads.
    pub input: OwnedFd,
    /// What it writes.
    pub output: OwnedFd,
    /// What it writes to standard error.
    pub error: OwnedFd,
}

/// What the vCPU's exits reach.
#[derive(Default)]
pub struct Buses {
    /// Port I/O.
    pub ports: Bus,
    /// MMIO.
    pub mmio: Bus,
    /// How the run ended, once it has.
    pub outcome: Outcome,
}

/// The buses while devices are put on them.
pub struct Board<'a> {
    vm: &'a Vm,
    ram: &'a GuestRam,
    buses: Buses,
    devices: Vec<Device>,
}

impl<'a> Board<'a> {
    /// The board that every guest has: a serial port that writes to `serial`, and the exit port.
    ///
    /// # Errors
    /// No descriptor, or KVM refuses the interrupt line.
    pub fn new(
        vm: &'a Vm,
        ram: &'a GuestRam,
        serial: impl Write + Send + 'static,
    ) -> Result<Self, BoardError> {
        let mut buses = Buses::default();
        let port = SerialPort::new(serial, interrupt(vm, SERIAL_IRQ)?, buses.outcome.clone());
        buses.ports.insert(u64::from(SERIAL), SERIAL_PORTS, Arc::new(Mutex::new(port)))?;
        buses.add_exit_port()?;
        Ok(Self { vm, ram, buses, devices: Vec::new() })
    }

    /// Adds a disk.
    ///
    /// # Errors
    /// As for [`Board::new`].
    pub fn add_disk(&mut self, kind: DeviceKind, disk: impl Disk + 'static) -> Result<(), BoardError> {
        self.add(kind, Block::new(disk))?;
        Ok(())
    }

    /// Adds the port that takes the kernel's record of its faults.
    ///
    /// # Errors
    /// The port is taken.
    pub fn add_trace_port(&mut self, port: TracePort) -> Result<(), BoardError> {
        self.buses.ports.insert(u64::from(TRACE), TracePort::PORTS, Arc::new(Mutex::new(port)))?;
        Ok(())
    }

    /// Adds the two consoles of the program's standard streams. Dropping what is returned stops reading input.
    ///
    /// # Errors
    /// As for [`Board::new`].
    pub fn add_streams(&mut self, streams: Streams) -> Result<InputReader, BoardError> {
        let outcome = self.buses.outcome.clone();
        let console = self.add(DeviceKind::STDIO, Console::new(streams.output, outcome.clone()))?;
        self.add(DeviceKind::STDERR, Console::new(streams.error, outcome))?;
        Ok(InputReader::start(streams.input, console)?)
    }

    /// Each virtio device gets the next window and the next interrupt line.
    fn add<D: VirtioDevice + 'static>(
        &mut self,
        kind: DeviceKind,
        device: D,
    ) -> Result<Arc<Mutex<Mmio<D>>>, BoardError> {
        let index = self.devices.len() as u32;
        let place =
            Device { kind, irq: FIRST_IRQ + index, base: MMIO + u64::from(index) * Mmio::<D>::WINDOW };
        let irq = interrupt(self.vm, place.irq)?;
        let device = Arc::new(Mutex::new(Mmio::new(device, self.ram.memory().clone(), irq)?));
        self.buses.mmio.insert(place.base.0, Mmio::<D>::WINDOW, device.clone())?;
        self.devices.push(place);
        Ok(device)
    }

    /// The buses, complete, and the list of devices for the guest.
    #[must_use]
    pub fn finish(self) -> (Arc<Buses>, Vec<Device>) {
        (Arc::new(self.buses), self.devices)
    }
}

impl Buses {
    fn add_exit_port(&mut self) -> Result<(), BusError> {
        let port = ExitPort::new(self.outcome.clone());
        self.ports.insert(u64::from(EXIT), ExitPort::PORTS, Arc::new(Mutex::new(port)))
    }

    /// Only the exit port.
    #[cfg(test)]
    pub fn for_tests() -> Self {
        let mut buses = Self::default();
        buses.add_exit_port().expect("an empty bus");
        buses
    }
}

const SERIAL_PORTS: u64 = SerialPort::<io::Sink>::PORTS;

fn interrupt(vm: &Vm, gsi: u32) -> Result<EventFd, BoardError> {
    let event = EventFd::new(EFD_NONBLOCK)?;
    vm.connect_interrupt(&event, gsi)?;
    Ok(event)
}
