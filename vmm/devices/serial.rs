//! The serial port: a 16550 at [`abi::port::SERIAL`].

use std::io::{self, Write};

use rustix::io::Errno;
use vm_superio::serial::{Error, NoEvents};
use vm_superio::{Serial, Trigger};
use vmm_sys_util::eventfd::EventFd;

use super::bus::BusDevice;
use super::outcome::{Ending, Outcome};

/// A 16550 that writes what the guest sends to `W`, byte by byte and flushed.
pub struct SerialPort<W: Write + Send> {
    uart: Serial<Irq, NoEvents, W>,
    outcome: Outcome,
}

struct Irq(EventFd);

impl Trigger for Irq {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

impl<W: Write + Send> SerialPort<W> {
    /// Number of ports from [`abi::port::SERIAL`] on.
    pub const PORTS: u64 = 8;

    /// A port that raises its interrupt through `irq` and ends the run through `outcome` when `sink` fails.
    #[must_use]
    pub fn new(sink: W, irq: EventFd, outcome: Outcome) -> Self {
        Self { uart: Serial::new(Irq(irq), sink), outcome }
    }
}

impl<W: Write + Send> BusDevice for SerialPort<W> {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        for byte in data {
            *byte = self.uart.read(offset as u8);
        }
    }

    /// Several bytes are one after the other for the same register: a `rep outsb`.
    fn write(&mut self, offset: u64, data: &[u8]) {
        for &byte in data {
            match self.uart.write(offset as u8, byte) {
                Ok(()) => {}
                Err(Error::IOError(error)) => {
                    return self.outcome.end(match Errno::from_io_error(&error) {
                        Some(Errno::PIPE) => Ending::BrokenPipe,
                        errno => Ending::OutputFailed(errno.unwrap_or(Errno::IO)),
                    });
                }
                Err(error) => log::warn!("serial port: {error:?}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn irq() -> EventFd {
        EventFd::new(libc::EFD_NONBLOCK).expect("an eventfd")
    }

    #[test]
    fn bytes_reach_the_sink_in_order() {
        let mut port = SerialPort::new(Vec::new(), irq(), Outcome::default());
        port.write(0, b"h");
        port.write(0, b"ello");
        port.write(7, b"x");
        assert_eq!(port.uart.writer(), b"hello");
    }

    #[test]
    fn the_transmitter_is_always_ready_and_interrupts_once_enabled() {
        let event = irq();
        let mut port =
            SerialPort::new(Vec::new(), event.try_clone().expect("a descriptor"), Outcome::default());
        let mut status = [0];
        port.read(5, &mut status);
        assert_eq!(status[0] & 0x60, 0x60, "THR empty, transmitter empty");
        assert!(event.read().is_err(), "no interrupt before the guest wants it");
        port.write(1, &[2]);
        assert_eq!(event.read().expect("an interrupt"), 1);
    }

    #[test]
    fn a_sink_that_nobody_reads_ends_the_run() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(Errno::PIPE.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let outcome = Outcome::default();
        SerialPort::new(Closed, irq(), outcome.clone()).write(0, b"x");
        assert_eq!(outcome.get(), Some(Ending::BrokenPipe));
    }
}
