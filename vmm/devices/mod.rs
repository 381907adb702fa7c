//! Devices: what the guest reaches through port I/O and MMIO.
//!
//! A vCPU's exit goes to a [`Bus`], the bus locks the device at that address, and the device does all its work, disk
//! I/O too, before the vCPU goes on. Nothing here knows of KVM: an interrupt is an eventfd, the end of a run is an
//! [`Outcome`].

mod bus;
mod disk;
mod exit_port;
mod file_disk;
mod guest_log;
mod guest_slices;
mod outcome;
mod serial;
mod swap_disk;
mod trace_port;
mod virtio;

pub use bus::{Bus, BusDevice, BusError, SharedDevice};
pub use disk::{Disk, DiskError};
pub use exit_port::ExitPort;
pub use file_disk::{Access, DiskFile, FileDisk, FileError, FileSpec, FolderError, FolderSpec, SpecError};
pub use guest_log::GuestLog;
pub use outcome::{Ending, Outcome};
pub use serial::SerialPort;
pub use swap_disk::SwapDisk;
pub use trace_port::TracePort;
pub use virtio::{Block, Console, InputReader, Mmio, VirtioDevice};
