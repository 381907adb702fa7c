//! A VM: its vCPU, how it boots, where everything is.

pub mod boot;
pub mod elf;
pub mod vm;
