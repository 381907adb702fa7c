//! The board: which device sits at which address and interrupt line.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use abi::port::{EXIT, SERIAL, SERIAL_IRQ};
use thiserror::Error;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::vm::{Vm, VmError};
use crate::devices::{Bus, BusError, ExitPort, Outcome, SerialPort};

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
    #[error("the host gives no event descriptor: {0}; raise the limit of open files (ulimit -n)")]
    Event(io::Error),
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

impl Buses {
    /// The buses that every guest has: a serial port that writes to `console`, and the exit port.
    ///
    /// # Errors
    /// No descriptor, or KVM refuses the interrupt line.
    pub fn new(vm: &Vm, console: impl Write + Send + 'static) -> Result<Self, BoardError> {
        let mut buses = Self::default();
        let serial = SerialPort::new(console, interrupt(vm, SERIAL_IRQ)?, buses.outcome.clone());
        buses.ports.insert(u64::from(SERIAL), SERIAL_PORTS, Arc::new(Mutex::new(serial)))?;
        buses.add_exit_port()?;
        Ok(buses)
    }

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
    let event = EventFd::new(EFD_NONBLOCK).map_err(BoardError::Event)?;
    vm.connect_interrupt(&event, gsi)?;
    Ok(event)
}
