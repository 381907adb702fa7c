//! Devices: the buses, the serial port, the exit port, virtio.

mod bus;
mod exit_port;
mod guest_log;
mod outcome;
mod serial;

pub use bus::{Bus, BusDevice, BusError, SharedDevice};
pub use exit_port::ExitPort;
pub use guest_log::GuestLog;
pub use outcome::{Ending, Outcome};
pub use serial::SerialPort;
