//! Files: those that the VMM offers on the file disk, the devices every program expects, pipes, and open
//! descriptors.

mod disk;
pub mod open;
pub mod path;
pub mod pipe;

pub use disk::{File, FileDisk, FileId};
