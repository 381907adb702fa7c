//! Files: those that the VMM offers on the file disk, the devices every program expects, and open descriptors.

mod disk;
pub mod open;
pub mod path;

pub use disk::{File, FileDisk, FileId};
