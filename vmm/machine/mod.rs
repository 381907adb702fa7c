//! A VM: what it is built from, how it boots, how its vCPU runs, how a run is watched.

mod assemble;
mod board;
pub mod boot;
mod bundled;
mod config;
mod control;
pub mod elf;
mod gate;
mod guest_paging;
pub mod libraries;
mod run;
mod vcpu;
mod vcpu_thread;
mod vm;

pub use assemble::MachineError;
pub use board::Streams;
pub use boot::Start;
pub use bundled::{Bundled, Output};
pub use config::{Config, Guest, Program};
pub use guest_paging::{GuestPage, GuestPaging, LoadControl};
pub use run::{End, Reading, Run, run};
pub use vcpu::Crash;
pub use vm::{Hypervisor, VmError};
