//! Devices: virtio over MMIO (disks and consoles) and the serial port of the log.
//!
//! The drivers are our own because every major fault pays for their path: on hosts that interpret ring 0 each instruction
//! counts, and the published no_std driver crates take several times as many a request.

pub mod block;
pub mod console;
pub mod mmio;
pub mod queue;
pub mod serial;
