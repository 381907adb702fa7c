//! A VM: its vCPU, how it boots, where everything is.

pub mod board;
pub mod boot;
pub mod elf;
pub mod run;
pub mod vcpu;
pub mod vm;
