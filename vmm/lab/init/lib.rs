//! What the lab and its process 1 say to each other: the lab leaves a [`Spec`] in the initrd; from then on
//! both sides send [`Frame`]s over one serial port.

mod frame;
mod spec;

pub use frame::Frame;
pub use spec::{Command, HugePages, Module, Spec};
