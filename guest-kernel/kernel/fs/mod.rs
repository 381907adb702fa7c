//! Files: those that the VMM offers on the file disk, their names and those of new files, the devices every program expects,
//! pipes, and open descriptors.

mod disk;
pub mod epoll;
pub mod lock;
pub mod open;
pub mod path;
pub mod pipe;
pub mod tree;

pub use disk::{Attributes, File, FileDisk, FileId};
